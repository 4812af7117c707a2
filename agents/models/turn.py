"""Turns: the work on one message, its steps, and the requests to models."""

from django.db import models
from uuid_utils.compat import uuid7


class Turn(models.Model):
    """The work that one cause asks for. The waiting turns of a lane are its queue.

    `cause_kind` and `cause_id` name the cause and are unique, so that a cause is worked once. Errors and
    crashes are counted apart: `error_count` grows when an attempt raised, `crash_count` when a process died
    that worked nothing but this turn. `suspect_count` grows when one died that worked others too, `take_count`
    whenever it is taken. `said_count` are the parts that it said before it was retried.
    A parked turn waits for a person's word on one of its actions: it is out of its lane's way until then.
    `collected_into` is the turn that answers this one's message together with its own; `collected_at` is when
    a turn's own set of messages was stored. `interrupt_count` turns right before it were superseded for it.
    Foreign keys that a constraint begins with have no second index of their own. Those to the agent and its
    connection are not checked by the database, here and on messages, memories and deliveries: every check
    locks the one row that all turns share.
    """

    class State(models.TextChoices):
        WAITING = "waiting"
        RUNNING = "running"
        DONE = "done"
        DEAD = "dead"
        STOPPED = "stopped"
        PARKED = "parked", "waits for a person"
        DISCARDED = "discarded"

    class Cause(models.TextChoices):
        MESSAGE = "message"

    class Outcome(models.TextChoices):
        NONE = ""
        REPLIED = "replied"
        SILENT = "silent"
        APOLOGISED = "apologised"
        COLLECTED = "collected"
        SUPERSEDED = "superseded"
        CONTROL = "control"

    class Evaluation(models.TextChoices):
        NONE = "none"
        DUE = "due"
        DONE = "done"
        FAILED = "failed"

    OPEN_STATES = (State.WAITING, State.RUNNING)

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    lane = models.ForeignKey("agents.Lane", on_delete=models.CASCADE, related_name="turns", db_index=False)
    sequence = models.BigIntegerField()
    agent = models.ForeignKey(
        "agents.Agent", on_delete=models.CASCADE, related_name="turns", db_constraint=False
    )
    room = models.ForeignKey("agents.Room", on_delete=models.CASCADE, related_name="turns")
    person = models.ForeignKey("agents.Person", null=True, on_delete=models.SET_NULL, related_name="turns")
    connection = models.ForeignKey(
        "transports.Connection", on_delete=models.CASCADE, related_name="turns", db_constraint=False
    )
    message = models.ForeignKey(
        "agents.Message", null=True, on_delete=models.CASCADE, related_name="caused_turns"
    )
    cause_kind = models.CharField(max_length=10, choices=Cause)
    cause_id = models.UUIDField()
    state = models.CharField(max_length=10, choices=State, default=State.WAITING)
    outcome = models.CharField(max_length=10, choices=Outcome, default=Outcome.NONE, blank=True)
    error_count = models.PositiveSmallIntegerField(default=0)
    crash_count = models.PositiveSmallIntegerField(default=0)
    suspect_count = models.PositiveIntegerField(default=0, db_default=0)
    take_count = models.PositiveIntegerField(default=0, db_default=0)
    said_count = models.PositiveSmallIntegerField(default=0, db_default=0)
    lease_token = models.BigIntegerField(default=0)
    character_version = models.ForeignKey(
        "agents.CharacterVersion", null=True, on_delete=models.SET_NULL, related_name="turns"
    )
    evaluation = models.CharField(max_length=10, choices=Evaluation, default=Evaluation.NONE)
    evaluation_lease_until = models.DateTimeField(null=True)
    evaluation_token = models.BigIntegerField(default=0)
    evaluation_attempts = models.PositiveSmallIntegerField(default=0)
    error = models.TextField(blank=True)
    stop_requested_at = models.DateTimeField(null=True)
    interrupt_requested_at = models.DateTimeField(null=True)
    interrupt_count = models.PositiveSmallIntegerField(default=0, db_default=0)
    collected_at = models.DateTimeField(null=True)
    collected_into = models.ForeignKey(
        "self", null=True, on_delete=models.SET_NULL, related_name="collected", db_index=False
    )
    received_at = models.DateTimeField()
    started_at = models.DateTimeField(null=True)
    ended_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["-id"]
        permissions = [
            ("retry_turn", "Can retry dead letters"),
            ("discard_turn", "Can discard dead letters"),
        ]
        constraints = [
            models.UniqueConstraint(fields=["cause_kind", "cause_id"], name="one_turn_a_cause"),
            models.UniqueConstraint(fields=["lane", "sequence"], name="one_turn_a_lane_place"),
        ]
        indexes = [
            models.Index(
                fields=["lane", "sequence"],
                name="turn_open_of_lane",
                condition=models.Q(state__in=["waiting", "running"]),
            ),
            models.Index(
                fields=["lane", "sequence"],
                name="turn_evaluation_due",
                condition=models.Q(evaluation="due"),
            ),
            models.Index(
                fields=["collected_into"],
                name="turn_collected_into",
                condition=models.Q(collected_into__isnull=False),
            ),
            models.Index(fields=["-ended_at"], name="turn_dead", condition=models.Q(state="dead")),
        ]

    def __str__(self) -> str:
        return f"turn {self.id} ({self.state})"


class Step(models.Model):
    """One part of a turn: what went in, what came out, how long it took, how it failed."""

    class State(models.TextChoices):
        DONE = "done"
        FAILED = "failed"
        STARTED = "started"
        UNCERTAIN = "uncertain"
        WAITING = "waiting"

    id = models.BigAutoField(primary_key=True)
    turn = models.ForeignKey(Turn, on_delete=models.CASCADE, related_name="steps", db_index=False)
    position = models.PositiveSmallIntegerField()
    name = models.CharField(max_length=60)
    state = models.CharField(max_length=10, choices=State, default=State.DONE)
    input = models.JSONField(default=dict)
    output = models.JSONField(default=dict)
    milliseconds = models.FloatField(default=0.0)
    error = models.TextField(blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["position"]
        constraints = [models.UniqueConstraint(fields=["turn", "position"], name="one_step_a_turn_position")]

    def __str__(self) -> str:
        return f"{self.position} {self.name}"


class ModelCall(models.Model):
    """One request to a model. What is unknown is NULL, never 0."""

    id = models.BigAutoField(primary_key=True)
    turn = models.ForeignKey(Turn, on_delete=models.CASCADE, related_name="model_calls", db_index=False)
    position = models.PositiveSmallIntegerField()
    purpose = models.CharField(max_length=30)
    provider = models.CharField(max_length=200)
    model = models.CharField(max_length=200)
    prompt = models.JSONField(default=list)
    answer = models.TextField(blank=True)
    parse_path = models.CharField(max_length=20, blank=True)
    finish_reason = models.CharField(max_length=30, blank=True)
    input_tokens = models.PositiveIntegerField(null=True)
    output_tokens = models.PositiveIntegerField(null=True)
    cost = models.DecimalField(max_digits=12, decimal_places=6, null=True)
    milliseconds = models.FloatField()
    first_token_milliseconds = models.FloatField(null=True)
    error = models.TextField(blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["position"]
        constraints = [
            models.UniqueConstraint(fields=["turn", "position"], name="one_model_call_a_turn_position")
        ]

    def __str__(self) -> str:
        return f"{self.purpose} by {self.model}"
