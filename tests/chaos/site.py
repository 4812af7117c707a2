"""The web process of a fault test: messages come in by the HTTP API, from programs that repeat what was not taken.

What is said here is answered over a fake network with a ledger, so that the verdict knows what was shown.
"""

from __future__ import annotations

import http.client
import json
import socket
import threading
import time
from dataclasses import dataclass
from itertools import count, zip_longest

from eliza_site.embedded.processes import Child, Command
from eliza_site.fleet.procfile import read_procfile
from tests.chaos.harness import KEYED, Fleet, Spoken, text_of
from tests.chaos.zygote import ROOT
from transports.verdicts import Said

WEB = "web"
ANSWER_SECONDS = 30.0
START_SECONDS = 60.0
TAKEN = 202
AGAIN_SECONDS = 0.1
WARM_SECONDS = 1.0
WARM_MESSAGES = 3


@dataclass(frozen=True, kw_only=True)
class Posted:
    """What became of one request. `status` is 0 where the connection broke."""

    status: int
    seconds: float
    is_new: bool = False


class Site:
    """One web process by the Procfile's line, which can be killed and started again."""

    def __init__(self, fleet: Fleet) -> None:
        self.fleet = fleet
        self._numbers = count(1)
        self._port = _free_port()
        fleet.add_network(WEB, KEYED)
        self.start()

    def start(self) -> None:
        """Start it and wait until it answers."""
        self._child = Child(
            Command(
                name="web",
                argv=("/bin/sh", "-c", read_procfile(ROOT / "Procfile")["web"]),
                folder=ROOT,
                log=self.fleet.folder / "web.log",
                environment={
                    **self.fleet.crew.environment,
                    "HOST": "127.0.0.1",
                    "PORT": str(self._port),
                    "CRASHPOINTS": str(self.fleet.senders_plan_path),
                },
            )
        )
        self._child.start()
        deadline = time.monotonic() + START_SECONDS
        while self._ask("GET", "/healthz", {}, b"")[0] != 200:
            assert time.monotonic() < deadline, f"The site does not answer; see {self._child.command.log}"
            time.sleep(0.05)

    def is_running(self) -> bool:
        """Tell whether the process is alive."""
        return self._child.is_running()

    def kill(self) -> None:
        """Kill it; it stays away until it is started."""
        self._child.kill()

    def end(self) -> None:
        """Stop it for good."""
        self._child.stop()

    def new_client(self) -> Client:
        """Return a program with a key of its own, which speaks for a person of its own."""
        made = self.fleet.crew.prepare("make_key", name=f"client-{next(self._numbers)}")
        return Client(self, key=made["key"], person=made["person"])

    def post(self, key: str, client_id: str, text: str) -> Posted:
        """Send a message once."""
        headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
        body = json.dumps({"text": text, "id": client_id}).encode()
        started = time.monotonic()
        status, answer = self._ask("POST", f"/api/v1/agents/{self.fleet.agent}/messages", headers, body)
        seconds = time.monotonic() - started
        return Posted(
            status=status,
            seconds=seconds,
            is_new=status == TAKEN and json.loads(answer)["is_new"],
        )

    def _ask(self, method: str, path: str, headers: dict[str, str], body: bytes) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=ANSWER_SECONDS)
        try:
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            return response.status, response.read()
        except (OSError, http.client.HTTPException):
            return 0, b""
        finally:
            connection.close()


class Client:
    """A program that speaks for one person, one message after the other."""

    def __init__(self, site: Site, *, key: str, person: str) -> None:
        self._site = site
        self._numbers = count(1)
        self._key = key
        self._person = person
        self.posted: list[Posted] = []

    def next_message(self, kind: str = "") -> Spoken:
        """Think of something to say; nothing is sent yet."""
        name = f"w-{next(self._numbers)}"
        key = f"{self._person}/{name}"
        return Spoken(
            said=Said(external_id=key, conversation=f"{WEB} {self._person}"),
            text=text_of(kind, key),
            turn_id="",
            is_new=True,
        )

    def post(self, message: Spoken) -> Posted:
        """Send it once."""
        _, _, client_id = message.said.external_id.partition("/")
        posted = self._site.post(self._key, client_id, message.text)
        self.posted.append(posted)
        return posted

    def say(self, kind: str = "") -> Spoken:
        """Say something, again and again until it is acknowledged."""
        message = self.next_message(kind)
        deadline = time.monotonic() + ANSWER_SECONDS
        while self.post(message).status != TAKEN:
            assert time.monotonic() < deadline, f"{message.said.external_id} was not taken: {self.posted[-1]}"
            time.sleep(AGAIN_SECONDS)
        return message


class Crowd:
    """Some people who all speak while the block runs; each says the next thing when the last was taken.

    When it begins they have spoken for WARM_SECONDS, and each at least WARM_MESSAGES times: a web process' first
    requests take longer than any later one. `usual_seconds` is what a request took then at most, on a machine that
    may be busy, without the first of each.
    """

    def __init__(self, site: Site, *, people: int = 4, pause_seconds: float = 0.1, kind: str = "") -> None:
        self._kind = kind
        self.clients = [site.new_client() for _person in range(people)]
        self.usual_seconds = 0.0
        self._pause_seconds = pause_seconds
        self._is_over = threading.Event()
        self._said: list[list[Spoken]] = [[] for _client in self.clients]
        self._errors: list[Exception] = []

    def __enter__(self) -> Crowd:
        self._threads = [
            threading.Thread(target=self._speak, args=pair)
            for pair in zip(self.clients, self._said, strict=True)
        ]
        for thread in self._threads:
            thread.start()
        try:
            self._grow_warm()
        except BaseException:
            self._is_over.set()
            raise
        self.usual_seconds = max(posted.seconds for posted in self.posted[len(self.clients) :])
        for client in self.clients:
            client.posted.clear()
        return self

    def _grow_warm(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        time.sleep(WARM_SECONDS)
        while min(len(client.posted) for client in self.clients) < WARM_MESSAGES:
            assert time.monotonic() < deadline, "The site takes nothing, though nothing was done to it yet."
            assert not self._errors, self._errors
            time.sleep(0.05)

    def __exit__(self, *_error: object) -> None:
        self._is_over.set()
        for thread in self._threads:
            thread.join()
        assert not self._errors, self._errors

    def _speak(self, client: Client, said: list[Spoken]) -> None:
        try:
            while not self._is_over.wait(self._pause_seconds):
                said.append(client.say(self._kind))
        except Exception as error:  # the door of a thread: the test sees it at the end of the block
            self._errors.append(error)

    @property
    def spoken(self) -> list[Spoken]:
        """What was acknowledged so far."""
        return [message for said in self._said for message in said]

    @property
    def posted(self) -> list[Posted]:
        """Every request so far, the first of each person first."""
        rounds = zip_longest(*(list(client.posted) for client in self.clients))
        return [posted for one_each in rounds for posted in one_each if posted is not None]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
