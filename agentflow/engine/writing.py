"""Values on their way into the journal: what cannot be written as JSON is refused where it comes from."""

from __future__ import annotations

from typing import Any

from agentflow.events import Payload
from agentflow.exceptions import RunError
from agentflow.transcript import Transcribed

HINT = "give dataclasses, pydantic models, or plain data; keep files with `ctx.artifact`"


def written(value: Any, what: str) -> Payload:
    """The payload of a value, which may be one; raises `RunError` that says `what` cannot be written, and why."""
    if isinstance(value, Transcribed):
        return value  # its parts are written; they are put together where somebody reads them

    payload = value if isinstance(value, Payload) else Payload(value)
    try:
        _ = payload.json
    except Exception as error:
        raise RunError(f"{what} cannot be written as JSON: {error}", hint=HINT) from error

    return payload
