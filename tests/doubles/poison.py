"""A plugin that does what a message says: `poison exit 7`, `poison segfault`, `poison memory`, `poison freeze`,
`slow 3`.
"""

from __future__ import annotations

import ctypes
import os
import re
import time

from plugins.api import Context, Plugin, Provided, Provider


def swallow(context: Context) -> Provided:
    """Do harm to this process, or keep it waiting."""
    match context.message.text.split():
        case ["poison", "exit", code]:
            os._exit(int(code))
        case ["poison", "segfault"]:
            ctypes.string_at(0)
        case ["poison", "memory"]:
            return Provided(text=str(len(bytearray(64 * 1024**3))))
        case ["poison", "freeze"]:
            # Never gives the interpreter's lock back: no other thread of the process runs meanwhile.
            re.fullmatch("(a+)+", "a" * 64 + "b")
        case ["slow", seconds]:
            time.sleep(float(seconds))
    return Provided(text="")


plugin = Plugin(
    name="poison",
    description="Harms the process that works it.",
    providers=(
        Provider(name="POISON", description="Harm.", get=swallow, position=90, time_limit_seconds=60.0),
    ),
)
