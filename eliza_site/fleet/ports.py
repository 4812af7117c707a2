"""Finds busy ports before anything is started."""

import errno
import socket
from dataclasses import dataclass

from eliza_site.environment import LAST_PORT
from eliza_site.fleet.errors import FleetError


@dataclass(frozen=True, kw_only=True)
class Port:
    """A port that the fleet is about to use, and the variable that moves it."""

    use: str
    variable: str
    host: str
    number: int


def require_free(ports: list[Port]) -> None:
    """Make sure that every port is free and that no two are the same.

    Raises: FleetError that names each busy port with its variable, or the HOST that is none.
    """
    faults = []
    seen: dict[int, Port] = {}
    for port in ports:
        if port.number in seen:
            reason = f"{port.use} and {seen[port.number].use} both want port {port.number}"
            faults.append(f"{reason}: {_say_cure(port)}")
        elif fault := _find_fault(port):
            faults.append(fault)
        else:
            seen[port.number] = port
    if faults:
        # What is wrong with the host is so for each of its ports.
        raise FleetError("\n".join(dict.fromkeys(fault[0].upper() + fault[1:] for fault in faults)))


def _find_fault(port: Port) -> str:
    family = socket.AF_INET6 if ":" in port.host else socket.AF_INET
    with socket.socket(family) as probe:
        # As the servers do: a connection that is still closing is no obstacle.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((port.host, port.number))
        except PermissionError:
            return f"port {port.number} for {port.use} is reserved for root: {_say_cure(port)}"
        except (socket.gaierror, UnicodeError):
            return _say_host(port.host)
        except OSError as error:
            if error.errno == errno.EADDRNOTAVAIL:
                return _say_host(port.host)
            return f"port {port.number} for {port.use} is not free ({error.strerror}): {_say_cure(port)}"
    return ""


def _say_host(host: str) -> str:
    return f"HOST={host} is no address of this machine: set it to 127.0.0.1, or to 0.0.0.0 for others to reach it."


def _say_cure(port: Port) -> str:
    other = port.number + 10 if port.number + 10 <= LAST_PORT else port.number - 10
    return f"set {port.variable} to another one, as in `make run {port.variable}={other}`."
