from __future__ import annotations

from typing import TYPE_CHECKING

from django.apps import AppConfig

if TYPE_CHECKING:
    from transports.web.sign_ins import SignIns


class TransportsConfig(AppConfig):
    """Registers the app, its task, and the service `sign_ins`."""

    name = "transports"

    def ready(self) -> None:
        """Make the task known, so that whoever sends it by name knows it."""
        from plugins.registry import register_service
        from transports import tasks  # noqa: F401

        register_service("sign_ins", _sign_ins)


def _sign_ins() -> SignIns:
    # Imported on first use: it reads models and settings of other apps.
    from transports.web.sign_ins import SignIns

    return SignIns()
