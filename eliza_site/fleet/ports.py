"""Finds busy ports before anything is started."""

import socket
from dataclasses import dataclass

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

    Raises: FleetError that names each busy port with its variable.
    """
    faults = []
    seen: dict[int, Port] = {}
    for port in ports:
        if port.number in seen:
            faults.append(f"{port.use} and {seen[port.number].use} both want port {port.number}")
        elif reason := _find_obstacle(port):
            faults.append(f"port {port.number} for {port.use} {reason}")
        else:
            seen[port.number] = port
            continue
        faults[-1] += (
            f": set {port.variable} to another one, as in `make run {port.variable}={port.number + 10}`."
        )
    if faults:
        raise FleetError("\n".join(fault[0].upper() + fault[1:] for fault in faults))


def _find_obstacle(port: Port) -> str:
    family = socket.AF_INET6 if ":" in port.host else socket.AF_INET
    with socket.socket(family) as probe:
        # As the servers do: a connection that is still closing is no obstacle.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((port.host, port.number))
        except PermissionError:
            return "is reserved for root"
        except socket.gaierror:
            return f"has an address that this machine does not know, HOST={port.host}"
        except OSError as error:
            return f"is not free ({error.strerror})"
    return ""
