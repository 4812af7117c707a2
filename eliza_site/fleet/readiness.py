"""Asks over HTTP whether the fleet is ready, as any watcher outside would."""

import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from eliza_site.fleet.errors import FleetError

READY_SECONDS = 120.0
LOCAL_MODEL_SECONDS = 180.0
ASK_SECONDS = 10.0


@dataclass(frozen=True, kw_only=True)
class Site:
    """Where the web process answers, and the host name that it accepts."""

    base_url: str
    host_name: str


def find_site(*, host: str, port: int, allowed_hosts: list[str]) -> Site:
    """Find the address at which this machine reaches its own web process."""
    reachable = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, host)  # noqa: S104 - not bound here
    name = next((name.lstrip(".") for name in allowed_hosts if name != "*"), reachable)
    return Site(base_url=f"http://{reachable}:{port}", host_name=name)


def await_ready(site: Site, *, worker_count: int, look_after: Callable[[], None]) -> None:
    """Wait until a message can be stored and every worker answers.

    Raises: FleetError that names what is missing.
    """
    deadline = time.monotonic() + READY_SECONDS
    while missing := _find_missing(site, worker_count):
        if time.monotonic() > deadline:
            raise FleetError(f"The fleet is not ready after {READY_SECONDS:.0f} s: {missing}.")
        look_after()
        time.sleep(0.1)


def _find_missing(site: Site, worker_count: int) -> str:
    """Tell what is not ready yet; nothing when all is."""
    answer = _get_json(f"{site.base_url}/readyz", site.host_name)
    if answer is None:
        return "the web process does not answer"
    if answer.get("status") != "ready":
        return f"/readyz says {json.dumps(answer)}"
    status = _get_json(f"{site.base_url}/statusz", site.host_name) or {}
    workers = status.get("parts", {}).get("workers", {})
    count = len(workers.get("detail", "").split(", ")) if workers.get("ok") else 0
    return f"{count} of {worker_count} workers answer" if count < worker_count else ""


def await_local_model(base_url: str, *, look_after: Callable[[], None]) -> bool:
    """Wait until the local model's server answers, and tell whether it did."""
    deadline = time.monotonic() + LOCAL_MODEL_SECONDS
    while time.monotonic() < deadline:
        if _get_json(f"{base_url}/models", "127.0.0.1") is not None:
            return True
        look_after()
        time.sleep(0.1)
    return False


def _get_json(url: str, host_name: str) -> dict[str, Any] | None:
    """Ask a URL for JSON, errors' bodies included; None where nobody answers in JSON."""
    # A site behind a TLS proxy redirects what did not come through it.
    headers = {"Host": host_name, "X-Forwarded-Proto": "https"}
    request = urllib.request.Request(url, headers=headers)  # noqa: S310 - built above
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=ASK_SECONDS) as response:
            found = json.load(response)
    except urllib.error.HTTPError as error:
        try:
            found = json.load(error)
        except ValueError:
            return None
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None
