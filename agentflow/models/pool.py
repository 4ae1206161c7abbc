"""The models and MCP servers that a run holds open."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from agentflow.exceptions import ProjectError, ToolError, UnknownName
from agentflow.mcp import McpServer
from agentflow.models.catalog import ModelRef, parse
from agentflow.models.mcp import Clients, McpSession
from agentflow.models.pricing import Price
from agentflow.models.sdk import Model, sdk_model
from agentflow.models.traced import TracedModel
from agentflow.tools import Tool

if TYPE_CHECKING:
    from agents.mcp import MCPServer, MCPServerManager


_CONNECT_SECONDS = 30


class ModelPool:
    """The models and MCP servers of one run: each is made once, and all are closed together.

    `extra` holds the models that `scripted/NAME` names; `prices` go before the list of prices, see `cost_usd`. `clients` makes
    the HTTP clients that MCP servers are asked with.
    """

    def __init__(
        self,
        environ: Mapping[str, str],
        *,
        extra: Mapping[str, Model] | None = None,
        prices: Mapping[str, Price] | None = None,
        timeout: float = 60.0,
        max_retries: int = 2,
        clients: Clients | None = None,
    ) -> None:
        self._environ = environ
        self._extra = dict(extra or {})
        self.prices = dict(prices or {})
        self._timeout = timeout
        self._max_retries = max_retries
        self._models: dict[ModelRef, TracedModel] = {}
        self._clients = clients
        self._sessions: dict[str, McpSession] = {}
        self._servers: dict[MCPServer, MCPServerManager] = {}
        self._connecting = asyncio.Lock()

    def model(self, ref_text: str) -> TracedModel:
        """The model that `ref_text` names, recorded."""
        ref = parse(ref_text, self._environ)
        if ref not in self._models:
            self._models[ref] = TracedModel(self._made(ref), ref, prices=self.prices)

        return self._models[ref]

    def _made(self, ref: ModelRef) -> Model:
        if ref.provider != "scripted":
            return sdk_model(ref, self._environ, timeout=self._timeout, max_retries=self._max_retries)

        if ref.name not in self._extra:
            raise UnknownName("scripted model", ref.name, list(self._extra))

        return self._extra[ref.name]

    async def tools(self, server: McpServer) -> list[Tool[..., Any]]:
        """The tools of an MCP server, which is connected for that; raises `ToolError` where it cannot be."""
        known = self._sessions.setdefault(server.name, McpSession(server=server, clients=self._clients))
        if known.server != server:
            raise ProjectError(
                f"two MCP servers are named `{server.name}`", hint="give each a name of its own"
            )

        return await known.tools()

    async def connect(self, server: MCPServer) -> None:
        """Connect `server` unless its owner did; what is connected here stays so until `aclose`."""
        # Imported here: the MCP client costs another half second.
        from agents.mcp import MCPServerManager

        async with self._connecting:
            if server in self._servers or getattr(server, "session", server) is not None:
                return

            # In a worker task of its own: a server must be closed by the task that connected it.
            manager = MCPServerManager(
                [server], strict=True, connect_in_parallel=True, connect_timeout_seconds=_CONNECT_SECONDS
            )
            try:
                await manager.connect_all()
            except Exception as error:
                raise ToolError(
                    f"the MCP server `{server.name}` cannot be connected: {type(error).__name__}: {error}",
                    hint="does its command or address work by itself?",
                ) from error

            self._servers[server] = manager

    async def aclose(self) -> None:
        """Close all connections; the pool may be used again afterwards."""
        models, self._models = self._models, {}
        servers, self._servers = self._servers, {}
        sessions, self._sessions = self._sessions, {}
        closing = [model.close() for model in models.values()]
        closing += [session.aclose() for session in sessions.values()]
        closing += [manager.cleanup_all() for manager in servers.values()]
        await asyncio.gather(*closing)
