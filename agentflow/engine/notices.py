"""What the runner tells beside events: streamed text, and errors as data."""

from __future__ import annotations

import traceback
from typing import NamedTuple

from agentflow.events import ErrorInfo
from agentflow.exceptions import AgentflowError
from agentflow.secrets import redact


class Delta(NamedTuple):
    """A piece of text as a model streams it; shown to watchers, not kept."""

    step: str
    text: str


def error_info(error: BaseException, *, kind: str = "") -> ErrorInfo:
    """An error as data; the traceback keeps the last five frames."""
    trace = "" if isinstance(error, AgentflowError) else _trace(error)
    hint = error.hint if isinstance(error, AgentflowError) else ""
    kind = kind or type(error).__name__
    return ErrorInfo(
        kind=kind, message=redact(str(error)), hint=redact(hint), traceback=redact(trace), base=_base(error)
    )


def _base(error: BaseException) -> str:
    """The error of agentflow that a user's own one is a kind of."""
    kinds = (kind.__name__ for kind in type(error).__mro__ if kind.__module__ == AgentflowError.__module__)
    base = next(kinds, "")
    return base if base != type(error).__name__ else ""


def _trace(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)[-5:]
    return "".join(traceback.format_list(frames)).rstrip()
