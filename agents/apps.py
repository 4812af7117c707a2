from __future__ import annotations

from typing import TYPE_CHECKING

from django.apps import AppConfig

if TYPE_CHECKING:
    from collections.abc import Callable

    from memory.embeddings.base import Embedder
    from memory.embeddings.choice import EmbeddingChoice


class AgentsConfig(AppConfig):
    """Registers the app, its tasks and checks, and the dispatcher of each worker."""

    name = "agents"

    def ready(self) -> None:
        """Make the tasks and the services of embedders known, and let each worker process run a dispatcher."""
        from celery.signals import worker_init, worker_ready, worker_shutting_down
        from django.conf import settings

        from agents import checks, crashpoints, dispatcher, followups, tasks  # noqa: F401
        from agents.processes import departures
        from plugins.registry import register_service

        register_service("embedder", _make_embedder)
        register_service("remote_embedders", _find_maker)
        crashpoints.arm(settings.CRASHPOINTS)
        worker_init.connect(_make_nursery, dispatch_uid="nursery-fork")
        worker_ready.connect(dispatcher.start, dispatch_uid="dispatcher-start")
        worker_ready.connect(followups.start, dispatch_uid="followups-start")
        worker_shutting_down.connect(followups.stop, dispatch_uid="followups-stop")
        worker_shutting_down.connect(departures.begin, dispatch_uid="departures-begin")
        worker_shutting_down.connect(dispatcher.stop, dispatch_uid="dispatcher-stop")


def _make_nursery(**_signal: object) -> None:
    # What is imported before the fork, no suspect has to import again. Strangers' plugins stay out: what they
    # begin when they are loaded, such as a connection, must not be shared with forks.
    from agents import work
    from agents.llm import openai, openai_embeddings  # noqa: F401
    from agents.processes import alone
    from memory.embeddings.choice import import_packages
    from plugins.loader import import_builtins

    import_builtins()
    import_packages()
    alone.prepare(work.work_taken)


def _make_embedder() -> Embedder:
    from agents.llm.router import make_embedder

    return make_embedder()


def _find_maker() -> Callable[[EmbeddingChoice, str], Embedder]:
    from agents.llm.router import make_space_embedder

    return make_space_embedder
