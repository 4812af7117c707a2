"""`prepare_site FILE…`: static files, the first administrator and characters in one go.

The fleet's supervisor runs it at each start, as one process instead of three: each would load all of Django.
"""

import io
import json
from typing import Any

import structlog
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandParser

from agents.models import Message
from eliza_site.fleet.conversation import SAMPLE, room_of

log = structlog.get_logger(__name__)


class Command(BaseCommand):
    help = (
        "Collect static files, create an administrator unless there is one, and load characters. As JSON it tells"
        " besides whether the sample conversation was held in this database."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("files", nargs="*", metavar="FILE", help="character files")
        parser.add_argument("--json", action="store_true", help="report as JSON")

    def handle(self, *_args: Any, **options: Any) -> None:
        call_command("collectstatic", interactive=False, verbosity=0)
        admin, characters = io.StringIO(), io.StringIO()
        call_command("create_admin", json=options["json"], stdout=admin)
        if options["files"]:
            _load(options["files"], characters)
        if options["json"]:
            self.stdout.write(
                json.dumps(
                    {
                        "admin": json.loads(admin.getvalue()),
                        "characters": characters.getvalue(),
                        "has_conversed": _has_conversed(),
                    }
                )
            )
        else:
            self.stdout.write(admin.getvalue() + characters.getvalue())


def _load(files: list[str], out: io.StringIO) -> None:
    """Load the characters; what is wrong with them is told and keeps nothing else from starting."""
    try:
        call_command("load_character", *files, stdout=out, stderr=out)
    except SystemExit:
        out.write("Error: not all of it was loaded\n")
    except Exception as error:
        log.exception("site.characters_not_loaded")
        out.write(f"Error: {type(error).__name__}: {error}\n")


def _has_conversed() -> bool:
    """Tell whether the sample conversation was held in this database: something was answered in a room of its own."""
    rooms = {room_of(person) for _platform, person, _text in SAMPLE}
    platforms = {platform for platform, _person, _text in SAMPLE}
    answers = Message.objects.filter(direction=Message.Direction.OUT)
    return answers.filter(room__platform__in=platforms, room__external_id__in=rooms).exists()
