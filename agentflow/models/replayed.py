"""Models and MCP servers of a run that is executed again: what they gave is served from its record, none is ever asked."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Collection, Iterator, Mapping, Sequence
from contextvars import ContextVar
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from agentflow.context import current, restored
from agentflow.events import ErrorInfo, Event, OperationStarted, StepFailed, StepStarted
from agentflow.exceptions import ModelCannot, ProjectError
from agentflow.mcp import McpServer
from agentflow.models.catalog import ModelRef
from agentflow.models.pool import ModelPool
from agentflow.models.sdk import Model, ModelResponse, TResponseStreamEvent
from agentflow.tools import Tool

if TYPE_CHECKING:
    from agents.mcp import MCPServer

_is_replayed: ContextVar[bool] = ContextVar("agentflow_servers_replayed", default=False)


class RecordedPool(ModelPool):
    """The models by name, with no key and no server behind them, and the tools of MCP servers as models were shown them.

    `events` are the run's; `own` names the tools that are the definition's.
    """

    def __init__(self, environ: Mapping[str, str], events: Sequence[Event], own: Collection[str]) -> None:
        super().__init__(environ)
        self._own, self._listed = own, Listed(events)
        self._known: dict[str, McpServer] = {}
        self._given: dict[tuple[str, int], dict[str, str]] = {}
        self._replaced: list[MCPServer] = []

    def _made(self, ref: ModelRef) -> Model:
        return _Unasked(ref)

    async def tools(self, server: McpServer) -> list[Tool[..., Any]]:
        if self._known.setdefault(server.name, server) != server:
            raise ProjectError(
                f"two MCP servers are named `{server.name}`", hint="give each a name of its own"
            )

        step, shown, given = self._offered()
        found = [name for name in shown if self._is_of(server, name, given)]
        given.update(dict.fromkeys(found, server.name))
        return [self._tool(server, name, shown[name], step) for name in found]

    async def connect(self, server: MCPServer) -> None:
        """Nothing is connected: the SDK is given the tools that no other server has offered."""
        step, shown, given = self._offered()
        found = [name for name in shown if self._is_free(server.name, name, given)]
        given.update(dict.fromkeys(found, server.name))
        listed = [self._listed_tool(name, step) for name in found]
        known = server.list_tools

        async def list_tools(*arguments: Any, **options: Any) -> Any:
            # Another run in this process may use the same object, and that one is connected.
            return listed if _is_replayed.get() else await known(*arguments, **options)

        _is_replayed.set(True)
        server.list_tools = list_tools  # type: ignore[method-assign]
        self._replaced.append(server)

    async def aclose(self) -> None:
        for server in self._replaced:
            vars(server).pop("list_tools", None)

        self._replaced.clear()
        await super().aclose()

    def _offered(self) -> tuple[str, dict[str, Mapping[str, Any]], dict[str, str]]:
        """The step at hand, the tools that its models were shown, and which server was given which of them."""
        context = current()
        if context is None:
            return "", {}, {}

        shown = self._listed.shown(context.step)
        if not shown and (error := self._listed.error(context.step, context.attempt)) is not None:
            # It could not be connected then, or listed what cannot be used: before any model was asked.
            raise restored(error)

        return context.step, shown, self._given.setdefault((context.step, context.attempt), {})

    def _is_free(self, server: str, name: str, given: Mapping[str, str]) -> bool:
        is_own = name in self._own or name.startswith("transfer_to_")
        return not is_own and given.get(name, server) == server

    def _listed_tool(self, name: str, step: str) -> Any:
        # Imported here: the MCP client costs another half second.
        from mcp_types import Tool as Described
        from mcp_types import ToolAnnotations

        hints = ToolAnnotations(read_only_hint=self._listed.is_read(step, name))
        return Described(name=name, description="", input_schema={"type": "object"}, annotations=hints)

    def _is_of(self, server: McpServer, name: str, given: Mapping[str, str]) -> bool:
        if not self._is_free(server.name, name, given):
            return False

        if name in {_plain(server.prefix + said) for said in server.tools}:
            return True

        wanted = any(fnmatchcase(name, _plain(server.prefix) + allowed) for allowed in server.allow)
        return server.is_open and name.startswith(_plain(server.prefix)) and (wanted or not server.allow)

    def _tool(self, server: McpServer, name: str, described: Mapping[str, Any], step: str) -> Tool[..., Any]:
        origin = next((said for said in server.tools if _plain(server.prefix + said) == name), "*")
        own = origin if origin != "*" else name.removeprefix(server.prefix)
        labels = server.labels(own, is_read=self._listed.is_read(step, name))
        said = server.tools.get(own)

        async def uncalled(**_: Any) -> None:
            raise ModelCannot(f"`{name}` is not called while a run is executed again")

        return Tool(
            name=name,
            description=str(described.get("description", "")),
            function=uncalled,
            idempotent=said.idempotent if said is not None else labels.effect != "write",
            max_output=server.max_output,
            origin=f"{server.home}#{origin}",
            schema=described.get("parameters") or {"type": "object"},
            **labels._asdict(),
        )


def _plain(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9_-]+", "_", name).strip("_") if name.strip("_") == name else name


class Listed:
    """The tools that models of a run were shown, by step."""

    def __init__(self, events: Sequence[Event]) -> None:
        self._shown: dict[str, list[dict[str, Mapping[str, Any]]]] = {}
        self._effects: dict[tuple[str, str], str] = {}
        self._errors: dict[tuple[str, int], ErrorInfo] = {}
        attempts: dict[str, int] = {}
        for event in events:
            match event:
                case StepStarted():
                    attempts[event.step] = event.attempt
                case StepFailed():
                    self._errors[event.step, attempts.get(event.step, 0)] = event.error
                case OperationStarted(kind="chat"):
                    self._shown.setdefault(event.step, []).append(dict(_offers(event)))
                case OperationStarted(kind="tool"):
                    effect = str((event.attributes or {}).get("effect", ""))
                    self._effects.setdefault((event.step, event.name), effect)
                case _:
                    pass

    def shown(self, step: str) -> dict[str, Mapping[str, Any]]:
        """All tools that a model of the step was ever shown, in their order."""
        found: dict[str, Mapping[str, Any]] = {}
        for offers in self._shown.get(step, ()):
            for name, described in offers.items():
                found.setdefault(name, described)

        return found

    def error(self, step: str, attempt: int) -> ErrorInfo | None:
        """How an attempt failed."""
        return self._errors.get((step, attempt))

    def is_read(self, step: str, name: str) -> bool:
        """Whether the server said that a tool only reads: as it was called so, or was never taken off the offer."""
        if (effect := self._effects.get((step, name))) is not None:
            return effect == "read"

        turns = [name in offers for offers in self._shown.get(step, ()) if offers]
        return all(turns[turns.index(True) :]) if True in turns else True


def _offers(event: OperationStarted) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The tools of one request: by name for an agent, described in the document that a planner sends."""
    asked: Any = event.request.data if event.request is not None else {}
    asked = asked if isinstance(asked, dict) else {}
    for name in asked.get("tools") or ():
        yield str(name), {}

    for message in asked.get("messages") or ():
        content = message.get("content") if isinstance(message, dict) else None
        for described in _document(content).get("tools") or ():
            if isinstance(described, dict) and "name" in described:
                yield str(described["name"]), described


def _document(content: Any) -> Mapping[str, Any]:
    if not isinstance(content, str) or not content.startswith("{"):
        return {}

    try:
        found = json.loads(content)
    except ValueError:
        return {}

    return found if isinstance(found, dict) else {}


class _Unasked(Model):
    def __init__(self, ref: ModelRef) -> None:
        self._ref = ref

    async def get_response(self, *_: Any, **__: Any) -> ModelResponse:
        raise self._refusal()

    def stream_response(self, *_: Any, **__: Any) -> AsyncIterator[TResponseStreamEvent]:
        raise self._refusal()

    def _refusal(self) -> ModelCannot:
        return ModelCannot(f"`{self._ref}` is not asked while a run is executed again")
