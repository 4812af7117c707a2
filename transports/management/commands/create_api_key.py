"""Makes an API key for a program and prints it, once."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.contrib.auth.models import User
from django.core.management.base import BaseCommand, CommandError

from transports.web.auth import create_api_key


class Command(BaseCommand):
    """`create_api_key NAME --user USER`"""

    help = "Make an API key that speaks for a user. It is printed once; only its hash is kept."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the key's name and its user."""
        parser.add_argument("name", help="What the key is for, such as 'home automation'.")
        parser.add_argument("--user", required=True, help="The username that the key speaks for.")

    def handle(self, *_args: Any, **options: Any) -> None:
        """Make the key and print it."""
        user = User.objects.filter(username=User.normalize_username(options["user"])).first()
        if user is None:
            raise CommandError(
                f"No user is named {options['user']!r}: `manage.py createsuperuser` makes one."
            )
        self.stdout.write(create_api_key(options["name"], user))
        self.stderr.write("Keep it: it isn't shown again. Send it as `Authorization: Bearer <key>`.")
