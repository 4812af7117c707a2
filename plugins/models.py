"""The tables of plugins: which there are, what each keeps, scheduled tasks and their runs, events."""

from django.db import models
from uuid_utils.compat import uuid7


class Plugin(models.Model):
    """A plugin that was found: what it asks for, and why it was refused where it was."""

    name = models.CharField(max_length=100, primary_key=True)
    path = models.CharField(max_length=200, help_text="Dotted path of its module, or its entry point.")
    version = models.CharField(max_length=50, blank=True)
    description = models.CharField(max_length=500, blank=True)
    permissions = models.JSONField(default=list, blank=True, help_text="What it asks for.")
    error = models.TextField(blank=True, help_text="Why it was refused at its last load.")
    loaded_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name


class PluginState(models.Model):
    """What one plugin keeps for an agent, and there for a room or a person."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    plugin = models.CharField(max_length=100)
    agent = models.ForeignKey("agents.Agent", on_delete=models.CASCADE, related_name="plugin_states")
    room = models.ForeignKey("agents.Room", null=True, on_delete=models.CASCADE, related_name="plugin_states")
    person = models.ForeignKey(
        "agents.Person", null=True, on_delete=models.CASCADE, related_name="plugin_states"
    )
    state = models.JSONField(default=dict)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["agent", "plugin", "room", "person"],
                name="one_state_a_plugin_scope",
                nulls_distinct=False,
            )
        ]

    def __str__(self) -> str:
        return f"state of {self.plugin}"


class ScheduledTask(models.Model):
    """A plugin's task on an agent's calendar. `next_run_at` is NULL when nothing is to come."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    agent = models.ForeignKey("agents.Agent", on_delete=models.CASCADE, related_name="scheduled_tasks")
    room = models.ForeignKey(
        "agents.Room", null=True, blank=True, on_delete=models.CASCADE, related_name="scheduled_tasks"
    )
    person = models.ForeignKey(
        "agents.Person",
        null=True,
        blank=True,
        editable=False,
        on_delete=models.CASCADE,
        related_name="scheduled_tasks",
        help_text="Whose words it was scheduled by.",
    )
    plugin = models.CharField(max_length=100)
    task = models.CharField(max_length=100)
    schedule = models.CharField(
        max_length=100, help_text="A cron expression in UTC, or `every SECONDS`, or `once`."
    )
    arguments = models.JSONField(default=dict, blank=True)
    is_enabled = models.BooleanField(default=True)
    next_run_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["next_run_at"]
        indexes = [models.Index(fields=["next_run_at"], name="task_due", condition=models.Q(is_enabled=True))]

    def __str__(self) -> str:
        return f"{self.plugin}.{self.task}"


class TaskRun(models.Model):
    """One run of a scheduled task, unique in its slot: two beats are harmless."""

    class State(models.TextChoices):
        RUNNING = "running"
        DONE = "done"
        FAILED = "failed"

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    task = models.ForeignKey(ScheduledTask, on_delete=models.CASCADE, related_name="runs")
    slot = models.DateTimeField()
    state = models.CharField(max_length=10, choices=State, default=State.RUNNING)
    attempts = models.PositiveSmallIntegerField(default=0)
    lease_token = models.BigIntegerField(default=0)
    lease_until = models.DateTimeField(null=True)
    error = models.TextField(blank=True)
    started_at = models.DateTimeField(null=True)
    ended_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["-slot"]
        constraints = [models.UniqueConstraint(fields=["task", "slot"], name="one_run_a_slot")]

    def __str__(self) -> str:
        return f"run of {self.task_id} at {self.slot}"


class Event(models.Model):
    """A durable event, handled at least once. Written only where a loaded plugin listens."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    name = models.CharField(max_length=60)
    payload = models.JSONField(default=dict)
    attempts = models.PositiveSmallIntegerField(default=0)
    lease_until = models.DateTimeField(null=True)
    handled_at = models.DateTimeField(null=True)
    error = models.TextField(blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["-id"]
        indexes = [
            models.Index(fields=["id"], name="event_unhandled", condition=models.Q(handled_at__isnull=True))
        ]

    def __str__(self) -> str:
        return self.name
