"""What the failures of a server that speaks the OpenAI API mean, in the errors of tools."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from agentflow.exceptions import NetworkUnavailable, RateLimited, ToolError, ToolTimeout
from agentflow.toolkit.guard import retry_after

_LONGEST = 300  # characters of a server's own words
_HINTS = {
    400: "does its model know this format, language or size?",
    401: "check the key of the endpoint",
    403: "the key is valid, but may not use this model",
    404: "check the model's name, that the address ends in `/v1`, and that the server offers this at all",
    405: "check that the address ends in `/v1`, and that the server offers this at all",
    413: "send a smaller file, or a part of it",
    415: "convert the file to a format that the server reads, such as wav, mp3, png or jpeg",
    422: "does its model know this format, language or size?",
}


def refusal(where: str, status: int, headers: Mapping[str, str], body: bytes) -> ToolError:
    """The error that an answer with an HTTP `status` other than 200 stands for."""
    code, said = _said(body)
    text = f"{where} answered {status}" + (f": {said}" if said else "")
    if status == 429 and code == "insufficient_quota":
        return ToolError(text, hint="its account has no credit left: asking again does not help")

    wait = retry_after(headers.get("retry-after"))
    if status == 429 or (status == 503 and wait is not None):
        return RateLimited(text, hint="ask less often, or raise the quota", retry_after=wait)

    if status == 408:
        return ToolTimeout(text)

    if status >= 500:
        return NetworkUnavailable(text, hint="try again later, or read the server's log")

    if 300 <= status < 400:
        return ToolError(
            f"{where} sends on to another address, which is not followed",
            hint="give the address where it leads: the key goes nowhere else",
        )

    return ToolError(text, hint=_HINTS.get(status, ""))


def _said(body: bytes) -> tuple[str, str]:
    """The code and the words of an error, wherever the servers of this world put them."""
    try:
        found: Any = json.loads(body)
    except ValueError:
        return "", _brief(body.decode(errors="replace")) if not body.lstrip().startswith(b"<") else ""

    if isinstance(found, dict):
        found = found.get("error") or found.get("detail") or found.get("message") or ""

    if isinstance(found, dict):
        return str(found.get("code") or ""), _brief(str(found.get("message") or found))

    return "", _brief(str(found))


def _brief(text: str) -> str:
    shown = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return shown if len(shown) <= _LONGEST else f"{shown[:_LONGEST]}..."
