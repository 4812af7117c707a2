"""Works a lane: claims it, takes its turns one after the other, and says what becomes of a turn that failed.

`agents.drain_lane` and the dispatcher call it.
"""

from __future__ import annotations

import time
from uuid import UUID

import structlog
from django.conf import settings
from django.db import transaction

from agents import approvals, collecting, lanes, metrics, outbox, turns
from agents.approvals import Question
from agents.crashpoints import reach
from agents.databases import is_away, is_short, release_connection
from agents.facts import agent_facts
from agents.lanes import ClaimedTurn, Fenced, Lease
from agents.llm.base import ModelError, ModelFailure
from agents.models import Turn
from agents.models.agent import DEFAULT_APOLOGY
from agents.outbox import Reply
from agents.pipeline import Parked, take_turn
from agents.processes import keeper, outages, shutdown, suspects
from agents.processes.keeper import Stopped, Watch
from agents.scene import destination_of, message_draft
from agents.streams import StreamEvent, TurnStream
from agents.trace import Trace, open_trace
from agents.wakeups import wake, wake_after_commit
from memory.conversations import hear
from memory.writes import wake_embedding
from plugins.time_limits import while_wanted

log = structlog.get_logger(__name__)

DRAIN_BUDGET_SECONDS = 120.0
DRAIN_BUDGET_TURNS = 20
LONGEST_BACKOFF_SECONDS = 300.0
RATE_LIMIT_SECONDS = 10.0
LONGEST_WAIT_SECONDS = 3600.0


def drain_lane(lane_id: UUID) -> int:
    """Work the lane's turns until none is open, or the budget is used; return how many were ended.

    A lane with more to do after its budget is released and woken again, so that one person can't hold a
    worker for ever. So is one whose worker was told to end: another takes it at once.
    """
    if shutdown.is_begun():
        wake("agents.drain_lane", lane_id=str(lane_id))
        return 0
    claimed = lanes.claim(lane_id)
    if claimed is None:
        return 0
    reach("lane.claimed")
    lease, turn = claimed
    started, ended = time.monotonic(), 0
    while True:
        turn = turn or lanes.take_next(lease)
        if turn is None:
            _let_go(lease)
            return ended
        if _work(turn):
            return ended + 1
        ended += 1
        turn = None
        is_over = ended >= DRAIN_BUDGET_TURNS or time.monotonic() - started > DRAIN_BUDGET_SECONDS
        if is_over or shutdown.is_begun():
            lanes.release(lease)
            wake("agents.drain_lane", lane_id=str(lane_id))
            return ended


def work_taken(lease: Lease, turn_id: UUID) -> bool:
    """Work one turn that another process took and can't work itself, in this process alone.

    Returns whether the lane needs nothing more of its holder.
    """
    turn = lanes.read_taken(lease, turn_id)
    return True if turn is None else _work(turn, is_alone=True)


def _let_go(lease: Lease) -> None:
    reach("lane.before_release")
    # Locked first and looked at afterwards: see lanes.RELEASE_IF_EMPTY.
    with transaction.atomic():
        if lanes.renew([lease]) and not lanes.release_if_empty(lease):
            lanes.release(lease)
            # Whoever was woken for what came in meanwhile found the lane held.
            wake_after_commit("agents.drain_lane", lane_id=str(lease.lane_id))


def _work(turn: ClaimedTurn, *, is_alone: bool = False) -> bool:
    """Work one turn, and tell whether the lane needs nothing more of this worker."""
    structlog.contextvars.bind_contextvars(turn=str(turn.id), lane=str(turn.lease.lane_id))
    try:
        if not is_alone and _must_be_alone(turn):
            return suspects.work_suspect(turn)
        metrics.QUEUE_WAIT.observe(metrics.seconds_since(turn.received_at))
        return _work_here(turn)
    except Fenced as error:
        log.warning("turn_fenced", error=error)
        return True
    except (
        Exception
    ) as error:  # the door of a turn: what no other place expected counts, or it would have no end
        if is_away(error):
            return _hand_back(turn, Trace(turn.id), error)
        log.exception("turn_failed_unexpectedly")
        metrics.ERRORS.labels(where="turn").inc()
        release_connection()
        return _fail_plainly(turn, error)
    finally:
        structlog.contextvars.unbind_contextvars("turn", "lane")


def _must_be_alone(turn: ClaimedTurn) -> bool:
    """Tell whether the turn may take this process with it. One that nobody wants any more is only ended."""
    if turn.crash_count >= settings.TURN_MAX_CRASHES or not suspects.is_suspect(turn):
        return False
    return not Watch(turn).is_cancelled()


def _work_here(turn: ClaimedTurn) -> bool:
    stream = TurnStream(
        room_id=turn.room_id,
        turn_id=turn.id,
        message_id=turn.message_id,
        lease_token=turn.lease.token,
        is_on=turn.supports_streaming,
    )
    trace = Trace(turn.id)
    try:
        trace = open_trace(turn.id, is_second_attempt=turn.is_second_attempt)
        if turn.crash_count >= settings.TURN_MAX_CRASHES:
            reason = f"{turn.crash_count} processes died that worked nothing else. {turn.error}".rstrip()
            return _die(turn, trace, stream, reason)
        if turn.is_second_attempt:
            stream.put(StreamEvent.RESET, {})
        if collecting.collect(turn):
            return False
        with keeper.watch_over(turn) as watch:
            stream.ask_before_speaking(watch.may_go_outward)
            if any(name.startswith("act:") for name in trace.finished):
                watch.may_go_outward()
            return _attempt(turn, trace, stream, watch)
    except Fenced as error:
        # The lease may be over without anybody having claimed the lane: then the turn is put back uncounted.
        log.warning("turn_fenced", error=error)
        return outages.hand_back(turn, trace, reason=str(error))
    except Exception as error:
        if not is_away(error):
            raise
        return _hand_back(turn, trace, error)


def _hand_back(turn: ClaimedTurn, trace: Trace, error: Exception) -> bool:
    delay = outages.SHORT_DELAY_SECONDS if is_short(error) else 0.0
    return outages.hand_back(turn, trace, reason=f"{type(error).__name__}: {error}", delay_seconds=delay)


def _attempt(turn: ClaimedTurn, trace: Trace, stream: TurnStream, watch: Watch) -> bool:
    try:
        with while_wanted(watch.go_on):
            is_released = take_turn(turn, trace, stream, watch)
    except Stopped as stop:
        if watch.is_lost:
            raise Fenced(str(stop)) from stop
        if watch.is_stopped:
            return _stop(turn, trace, stream)
        is_leaving = shutdown.is_grace_over()
        return _give_back(turn, trace) if is_leaving else _make_way(turn, trace, stream)
    except Parked as parked:
        return _park(turn, trace, stream, parked.question)
    except Fenced:
        raise
    except ModelError as error:
        if _is_told_to_wait(error):
            return _wait(turn, trace, error)
        return _fail(turn, trace, stream, error, permanent=error.permanent)
    except Exception as error:  # the door of the pipeline: whatever failed, the turn has it on record
        release_connection()
        if is_away(error):
            raise
        log.exception("turn_failed")
        metrics.ERRORS.labels(where="turn").inc()
        return _fail(turn, trace, stream, error, permanent=False)
    seconds = metrics.seconds_since(turn.received_at)
    metrics.MESSAGES_PROCESSED.labels(platform=turn.room_platform, outcome="done").inc()
    metrics.MESSAGE_PROCESSING.observe(seconds)
    log.info("turn_done", platform=turn.room_platform, seconds=round(seconds, 3))
    return is_released


def _is_told_to_wait(error: ModelError) -> bool:
    is_wait = error.failure == ModelFailure.RATE_LIMITED or error.retry_after_seconds is not None
    return is_wait and not error.permanent


def _wait(turn: ClaimedTurn, trace: Trace, error: ModelError) -> bool:
    """Put the turn back until the model's server takes requests again, which is no fault of the turn's."""
    asked = RATE_LIMIT_SECONDS if error.retry_after_seconds is None else error.retry_after_seconds
    delay = min(LONGEST_WAIT_SECONDS, max(1.0, asked))
    with trace.saving():
        turns.put_back(turn, error=f"Waits: {error}", is_counted=False)
        lanes.release(turn.lease, delay_seconds=delay)
    log.info("turn_waits", error=error, delay_seconds=delay)
    return True


def _give_back(turn: ClaimedTurn, trace: Trace) -> bool:
    """Give the turn back, uncounted, because this process is to end; another takes it at once."""
    with trace.saving():
        turns.put_back(turn, error="", is_counted=False)
        lanes.release(turn.lease)
        wake_after_commit("agents.drain_lane", lane_id=str(turn.lease.lane_id))
    log.info("turn_given_back")
    return True


def _fail(turn: ClaimedTurn, trace: Trace, stream: TurnStream, error: Exception, *, permanent: bool) -> bool:
    attempt = turn.error_count + 1
    reason = f"{type(error).__name__}: {error}"
    if permanent or attempt >= settings.TURN_MAX_ATTEMPTS:
        return _die(turn, trace, stream, reason)
    delay = min(LONGEST_BACKOFF_SECONDS, float(2**attempt))
    with trace.saving():
        turns.put_back(turn, error=reason)
        lanes.release(turn.lease, delay_seconds=delay)
    log.warning("turn_put_back", error=error, attempt=attempt, delay_seconds=delay)
    return True


def _die(turn: ClaimedTurn, trace: Trace, stream: TurnStream, reason: str) -> bool:
    """Make the turn a dead letter: the person gets the character's apology once, and the lane goes on.

    One that was retried and dies again has said it before, and says nothing more.
    """
    facts = agent_facts(turn.agent_id, turn.agent_revision, turn.character_version)
    with trace.saving():
        turns.end(
            turn,
            state=Turn.State.DEAD,
            outcome=Turn.Outcome.APOLOGISED,
            error=reason,
            character_version_id=facts.character_version_id,
        )
        if not turn.said_count:
            outbox.put(destination_of(turn), [Reply(text=facts.apology)])
        hear([message_draft(turn)], from_people=[turn.message_id])
        is_released = lanes.release_if_empty(turn.lease)
        transaction.on_commit(wake_embedding)
    metrics.MESSAGES_PROCESSED.labels(platform=turn.room_platform, outcome="dead").inc()
    stream.put(StreamEvent.ERROR, {"detail": "No answer could be made."})
    log.error("turn_dead", error=reason)
    return is_released


def _fail_plainly(turn: ClaimedTurn, error: Exception) -> bool:
    """Count the failure and put the turn back, or let it die, by as little as can fail: without the trace, the
    memory, or what is known of the agent, since one of these may be what failed.

    Raises: whatever makes even that impossible; the lease ends by itself then.
    """
    attempt = turn.error_count + 1
    reason = f"{type(error).__name__}: {error}"
    if attempt < settings.TURN_MAX_ATTEMPTS:
        delay = min(LONGEST_BACKOFF_SECONDS, float(2**attempt))
        with transaction.atomic():
            turns.put_back(turn, error=reason)
            lanes.release(turn.lease, delay_seconds=delay)
        return True
    with transaction.atomic():
        turns.end(turn, state=Turn.State.DEAD, outcome=Turn.Outcome.APOLOGISED, error=reason)
        if not turn.said_count:
            outbox.put(destination_of(turn), [Reply(text=DEFAULT_APOLOGY)])
        is_released = lanes.release_if_empty(turn.lease)
    metrics.MESSAGES_PROCESSED.labels(platform=turn.room_platform, outcome="dead").inc()
    log.error("turn_dead", error=reason)
    return is_released


def _stop(turn: ClaimedTurn, trace: Trace, stream: TurnStream) -> bool:
    """End the turn as a person wished; what was said so far is not sent."""
    with trace.saving():
        turns.end(turn, state=Turn.State.STOPPED)
        hear([message_draft(turn)], from_people=[turn.message_id])
        is_released = lanes.release_if_empty(turn.lease)
        transaction.on_commit(wake_embedding)
    metrics.MESSAGES_PROCESSED.labels(platform=turn.room_platform, outcome="stopped").inc()
    stream.put(StreamEvent.DONE, {"state": "stopped"})
    return is_released


def _park(turn: ClaimedTurn, trace: Trace, stream: TurnStream, question: Question) -> bool:
    """Put the turn aside until a person has decided; its lane goes on."""
    with trace.saving():
        approvals.ask(turn, question)
        is_released = lanes.release_if_empty(turn.lease)
    metrics.MESSAGES_PROCESSED.labels(platform=turn.room_platform, outcome="parked").inc()
    words = "This waits for the approval of a person in charge."
    action = {"name": question.action, "success": False, "is_waiting": True, "text": words}
    stream.put(StreamEvent.ACTION, action)
    stream.put(StreamEvent.DONE, {"state": "parked"})
    log.info("turn_parked", action=question.action, kind=question.kind)
    return is_released


def _make_way(turn: ClaimedTurn, trace: Trace, stream: TurnStream) -> bool:
    """End the turn in favour of the person's newer message, whose turn sees this message as not yet answered."""
    with trace.saving():
        if not turns.supersede(turn):
            return False
        hear([message_draft(turn)], from_people=[turn.message_id])
        transaction.on_commit(wake_embedding)
    metrics.MESSAGES_PROCESSED.labels(platform=turn.room_platform, outcome="superseded").inc()
    stream.put(StreamEvent.DONE, {"state": "superseded"})
    return False
