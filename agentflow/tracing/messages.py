"""Messages in the form of the GenAI conventions (role and parts), from items of the Responses API."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import lru_cache
from typing import Any, cast

from agentflow.events import Json
from agentflow.tracing.values import Joined, dumped, fits, fitted, is_valid

Message = dict[str, Any]
# Longer items are not kept for the next turn.
_SHORT = 4096


def instructions(text: str) -> list[Message]:
    """What a model was told before the messages."""
    return [_text(text)]


def said(role: str, value: Json) -> list[Message]:
    """One message of one text; a value that is no text is shown as JSON."""
    return [{"role": role, "parts": [_text(value if isinstance(value, str) else dumped(value))]}]


def messages(items: Sequence[Json]) -> list[Message]:
    """Messages from input or output items; neighbours of one role are one message."""
    found: list[Message] = []
    for item in items:
        role, parts = _read(item)
        if found and found[-1]["role"] == role:
            found[-1]["parts"] += parts
        else:
            found.append({"role": role, "parts": parts})

    return found


def written(items: Sequence[str]) -> str:
    """The JSON of `messages` of items that are JSON themselves: a conversation grows, and each item is read once."""
    found: list[tuple[str, list[str]]] = []
    for item in items:
        role, parts = _kept(item) if len(item) <= _SHORT else _parts(item)
        if found and found[-1][0] == role:
            found[-1][1].extend(parts)
        else:
            found.append((role, [*parts]))

    said = [f'{{"role":{dumped(role)},"parts":[{",".join(parts)}]}}' for role, parts in found]
    text = f"[{','.join(said)}]"
    known = [*(role for role, _ in found), *(part for _, parts in found for part in parts)]
    return Joined(text, known) if fits(text) and is_valid(text) else fitted(json.loads(text))


def _parts(item: str) -> tuple[str, tuple[str, ...]]:
    role, parts = _read(json.loads(item))
    return role, tuple(map(dumped, parts))


_kept = lru_cache(1024)(_parts)


def answered(items: Sequence[Json], finish_reason: str) -> list[Message]:
    """The one message that a model answered with: what it said, thought and called."""
    parts = [part for item in items for part in _read(item)[1]]
    reason = "tool_call" if finish_reason == "tool_calls" else finish_reason
    return [{"role": "assistant", "parts": parts, "finish_reason": reason}]


def _read(item: Json) -> tuple[str, list[Message]]:
    if not isinstance(item, Mapping):
        return "user", [_text(str(item))]

    known = cast("Mapping[str, Any]", item)
    match known.get("type", "message"):
        case "message":
            return str(known.get("role", "assistant")), _contents(known.get("content"))
        case "function_call":
            return "assistant", [_call(known)]
        case "function_call_output":
            response = {
                "type": "tool_call_response",
                "id": known.get("call_id"),
                "response": known.get("output"),
            }
            return "tool", [response]
        case "reasoning":
            return "assistant", [{"type": "reasoning", "content": _thoughts(known)}]
        case kind:
            role = "tool" if str(kind).endswith("_output") else "assistant"
            return role, [{**known, "type": kind}]


def _call(item: Mapping[str, Any]) -> Message:
    arguments = item.get("arguments")
    with suppress(TypeError, ValueError):  # what a model wrote is shown, whatever it is
        arguments = json.loads(arguments or "{}")

    return {"type": "tool_call", "id": item.get("call_id"), "name": item.get("name"), "arguments": arguments}


def _thoughts(item: Mapping[str, Any]) -> str:
    texts = [*(item.get("summary") or ()), *(item.get("content") or ())]
    return "\n".join(str(text.get("text", "")) for text in texts if isinstance(text, Mapping))


def _contents(content: Json) -> list[Message]:
    if isinstance(content, str):
        return [_text(content)]

    return [_content(part) for part in cast("list[Any]", content or [])]


def _content(part: Json) -> Message:
    if not isinstance(part, Mapping):
        return _text(str(part))

    known = cast("Mapping[str, Any]", part)
    match known.get("type"):
        case "input_text" | "output_text" | "text":
            return _text(str(known.get("text", "")))
        case "refusal":
            return {"type": "refusal", "content": str(known.get("refusal", ""))}
        case "input_image":
            return _image(str(known.get("image_url") or ""), known)
        case kind:
            return {**known, "type": str(kind)}


def _image(url: str, part: Mapping[str, Any]) -> Message:
    if not url:
        return {"type": "file", "modality": "image", "file_id": str(part.get("file_id") or "")}

    if not url.startswith("data:"):
        return {"type": "uri", "modality": "image", "uri": url}

    head, _, content = url.removeprefix("data:").partition(",")
    return {"type": "blob", "modality": "image", "mime_type": head.partition(";")[0], "content": content}


def _text(text: str) -> Message:
    return {"type": "text", "content": text}
