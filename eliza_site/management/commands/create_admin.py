"""`create_admin`: the first administrator, with a generated password; the fleet's supervisor runs it."""

import json
import secrets
from typing import Any

from django.contrib.auth import get_user_model
from django.core.management.base import BaseCommand, CommandParser


class Command(BaseCommand):
    help = "Create an administrator with a generated password, unless there is an administrator already."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--username", default="admin")
        parser.add_argument("--json", action="store_true", help="report as JSON")

    def handle(self, *_args: Any, **options: Any) -> None:
        users = get_user_model()._default_manager
        password = None
        username = options["username"]
        if first := users.filter(is_superuser=True, is_active=True).order_by("pk").first():
            username = first.get_username()
        else:
            password = secrets.token_urlsafe(12)
            users.create_superuser(username, password=password)
        if options["json"]:
            self.stdout.write(json.dumps({"username": username, "password": password}))
        elif password is None:
            self.stdout.write(f"{username} exists; `manage.py changepassword {username}` sets a new password")
        else:
            self.stdout.write(
                f"{username} was created with the password {password}, which is shown this once"
            )
