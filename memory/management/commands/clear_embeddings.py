"""Takes the vectors of one model out of use; the background makes them anew with the model that is in use."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from memory.embeddings.spaces import used_column
from memory.models import Memory
from memory.writes import clear_embeddings, wake_embedding


class Command(BaseCommand):
    help = (
        "Clear the vectors in use that a model made, so that they are made anew by the model in use; recall goes on by "
        "words until they are. To change the model without that: reembed_memories."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--model", required=True, help="The name of the model whose vectors go.")
        parser.add_argument("--yes", action="store_true", help="Do it; without this it is only counted.")

    def handle(self, *_args: Any, model: str, yes: bool, **_options: Any) -> None:
        column = used_column()
        count = Memory.objects.filter(**{f"{column}_model": model, f"{column}__isnull": False}).count()
        if not yes:
            raise CommandError(f"{count} memories have vectors of {model}. Add --yes to clear them.")
        cleared = 0
        for batch in clear_embeddings(model):
            cleared += batch
            if self.stdout.isatty():
                self.stdout.write(f"\r{cleared} of {count}", ending="")
                self.stdout.flush()
        wake_embedding()
        self.stdout.write(f"{cleared} vectors of {model} were cleared; the workers make them anew.")
