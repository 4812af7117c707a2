"""System checks of the settings that agents work by: before commands, and before a worker starts."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, Warning, register
from django.core.exceptions import ImproperlyConfigured

from agents.fields import EncryptedJSONField
from agents.processes.keeper import LOOK_PERIOD_SECONDS
from agents.prompts import SMALLEST_PROMPT_TOKENS

SHORTEST_SECRET_KEY = 32
HOW_TO_MAKE_ONE = 'python -c "import secrets; print(secrets.token_urlsafe(50))"'
SHORTEST_LEASE_SECONDS = 2 * LOOK_PERIOD_SECONDS
DISPATCH_PERIODS = (0.1, 60.0)
AT_LEAST_ONE = (
    "TURN_MAX_ATTEMPTS",
    "TURN_MAX_CRASHES",
    "SUSPECT_PROCESSES",
    "DELIVERY_MAX_ATTEMPTS",
    "DELIVERY_LEASE_SECONDS",
    "EVALUATION_LEASE_SECONDS",
    "DELIVERY_EXPIRES_AFTER_SECONDS",
    "PERSON_MESSAGES_PER_MINUTE",
    "MESSAGE_MAX_CHARACTERS",
    "MODEL_TIMEOUT_SECONDS",
    "MODEL_MAX_TOKENS",
    "MODEL_CONCURRENCY",
    "EMBEDDING_TIMEOUT_SECONDS",
    "RECENT_MESSAGES",
    "WORKER_THREADS",
    "WORKER_PROCESSES",
    "WEB_THREADS",
)


@register()
def check_secret_key(**_rest: Any) -> list[CheckMessage]:
    """Report a SECRET_KEY that is missing or can be guessed."""
    try:
        length = len(settings.SECRET_KEY)
    except ImproperlyConfigured:
        length = 0
    if length >= SHORTEST_SECRET_KEY:
        return []
    return [
        Error(
            f"SECRET_KEY has {length} characters; at least {SHORTEST_SECRET_KEY} are needed.",
            hint=f"Make one with `{HOW_TO_MAKE_ONE}` and set it in the environment or in .env.",
            id="agents.E001",
        )
    ]


@register()
def check_field_encryption_key(**_rest: Any) -> list[CheckMessage]:
    """Report keys by which secrets can't be written; only who keeps no secrets can do without."""
    kind = Error if any(settings.FIELD_ENCRYPTION_KEY) else Warning
    try:
        EncryptedJSONField(name="secrets").get_prep_value({"probe": ""})
    except ImproperlyConfigured as error:
        hint = "Set FIELD_ENCRYPTION_KEY to a list of such keys, and keep a copy: what it wrote needs it."
        return [kind(str(error), hint=hint, id="agents.E002" if kind is Error else "agents.W002")]
    return []


@register()
def check_lease(**_rest: Any) -> list[CheckMessage]:
    """Report leases that run out before they are renewed."""
    if settings.LANE_LEASE_SECONDS >= SHORTEST_LEASE_SECONDS:
        return []
    return [
        Error(
            f"LANE_LEASE_SECONDS is {settings.LANE_LEASE_SECONDS:g}: a lease would end before it is renewed.",
            hint=f"Set it to {SHORTEST_LEASE_SECONDS:g} or more; 20 is the default.",
            id="agents.E003",
        )
    ]


@register()
def check_dispatch_period(**_rest: Any) -> list[CheckMessage]:
    """Report a dispatcher that would never rest, or hardly ever look."""
    shortest, longest = DISPATCH_PERIODS
    if shortest <= settings.DISPATCH_PERIOD_SECONDS <= longest:
        return []
    return [
        Error(
            f"DISPATCH_PERIOD_SECONDS is {settings.DISPATCH_PERIOD_SECONDS:g}.",
            hint=f"Set it to between {shortest:g} and {longest:g}; 5 is the default.",
            id="agents.E004",
        )
    ]


@register()
def check_limits(**_rest: Any) -> list[CheckMessage]:
    """Report limits that would let nothing through."""
    return [
        Error(
            f"{name} is {getattr(settings, name):g}, which lets nothing through.",
            hint="Set it to 1 or more, or leave it unset.",
            id="agents.E005",
        )
        for name in AT_LEAST_ONE
        if getattr(settings, name) < 1
    ]


@register()
def check_prompt(**_rest: Any) -> list[CheckMessage]:
    """Report a prompt that has no room for its own instruction."""
    if settings.PROMPT_MAX_TOKENS >= SMALLEST_PROMPT_TOKENS:
        return []
    return [
        Error(
            f"PROMPT_MAX_TOKENS is {settings.PROMPT_MAX_TOKENS}: the instruction alone fills it.",
            hint=f"Set it to {SMALLEST_PROMPT_TOKENS} or more; 3000 is the default.",
            id="agents.E006",
        )
    ]


@register(Tags.security, deploy=True)
def check_crash_points(**_rest: Any) -> list[CheckMessage]:
    """Report a plan of crashes in production: processes would kill themselves by it."""
    if not settings.CRASHPOINTS:
        return []
    return [
        Error(
            f"CRASHPOINTS is {settings.CRASHPOINTS!r}: processes kill themselves as that plan says.",
            hint="Unset it. It is for tests alone.",
            id="agents.E010",
        )
    ]
