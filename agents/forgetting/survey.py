"""Counts what a forgetting would remove and search, and changes nothing: `forget_person --dry-run`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from django.db.models import Q

from agents.models import Account, Approval, Delivery, Message, ModelCall, Participant, Step, Turn
from agents.people.families import Family, private_rooms_of
from memory.forgetting import count_of
from plugins.forgetting import count_of as count_plugins_rows
from plugins.registry import find_service


@dataclass(frozen=True, kw_only=True)
class Survey:
    """How many rows of which kind would go, and how many that stay would be searched for the person's words.

    Kinds are called as in `Progress`, and left out where there is none. What only the search finds is not among them.
    """

    gone: Mapping[str, int]
    searched: Mapping[str, int]


def survey(family: Family) -> Survey:
    """Count what forgetting them would do at this moment."""
    people = family.ids
    private = list(private_rooms_of(people).values_list("pk", flat=True))
    mine = Participant.objects.filter(person__in=people).exclude(room__in=private)
    shared = list(mine.values_list("room", flat=True).distinct())
    said = Q(room__in=private) | Q(person__in=people, direction=Message.Direction.IN)
    turns = Turn.objects.filter(Q(room__in=private) | Q(person__in=people))
    others = Turn.objects.filter(room__in=shared).exclude(person__in=people)
    said_by_agents = Message.objects.filter(room__in=shared, direction=Message.Direction.OUT)
    prompts = ModelCall.objects.filter(turn__in=others).exclude(prompt=[])
    gone: dict[str, int] = {
        "people": len(people),
        "accounts": Account.objects.filter(person__in=people).count(),
        "rooms": len(private),
        "participants": Participant.objects.filter(person__in=people).count(),
        "messages": Message.objects.filter(said).count(),
        "turns": turns.count(),
        "steps": Step.objects.filter(turn__in=turns).count(),
        "model_calls": ModelCall.objects.filter(turn__in=turns).count(),
        "approvals": Approval.objects.filter(turn__in=turns).count(),
        "deliveries": Delivery.objects.filter(message__room__in=private).count(),
        **count_of(people, private),
        **count_plugins_rows(people, private),
        **_sign_ins(family),
        "prompts": prompts.count(),
    }
    searched = {"messages": said_by_agents.count(), "turns": others.count()}
    return Survey(gone=_found(gone), searched=_found(searched))


def _found(counts: Mapping[str, int]) -> dict[str, int]:
    return {kind: count for kind, count in counts.items() if count}


def _sign_ins(family: Family) -> Mapping[str, int]:
    sign_ins = find_service("sign_ins")
    accounts = Account.objects.filter(person__in=family.ids).values_list("platform", "external_id")
    counts: Mapping[str, int] = sign_ins.count(list(accounts)) if sign_ins is not None else {}
    return counts


def staff_of(family: Family) -> list[str]:
    """Return the names of the site's users that the person is and that stay, because they may see the admin."""
    sign_ins = find_service("sign_ins")
    accounts = Account.objects.filter(person__in=family.ids).values_list("platform", "external_id")
    names: list[str] = sign_ins.staff(list(accounts)) if sign_ins is not None else []
    return names
