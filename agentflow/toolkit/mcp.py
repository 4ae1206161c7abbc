"""The way to MCP servers over HTTP: the guard, for the client that their protocol is spoken with (httpx2)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from agentflow.mcp import McpServer
from agentflow.toolkit.guard import Guard, load
from agentflow.toolkit.lookup import Resolver

if TYPE_CHECKING:
    import httpx2

_USUAL_SECONDS = 30.0


def guard_of(server: McpServer, resolver: Resolver | None = None) -> Guard:
    """What may be reached of a server: its own host and port, as the project gave them."""
    parts = urlsplit(server.url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    return Guard(
        ports=(port,), hosts=(str(parts.hostname),), networks=tuple(server.networks), resolver=resolver
    )


async def client_of(server: McpServer, resolver: Resolver | None = None) -> Callable[..., httpx2.AsyncClient]:
    """What makes the clients that a server is asked with; they reach nothing else and follow no redirect.

    Raises `AddressRefused` or `NetworkUnavailable` if the server may not be asked, or its name is not found.
    """
    await load()
    own = guard_of(server, resolver)
    own.check(server.url)
    await own.addresses(str(urlsplit(server.url).hostname), own.ports[0])

    def client(
        headers: Mapping[str, str] | None = None, timeout: Any = None, auth: Any = None
    ) -> httpx2.AsyncClient:
        # Imported here, as what it imports costs a fifth of a second.
        import httpx2

        from agentflow.toolkit.mcp_transport import Transport

        return httpx2.AsyncClient(
            transport=Transport(own),
            # What is compressed can grow beyond bounds.
            headers=dict(headers or {}) | {"Accept-Encoding": "identity"},
            timeout=timeout or _USUAL_SECONDS,
            auth=auth,
            follow_redirects=False,
            # A proxy would look the name up by itself, out of the guard's sight.
            trust_env=False,
        )

    return client
