import datetime as dt
import threading
import time

import pytest
from django.db import connection
from django.utils import timezone

from agents import dispatcher
from agents.models import Agent, Character, Delivery, Message, Room
from plugins import scheduler, tasks
from plugins.api import SetGoal
from plugins.calendar import UnknownTask, schedule_task
from plugins.models import ScheduledTask, TaskRun
from plugins.slots import BadSchedule
from transports.models import Connection

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def agent():
    character = Character.objects.create(name="Ada", slug="ada", document={"name": "Ada", "plugins": ["x"]})
    return Agent.objects.create(character=character, name="Ada", slug="ada")


def due(agent, *, seconds_ago=1.0, **changes):
    at = timezone.now() - dt.timedelta(seconds=seconds_ago)
    return schedule_task(agent_id=agent.id, plugin="dice", task="remind", at=at, **changes)


def ran(stranger):
    return [call for call in stranger.calls if call[0] == "task"]


def let_leases_end():
    TaskRun.objects.update(lease_until=timezone.now() - dt.timedelta(seconds=1))


def test_a_task_that_is_due_runs_once_with_its_slot_and_arguments(stranger, agent):
    task = due(agent, arguments={"to": "Bo"})
    assert scheduler.run_due() == 1
    assert scheduler.run_due() == 0
    run = TaskRun.objects.get()
    assert ran(stranger) == [("task", task.next_run_at, {"to": "Bo"})]
    assert (run.state, run.slot, run.attempts, run.error) == ("done", task.next_run_at, 1, "")
    task.refresh_from_db()
    assert task.next_run_at is None


def test_what_is_not_due_switched_off_or_of_a_paused_agent_waits(stranger, agent):
    due(agent, seconds_ago=-60)
    off = due(agent)
    ScheduledTask.objects.filter(pk=off.pk).update(is_enabled=False)
    paused = Agent.objects.create(character=agent.character, name="P", slug="p", status=Agent.Status.PAUSED)
    due(paused)
    assert scheduler.run_due() == 0


def test_missed_slots_are_caught_up_by_one_run_that_keeps_the_beat(stranger, agent):
    task = due(agent, seconds_ago=650.0, schedule="every 60")
    first = task.next_run_at
    assert scheduler.run_due() == 1
    task.refresh_from_db()
    assert task.next_run_at == first + dt.timedelta(seconds=660)


def test_two_beats_at_once_run_each_slot_once(stranger, agent):
    for _ in range(10):
        due(agent)
    start = threading.Barrier(3)

    def beat():
        start.wait(5)
        try:
            scheduler.run_due()
        finally:
            connection.close()

    beats = [threading.Thread(target=beat) for _ in range(3)]
    for each in beats:
        each.start()
    for each in beats:
        each.join()
    assert len(ran(stranger)) == 10
    assert TaskRun.objects.filter(state="done", attempts=1).count() == 10


def test_beats_and_dispatchers_at_once_run_each_slot_once(stranger, agent, monkeypatch):
    monkeypatch.setattr(tasks, "_housekeeping", tasks._Hourly())
    monkeypatch.setattr(dispatcher, "wake", lambda name, **arguments: False)
    wanted = [due(agent, schedule="every 3600") for _ in range(10)]
    start = threading.Barrier(4)

    def look(once):
        start.wait(5)
        try:
            once()
        finally:
            connection.close()

    looks = [tasks.run_due_tasks, tasks.run_due_tasks, dispatcher.dispatch_once, dispatcher.dispatch_once]
    lookers = [threading.Thread(target=look, args=(once,)) for once in looks]
    for each in lookers:
        each.start()
    for each in lookers:
        each.join()
    assert _comes(lambda: TaskRun.objects.filter(task__in=wanted, state="done").count() == 10)
    assert TaskRun.objects.filter(task__in=wanted).count() == 10
    assert len(ran(stranger)) == TaskRun.objects.count()


def test_without_a_beat_the_dispatcher_has_what_is_due_done(stranger, agent, monkeypatch):
    sent = []
    monkeypatch.setattr(dispatcher, "wake", lambda name, **arguments: sent.append(name) or True)
    due(agent)
    dispatcher.dispatch_once()
    assert sent == ["plugins.run_due_tasks"]

    monkeypatch.setattr(dispatcher, "wake", lambda name, **arguments: False)
    dispatcher.dispatch_once()
    assert _comes(lambda: TaskRun.objects.filter(state="done").exists()), "neither beat nor broker is needed"


def _comes(condition, seconds=20.0):
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.05)
    return condition()


def test_a_task_that_raises_is_failed_with_its_error_and_not_repeated(stranger, agent):
    due(agent, arguments={"fails": True})
    due(agent)
    assert scheduler.run_due() == 2
    assert scheduler.run_due() == 0
    assert TaskRun.objects.get(state="failed").error == "ValueError: the die fell off the table"
    assert TaskRun.objects.filter(state="done").count() == 1


def test_a_run_whose_worker_died_is_taken_again_and_given_up_after_three_attempts(stranger, agent):
    due(agent)
    for attempt in range(1, scheduler.MAX_ATTEMPTS + 1):
        assert (scheduler._claim_due() or scheduler._claim_left_behind()).token == attempt
        assert scheduler.run_due() == 0
        let_leases_end()
    assert scheduler.run_due() == 0
    run = TaskRun.objects.get()
    assert (run.state, run.attempts) == ("failed", 3)
    assert "none ended" in run.error
    assert not ran(stranger)


def test_a_run_left_behind_is_done_and_the_late_worker_changes_nothing(stranger, agent):
    due(agent)
    late = scheduler._claim_due()
    let_leases_end()
    assert scheduler.run_due() == 1
    assert TaskRun.objects.get().state == "done"
    scheduler._run(late)
    run = TaskRun.objects.get()
    assert (run.state, run.attempts) == ("done", 2)


def test_a_task_that_hangs_is_failed(stranger, agent, monkeypatch):
    monkeypatch.setattr(scheduler, "TASK_TIME_LIMIT_SECONDS", 0.05)
    end = threading.Event()
    task = scheduler.get_registry().find_plugin("dice").plugin.tasks[0]
    object.__setattr__(task, "execute", lambda _context: end.wait(5))
    due(agent)
    try:
        scheduler.run_due()
    finally:
        end.set()
    assert "took longer than 0.05 s" in TaskRun.objects.get().error


def test_a_task_of_a_plugin_that_is_gone_fails_with_the_cure(stranger, agent, load):
    due(agent)
    load()
    scheduler.run_due()
    assert "load the plugin by ELIZA_PLUGINS" in TaskRun.objects.get().error


def test_an_unreadable_schedule_comes_off_the_calendar_and_says_why(stranger, agent):
    task = due(agent)
    ScheduledTask.objects.filter(pk=task.pk).update(schedule="at tea time")
    assert scheduler.run_due() == 0
    task.refresh_from_db()
    assert task.next_run_at is None
    assert "'at tea time'" in TaskRun.objects.get().error


def test_what_a_task_says_goes_to_its_room(stranger, agent):
    room = Room.objects.create(platform="fake", external_id="r")
    link = Connection.objects.create(agent=agent, platform="fake", transport="fake", external_id="c")
    due(agent, room_id=room.id, arguments={"say": "Tea is ready."})
    scheduler.run_due()
    assert TaskRun.objects.get().error == ""
    assert Message.objects.get(direction="out").text == "Tea is ready."
    assert Delivery.objects.get().connection_id == link.id


def test_effects_that_cannot_be_applied_fail_the_run_and_change_nothing(stranger, agent):
    due(agent, arguments={"say": "Tea is ready."})
    scheduler.run_due()
    run = TaskRun.objects.get()
    assert run.state == "failed"
    assert "in no room" in run.error


def test_effects_that_were_not_granted_fail_the_run(stranger, agent, monkeypatch):
    task = scheduler.get_registry().find_plugin("dice").plugin.tasks[0]
    object.__setattr__(task, "execute", lambda _context: (SetGoal(name="win"),))
    due(agent)
    scheduler.run_due()
    assert "'dice' may not SetGoal" in TaskRun.objects.get().error


def test_only_known_tasks_and_readable_times_are_put_on_the_calendar(stranger, agent):
    with pytest.raises(UnknownTask, match=r"'dance'.*remind, shake"):
        schedule_task(agent_id=agent.id, plugin="dice", task="dance", at=timezone.now())
    with pytest.raises(BadSchedule, match="Give `at`"):
        schedule_task(agent_id=agent.id, plugin="dice", task="remind")
    with pytest.raises(ValueError, match="time zone"):
        schedule_task(agent_id=agent.id, plugin="dice", task="remind", at=dt.datetime(2030, 1, 1))
    task = schedule_task(agent_id=agent.id, plugin="dice", task="remind", schedule="every 60")
    assert task.next_run_at > timezone.now()


def test_declared_tasks_are_put_on_the_calendar_once_and_follow_their_plugin(stranger, agent):
    assert scheduler.sync_tasks() == 1
    assert scheduler.sync_tasks() == 0
    task = ScheduledTask.objects.get()
    assert (task.task, task.schedule) == ("shake", "every 3600")
    ScheduledTask.objects.update(schedule="every 60", is_enabled=False)
    assert scheduler.sync_tasks() == 1
    task.refresh_from_db()
    assert (task.schedule, task.is_enabled) == ("every 3600", False)


def test_syncing_costs_no_statement_where_no_plugin_declares_a_task(load, django_assert_num_queries):
    load()
    with django_assert_num_queries(0):
        assert scheduler.sync_tasks() == 0


def test_two_syncs_at_once_put_a_task_on_the_calendar_once(stranger, agent):
    start = threading.Barrier(3)

    def sync():
        start.wait(5)
        try:
            scheduler.sync_tasks()
        finally:
            connection.close()

    syncs = [threading.Thread(target=sync) for _ in range(3)]
    for each in syncs:
        each.start()
    for each in syncs:
        each.join()
    assert ScheduledTask.objects.count() == 1


def test_the_celery_tasks_have_their_names_and_do_the_work(stranger, agent, monkeypatch):
    monkeypatch.setattr(tasks, "_housekeeping", tasks._Hourly())
    due(agent)
    assert tasks.run_due_tasks.name == "plugins.run_due_tasks"
    assert tasks.run_due_tasks() == 1
    assert ScheduledTask.objects.filter(task="shake").exists()
    ScheduledTask.objects.all().delete()
    tasks.run_due_tasks()
    assert not ScheduledTask.objects.exists()
    assert tasks.handle_events.name == "plugins.handle_events"
    assert tasks.handle_events() == 0
