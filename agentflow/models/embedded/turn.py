"""A planning turn as values: what the embedded planner is asked, and what it answers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from agentflow.models.embedded.families import Offer
from agentflow.models.embedded.router import Choice

_QUESTION_FIELDS = ("task", "question", "query", "request", "prompt", "text", "topic", "subject", "body")


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """What came of an earlier call."""

    id: str
    tool: str
    arguments: Mapping[str, Any]
    ok: bool
    text: str
    error: str

    @property
    def empty(self) -> bool:
        """Did the call succeed with nothing in it?"""
        return self.ok and self.text.strip().lower() in {"", "[]", "{}", "null", "none", '""', "no results"}

    @property
    def skipped(self) -> bool:
        """Was the call never made, because one that it waits for failed?"""
        said = f"{self.error} {self.text}".lower()
        return not self.ok and any(word in said for word in ("skipped", "not made", "not run", "depends on"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """All that a turn of planning knows."""

    task: str
    offers: tuple[Offer, ...]
    observations: tuple[Observation, ...]
    calls_left: int
    rounds_left: int

    def offer(self, name: str) -> Offer | None:
        """The offered tool of that name."""
        return next((o for o in self.offers if o.name == name), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A call that is planned."""

    id: str
    tool: str
    arguments: Mapping[str, Any]
    after: tuple[str, ...]
    why: str
    choice: Choice

    def as_json(self) -> dict[str, Any]:
        """The call as the planner's reply wants it."""
        return {
            "id": self.id,
            "tool": self.tool,
            "arguments": json.dumps(self.arguments, ensure_ascii=False),
            "after": list(self.after),
            "why": self.why,
            "confidence": round(self.choice.confidence, 3),
            "alternatives": [
                {"tool": tool or "none", "confidence": round(confidence, 3)}
                for tool, confidence in self.choice.alternatives
            ],
        }


def key(tool: str, arguments: Mapping[str, Any]) -> str:
    """What two identical calls have in common."""
    return f"{tool} {json.dumps(arguments, sort_keys=True, ensure_ascii=False, default=str)}"


def read(request: Mapping[str, Any]) -> Turn:
    """A `Turn` from parsed JSON; what is missing counts as none."""
    return Turn(
        task=_task(str(request.get("task", ""))),
        offers=tuple(_offer(tool) for tool in request.get("tools") or ()),
        observations=tuple(_observation(o) for o in request.get("observations") or ()),
        calls_left=int(request.get("calls_left", 1)),
        rounds_left=int(request.get("rounds_left", 1)),
    )


def _offer(tool: Mapping[str, Any]) -> Offer:
    return Offer(
        name=str(tool["name"]),
        description=str(tool.get("description") or ""),
        parameters=tool.get("parameters") or {},
    )


def _observation(seen: Mapping[str, Any]) -> Observation:
    return Observation(
        id=str(seen.get("id", "")),
        tool=str(seen.get("tool", "")),
        arguments=_arguments(seen.get("arguments")),
        ok=bool(seen.get("ok", True)),
        text=str(seen.get("text") or ""),
        error=str(seen.get("error") or ""),
    )


def _arguments(stated: Any) -> Mapping[str, Any]:
    if isinstance(stated, str):
        stated = _parsed(stated)

    return stated if isinstance(stated, Mapping) else {}


def _task(text: str) -> str:
    """The question in `text`: a workflow may hand its input over as a JSON object."""
    parsed = _parsed(text)
    if not isinstance(parsed, Mapping):
        return text.strip()

    texts = {str(name): value.strip() for name, value in parsed.items() if isinstance(value, str)}
    named = next((texts[name] for name in _QUESTION_FIELDS if texts.get(name)), None)
    return named or max(texts.values(), key=len, default=text.strip())


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return None
