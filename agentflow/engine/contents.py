"""What the models of a step have read, and which calls nobody may make after that without a person's approval.

These are the rules of `agentflow.validation.flow`, kept while a run goes on: there they tell of what could happen.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from agentflow.spec import FlowKind
from agentflow.tools import Tool
from agentflow.validation.flow_graph import Taint

# By kind of content, where the tools that gave it reach.
Sources = Mapping[Taint, frozenset[str]]


class Contents:
    """The kinds of content that models of one step know: `arrived` is what its input can hold.

    What a call gave counts once a model was asked after it: calls that were decided on together do not steer each other.
    """

    def __init__(self, arrived: Sources) -> None:
        self._read: dict[Taint, set[str]] = {taint: set(sources) for taint, sources in arrived.items()}
        self._seen: list[Tool[..., Any]] = []

    def has(self, taint: Taint) -> bool:
        """Whether a model can know content of this kind."""
        return bool(self._read.get(taint))

    def saw(self, tool: Tool[..., Any]) -> None:
        """A call of `tool` has ended."""
        self._seen.append(tool)

    def count_seen(self) -> None:
        """What was seen so far is told to a model now, or goes into another call."""
        for tool in self._seen:
            if tool.returns == "untrusted":
                self._read.setdefault("untrusted", set()).add(tool.home)

            if tool.private:
                self._read.setdefault("private", set()).add(tool.home)

        self._seen.clear()

    def refusal(self, tool: Tool[..., Any], allowed: Callable[[FlowKind], str]) -> str:
        """Why `tool` may not be called any more; empty where it may. `allowed` gives the reason of a waiver, or nothing."""
        if tool.labels.needs_approval or not self._read.get("untrusted"):
            return ""

        if tool.effect == "write" and not allowed("untrusted-to-write"):
            return "it writes, and untrusted content was read before"

        private = self._read.get("private", set())
        leaves = tool.outside and (private - {tool.home} or (private and tool.effect == "write"))
        if leaves and not allowed("all-three"):
            return "it reaches the outside, and untrusted content and private data were read before"

        return ""
