"""MCP servers as values: how one is reached, which of its tools are used, and what the project says of each."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from types import MappingProxyType
from typing import Any, Literal
from urllib.parse import urlsplit

from agentflow.evidence import Trust
from agentflow.exceptions import ProjectError
from agentflow.limits import Rate
from agentflow.tools import Effect, Labels, Tool

_NAME = re.compile(r"[A-Za-z0-9_-]{1,32}")
_NO_TEXT: Mapping[str, str] = MappingProxyType({})
# Nobody has said what these do: they may do everything, and a person is asked.
UNKNOWN = Labels("write", "untrusted", private=True, outside=True, needs_approval=True)
# What a server says of itself, where the project believes it.
_SAID_TO_READ = Labels("read", "untrusted", private=True, outside=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class McpTool:
    """What a project says of one tool of a server, as of its own tools; `description` goes before the server's.

    A write is approved by a person unless `needs_approval=False` says otherwise. `timeout` is in seconds; `retries`, `concurrency`
    and `rate` are those of tools.
    """

    effect: Effect = "write"
    returns: Trust = "untrusted"
    private: bool = False
    outside: bool = True
    idempotent: bool = False
    needs_approval: bool | None = None
    description: str = ""
    timeout: float | None = None
    retries: int = 0
    concurrency: int | None = None
    rate: Rate | None = None

    @property
    def labels(self) -> Labels:
        asks = self.effect == "write" if self.needs_approval is None else self.needs_approval
        return Labels(self.effect, self.returns, self.private, self.outside, asks)


@dataclass(frozen=True, slots=True, kw_only=True)
class McpServer:
    """A server of the Model Context Protocol: a `command` that is started, or a `url` that is asked.

    `tools` says what each tool does. Where it is given, others are offered only if `allow` names them (`*` stands for
    anything); without both, all are. Of a tool that nobody described, a person approves each call, unless the server says
    that it only reads and the project `trusts_hints`.

    A command gets the environment of a login, `env`, and `secrets` (variable: name of a secret) besides. A `url` is asked by
    streamable HTTP, or by SSE if `transport` says so, with `headers`, with `secrets` (header: name of a secret), and with
    the secret `bearer` as its token. Only public addresses are reached, and `networks` (such as `10.1.0.0/16`) besides.

    It has `connect_timeout` seconds to be there, and each call `timeout`; of a result, a model is told `max_output` characters.
    Names of tools begin with `prefix`.
    """

    name: str
    command: str = ""
    args: Sequence[str] = ()
    env: Mapping[str, str] = field(default_factory=lambda: _NO_TEXT)
    cwd: str | None = None
    url: str = ""
    transport: Literal["http", "sse"] = "http"
    headers: Mapping[str, str] = field(default_factory=lambda: _NO_TEXT)
    bearer: str = ""
    secrets: Mapping[str, str] = field(default_factory=lambda: _NO_TEXT)
    networks: Sequence[str] = ()
    tools: Mapping[str, McpTool] = field(default_factory=lambda: MappingProxyType(dict[str, McpTool]()))
    allow: Sequence[str] = ()
    trusts_hints: bool = False
    prefix: str = ""
    connect_timeout: float = 30
    timeout: float = 30
    max_output: int = 20_000

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ProjectError(
                f"`{self.name}` cannot name an MCP server", hint="use at most 32 letters, digits, `_` and `-`"
            )

        if bool(self.command) == bool(self.url):
            raise ProjectError(
                f"the MCP server `{self.name}` has {'both' if self.url else 'neither'} a `command` and a `url`",
                hint="give the command that starts it, or the address that it is at",
            )

        if self.url:
            self._check_url()

    def _check_url(self) -> None:
        try:
            parts = urlsplit(self.url)
            is_full = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        except ValueError:
            is_full, parts = False, urlsplit("")

        if not is_full or parts.username is not None:
            raise ProjectError(
                f"the MCP server `{self.name}` has no full http or https address",
                hint="write it as `https://mcp.example.com/mcp`, without user and password",
            )

    @property
    def home(self) -> str:
        """What the origins of its tools begin with."""
        return f"mcp:{self.name}"

    @property
    def is_open(self) -> bool:
        """Whether tools may be offered that nobody described."""
        return bool(self.allow) or not self.tools

    def offers(self, tool: str) -> bool:
        """Whether a tool of the server is used."""
        if tool in self.tools:
            return True

        return self.is_open and (not self.allow or any(fnmatchcase(tool, wanted) for wanted in self.allow))

    def labels(self, tool: str, *, is_read: bool) -> Labels:
        """What a tool is taken to do; `is_read` is what the server says of it."""
        if tool in self.tools:
            return self.tools[tool].labels

        return _SAID_TO_READ if is_read and self.trusts_hints else UNKNOWN

    def known(self) -> Iterator[Tool[..., Any]]:
        """The tools as far as they are known before the server is asked, those that nobody described under `*`."""
        yield from (self._known(name, said.labels) for name, said in self.tools.items())
        if self.is_open:
            yield self._known("*", UNKNOWN)

        if self.is_open and self.trusts_hints:
            yield self._known("*", _SAID_TO_READ)

    def _known(self, name: str, labels: Labels) -> Tool[..., Any]:
        async def unconnected(**_: Any) -> None:
            raise ProjectError(f"`{name}` can only be called once the MCP server `{self.name}` is connected")

        return Tool(
            name=f"{self.name}.{name}",
            description="",
            function=unconnected,
            origin=f"{self.home}#{name}",
            schema={"type": "object"},
            **labels._asdict(),
        )

    def described(self) -> dict[str, Any]:
        """The server as data, for the spec: how it is reached is no part of what a workflow is."""
        labels = {name: _told(said.labels) for name, said in sorted(self.tools.items())}
        said: dict[str, Any] = {
            "name": self.name,
            "tools": labels,
            "allow": list(self.allow),
            "trusts_hints": self.trusts_hints,
            "prefix": self.prefix,
        }
        return {key: value for key, value in said.items() if value}


def _told(labels: Labels) -> dict[str, Any]:
    told = labels._asdict()
    return {name: value for name, value in told.items() if value is not False}
