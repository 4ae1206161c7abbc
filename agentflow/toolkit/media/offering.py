"""What media can do, as tools with the labels that fit where the work is done."""

from __future__ import annotations

from typing import Any

from agentflow.toolkit.media.images import Images
from agentflow.toolkit.media.moderation import Moderator
from agentflow.toolkit.media.ocr import Ocr
from agentflow.toolkit.media.speech import SpeechEngine
from agentflow.tools import Tool, tool

_RETRIES = 2


def speech_tools(engine: SpeechEngine, *, timeout: float = 600) -> list[Tool[..., Any]]:
    """The tools transcribe and translate. They read files, and carry them away where the engine is elsewhere."""
    make = tool(effect="read", returns="untrusted", private=True, outside=engine.is_outside, timeout=timeout)
    return [make(engine.transcribe), make(engine.translate)]


def image_tools(images: Images, *, timeout: float = 300) -> list[Tool[..., Any]]:
    """The tools generate_image, and edit_image, which carries files away."""
    kinds: dict[str, Any] = {"effect": "read", "returns": "untrusted", "outside": True, "timeout": timeout}
    kinds["retries"] = _RETRIES
    return [
        tool(name="generate_image", **kinds)(images.generate),
        tool(name="edit_image", private=True, **kinds)(images.edit),
    ]


def moderation_tool(moderator: Moderator, *, timeout: float = 60) -> Tool[..., Any]:
    """The tool moderate. It carries its text away."""
    return tool(effect="read", returns="untrusted", outside=True, timeout=timeout, retries=_RETRIES)(
        moderator.moderate
    )


def ocr_tool(ocr: Ocr, *, timeout: float = 120) -> Tool[..., Any]:
    """The tool read_image. It reads files, on this machine."""
    return tool(effect="read", returns="untrusted", private=True, timeout=timeout)(ocr.read_image)
