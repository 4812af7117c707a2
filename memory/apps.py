from django.apps import AppConfig
from django.db.models.signals import post_migrate


class MemoryConfig(AppConfig):
    """Registers the app, its task and checks, and its step after a migration."""

    name = "memory"

    def ready(self) -> None:
        """Make the task and the checks known; a migration builds the vectors' index, the second wall and the search."""
        from memory import checks, tasks  # noqa: F401
        from memory.stores.row_security import ensure_wall
        from memory.stores.sqlite_schema import ensure_search
        from memory.vector_spaces.dimensions import ensure_vector_index

        post_migrate.connect(ensure_vector_index, sender=self)
        post_migrate.connect(ensure_wall, sender=self)
        post_migrate.connect(ensure_search, sender=self)
