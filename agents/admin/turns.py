"""The pages of turns: the work on a message, step by step, with every request to a model."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.db.models import Count, Model, Sum
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from agents.admin.dead_letters import DeadLetterActions
from agents.admin.recollections import show_recalled
from agents.models import Approval, Message, ModelCall, Step, Turn
from agents.turns import request_stop
from plugins.admin_pages import (
    BigTable,
    HistoryCards,
    HistoryRows,
    ReadOnly,
    WhenFilter,
    button,
    column,
    fold,
    link_to,
    once,
    shorten,
    show_json,
    show_milliseconds,
    show_text,
)

STATE_COLOURS = {
    Turn.State.WAITING: "info",
    Turn.State.RUNNING: "primary",
    Turn.State.DONE: "success",
    Turn.State.DEAD: "danger",
    Turn.State.STOPPED: "warning",
    Turn.State.PARKED: "warning",
    Turn.State.DISCARDED: "warning",
}
OUTCOME_COLOURS = {Turn.Outcome.REPLIED: "success", Turn.Outcome.APOLOGISED: "warning"}
STEP_COLOURS = {
    Step.State.DONE: "success",
    Step.State.FAILED: "danger",
    Step.State.STARTED: "info",
    Step.State.UNCERTAIN: "warning",
    Step.State.WAITING: "warning",
}
_SHOWN_STEPS = 50


class StepRows(HistoryRows):
    """What was done, one after the other."""

    model = Step
    fields = ("position", "name", "coloured_state", "took", "went_in", "came_out", "shown_error")
    readonly_fields = fields
    per_page = _SHOWN_STEPS
    verbose_name_plural = "steps"

    @column("state", label=STEP_COLOURS)
    def coloured_state(self, step: Step) -> str:
        """Return the state, coloured."""
        return step.state

    @column("took")
    def took(self, step: Step) -> str:
        """Return how long it took."""
        return show_milliseconds(step.milliseconds)

    @column("input")
    def went_in(self, step: Step) -> SafeString | str:
        """Return what went in, folded."""
        return _fold_json(step.input)

    @column("output")
    def came_out(self, step: Step) -> SafeString | str:
        """Return what came out, folded."""
        return _fold_json(step.output)

    @column("error")
    def shown_error(self, step: Step) -> SafeString | str:
        """Return how it failed, folded."""
        return fold(shorten(step.error, 60), show_text(step.error)) if step.error else "–"


class ModelCallCards(HistoryCards):
    """The requests to models: what was asked, and what came back."""

    model = ModelCall
    fields = (
        ("model", "provider"),
        ("purpose", "tokens"),
        ("took", "first_token"),
        ("finish_reason", "parse_path"),
        "cost",
        "readable_prompt",
        "readable_answer",
        "shown_error",
    )
    readonly_fields = (
        "provider",
        "model",
        "purpose",
        "took",
        "first_token",
        "tokens",
        "cost",
        "finish_reason",
        "parse_path",
        "readable_prompt",
        "readable_answer",
        "shown_error",
    )
    verbose_name_plural = "model calls"

    @column("took")
    def took(self, call: ModelCall) -> str:
        """Return how long it took."""
        return show_milliseconds(call.milliseconds)

    @column("first token after")
    def first_token(self, call: ModelCall) -> str:
        """Return when the first token came."""
        return show_milliseconds(call.first_token_milliseconds)

    @column("tokens")
    def tokens(self, call: ModelCall) -> str:
        """Return the tokens in and out; unknown is a dash, never 0."""
        counts = ["–" if count is None else f"{count:,}" for count in (call.input_tokens, call.output_tokens)]
        return f"{counts[0]} in, {counts[1]} out"

    @column("prompt")
    def readable_prompt(self, call: ModelCall) -> SafeString | str:
        """Return the prompt's messages, each with its role."""
        shown = format_html_join("", '<div class="eliza-role">{}</div>{}', map(_role_and_text, call.prompt))
        count = len(call.prompt)
        return fold(f"{count} message{'' if count == 1 else 's'}", shown) if call.prompt else "–"

    @column("answer")
    def readable_answer(self, call: ModelCall) -> SafeString:
        """Return the answer, line by line."""
        return show_text(call.answer)

    @column("error")
    def shown_error(self, call: ModelCall) -> SafeString:
        """Return the error, line by line."""
        return show_text(call.error)


@admin.register(Turn)
class TurnAdmin(DeadLetterActions, ReadOnly, BigTable):
    """The work on messages. Dead letters are the turns whose state is dead."""

    list_display = (
        "cause",
        "coloured_state",
        "coloured_outcome",
        "agent",
        "person",
        "received_at",
        "took",
        "attempts",
        "first_error",
    )
    list_filter = ("state", "outcome", "evaluation", "agent", WhenFilter)
    list_select_related = ("agent", "person", "message")
    list_defer = ("agent__settings", "message__platform_data", "message__attachments")
    search_fields = ("person__name",)
    search_help_text = "An id of a turn, message, cause, lane, room or person, or a part of a person's name."
    id_search_fields = ("pk", "message", "cause_id", "lane", "room", "person")
    actions = ("retry_many_at_front", "retry_many_at_end", "discard_many")
    actions_detail = ("stop_turn", "retry_at_front", "retry_at_end", "discard_one")
    inlines = (StepRows, ModelCallCards)
    fields = (
        ("coloured_state", "coloured_outcome"),
        "whole_error",
        ("agent", "person"),
        ("room", "connection"),
        ("message_link", "version"),
        "said",
        "answered",
        "recalled",
        "asked",
        "collected_into",
        ("received_at", "ended_at"),
        ("started_at", "took"),
        ("spent", "evaluation"),
        ("cause_kind", "cause_id"),
        ("lane_id", "sequence"),
        ("error_count", "crash_count"),
        ("suspect_count", "take_count"),
        ("lease_token", "evaluation_attempts"),
        "decisions",
    )
    readonly_fields = (
        "coloured_state",
        "coloured_outcome",
        "whole_error",
        "message_link",
        "said",
        "answered",
        "recalled",
        "asked",
        "took",
        "spent",
        "version",
        "lane_id",
        "decisions",
    )

    def has_stop_permission(self, request: HttpRequest, _obj: Model | str | None = None) -> bool:
        """Allow those who may change turns."""
        return bool(request.user.has_perm("agents.change_turn"))

    @column("message", ordering="id")
    def cause(self, turn: Turn) -> str:
        """Return how the message begins, or what else the turn was for."""
        return (shorten(turn.message.text) if turn.message else "") or f"({turn.get_cause_kind_display()})"

    @column("state", ordering="state", label=STATE_COLOURS)
    def coloured_state(self, turn: Turn) -> str:
        """Return the state, coloured."""
        return turn.state

    @column("outcome", ordering="outcome", label=OUTCOME_COLOURS)
    def coloured_outcome(self, turn: Turn) -> str:
        """Return the outcome, coloured."""
        return turn.outcome

    @column("took")
    def took(self, turn: Turn) -> str:
        """Return the time from receipt to end."""
        if turn.ended_at is None:
            return "–"
        return show_milliseconds((turn.ended_at - turn.received_at).total_seconds() * 1000)

    @column("errors")
    def attempts(self, turn: Turn) -> str:
        """Return how many attempts failed, and how many killed a process that worked nothing else."""
        crashes = f", {turn.crash_count} crashed" if turn.crash_count else ""
        return f"{turn.error_count}{crashes}"

    @column("error")
    def first_error(self, turn: Turn) -> str:
        """Return how the error begins."""
        return shorten(turn.error)

    @column("error")
    def whole_error(self, turn: Turn) -> SafeString:
        """Return the error, line by line."""
        return show_text(turn.error)

    @column("message")
    def message_link(self, turn: Turn) -> SafeString | str:
        """Return a link to the message."""
        return link_to(Message, turn.message_id, "message")

    @column("what was said")
    def said(self, turn: Turn) -> SafeString:
        """Return the message's text."""
        return show_text(turn.message.text if turn.message else "")

    @column("what was answered")
    @once
    def answered(self, turn: Turn) -> SafeString | str:
        """Return the replies, each linked to its message."""
        replies = [
            (link_to(Message, reply.pk, f"reply {reply.position or 0}"), show_text(reply.text))
            for reply in turn.replies.order_by("position").only("pk", "position", "text", "turn")[
                :_SHOWN_STEPS
            ]
        ]
        return format_html_join("", "{}{}", replies) or "–"

    @column("had in mind")
    @once
    def recalled(self, turn: Turn) -> SafeString | str:
        """Return the memories that it recalled for its prompt, each with what brought it and where it came from."""
        return show_recalled(turn)

    @column("approvals")
    @once
    def asked(self, turn: Turn) -> SafeString | str:
        """Return what a person was asked and decided, each linked to its page."""
        asked = [
            (link_to(Approval, row.pk, row.action), row.get_state_display(), row.decided_by, row.reason)
            for row in turn.approvals.order_by("pk")[:_SHOWN_STEPS]
        ]
        return format_html_join("", "<p>{} {} {} {}</p>", asked) or "–"

    @column("model")
    @once
    def spent(self, turn: Turn) -> str:
        """Return the requests and tokens that the turn took."""
        sums = turn.model_calls.aggregate(
            calls=Count("pk"), tokens_in=Sum("input_tokens"), tokens_out=Sum("output_tokens")
        )
        known = ["–" if sums[key] is None else f"{sums[key]:,}" for key in ("tokens_in", "tokens_out")]
        return f"{sums['calls']} requests, {known[0]} tokens in, {known[1]} out"

    @column("character")
    def version(self, turn: Turn) -> SafeString | str:
        """Return a link to the version of the character that spoke."""
        version = turn.character_version
        return link_to(type(version), version.pk, f"version {version.number}") if version else "–"

    @button(
        "Stop",
        permissions=["stop"],
        icon="stop",
        dialog={
            "title": "Stop this turn?",
            "description": "Its work ends within two seconds. A turn that has ended is left as it is.",
            "form_class": None,
            "form_submit_text": "Stop",
        },
    )
    def stop_turn(self, request: HttpRequest, _form: Any, object_id: str) -> HttpResponse:
        """Ask the worker to end the turn."""
        turn = self.get_object(request, object_id)
        if turn is None:
            raise Http404(f"There is no turn {object_id}.")
        if request_stop(turn.pk):
            self.log_change(request, turn, "Asked to stop.")
            messages.success(request, "The turn is asked to stop.")
        else:
            messages.warning(request, "The turn has ended already.")
        return HttpResponse(headers={"HX-Redirect": reverse("admin:agents_turn_change", args=[turn.pk])})


def _fold_json(value: Any) -> SafeString | str:
    return fold(shorten(_summary(value), 60), show_json(value)) if value else "–"


def _summary(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, dict) else f"{len(value)} entries"


def _role_and_text(message: Any) -> tuple[str, SafeString]:
    if not isinstance(message, dict):
        return "", show_json(message)
    content = message.get("content")
    rest = {key: value for key, value in message.items() if key not in ("role", "content")}
    shown = show_text(content) if isinstance(content, str) else show_json(content)
    if rest:
        shown = format_html("{}{}", shown, show_json(rest))
    return str(message.get("role", "")), shown
