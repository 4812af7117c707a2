#!/usr/bin/env python
"""Run a command of the project: `manage.py help` lists them."""

import os
import sys

from django.core.management import execute_from_command_line

from eliza_site import ephemeral, refusals

if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "eliza_site.settings")
    if ephemeral.is_ephemeral(sys.argv):
        ephemeral.prepare(os.environ)
    refusals.expect_database("".join(sys.argv[1:2]))
    with refusals.ending_unread():
        execute_from_command_line(sys.argv)
