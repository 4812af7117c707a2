"""`make bench-memory`: what a recall takes, and what it finds, among a thousand and a million memories.

Real PostgreSQL, the product's own recall and its own turn; the vectors are those of real sentences, noised to the size,
and the questions are sentences that were never stored. The reference is an exact scan in the same run. With fresh
servers:

    python -m eliza_site.embedded exec --durable -- python tests/benchmarks/memories.py [--sizes 1000 100000 1000000]
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "eliza_site.settings")
os.environ |= {"LOG_LEVEL": "warning", "PERSON_MESSAGES_PER_MINUTE": "1000000"}
os.environ["EMBEDDING_MODEL"], os.environ["EMBEDDING_BASE_URL"] = "all-MiniLM-L6-v2", ""

import django  # noqa: E402
import numpy as np  # noqa: E402
from rich import box  # noqa: E402
from rich.console import Console  # noqa: E402
from rich.table import Table  # noqa: E402

console = Console(highlight=False, soft_wrap=True, width=140)
progress = Console(stderr=True, highlight=False)
WARM_UP, QUESTIONS = 1000, 250
"""So many other questions come first, as a server that has just built its indexes has none of their pages at hand."""
NOISE = 0.5


def main() -> int:
    """Measure everything, print tables, and write the figures to a file."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sizes", type=int, nargs="+", default=[1000, 100_000, 1_000_000])
    parser.add_argument(
        "--json", type=Path, default=ROOT / ".run" / "benchmarks" / "memories.json", metavar="FILE"
    )
    parser.add_argument("--noise", type=float, default=NOISE, help="how far a copy lies from its sentence")
    options = parser.parse_args()
    if not os.environ.get("DATABASE_URL"):
        parser.error("DATABASE_URL names no server: run `make bench-memory`, which starts one.")
    django.setup()
    from django.core.management import call_command

    call_command("migrate", verbosity=0)
    import filling
    import recalling
    import writing
    from sentences import embedded_sentences, noised

    from memory.embeddings.local import LocalEmbedder

    texts, vectors = embedded_sentences(LocalEmbedder().embed, progress.print)
    count = WARM_UP + QUESTIONS
    questions = [
        recalling.Question(text=text, vector=row)
        for text, row in zip(texts[:count], vectors[:count], strict=True)
    ]
    texts, vectors = texts[count:], vectors[count:]
    results: dict[str, Any] = {"sentences": len(texts), "noise": options.noise, "sizes": {}}
    results["writing"] = writing.measure(texts, vectors)
    show_writing(results["writing"])
    for size in options.sizes:
        generator = np.random.default_rng(size)
        stored = noised(vectors, size, options.noise, generator)
        filled = filling.fill(texts, stored, progress.print)
        figures: dict[str, Any] = {"filling": filled.figures, "recall": {}}
        results["sizes"][size] = figures
        figures["first"] = recalling.begin(filled, filled.places[0], questions[:WARM_UP], QUESTIONS)
        asked = questions[WARM_UP:]
        for place in filled.places:
            progress.print(f"recall in {place.name}")
            # The one index answers for the direct chat, with most of the memories: more questions tell it better.
            sought = questions if place is filled.places[0] else asked
            figures["recall"][place.name] = recalling.measure(filled, place, asked, stored, sought=sought)
        progress.print("turns")
        figures |= recalling.measure_turns(filled, asked)
        show_size(size, results["sizes"][size])
    show_turns(results["sizes"])
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps(results, indent=1))
    return 0


def show_writing(figures: dict[str, Any]) -> None:
    """Print how quickly memories are written."""
    table = Table(title="Writing, with vectors made before", title_justify="left", box=box.SIMPLE)
    for heading in ("way", "memories", "seconds", "memories/s"):
        table.add_column(heading, justify="left" if heading == "way" else "right")
    for way, (count, seconds) in figures.items():
        table.add_row(way, f"{count:,}", f"{seconds:.2f}", f"{count / seconds:,.0f}")
    console.print(table)


def show_size(size: int, figures: dict[str, Any]) -> None:
    """Print what a recall took and found among so many memories."""
    title = f"Recall among {size:,} memories of one agent, row level security on, without the embedder"
    table = Table(title=title, title_justify="left", box=box.SIMPLE)
    for heading in ("where", "may surface", "p50 ms", "p95 ms", "exact scan p50 ms", "found of the nearest 10",
                    "CPU ms PostgreSQL", "CPU ms Python"):  # fmt: skip
        table.add_column(heading, justify="left" if heading == "where" else "right")
    for name, row in figures["recall"].items():
        table.add_row(
            name,
            f"{row['visible']:,}",
            f"{row['p50']:.1f}",
            f"{row['p95']:.1f}",
            f"{row['exact_p50']:.1f}",
            f"{row['found']:.4f}",
            f"{row['cpu_postgresql']:.1f}",
            f"{row['cpu_python']:.1f}",
        )
    console.print(table)
    first = figures["first"]
    console.print(
        f"the first {QUESTIONS} after the indexes were built: p50 {first['p50']:.1f}, p95 {first['p95']:.1f} ms"
    )
    console.print(f"filled: {figures['filling']}")


def show_turns(sizes: dict[int, Any]) -> None:
    """Print what a turn costs, and a turn of the small agent that took turns with it."""
    title = "A turn, in the agent's largest room, and one of an agent with 1,000 memories in the same table"
    table = Table(title=title, title_justify="left", box=box.SIMPLE)
    for heading in ("memories", "CPU ms", "of it PostgreSQL", "ms", "with 1,000: CPU ms", "ratio"):
        table.add_column(heading, justify="right")
    for size, figures in sizes.items():
        turn, small = figures["turn"], figures.get("small_turn")
        table.add_row(
            f"{size:,}",
            f"{turn['cpu']:.1f}",
            f"{turn['cpu_postgresql']:.1f}",
            f"{turn['wall']:.1f}",
            f"{small['cpu']:.1f}" if small else "",
            f"{turn['cpu'] / small['cpu']:.2f}" if small else "",
        )
    console.print(table)


if __name__ == "__main__":
    sys.exit(main())
