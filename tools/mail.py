"""Mail of this project: an outbox file. A real project puts its mail service here; the labels stay."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path

from agentflow import tool
from agentflow.context import current

OUTBOX = "traces/artifacts/outbox.jsonl"


@tool(effect="write", returns="trusted", outside=True, timeout=20)
async def send_mail(to: str, subject: str, body: str) -> str:
    """Put a message into the outbox; returns its key there."""
    context = current()
    root = context.root if context is not None else Path.cwd()
    key = context.idempotency_key if context is not None else ""
    await asyncio.to_thread(
        _append, root / OUTBOX, {"key": f"{key}:{to}", "to": to, "subject": subject, "body": body}
    )
    return f"{key}:{to}"


def _append(path: Path, message: dict[str, str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(message, ensure_ascii=False) + "\n")
        file.flush()
        os.fsync(file.fileno())
