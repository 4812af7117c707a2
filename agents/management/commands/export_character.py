"""`export_character NAME`: writes a character as an elizaOS 1.x file."""

import json
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from agents.characters import UnknownCharacterError, export_character, get_character, stored_document
from agents.fields import EncryptionKeyError


class Command(BaseCommand):
    help = "Write a character as elizaOS 1.x JSON, without its secrets unless asked."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name", metavar="NAME", help="the character's name, slug or id")
        parser.add_argument("--output", metavar="FILE", help="write there instead of standard output")
        parser.add_argument("--include-secrets", action="store_true", help="write its secrets too, in clear")

    def handle(self, *_args: Any, **options: Any) -> None:
        try:
            document = stored_document(get_character(options["name"]))
            exported = export_character(document, include_secrets=options["include_secrets"])
            text = json.dumps(exported, indent=2, ensure_ascii=False)
            if options["output"]:
                _write(Path(options["output"]), text, is_private=options["include_secrets"])
            else:
                self.stdout.write(text)
        except (UnknownCharacterError, EncryptionKeyError, OSError) as error:
            raise CommandError(str(error)) from None


def _write(path: Path, text: str, *, is_private: bool) -> None:
    # Secrets go only into a file that nobody else may read, from its first byte on.
    if is_private:
        path.touch(mode=0o600)
        path.chmod(0o600)
    path.write_text(text + "\n", encoding="utf-8")
