"""Values on their way into the journal: what cannot be written as JSON is refused where it comes from."""

from __future__ import annotations

from typing import Any

from agentflow.events import Payload
from agentflow.exceptions import RunError

HINT = "give dataclasses, pydantic models, or plain data; keep files with `ctx.artifact`"


def written(value: Any, what: str) -> Payload:
    """The payload of a value; raises `RunError` that says `what` cannot be written, and why.

    A payload is one already.
    """
    if isinstance(value, Payload):
        return value

    payload = Payload(value)
    try:
        _ = payload.json
    except Exception as error:
        raise RunError(f"{what} cannot be written as JSON: {error}", hint=HINT) from error

    return payload
