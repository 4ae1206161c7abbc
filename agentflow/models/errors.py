"""Errors of providers and of the SDK, told as agentflow's own: what happened, where, and how to mend it.

They are known by the names of their classes: to compare the classes themselves the SDK would have to be imported,
which takes a second, and its client libraries change theirs more often than these names.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from agentflow.exceptions import (
    AgentflowError,
    GuardrailTripped,
    ModelOutputInvalid,
    ModelRefused,
    ModelTimeout,
    ModelTurnsExceeded,
    ModelUnreachable,
)

_HINTS = {
    400: "the server does not understand the request: does it know this model and its settings?",
    401: "check the key: OPENAI_API_KEY for OpenAI and for OPENAI_BASE_URL, AGENTFLOW_API_KEY for other servers",
    403: "the key is valid but may not use this model",
    404: "check the model's name, and that the address ends in `/v1`",
    429: "wait, raise the quota, or lower `parallel`",
}
Where = tuple[str, str | None]


def translated(error: BaseException, *, subject: str, url: str | None = None) -> BaseException:
    """`error` as an error of agentflow, or `error` itself when it is one already or is not the model's.

    `subject` names what was at work, such as "model `gpt-5-mini`"; `url` is where its requests go.
    """
    if isinstance(error, AgentflowError):
        return error

    names = {kind.__name__ for kind in type(error).__mro__}
    for known, tell in _TELLERS:
        if known & names:
            return tell(error, (subject, url))

    return _other_protocol(error, (subject, url)) if url and names & _MISREAD else error


def missing_key(model: str, variable: str) -> ModelRefused:
    """A model whose server asks for a key that is not set."""
    return ModelRefused(
        f"model `{model}` needs a key, and {variable} is not set",
        hint=f"set {variable}, or OPENAI_BASE_URL for a server of your own, or pass `--model embedded`",
    )


def refused_by_model(subject: str, refusal: str) -> ModelRefused:
    """A model that answered that it will not answer."""
    return ModelRefused(f"{subject} declined: {refusal}", hint="change the prompt, or choose another model")


def _at(url: str | None) -> str:
    return f" at {url}" if url else ""


def _timeout(_error: BaseException, where: Where) -> AgentflowError:
    subject, url = where
    return ModelTimeout(
        f"{subject}{_at(url)} did not answer in time",
        hint="a larger time limit, a smaller model or a shorter prompt helps",
    )


def _unreachable(error: BaseException, where: Where) -> AgentflowError:
    subject, url = where
    reason = str(error.__cause__ or error) or type(error).__name__
    return ModelUnreachable(
        f"{subject}{_at(url)} cannot be reached: {reason}", hint=f"is the server{_at(url)} running?"
    )


def _status(error: BaseException, where: Where) -> AgentflowError:
    subject, url = where
    status = int(getattr(error, "status_code", 0))
    text = f"HTTP {status}: {_server_message(error)}"
    if status >= 500:
        return ModelUnreachable(
            f"the server of {subject}{_at(url)} failed: {text}", hint="try again, or read the server's log"
        )

    return ModelRefused(
        f"{subject}{_at(url)} refused the request: {text}", hint=_HINTS.get(status, _HINTS[400])
    )


def _server_message(error: BaseException) -> str:
    body = getattr(error, "body", None)
    message = body.get("message") if isinstance(body, dict) else None
    return str(message or getattr(error, "message", error))[:500]


def _stream_error(error: BaseException, where: Where) -> AgentflowError:
    subject, url = where
    return ModelRefused(f"{subject}{_at(url)} stopped: {_server_message(error)}", hint=_HINTS[400])


def _other_protocol(error: BaseException, where: Where) -> AgentflowError:
    subject, url = where
    return ModelOutputInvalid(
        f"what answers for {subject}{_at(url)} does not speak the OpenAI API: {error}", hint=_HINTS[404]
    )


def _behaviour(error: BaseException, where: Where) -> AgentflowError:
    return ModelOutputInvalid(
        f"{where[0]} gave no usable answer: {str(error)[:400]}",
        hint="a larger `max_tokens` or a stronger model helps",
    )


def _declined(error: BaseException, where: Where) -> AgentflowError:
    return refused_by_model(where[0], str(getattr(error, "refusal", error)))


def _turns(error: BaseException, where: Where) -> AgentflowError:
    return ModelTurnsExceeded(
        f"{where[0]} gave no final answer: {error}",
        hint="raise `max_turns`, or say in its instructions when it is done",
    )


def _guardrail(error: BaseException, where: Where) -> AgentflowError:
    result = getattr(error, "guardrail_result", None)
    guardrail: Any = getattr(result or error, "guardrail", None)
    name = guardrail.get_name() if guardrail is not None else type(error).__name__
    info = getattr(getattr(result or error, "output", None), "output_info", None)
    return GuardrailTripped(
        f"guardrail `{name}` stopped {where[0]}" + (f": {info}" if info else ""),
        hint="its input or answer is what the guardrail was written to stop",
    )


# What the client and the SDK stumble over when a server sends something that is no answer of this API.
_MISREAD = frozenset({"JSONDecodeError", "ValidationError", "AttributeError", "TypeError", "KeyError"})
# The first entry that names a class of the error tells of it, so the narrower ones come first.
_TELLERS: tuple[tuple[frozenset[str], Callable[[BaseException, Where], AgentflowError]], ...] = (
    (frozenset({"APITimeoutError", "ModelTimeoutError", "TimeoutException", "TimeoutError"}), _timeout),
    (frozenset({"APIConnectionError", "TransportError", "ConnectionError"}), _unreachable),
    (frozenset({"APIResponseValidationError"}), _other_protocol),
    (frozenset({"APIStatusError"}), _status),
    (frozenset({"APIError"}), _stream_error),
    (frozenset({"MaxTurnsExceeded"}), _turns),
    (frozenset({"ModelRefusalError"}), _declined),
    (
        frozenset(
            {
                "InputGuardrailTripwireTriggered",
                "OutputGuardrailTripwireTriggered",
                "ToolInputGuardrailTripwireTriggered",
                "ToolOutputGuardrailTripwireTriggered",
            }
        ),
        _guardrail,
    ),
    (frozenset({"ModelBehaviorError"}), _behaviour),
)
