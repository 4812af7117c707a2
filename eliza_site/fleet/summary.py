"""What `make run` shows when the fleet is up: the figures, the addresses, and how to log in."""

from pathlib import Path

from rich.table import Table

from eliza_site.fleet.conversation import Figures
from eliza_site.fleet.preparation import Admin
from eliza_site.fleet.screen import console, say, warn

LOOPBACK = ("127.0.0.1", "localhost", "::1")


def show_figures(figures: Figures) -> None:
    """Show the table of the sample conversation."""
    table = Table(title="The sample conversation; seconds from receipt to reply", title_justify="left")
    for name in ("messages", "replies", "p50", "p95", "model"):
        table.add_column(name)
    table.add_row(
        str(figures.messages),
        str(figures.replies),
        _seconds(figures.p50_seconds),
        _seconds(figures.p95_seconds),
        ", ".join(figures.models) or "not told",
    )
    console.print(table)


def _seconds(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.2f} s"


def show_addresses(
    *, host: str, port: int, flower_port: int, admin: Admin, run_dir: Path, is_flower_given: bool
) -> None:
    """Show where everything is and how to get in."""
    name = {"0.0.0.0": "localhost", "::": "localhost", "::1": "[::1]"}.get(host, host)  # noqa: S104
    site = f"http://{name}:{port}"
    flower_login = "as you set it" if is_flower_given else f"stands in {run_dir / 'fleet.env'}"
    admin_login = "shown above" if admin.password else "shown at the first start"
    say(f"Chat     {site}/")
    say(f"Admin    {site}/admin/  (user {admin.username}, the password was {admin_login};")
    say(f"         .venv/bin/python manage.py changepassword {admin.username} sets another)")
    say(f"API      {site}/api/v1/docs")
    say(f"Flower   http://{name}:{flower_port}/  (FLOWER_BASIC_AUTH, {flower_login})")
    say(f"Logs     {run_dir / 'logs'}/  (a file for each process)")


def show_new_admin(admin: Admin) -> None:
    """Show a new administrator's password as soon as there is one: only its hash is kept."""
    if admin.password is not None:
        say(f"  The admin: user {admin.username}, password {admin.password} (shown this once)")


def warn_about_hosts(*, host: str, is_allowed_hosts_given: bool) -> None:
    """Say what is missing for those who come from another machine."""
    if host not in LOOPBACK and not is_allowed_hosts_given:
        warn(
            f"HOST={host} lets other machines connect, but the site answers to localhost only: "
            "set ALLOWED_HOSTS to the names and addresses that they use."
        )


def show_stay() -> None:
    """Say that it stays up, and how to end it."""
    say("The fleet is up. Ctrl-C stops it.")
