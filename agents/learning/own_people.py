"""An agent's own person: whom relationships and facts name that are about the agent itself.

It is a person like others, a bot, with an account on a network of its own, so that it can be merged with the
people that the agent's accounts on real networks are known as. `agents.learning.reflection` asks for it.
"""

from __future__ import annotations

from uuid import UUID

from django.db import IntegrityError, transaction

from agents.models import Account, Person

PLATFORM = "agent"


def own_person_id(agent_id: UUID, name: str) -> UUID:
    """Return the agent's own person, made where there is none yet."""
    known = Account.objects.filter(platform=PLATFORM, external_id=str(agent_id)).values_list(
        "person_id", flat=True
    )
    found = known.first()
    if found is not None:
        return found
    try:
        with transaction.atomic():
            person = Person.objects.create(name=name, is_bot=True)
            Account.objects.create(person=person, platform=PLATFORM, external_id=str(agent_id))
            return person.pk
    except IntegrityError:
        # Another process made it in the same moment.
        return known.get()
