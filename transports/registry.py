"""Which transports there are. `transports.delivery` asks by the name that a connection carries."""

from __future__ import annotations

from functools import cache

from django.utils.module_loading import import_string

from transports.base import Transport

TRANSPORTS = {
    "web": "transports.web.transport.WebTransport",
    "fake": "transports.fake.transport.FakeTransport",
    "fake-keyless": "transports.fake.transport.KeylessFakeTransport",
}


class UnknownTransport(Exception):
    """No transport has this name."""


@cache
def get_transport(name: str) -> Transport:
    """Return the transport of this name; one instance a process.

    Raises: UnknownTransport.
    """
    path = TRANSPORTS.get(name)
    if path is None:
        raise UnknownTransport(f"There is no transport {name!r}; there are: {', '.join(sorted(TRANSPORTS))}.")
    transport: Transport = import_string(path)()
    return transport
