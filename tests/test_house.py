"""Rules of the house that no linter knows: read from the source, with the place of each breach."""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("eliza_site", "transports", "plugins", "agents", "memory")
MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 60

Function = ast.FunctionDef | ast.AsyncFunctionDef


@cache
def sources() -> dict[str, tuple[str, ast.Module]]:
    """Read each module of the source, by its path."""
    paths = [
        path
        for package in PACKAGES
        for path in (ROOT / package).rglob("*.py")
        if "migrations" not in path.parts
    ]
    texts = {str(path.relative_to(ROOT)): path.read_text() for path in paths}
    return {path: (text, ast.parse(text)) for path, text in texts.items()}


def functions(tree: ast.AST, prefix: str = "") -> Iterator[tuple[str, Function, bool]]:
    """Find the functions and methods of a module, and whether each is one that others call."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.ClassDef):
            yield from functions(node, f"{prefix}{node.name}.")
        elif isinstance(node, Function):
            name = f"{prefix}{node.name}"
            yield name, node, not any(part.startswith("_") for part in name.split("."))


SENDING = {"apply_async", "send_task", "signature", "s", "si", "shared_task", "task"}
FOR_LATER = {"eta", "countdown", "expires", "autoretry_for", "max_retries", "retry_backoff"}


def find_sent_for_later(path: str, tree: ast.AST) -> Iterator[str]:
    """Find the calls that have Celery wait, or try again."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        named = {keyword.arg for keyword in node.keywords}
        called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        if called in SENDING and named & FOR_LATER:
            yield f"{path}:{node.lineno} sends for later, or retries by Celery"
        if called == "retry" and isinstance(node.func, ast.Attribute):
            yield f"{path}:{node.lineno} retries by Celery"


def test_nothing_is_sent_for_later_and_no_task_retries_by_celery() -> None:
    breaches = [breach for path, (_, tree) in sources().items() for breach in find_sent_for_later(path, tree)]
    assert breaches == [], "delays and attempts are columns: see docs/reliability.md"


@pytest.mark.parametrize(
    "breach",
    [
        "drain_lane.apply_async(kwargs={}, countdown=5)",
        "app.send_task('agents.drain_lane', eta=soon)",
        "drain_lane.s().set(lane_id=1).apply_async(eta=soon)",
        "@shared_task(name='x', autoretry_for=(OSError,))\ndef work(): ...",
        "@shared_task(bind=True)\ndef work(self):\n    raise self.retry()",
    ],
)
def test_what_is_sent_for_later_is_found(breach: str) -> None:
    assert len(list(find_sent_for_later("here.py", ast.parse(breach)))) == 1


def test_errors_reach_the_log_as_errors() -> None:
    breaches = [
        f"{path}:{call.lineno}"
        for path, (_, tree) in sources().items()
        for call in ast.walk(tree)
        if isinstance(call, ast.Call) and ast.unparse(call.func).startswith("log.")
        for named in call.keywords
        if named.arg == "error" and ast.unparse(named.value).startswith(("str(", "f'", 'f"'))
    ]
    assert breaches == [], "of a string nobody knows whose words it has: give the error itself"


def test_files_and_functions_are_short() -> None:
    breaches = []
    for path, (text, tree) in sources().items():
        if (lines := len(text.splitlines())) > MAX_FILE_LINES:
            breaches.append(f"{path} has {lines} lines")
        for name, function, _ in functions(tree):
            length = (function.end_lineno or 0) - function.lineno + 1
            if length > MAX_FUNCTION_LINES:
                breaches.append(f"{path}:{function.lineno} {name} has {length} lines")
    assert breaches == []


def test_nothing_is_left_for_later() -> None:
    mark = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b|\braise NotImplementedError\b")
    assert [
        f"{path}:{number}"
        for path, (text, _) in sources().items()
        for number, line in enumerate(text.splitlines(), 1)
        if mark.search(line)
    ] == []


def test_modules_and_public_functions_say_what_they_do() -> None:
    breaches = []
    for path, (text, tree) in sources().items():
        if text.strip() and not path.endswith("apps.py") and ast.get_docstring(tree) is None:
            breaches.append(f"{path} has no docstring")
        for name, function, is_public in functions(tree):
            if is_public and not _is_stub(function) and ast.get_docstring(function) is None:
                breaches.append(f"{path}:{function.lineno} {name} has no docstring")
    assert breaches == []


def _is_stub(function: Function) -> bool:
    """Tell whether it says what its base says already, or is an overload."""
    known = {"handle", "add_arguments", "ready"}
    decorators = {ast.unparse(decorator).split(".")[-1] for decorator in function.decorator_list}
    return function.name in known or bool(decorators & {"overload", "override"})


def test_every_module_of_plugins_stands_on_a_floor() -> None:
    floors = str(_contract("The floors of the house")["layers"])
    children = {path.stem for path in (ROOT / "plugins").iterdir() if _is_module(path)}
    assert {name for name in children if not re.search(rf"\bplugins\.{name}\b", floors)} == set()


def test_every_network_is_kept_apart() -> None:
    networks = {f"transports.{path.parent.name}" for path in (ROOT / "transports").glob("*/transport.py")}
    assert networks == set(_contract("Networks know nothing")["modules"])


def _is_module(path: Path) -> bool:
    return path.name != "__init__.py" and (path.suffix == ".py" or (path / "__init__.py").exists())


def _contract(name: str) -> dict[str, list[str]]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    (found,) = (
        contract
        for contract in project["tool"]["importlinter"]["contracts"]
        if contract["name"].startswith(name)
    )
    return found


def test_only_the_settings_read_the_environment() -> None:
    # Variables that foreign libraries read are written where those are started.
    above = {"eliza_site/settings.py", "eliza_site/embedded/", "eliza_site/fleet/"}
    breaches = []
    for path, (_, tree) in sources().items():
        for node in ast.walk(tree):
            is_read = isinstance(node, ast.Call) and ast.unparse(node.func) in {"os.getenv", "os.environ.get"}
            is_read |= (
                isinstance(node, ast.Subscript)
                and isinstance(node.ctx, ast.Load)
                and ast.unparse(node.value) == "os.environ"
            )
            if is_read and not path.startswith(tuple(above)):
                breaches.append(f"{path}:{node.lineno}")
    assert breaches == []


ON_THE_DATABASES_CLOCK = (
    "agents/deliveries.py",
    "agents/learning/evaluation.py",
    "agents/inbox.py",
    "agents/processes/keeper.py",
    "agents/lanes.py",
    "agents/processes/outages.py",
    "agents/outbox.py",
    "agents/people/merging.py",
    "agents/scene.py",
    "agents/people/senders.py",
    "agents/turns.py",
    "agents/work.py",
    "agents/pipeline/",
    "plugins/calendar.py",
    "plugins/events.py",
    "plugins/scheduler.py",
    "transports/delivery.py",
)
WALL_CLOCKS = {"time", "time_ns", "now", "utcnow", "today", "localtime", "gmtime", "localdate"}


def test_leases_delays_and_expiries_hang_on_no_workers_clock() -> None:
    assert all((ROOT / path).exists() for path in ON_THE_DATABASES_CLOCK)
    breaches = []
    for path, (_, tree) in sources().items():
        if not path.startswith(ON_THE_DATABASES_CLOCK):
            continue
        for node in ast.walk(tree):
            name = ast.unparse(node.func).split(".") if isinstance(node, ast.Call) else []
            if len(name) > 1 and name[-1] in WALL_CLOCKS:
                breaches.append(f"{path}:{node.lineno} reads {'.'.join(name)}: ask the database for the time")
    assert breaches == []
