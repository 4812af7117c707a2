"""TIME: what day it is and how late, in UTC."""

import datetime as dt

from plugins.api import Context, Plugin, Provided, Provider

# Named here, because `strftime` would follow the machine's locale.
WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


def tell_time(context: Context) -> Provided:
    """Tell the date, the weekday and the time of the turn."""
    now = context.now.astimezone(dt.UTC)
    time = f"{WEEKDAYS[now.weekday()]}, {now:%Y-%m-%d %H:%M} UTC"
    return Provided(text=f"The time is {time}.", values={"time": time})


plugin = Plugin(
    name="clock",
    description="The date and the time.",
    providers=(
        Provider(
            name="TIME",
            description="The date, the weekday and the time in UTC.",
            get=tell_time,
            position=20,
            cheap=True,
        ),
    ),
)
