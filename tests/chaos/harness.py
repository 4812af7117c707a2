"""The fault tests' fleet: workers with short leases, servers of its own, fake networks and a fake model.

Messages come in through sender processes; the networks' ledger and the model's are the truth, and `judge`
holds them against the database. Faults come by a plan of crash points (`plan`), by the handles of the servers
(`valkey`, `postgres`), or by signals to the `crew`.
"""

from __future__ import annotations

import datetime as dt
import os
import sys
import time
import uuid
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import psycopg

from agents import crashpoints
from agents.crashpoints import Fault, Hit
from tests.chaos import errands
from tests.chaos.crew import Crew
from tests.chaos.proxy import FaultProxy
from tests.chaos.sender import SENDERS_PLAN
from tests.chaos.servers import OwnPostgres, OwnValkey, server_folder
from tests.doubles.openai_server import OpenAIServer
from transports.fake import ledger
from transports.verdicts import Fate, Said, Verdict, find_open, judge, read_fates

LEASE_SECONDS, DISPATCH_SECONDS = 2.0, 0.4
CONVERGE_SECONDS = LEASE_SECONDS + 2 * DISPATCH_SECONDS
LOOK_SECONDS = 0.03
PATIENCE_SECONDS = 60.0
KEYED, KEYLESS = "fake", "fake-keyless"
ASKED_AGAIN = """
SELECT message.external_id FROM agents_modelcall AS call JOIN agents_turn AS turn ON turn.id = call.turn_id
JOIN agents_message AS message ON message.id = turn.message_id
WHERE call.error = '' AND call.purpose = 'answer' AND message.external_id = ANY(%s)
GROUP BY turn.id, message.external_id HAVING count(*) > 1
"""
"""The messages with two recorded answers: the second was asked for although the first was there."""
BUSY = """
SELECT 1 FROM agents_turn WHERE state IN ('waiting', 'running') OR evaluation = 'due'
UNION ALL SELECT 1 FROM agents_delivery WHERE state IN ('pending', 'sending') LIMIT 1
"""


class NotOver(AssertionError):
    """Something that should have come did not; the text has the verdict so far and where the logs are."""


@dataclass(frozen=True, kw_only=True)
class Spoken:
    """A message that was said: how it was acknowledged, and the text by which the model's ledger knows it."""

    said: Said
    text: str
    turn_id: str
    is_new: bool


@dataclass(frozen=True, kw_only=True)
class Proxies:
    """What stands between the fleet and its servers; the test itself asks the database directly."""

    database: FaultProxy
    valkey: FaultProxy


class Fleet:
    """A running fleet, and all that a test does with it.

    Where `has_proxies` or `has_own_postgres` was not asked for, `proxies` or `postgres` is None.
    """

    def __init__(
        self,
        *,
        folder: Path,
        crew: Crew,
        model: OpenAIServer,
        valkey: OwnValkey,
        postgres: OwnPostgres | None,
        database_url: str,
        proxies: Proxies | None,
    ) -> None:
        self.folder = folder
        self._database_url = database_url
        self.proxies = proxies
        self.crew = crew
        self.model = model
        self.valkey = valkey
        self.postgres = postgres
        self.plan_path = folder / "plan.json"
        self.senders_plan_path = folder / SENDERS_PLAN
        self.ledger_path = folder / "network.jsonl"
        self.errands_path = folder / "errands.txt"
        self._numbers = count(1)
        self._session: psycopg.Connection[tuple[Any, ...]] | None = None
        self.agent = ""
        self.connections: dict[str, str] = {}

    def settle_in(self) -> None:
        """Make the agent and its connections, and wait until the workers are ready."""
        self.crew.tend()
        self.agent = self.crew.prepare("make_agent", name="Chaos")["agent"]
        for transport in (KEYED, KEYLESS):
            self.set_network(transport)
        self.await_workers()

    def set_network(self, transport: str, **settings: Any) -> None:
        """Let a network fail as `transports.fake` knows to; without settings it takes everything."""
        self.add_network(transport, transport, **settings)

    def add_network(
        self, name: str, transport: str, *, agent: str = "", is_streaming: bool = False, **settings: Any
    ) -> None:
        """Let an agent, the fleet's own unless another is given, be spoken to over one more network."""
        made = self.crew.prepare(
            "connect",
            agent=agent or self.agent,
            platform=name,
            transport=transport,
            settings={"ledger": str(self.ledger_path), **settings},
            is_streaming=is_streaming,
        )
        self.connections[name] = made["connection"]

    def new_person(self) -> str:
        """Return somebody who was never heard before."""
        return f"person-{next(self._numbers)}"

    def say(self, kind: str, person: str, *, network: str = KEYED) -> Spoken:
        """Say one thing, again and again until it is acknowledged, as networks do. `kind` is an action or ''."""
        key = f"m-{next(self._numbers)}"
        text = text_of(kind, key)
        message = {"external_id": key, "person": person, "room": f"dm-{person}", "text": text}
        while True:
            answer = self.crew.ask("say", connection=self.connections[network], **message)
            if "error" not in answer:
                break
            self.crew.tend()
            time.sleep(LOOK_SECONDS)
        said = Said(external_id=key, conversation=f"{network} {person}")
        return Spoken(said=said, text=text, turn_id=answer["turn"], is_new=answer["is_new"])

    # What happens ----------------------------------------------------------------------------------------

    def plan(self, *faults: Fault) -> None:
        """Plan these faults, in place of those before; none ends them.

        Those of the way in, and of the wake-ups on it, are the senders', the others are the workers': what a
        worker wakes meanwhile is not counted as a sender's.
        """
        for path, is_senders in ((self.plan_path, False), (self.senders_plan_path, True)):
            crashpoints.write_plan(path, [fault for fault in faults if is_of_senders(fault) == is_senders])

    def hits(self) -> list[Hit]:
        """Return which of the planned points were reached."""
        paths = (self.plan_path, self.senders_plan_path)
        return [hit for path in paths for hit in crashpoints.read_hits(path)]

    def happened(self) -> int:
        """Return how many of the planned faults have happened."""
        return sum(hit.kind is not None for hit in self.hits())

    # What became of it -----------------------------------------------------------------------------------

    def sql(self, statement: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """Ask the fleet's database, over a new session where the last one was cut."""
        if self._session is None or self._session.closed:
            self._session = psycopg.connect(self._database_url, autocommit=True)
        try:
            return self._session.execute(statement, parameters).fetchall()  # type: ignore[arg-type]
        except psycopg.OperationalError:
            self._session.close()
            raise

    def now(self) -> dt.datetime:
        """Return the database's time."""
        moment: dt.datetime = self.sql("SELECT clock_timestamp()")[0][0]
        return moment

    def fates(self, spoken: Sequence[Spoken]) -> list[Fate]:
        """Read what the database knows of these messages."""
        self.now()
        assert self._session is not None
        with self._session.cursor() as cursor:
            return read_fates(cursor, [one.said.external_id for one in spoken])

    def verdict(
        self,
        spoken: Sequence[Spoken],
        *,
        guilty: Collection[str] = (),
        faults_ended_at: dt.datetime | None = None,
    ) -> Verdict:
        """Judge these messages; the `guilty` are meant to become dead letters."""
        return judge(
            [one.said for one in spoken],
            ledger.read(self.ledger_path),
            self.fates(spoken),
            guilty=guilty,
            faults_ended_at=faults_ended_at,
        )

    def open_count(self, spoken: Sequence[Spoken]) -> int:
        """Return how many of the messages have no final state yet."""
        return len(find_open([one.said for one in spoken], self.fates(spoken)))

    def asked(self, spoken: Sequence[Spoken]) -> list[int]:
        """Return how often the model was asked about each message."""
        return [self.model.asked[one.text] for one in spoken]

    def asked_again(self, spoken: Sequence[Spoken]) -> list[str]:
        """Return the messages whose recorded answer was asked for a second time."""
        return [row[0] for row in self.sql(ASKED_AGAIN, [one.said.external_id for one in spoken])]

    def learnt(self, spoken: Sequence[Spoken]) -> list[int]:
        """Return how often the evaluator's effect was applied for each message."""
        return [self._marks("learnt", one.text) for one in spoken]

    def reflected(self, spoken: Sequence[Spoken]) -> list[int]:
        """Return how often what was learnt from a look was applied for each message."""
        return [self._marks("reflected", one.text) for one in spoken]

    def noted(self, spoken: Sequence[Spoken]) -> list[int]:
        """Return how often the effect of NOTE was applied for each message."""
        return [self._marks(errands.NOTE, one.said.external_id) for one in spoken]

    def run_errands(self, spoken: Sequence[Spoken]) -> list[int]:
        """Return how often the outward errand of each message was run."""
        done: Counter[str] = Counter()
        if self.errands_path.exists():
            done.update(self.errands_path.read_text().splitlines())
        return [done[one.said.external_id] for one in spoken]

    def _marks(self, kind: str, key: str) -> int:
        statement = (
            "SELECT count(*) FROM plugins_scheduledtask"
            " WHERE arguments->>'kind' = %s AND arguments->>'key' = %s"
        )
        found: int = self.sql(statement, kind, key)[0][0]
        return found

    # Waiting ---------------------------------------------------------------------------------------------

    def wait(self, is_done: Callable[[], Any], what: str, *, seconds: float = PATIENCE_SECONDS) -> None:
        """Tend the crew until it is done.

        Raises: NotOver.
        """
        deadline = time.monotonic() + seconds
        while not is_done():
            if time.monotonic() > deadline:
                raise NotOver(f"Not within {seconds:.0f} s: {what}. Logs: {self.folder}")
            self.crew.tend()
            time.sleep(LOOK_SECONDS)

    def wait_until_over(self, spoken: Sequence[Spoken], *, seconds: float = PATIENCE_SECONDS) -> None:
        """Wait until every message, every reply and every evaluation has its final state."""

        def is_done() -> bool:
            return not self.open_count(spoken) and not self._is_learning()

        try:
            self.wait(is_done, "a final state for every message", seconds=seconds)
        except NotOver as error:
            raise NotOver(f"{error}\n{self.verdict(spoken)}") from None

    def await_quiet(self) -> None:
        """Wait until nothing is worked, sent or learnt; what waits for a person may wait."""
        self.wait(lambda: not self.sql(BUSY), "a fleet that is quiet")

    def await_workers(self) -> None:
        """Wait until as many workers as there should be take work."""
        self.wait(lambda: len(self.crew.ready_workers()) >= self.crew.worker_count, "workers that are ready")

    def _is_learning(self) -> bool:
        return bool(self.sql("SELECT 1 FROM agents_turn WHERE evaluation = 'due' LIMIT 1"))

    def end(self) -> None:
        """End the processes and close what is open here."""
        self.crew.end()
        if self._session is not None:
            self._session.close()


def is_of_senders(fault: Fault) -> bool:
    """Tell whether a fault is one of the way in."""
    return fault.point.startswith(("inbox.", "wakeup."))


def text_of(kind: str, key: str) -> str:
    """Return a message's text, which the model double gives back as its answer."""
    if not kind:
        return f"Say {key}."
    return (
        f"<response><actions>{kind}, REPLY</actions>"
        f'<arguments>{{"{kind}": {{"key": "{key}"}}}}</arguments><text>Done {key}.</text></response>'
    )


@contextmanager
def fleet_running(
    folder: Path,
    *,
    workers: int = 3,
    has_own_postgres: bool = False,
    has_proxies: bool = False,
    **environment: str,
) -> Iterator[Fleet]:
    """Run a fleet whose logs and ledgers lie in `folder`; `environment` changes its settings."""
    with ExitStack() as stack:
        servers = stack.enter_context(server_folder())
        model = stack.enter_context(OpenAIServer(ledger_length=100))
        valkey = OwnValkey(servers)
        stack.callback(valkey.end)
        postgres = None
        if has_own_postgres:
            postgres = OwnPostgres(servers)
            stack.callback(postgres.end)
            database = postgres.url
        else:
            database = stack.enter_context(_own_database())
        proxies = None
        if has_proxies:
            proxies = Proxies(
                database=stack.enter_context(FaultProxy(database)),
                valkey=stack.enter_context(FaultProxy(valkey.url)),
            )
        settings = _environment(
            folder,
            proxies.database.url if proxies else database,
            proxies.valkey.url if proxies else valkey.url,
            model.base_url,
        )
        crew = Crew(settings | environment, folder, workers=workers)
        fleet = Fleet(
            folder=folder,
            crew=crew,
            model=model,
            valkey=valkey,
            postgres=postgres,
            database_url=database,
            proxies=proxies,
        )
        stack.callback(fleet.end)
        crew.manage("migrate", "--verbosity", "0")
        fleet.settle_in()
        yield fleet


def _environment(folder: Path, database: str, valkey: str, model: str) -> dict[str, str]:
    return {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "eliza_site.settings",
        "DATABASE_URL": database,
        "REDIS_URL": valkey,
        "CELERY_BROKER_URL": "",
        "RUN_DIR": str(folder),
        "OPENAI_BASE_URL": model,
        "OPENAI_API_KEY": "",
        "MODEL_SMALL": "echo",
        "MODEL_LARGE": "echo",
        "EMBEDDING_MODEL": "hashed",
        "WORKER_THREADS": "8",
        "LANE_LEASE_SECONDS": str(LEASE_SECONDS),
        "DELIVERY_LEASE_SECONDS": str(LEASE_SECONDS),
        "EVALUATION_LEASE_SECONDS": str(LEASE_SECONDS),
        "DISPATCH_PERIOD_SECONDS": str(DISPATCH_SECONDS),
        "PERSON_MESSAGES_PER_MINUTE": "1000000",
        # Faults of turns are judged without looks at conversations: `test_reflection.py` has a fleet that looks.
        "REFLECT_AFTER_MESSAGES": "0",
        "CRASHPOINTS": str(folder / "plan.json"),
        "ELIZA_PLUGINS": "tests.chaos.errands",
        errands.DONE_VARIABLE: str(folder / "errands.txt"),
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]),
    }


@contextmanager
def _own_database() -> Iterator[str]:
    """Make a database beside the one that the other tests use."""
    parts = urlsplit(os.environ["DATABASE_URL"])
    name = f"chaos_{uuid.uuid4().hex[:8]}"
    with psycopg.connect(urlunsplit(parts), autocommit=True) as session:
        session.execute(f'CREATE DATABASE "{name}"')  # type: ignore[arg-type]
        try:
            yield urlunsplit(parts._replace(path=f"/{name}"))
        finally:
            session.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')  # type: ignore[arg-type]
