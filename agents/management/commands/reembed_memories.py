"""`reembed_memories`: another embedder while the fleet goes on; begin, look, compare, switch, undo, finish."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from agents import audit
from agents.management.arguments import positive_whole
from agents.memories import reembedding
from agents.memories.comparing import CannotCompare, Comparison, compare
from agents.memories.reembedding import CannotReembed
from memory.embeddings.choice import embedding_choice
from memory.embeddings.spaces import State, choice_of, used_space
from memory.vector_spaces.changes import Progress, progress

LOOK_SECONDS = 1.0
IDLE_LOOKS = 30
LISTED, FOLDED_CHARACTERS = 5, 100


class Command(BaseCommand):
    help = (
        "Change the model of the memories' vectors without downtime: --model begins to make vectors beside those in "
        "use, --status looks, --compare asks both, --switch lets the fleet use the new ones, --undo goes back, "
        "--finish removes the old ones."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        steps = parser.add_mutually_exclusive_group(required=True)
        steps.add_argument("--model", metavar="NAME", help="begin to make vectors with this model")
        steps.add_argument("--status", action="store_true", help="show how far the vectors are")
        steps.add_argument("--compare", action="store_true", help="recall recent messages by both models")
        steps.add_argument("--switch", action="store_true", help="let the fleet use the new vectors")
        steps.add_argument("--undo", action="store_true", help="let it use the former ones again")
        steps.add_argument("--finish", action="store_true", help="remove the former vectors for good")
        steps.add_argument("--cancel", action="store_true", help="give up the model that was begun")
        parser.add_argument(
            "--dimensions", type=positive_whole, default=0, metavar="N", help="numbers a vector"
        )
        parser.add_argument(
            "--base-url", default="", metavar="URL", help="the model's server, unless the settings have it"
        )
        parser.add_argument(
            "--key-file",
            default="",
            metavar="FILE",
            help="has that server's key; - reads it from standard input",
        )
        parser.add_argument("--wait", action="store_true", help="show progress until all vectors are made")
        parser.add_argument("--now", action="store_true", help="switch or undo though vectors are missing")
        parser.add_argument(
            "--sample", type=positive_whole, default=50, help="messages to compare (default: %(default)s)"
        )
        parser.add_argument("--why", default="", metavar="TEXT", help="the reason, for the audit")
        parser.add_argument("--json", action="store_true", help="report as JSON")

    def handle(self, *_args: Any, **options: Any) -> None:
        try:
            for step in ("model", "status", "compare", "switch", "undo", "finish", "cancel"):
                if options[step] not in (None, False):
                    getattr(self, f"_{step}")(options)
        except (CannotReembed, CannotCompare) as error:
            raise CommandError(str(error)) from None

    def _model(self, options: dict[str, Any]) -> None:
        name = reembedding.start(
            options["model"],
            dimensions=options["dimensions"],
            base_url=options["base_url"],
            api_key=_read_key(options["key_file"]),
            **_decided(options),
        )
        if options["wait"]:
            self._await(name, options)
        else:
            self._say(f"{name} is being filled by the workers; --status shows how far it is.", options)

    def _await(self, name: str, options: dict[str, Any]) -> None:
        idle_looks = 0
        while True:
            found = {one.space.name: one for one in progress()}
            if name not in found:
                raise CommandError(f"{name} was removed meanwhile.")
            idle_looks = 0 if found[name].is_at_work else idle_looks + 1
            if idle_looks == IDLE_LOOKS:
                self.stderr.write("No worker is at it: is the fleet running? (`doctor` tells)")
            if self.stdout.isatty():
                self.stdout.write(f"\r{_line(found[name])}\x1b[K", ending="")
                self.stdout.flush()
            if found[name].space.filled_at is not None:
                break
            time.sleep(LOOK_SECONDS)
        if self.stdout.isatty():
            self.stdout.write("")
        self._say(f"{name} has all vectors. Next: --compare, then --switch.", options)

    def _status(self, options: dict[str, Any]) -> None:
        found = progress()
        if options["json"]:
            self.stdout.write(json.dumps([_as_json(one) for one in found], indent=2))
            return
        for one in found:
            self.stdout.write(_line(one))
            if one.space.error:
                self.stdout.write(f"  its embedder failed {one.space.failure_count} times: {one.space.error}")
        if not found:
            self.stdout.write(f"{embedding_choice().sentence} No other model was begun.")

    def _compare(self, options: dict[str, Any]) -> None:
        found = compare(options["sample"], told=self._tell)
        if options["json"]:
            self.stdout.write(json.dumps(asdict(found), indent=2, ensure_ascii=False))
            return
        for line in _compared(found):
            self.stdout.write(line)

    def _tell(self, done: int, total: int) -> None:
        if sys.stderr.isatty():
            sys.stderr.write(f"\r{done} of {total}" if done < total else "\r\x1b[K")
            sys.stderr.flush()

    def _switch(self, options: dict[str, Any], *, back: bool = False) -> None:
        name = reembedding.switch(back=back, at_once=options["now"], **_decided(options))
        cure = choice_of(used_space()).settings
        self._say(f"The fleet uses {name} from now on. Set {cure}", options)

    def _undo(self, options: dict[str, Any]) -> None:
        self._switch(options, back=True)

    def _finish(self, options: dict[str, Any], *, gives_up: bool = False) -> None:
        name, pages = reembedding.finish(gives_up=gives_up, **_decided(options))
        removed = 0
        for count in pages:
            removed += count
            if self.stdout.isatty():
                self.stdout.write(f"\r{removed} removed", ending="")
                self.stdout.flush()
        if self.stdout.isatty():
            self.stdout.write("")
        self._say(f"{removed} vectors of {name} were removed.", options)

    def _cancel(self, options: dict[str, Any]) -> None:
        self._finish(options, gives_up=True)

    def _say(self, text: str, options: dict[str, Any]) -> None:
        if options["json"]:
            spaces = [_as_json(one) for one in progress()]
            self.stdout.write(json.dumps({"said": text, "spaces": spaces}, indent=2))
        else:
            self.stdout.write(text)


def _decided(options: dict[str, Any]) -> dict[str, Any]:
    return {"by": audit.COMMAND, "why": options["why"]}


def _read_key(name: str) -> str:
    if not name:
        return ""
    try:
        key = (sys.stdin.read() if name == "-" else Path(name).read_text()).strip()
    except (OSError, UnicodeDecodeError) as error:
        raise CommandError(f"The key in {name!r} can't be read: {error}") from None
    if not key:
        raise CommandError(f"There is no key in {name!r}.")
    return key


def _line(one: Progress) -> str:
    space = one.space
    has = one.total - one.missing - len(space.refused)
    state = "filled" if _is_ready(one) else space.get_state_display().lower()
    line = f"{space.name} ({space.dimensions} numbers), {state}: {has} of {one.total} memories"
    if one.missing:
        line += f", {one.missing} left"
        if space.rate and one.is_at_work:
            line += f", {space.rate:.0f} a second, {_duration(one.seconds_left or 0.0)} to go"
    elif one.built is not None:
        line += f", its index is being built ({one.built:.0%} read)"
    elif not one.has_index:
        line += ", its index is to be built"
    if space.refused:
        line += f"; the model refuses {len(space.refused)}: show_memory {space.refused[0]}"
    return line


def _is_ready(one: Progress) -> bool:
    """Tell whether a space that was never in use has all its vectors."""
    return one.space.state == State.FILLING and one.space.filled_at is not None


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _as_json(one: Progress) -> dict[str, Any]:
    space = one.space
    return {
        "model": space.model,
        "name": space.name,
        "dimensions": space.dimensions,
        "at": space.base_url or "this machine",
        "column": space.column,
        "state": "filled" if _is_ready(one) else space.state,
        "memories": one.total,
        "left": one.missing,
        "per_second": round(space.rate, 1),
        "seconds_left": None if one.seconds_left is None else round(one.seconds_left),
        "is_at_work": one.is_at_work,
        "has_index": one.has_index,
        "index_built": one.built,
        "is_filled": space.filled_at is not None,
        "switched_at": space.switched_at.isoformat() if space.switched_at else None,
        "error": space.error,
        "refused": space.refused,
    }


def _compared(found: Comparison) -> list[str]:
    lines = [
        f"{found.questions} questions, {found.used} and {found.other}: {found.overlap:.0%} of the first ten are "
        f"the same memories; the first hit is the same for {found.same_first}."
    ]
    if found.missing:
        lines.append(f"{found.missing} memories have no vector of {found.other} yet.")
    for one in found.differences[:LISTED]:
        lines += ["", _folded(one.question), f"  {found.used}: {_first(one.used)}"]
        lines.append(f"  {found.other}: {_first(one.other)}")
    return lines


def _first(texts: tuple[str, ...]) -> str:
    return _folded(texts[0]) if texts else "nothing"


def _folded(text: str) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= FOLDED_CHARACTERS else f"{flat[:FOLDED_CHARACTERS]}…"
