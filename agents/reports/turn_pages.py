"""A turn's report as tables for a person. The command `show_turn` prints them."""

from __future__ import annotations

import json
from typing import Any

from rich.console import Console
from rich.text import Text

from agents.reports.tables import FOLDED_CHARACTERS, Row, print_table
from plugins.api import Citation


def print_turn(report: dict[str, Any], console: Console, *, full: bool) -> None:
    """Print the report; without `full`, long texts are folded to their beginnings."""
    _print_head(report, console, full)
    steps = [
        (
            step["name"],
            step["state"],
            f"{step['milliseconds']:.1f}",
            folded(step["input"], full),
            folded(step["output"], full),
            step["error"],
        )
        for step in report["steps"]
    ]
    print_table(console, "Steps", ("step", "state", ">ms", "input", "output", "error"), steps)
    calls = [
        (
            call["purpose"],
            call["model"],
            f"{call['milliseconds']:.0f}",
            _number(call["input_tokens"]),
            _number(call["output_tokens"]),
            call["parse_path"],
            folded(call["answer"], full),
            call["error"],
        )
        for call in report["model_calls"]
    ]
    columns: Row = ("purpose", "model", ">ms", ">tokens in", ">tokens out", "parse path", "answer", "error")
    print_table(console, "Model calls", columns, calls)
    _print_prompts(report, console, full)
    memories = [
        (
            f"{hit['score']:.3f}",
            _scores(hit["scores"]),
            hit["id"],
            hit["kind"] or "",
            cited_place(hit["citation"]) or _said(hit["source_messages"]),
            folded(hit["text"] or "(forgotten since)", full),
        )
        for hit in report["memories"]
    ]
    _print_approvals(report, console, full)
    print_table(
        console, "Recalled memories", (">score", "because of", "memory", "kind", "from", "text"), memories
    )
    deliveries = [
        (
            row["state"],
            str(row["attempts"]),
            row["sent_at"] or "",
            folded(row["text"], full),
            folded(row["answer"], full),
            row["error"],
        )
        for row in report["deliveries"]
    ]
    columns = ("state", ">attempts", "sent at", "text", "the network's answer", "error")
    print_table(console, "Deliveries", columns, deliveries)


def _print_head(report: dict[str, Any], console: Console, full: bool) -> None:
    outcome = f", {report['outcome']}" if report["outcome"] else ""
    message = report["message"] or {}
    rows = {
        "Turn": f"{report['turn']}: {report['state']}{outcome}, attempt {report['attempts']}",
        "Agent": f"{report['agent']}, character version {report['character_version'] or 'not chosen yet'}",
        "Person": f"{report['person']}, in {report['room']} ({report['room_type']}) on {report['platform']}",
        "Message": f"{message.get('id', 'none')} ({message.get('external_id', '')})",
        "Text": folded(message.get("text", ""), full),
        "Received": report["received_at"],
        "Started": report["started_at"],
        "Ended": report["ended_at"],
        "Learning": report["evaluation"],
        "Error": report["error"],
    }
    for name, value in rows.items():
        if value:
            console.print(Text.assemble((f"{name}: ", "bold"), value), soft_wrap=True)


def _print_approvals(report: dict[str, Any], console: Console, full: bool) -> None:
    approvals = [
        (
            str(row["id"]),
            row["action"],
            folded(row["arguments"], full),
            row["kind"],
            row["state"],
            row["decided_by"],
            row["reason"],
        )
        for row in report["approvals"]
    ]
    columns: Row = ("id", "action", "arguments", "kind", "state", "decided by", "reason")
    print_table(console, "Approvals", columns, approvals)


def _print_prompts(report: dict[str, Any], console: Console, full: bool) -> None:
    if report["model_calls"] and not full:
        console.print("Prompts are folded: --full shows them.", style="dim", soft_wrap=True)
    for call in report["model_calls"] if full else ():
        for line in call["prompt"]:
            head = (f"Prompt of {call['purpose']}, {line['role']}: ", "bold")
            console.print(Text.assemble(head, line["content"]), soft_wrap=True)


def folded(value: Any, full: bool) -> str:
    """Return a value in one text, its beginning alone where it is long and `full` is not asked for."""
    if value in ({}, [], None):
        return ""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if full or len(text) <= FOLDED_CHARACTERS else text[: FOLDED_CHARACTERS - 1] + "…"


def _said(sources: list[dict[str, Any]]) -> str:
    """Say in one line which messages a memory came from, and who said them when."""
    return ", ".join(
        f"message {source['id']} ({source['speaker']}, {source['said_at'][:16].replace('T', ' ')})"
        if source["said_at"]
        else f"message {source['id']} (deleted since)"
        for source in sources
    )


def cited_place(citation: dict[str, Any] | None) -> str:
    """Say in one line where in a document a memory stands."""
    if citation is None:
        return ""
    shown = Citation(**{**citation, "headings": tuple(citation["headings"])})
    return ", ".join(filter(None, [shown.document, shown.heading, shown.pages]))


def _number(value: int | None) -> str:
    return "unknown" if value is None else str(value)


def _scores(scores: dict[str, float]) -> str:
    return ", ".join(
        f"{name} {score:.3f}" for name, score in sorted(scores.items(), key=lambda item: -item[1])
    )
