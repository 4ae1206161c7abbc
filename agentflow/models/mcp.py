"""Connections to MCP servers through the SDK's client: their tools as tools of ours, and what came of a call in our words."""

from __future__ import annotations

import asyncio
import base64
import json
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from mimetypes import guess_extension
from typing import TYPE_CHECKING, Any

from agentflow.conformance import schema_faults
from agentflow.context import current
from agentflow.exceptions import EffectInDoubt, NetworkUnavailable, ToolError, ToolTimeout
from agentflow.marking import clean
from agentflow.mcp import McpServer
from agentflow.secrets import Secret, redact
from agentflow.tools import Tool

if TYPE_CHECKING:
    from agents.mcp import MCPServer, MCPServerManager

# Makes the HTTP client of a server; the way out is not for this module to know.
Clients = Callable[[McpServer], Awaitable[Callable[..., Any]]]
_MOST_TOOLS, _MOST_PAGES = 200, 20
_LONGEST_NAME, _LONGEST_DESCRIPTION = 64, 1500  # characters
_LONGEST_SCHEMA = 20_000  # characters
_TOLD = 2000  # characters of an error
_BYTES = 20_000_000  # of what one result holds


@dataclass(slots=True, kw_only=True)
class McpSession:
    """One server as a run uses it: connected when it is first needed, and again after it was lost."""

    server: McpServer
    clients: Clients | None
    _manager: MCPServerManager | None = None
    _tools: list[Tool[..., Any]] | None = None
    _lost: list[MCPServerManager] = field(default_factory=list[Any])
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def tools(self) -> list[Tool[..., Any]]:
        """The tools that the project uses, as they were first listed: what a server changes later is not followed.

        Raises `ToolError` if the server cannot be connected, or lists what cannot be used.
        """
        if self._tools is None:
            connected = await self._connected()
            try:
                async with asyncio.timeout(self.server.timeout):
                    listed = await connected.list_tools()
            except Exception as error:
                raise self._failed("does not list its tools", error) from error

            self._tools = self._made(listed)

        return self._tools

    async def aclose(self) -> None:
        """Close the connection, and those that were lost."""
        managers, self._manager, self._lost = [*self._lost, *filter(None, [self._manager])], None, []
        for manager in managers:
            await manager.cleanup_all()

    def _made(self, listed: Sequence[Any]) -> list[Tool[..., Any]]:
        known = [described for described in listed if self.server.offers(described.name)]
        if missing := sorted(set(self.server.tools) - {described.name for described in known}):
            there = ", ".join(f"`{described.name[:_LONGEST_NAME]}`" for described in listed[:30])
            raise ToolError(
                f"the MCP server `{self.server.name}` has no tool `{missing[0]}`",
                hint=f"it has: {there or 'none'}",
            )

        if len(known) > _MOST_TOOLS:
            raise ToolError(
                f"the MCP server `{self.server.name}` offers {len(known)} tools, more than {_MOST_TOOLS}",
                hint="name those that are needed: `allow=[...]`",
            )

        tools = [self._tool(described) for described in known]
        if len({tool.name for tool in tools}) < len(tools):
            raise ToolError(f"the MCP server `{self.server.name}` lists two tools of one name")

        return tools

    def _tool(self, described: Any) -> Tool[..., Any]:
        """A listed tool, with the project's labels; its words and its schema are the server's, and nobody has read them."""
        server, name = self.server, str(described.name)
        said, hints = server.tools.get(name), described.annotations
        labels = server.labels(name, is_read=hints is not None and hints.read_only_hint is True)
        schema = self._schema(name, described.input_schema)

        repeats = said.idempotent if said is not None else labels.effect != "write"
        is_once = labels.effect == "write" and not repeats

        async def call(**arguments: Any) -> Any:
            return await self._call(name, arguments, is_once=is_once)

        text = (said.description if said else "") or clean(described.description or "")[:_LONGEST_DESCRIPTION]
        plain = re.sub(r"[^A-Za-z0-9_-]+", "_", f"{server.prefix}{name}").strip("_")[:_LONGEST_NAME]
        return Tool(
            name=plain or "call",
            description=text,
            function=call,
            idempotent=repeats,
            timeout=(said.timeout if said else None) or server.timeout,
            max_output=server.max_output,
            retries=said.retries if said else 0,
            concurrency=said.concurrency if said else None,
            rate=said.rate if said else None,
            origin=f"{server.home}#{name if said else '*'}",
            schema=schema,
            **labels._asdict(),
        )

    def _schema(self, name: str, given: Mapping[str, Any]) -> dict[str, Any]:
        """The schema of a tool, without what nobody sees in its texts: a model reads them all."""
        text = clean(json.dumps({**given, "type": "object"}, ensure_ascii=False))
        schema: dict[str, Any] = json.loads(text, strict=False)
        faults = schema_faults(schema)
        if len(text) > _LONGEST_SCHEMA:
            faults = [f"it has {len(text):,} characters, and may have {_LONGEST_SCHEMA:,}"]

        if faults:
            raise ToolError(
                f"`{name}` of the MCP server `{self.server.name}` has no schema that can be used: {faults[0]}"
            )

        return schema

    async def _call(self, name: str, arguments: Mapping[str, Any], *, is_once: bool) -> Any:
        connected = await self._connected()
        try:
            result = await connected.call_tool(name, dict(arguments))
        except Exception as error:
            raise self._told(name, connected, error, is_once=is_once) from error

        return given(name, result)

    def _told(self, name: str, connected: Any, error: Exception, *, is_once: bool) -> Exception:
        """What became of a call that gave no result."""
        if _was_refused(error):
            return ToolError(f"`{name}` failed: {_words(error)}")

        whose = f"`{name}` of the MCP server `{self.server.name}`"
        # The SDK says so of an answer that does not fit what the server promised.
        is_misfit = isinstance(error, RuntimeError)
        if not is_misfit:
            self._drop(connected)

        if is_once:
            return EffectInDoubt(f"it is not known whether {whose} was done: {_words(error)}")

        return (
            ToolError(f"{whose}: {_words(error)}")
            if is_misfit
            else self._failed(f"gave no answer to `{name}`", error)
        )

    def _drop(self, connected: Any) -> None:
        """Have the next call connect anew; the lost connection is closed with the run."""
        if self._manager is not None and connected in self._manager.active_servers:
            self._lost.append(self._manager)
            self._manager = None

    async def _connected(self) -> MCPServer:
        # Imported here: the MCP client costs another half second.
        from agents.mcp import MCPServerManager

        async with self._lock:
            if self._manager is None:
                server = await self._sdk_server()
                # In a worker task of its own: a server must be closed by the task that connected it.
                manager = MCPServerManager(
                    [server],
                    strict=True,
                    connect_in_parallel=True,
                    connect_timeout_seconds=self.server.connect_timeout,
                )
                try:
                    await manager.connect_all()
                except Exception as error:
                    await manager.cleanup_all()
                    raise self._failed("cannot be connected", error) from error

                self._manager = manager

            return self._manager.active_servers[0]

    async def _sdk_server(self) -> MCPServer:
        from agents.mcp import MCPServerSse, MCPServerStdio, MCPServerStreamableHttp

        server = self.server
        secrets = {name: Secret(secret).reveal() for name, secret in server.secrets.items()}
        known: Any = {
            "name": server.name,
            # The SDK's own default of 5 s is too short for a server that still starts.
            "client_session_timeout_seconds": max(
                server.timeout, server.connect_timeout, *(said.timeout or 0 for said in server.tools.values())
            ),
            "max_list_pages": _MOST_PAGES,
        }
        if server.command:
            params: Any = {
                "command": server.command,
                "args": list(server.args),
                "env": {**server.env, **secrets},
            }
            return MCPServerStdio(params | ({"cwd": server.cwd} if server.cwd else {}), **known)

        if self.clients is None:
            raise ToolError(
                f"the MCP server `{server.name}` is asked over HTTP, and there is no client for that here"
            )

        bearer = {"Authorization": f"Bearer {Secret(server.bearer).reveal()}"} if server.bearer else {}
        web: Any = {
            "url": server.url,
            "headers": {**server.headers, **bearer, **secrets},
            "timeout": server.timeout,
            "httpx_client_factory": await self.clients(server),
        }
        kind: Any = MCPServerSse if server.transport == "sse" else MCPServerStreamableHttp
        made: MCPServer = kind(web, **known)
        return made

    def _failed(self, what: str, error: BaseException) -> ToolError:
        late = isinstance(error, TimeoutError)
        limit = (
            f"within {self.server.connect_timeout:g} s"
            if "connected" in what
            else f"within {self.server.timeout:g} s"
        )
        text = f"the MCP server `{self.server.name}` {what}" + (f" {limit}" if late else f": {_words(error)}")
        hint = "does its command or address work by itself?"
        return ToolTimeout(text, hint=hint) if late else NetworkUnavailable(text, hint=hint)


def given(name: str, result: Any) -> Any:
    """What a call gave: data where the server gives such, else text; pictures and files are kept beside the run.

    Raises `ToolError` with the server's words where it flags the result as an error.
    """
    parts = list(result.content)
    if sum(len(getattr(part, "data", "") or "") for part in parts) > _BYTES:
        raise ToolError(f"`{name}` gave more than {_BYTES:,} bytes of files")

    if result.is_error:
        text = " ".join(part.text for part in parts if part.type == "text").strip()
        raise ToolError(f"`{name}` failed: {redact(clean(text)[:_TOLD]) or 'it does not say why'}")

    # What stands in it is what the text says again.
    if result.structured_content is not None and all(part.type == "text" for part in parts):
        return result.structured_content

    return "\n".join(_told(name, number, part) for number, part in enumerate(parts, 1))


def _told(name: str, number: int, part: Any) -> str:
    if part.type == "text":
        return str(part.text)

    if part.type in ("image", "audio"):
        return _kept(name, number, part.data, part.mime_type)

    if part.type == "resource_link":
        return f"[{part.name}: {part.uri}]"

    inner = part.resource
    if getattr(inner, "text", None) is not None:
        return f"[{inner.uri}]\n{inner.text}"

    return _kept(name, number, inner.blob, inner.mime_type or "application/octet-stream")


def _kept(name: str, number: int, data: str, media_type: str) -> str:
    try:
        content = base64.b64decode(data, validate=True)
    except ValueError:
        raise ToolError(f"`{name}` gave a file that is no base64") from None

    what, context = f"{media_type}, {len(content):,} bytes", current()
    if context is None:
        return f"[{what}, not kept outside of a run]"

    plain = re.sub(r"[^A-Za-z0-9_-]+", "_", name)
    place = context.artifact(f"{plain}-{number}{guess_extension(media_type) or '.bin'}", content, media_type)
    return f"[{what}, kept as {place}]"


def refuse_failed(name: str, result: Any) -> None:
    """Raise `ToolError` where a server flags a result as an error, which the SDK takes for one like others."""
    if result.is_error:
        given(name, result)


def _words(error: BaseException) -> str:
    """What went wrong, in one line without secrets; of several errors, the first that says something."""
    while isinstance(error, BaseExceptionGroup) and error.exceptions:
        error = error.exceptions[0]

    cause = error.__cause__
    text = f"{error}" or type(error).__name__
    if cause is not None and str(cause) and str(cause) not in text:
        text = f"{text}: {cause}"

    return redact(clean(" ".join(text.split()))[:_TOLD])


def _was_refused(error: BaseException) -> bool:
    """Whether the server itself said no, so that nothing was done."""
    from mcp.shared.exceptions import MCPError
    from mcp_types import CONNECTION_CLOSED, REQUEST_TIMEOUT

    return isinstance(error, MCPError) and error.code not in (CONNECTION_CLOSED, REQUEST_TIMEOUT)
