"""A memory's report as tables for a person. The command `show_memory` prints them."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.text import Text

from agents.reports.tables import print_table
from agents.reports.turn_pages import cited_place, folded


def print_memory(report: dict[str, Any], console: Console, *, full: bool) -> None:
    """Print the report; without `full`, long texts are folded to their beginnings."""
    _print_head(report, console, full)
    sources = [
        (
            source["id"],
            source["speaker"] or "",
            source["room"] or "",
            _minute(source["said_at"]) or "deleted since",
            source["turn"] or "",
            folded(source["text"] or "", full),
        )
        for source in report["source_messages"]
    ]
    print_table(console, "Came from", ("message", "who", "where", "when", "its turn", "text"), sources)
    history = [
        (
            version["id"] if version["place"] else "this memory",
            folded(version["text"], full),
            _ended(version),
            version["ended_by_message"] or "",
        )
        for version in report["history"]
    ]
    if len(history) > 1:
        print_table(console, "History", ("memory", "text", "held until", "ended by message"), history)
    prompted = [(row["turn"], _minute(row["at"]), f"{row['score']:.3f}") for row in report["prompted"]]
    print_table(console, "In mind lately", ("turn", "when", ">score"), prompted)
    counted = len(prompted) or "None"
    console.print(f"\n{counted} of {report['looked_through']} had it in mind.", style="dim", soft_wrap=True)


def _print_head(report: dict[str, Any], console: Console, full: bool) -> None:
    fact = report["fact"] or {}
    rows = {
        "Memory": f"{report['memory']}: {report['kind']}, of the scope {report['scope']}",
        "Agent": report["agent"],
        "Person": report["person"],
        "Room": report["room"],
        "Speaker": report["speaker"],
        "Said": report["said_at"],
        "Text": folded(report["text"], full),
        "Document": cited_place(report["citation"]),
        "Added as": (report["citation"] or {}).get("name"),
        "Fact": _told(fact) if fact else "",
        "Made by turn": report["turn"],
        "Key": report["source_key"],
        "Vector of": report["embedding_model"],
    }
    for name, value in rows.items():
        if value:
            console.print(Text.assemble((f"{name}: ", "bold"), value), soft_wrap=True)


def _told(fact: dict[str, Any]) -> str:
    about = f" about {fact['subject']}" if fact["subject"] else ""
    attribute = f", {fact['attribute']} {fact['value']}".rstrip() if fact["attribute"] else ""
    last = f"last said {_minute(fact['last_seen_at'])}"
    times = "once" if fact["seen_count"] == 1 else f"{fact['seen_count']} times"
    return f"{fact['type']}{about}{attribute}, sure to {fact['confidence']:.2f}, said {times}, {last}"


def _ended(version: dict[str, Any]) -> str:
    if version["replaced_by"] is None:
        return "now"
    return _minute(version["held_until"]) or "it was replaced"


def _minute(moment: str | None) -> str:
    return moment[:16].replace("T", " ") if moment else ""
