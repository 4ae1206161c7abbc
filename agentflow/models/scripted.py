"""The SDK's own double of a model, and what it can be told to say."""

from __future__ import annotations

from agents.testing import ScriptedModel, assistant_message, function_call

__all__ = ["ScriptedModel", "assistant_message", "function_call"]
