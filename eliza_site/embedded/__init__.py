"""PostgreSQL with pgvector and Valkey for one machine that has no server installed.

Both come as wheels and run as children of whoever calls this package: the fleet's supervisor (`make run`), or
`python -m eliza_site.embedded exec`, which gives one command servers of its own (`make test`, `make bench`).
Nothing listens on TCP: two unix sockets lie in a folder that only their owner may enter, each behind a
password. What runs beside them learns their addresses from `fleet.env` in the run directory.
"""

from eliza_site.embedded.errors import EmbeddedServerError
from eliza_site.embedded.servers import Servers

__all__ = ["EmbeddedServerError", "Servers"]
