"""Asks the server of text models whether it is there and has the models of the settings. For `doctor`."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import openai
from django.conf import settings

from agents.llm.router import ModelsDescription
from agents.llm.servers import get_server

ANSWER_SECONDS = 5.0


class ProbeResult(StrEnum):
    """What asking the server brought."""

    ANSWERS = "answers"
    AWAY = "away"
    REFUSES_KEY = "refuses_key"
    LACKS_MODEL = "lacks_model"
    REFUSES_MODEL = "refuses_model"
    SLOW = "slow"


@dataclass(frozen=True, kw_only=True)
class Probe:
    """The result, with the server's own words, or the models that are missing and those that it has."""

    result: ProbeResult
    detail: str = ""
    listed: tuple[str, ...] = ()


def probe_server(described: ModelsDescription) -> Probe:
    """Ask the server for its list of models, or, where it has none, for one word.

    Unit: takes at most twice ANSWER_SECONDS.
    """
    client = get_server(described.base_url, settings.OPENAI_API_KEY).client
    try:
        listed = client.models.list(timeout=ANSWER_SECONDS).data or []
        known = {model.id for model in listed if isinstance(model.id, str)}
    except (openai.AuthenticationError, openai.PermissionDeniedError) as error:
        return Probe(result=ProbeResult.REFUSES_KEY, detail=str(error))
    except openai.APIConnectionError as error:
        return Probe(result=ProbeResult.AWAY, detail=str(error.__cause__ or error))
    except (openai.OpenAIError, AttributeError, TypeError, ValueError):
        return _ask_for_a_word(client, described.large)
    missing = sorted({described.small, described.large} - known)
    # A demonstration server has one model, whatever name it is asked for by.
    if missing and known and not described.is_demonstration:
        names = " and ".join(missing)
        return Probe(result=ProbeResult.LACKS_MODEL, detail=names, listed=tuple(sorted(known)))
    return Probe(result=ProbeResult.ANSWERS)


def _ask_for_a_word(client: openai.OpenAI, model: str) -> Probe:
    try:
        client.chat.completions.create(
            model=model,
            messages=[{"role": "user", "content": "Say yes."}],
            timeout=ANSWER_SECONDS,
        )
    except openai.APITimeoutError as error:
        return Probe(result=ProbeResult.SLOW, detail=str(error))
    except (openai.AuthenticationError, openai.PermissionDeniedError) as error:
        return Probe(result=ProbeResult.REFUSES_KEY, detail=str(error))
    except openai.OpenAIError as error:
        return Probe(result=ProbeResult.REFUSES_MODEL, detail=str(error))
    return Probe(result=ProbeResult.ANSWERS)
