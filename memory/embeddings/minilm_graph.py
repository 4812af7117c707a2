"""Writes the ONNX graph of all-MiniLM-L6-v2 from its safetensors weights, once a machine.

`memory.embeddings.local` runs it. The graph holds the whole way from token ids to unit vectors: embeddings,
six layers, the mean over a text's own tokens, and the normalisation.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path
from typing import Any

from django.conf import settings

LAYERS, HEADS, WIDTH = 6, 12, 384
HEAD_WIDTH = WIDTH // HEADS
EPSILON = 1e-12
OPSET = 20
# In the file's name, so that a changed graph is not taken for this one.
FILE_NAME = "all-MiniLM-L6-v2.fp32.v1.onnx"


def ensure_graph(weights_path: Path) -> Path:
    """Return the graph's file, written first where it does not stand yet."""
    path = _folder() / FILE_NAME
    if not path.exists():
        import onnx
        from safetensors.numpy import load_file

        model = build_graph(load_file(str(weights_path)))
        # Two processes may race: each writes a file of its own, and the rename is one step.
        handle, name = tempfile.mkstemp(dir=path.parent, suffix=".part")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(model.SerializeToString())
            onnx.checker.check_model(name)
            os.chmod(name, 0o644)
            os.replace(name, path)
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(name)
            raise
    return path


def _folder() -> Path:
    folder = Path(settings.RUN_DIR) / "models"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if os.access(folder, os.W_OK):
            return folder
    except OSError:
        pass
    # Private to the user: whoever can write the graph decides what is computed.
    folder = Path(tempfile.gettempdir()) / f"eliza-models-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.stat().st_uid != os.getuid():
        return Path(tempfile.mkdtemp(prefix="eliza-models-"))
    return folder


def build_graph(weights: dict[str, Any]) -> Any:
    """Make the ONNX model of these weights.

    Shape: `ids` and `mask` are (texts, tokens); `vectors` is (texts, 384).
    Source: BERT (Devlin and others, 2018), with the mean pooling of Sentence-BERT (Reimers, Gurevych, 2019).
    """
    from onnx import TensorProto, helper

    graph = _Graph(weights)
    hidden = graph.embeddings()
    graph.attention_bias()
    for layer in range(LAYERS):
        hidden = graph.layer(f"encoder.layer.{layer}", hidden)
    graph.pooled(hidden)
    made = helper.make_graph(
        graph.nodes,
        "all-MiniLM-L6-v2",
        [
            helper.make_tensor_value_info("ids", TensorProto.INT64, ["texts", "tokens"]),
            helper.make_tensor_value_info("mask", TensorProto.FLOAT, ["texts", "tokens"]),
        ],
        [helper.make_tensor_value_info("vectors", TensorProto.FLOAT, ["texts", WIDTH])],
        graph.constants,
    )
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=9)


class _Graph:
    """Nodes and constants as they are added; each method returns the name of its output."""

    def __init__(self, weights: dict[str, Any]) -> None:
        self.weights = {name.removeprefix("bert."): value for name, value in weights.items()}
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def node(self, kind: str, *inputs: str, name: str = "", **attributes: Any) -> str:
        from onnx import helper

        output = name or f"t{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [output], **attributes))
        return output

    def constant(self, value: Any, kind: Any = None) -> str:
        import numpy as np
        from onnx import numpy_helper

        name = f"c{len(self.constants)}"
        self.constants.append(
            numpy_helper.from_array(np.ascontiguousarray(np.array(value, dtype=kind)), name)
        )
        return name

    def weight(self, name: str) -> str:
        return self.constant(self.weights[name], "float32")

    def linear(self, prefix: str, hidden: str) -> str:
        product = self.node("MatMul", hidden, self.constant(self.weights[f"{prefix}.weight"].T, "float32"))
        return self.node("Add", product, self.weight(f"{prefix}.bias"))

    def norm(self, prefix: str, hidden: str) -> str:
        scale, bias = self.weight(f"{prefix}.weight"), self.weight(f"{prefix}.bias")
        return self.node("LayerNormalization", hidden, scale, bias, axis=-1, epsilon=EPSILON)

    def embeddings(self) -> str:
        words = self.node("Gather", self.weight("embeddings.word_embeddings.weight"), "ids")
        # All text is of type 0, so its row is added to the positions beforehand.
        types = self.weights["embeddings.token_type_embeddings.weight"][0]
        places = self.constant(self.weights["embeddings.position_embeddings.weight"] + types, "float32")
        width = self.node(
            "Slice", self.node("Shape", "ids"), self.constant([1], "int64"), self.constant([2], "int64")
        )
        rows = self.node("Slice", places, self.constant([0], "int64"), width, self.constant([0], "int64"))
        return self.norm("embeddings.LayerNorm", self.node("Add", words, rows))

    def attention_bias(self) -> None:
        """Add the output `bias`: nothing for a text's own tokens, minus very much for padding."""
        spread = self.node("Unsqueeze", "mask", self.constant([1, 2], "int64"))
        inverse = self.node("Sub", self.constant(1.0, "float32"), spread)
        self.node("Mul", inverse, self.constant(-1e9, "float32"), name="bias")

    def heads(self, prefix: str, hidden: str, order: list[int]) -> str:
        shape = self.constant([0, 0, HEADS, HEAD_WIDTH], "int64")
        return self.node("Transpose", self.node("Reshape", self.linear(prefix, hidden), shape), perm=order)

    def layer(self, prefix: str, hidden: str) -> str:
        attention = f"{prefix}.attention"
        query = self.heads(f"{attention}.self.query", hidden, [0, 2, 1, 3])
        key = self.heads(f"{attention}.self.key", hidden, [0, 2, 3, 1])
        value = self.heads(f"{attention}.self.value", hidden, [0, 2, 1, 3])
        scores = self.node("Mul", self.node("MatMul", query, key), self.constant(HEAD_WIDTH**-0.5, "float32"))
        shares = self.node("Softmax", self.node("Add", scores, "bias"), axis=-1)
        joined = self.node("Transpose", self.node("MatMul", shares, value), perm=[0, 2, 1, 3])
        context = self.node("Reshape", joined, self.constant([0, 0, WIDTH], "int64"))
        added = self.node("Add", self.linear(f"{attention}.output.dense", context), hidden)
        hidden = self.norm(f"{attention}.output.LayerNorm", added)
        inner = self.node("Gelu", self.linear(f"{prefix}.intermediate.dense", hidden))
        added = self.node("Add", self.linear(f"{prefix}.output.dense", inner), hidden)
        return self.norm(f"{prefix}.output.LayerNorm", added)

    def pooled(self, hidden: str) -> None:
        """Add the output `vectors`: the mean over each text's own tokens, of unit length."""
        column = self.node("Unsqueeze", "mask", self.constant([2], "int64"))
        tokens = self.constant([1], "int64")
        total = self.node("ReduceSum", self.node("Mul", hidden, column), tokens, keepdims=0)
        count = self.node("ReduceSum", "mask", tokens, keepdims=1)
        mean = self.node("Div", total, count)
        self.node("Div", mean, self.node("ReduceL2", mean, tokens, keepdims=1), name="vectors")
