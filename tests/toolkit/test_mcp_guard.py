"""MCP over HTTP and hostile addresses: no request gets to where it must not go."""

from __future__ import annotations

from functools import partial
from typing import Literal

import pytest

from agentflow.exceptions import AddressRefused, AgentflowError, NetworkUnavailable, ProjectError
from agentflow.mcp import McpServer, McpTool
from agentflow.models.mcp import McpSession
from agentflow.toolkit.mcp import client_of
from tests.models.mcp_shop import serving as serving_mcp
from tests.toolkit.api import Answer, serving
from tests.toolkit.hostile_urls import (
    ELSEWHERE,
    HOSTILE,
    OPEN_NETWORK,
    REBINDING,
    REDIRECTS,
    Answers,
    Ground,
    Hostile,
    resolver,
)


async def connected(
    url: str,
    answers: Answers | None = None,
    *networks: str,
    transport: Literal["http", "sse"] = "http",
    seconds: float = 5,
) -> None:
    """Connect to a server and list its tools."""
    server = McpServer(
        name="shop",
        url=url,
        transport=transport,
        networks=networks or [OPEN_NETWORK],
        tools={"stock": McpTool(effect="read")},
        connect_timeout=seconds,
    )
    session = McpSession(server=server, clients=partial(client_of, resolver=resolver(answers)))
    try:
        await session.tools()
    finally:
        await session.aclose()


async def test_a_server_that_may_be_asked_is_asked() -> None:
    """By the same way as below, so that silence there means something."""
    with serving_mcp([]) as url:
        await connected(url, None, "127.0.0.1/32")
        with pytest.raises(AddressRefused):
            await connected(url)


async def test_no_hostile_address_is_asked(field: Ground) -> None:
    """Each of them, where a project was told to name it."""
    for hostile in HOSTILE:
        # A port of one's own choosing is the project's to name; here it is the trap's.
        with pytest.raises((AddressRefused, ProjectError, NetworkUnavailable)):
            await connected(hostile.url(field.port), hostile.answers)

    assert field.seen == []


@pytest.mark.parametrize("transport", ["http", "sse"])
async def test_no_redirect_is_followed(field: Ground, transport: Literal["http", "sse"]) -> None:
    """Of whatever status, to wherever."""
    pairs = [(REDIRECTS[n % len(REDIRECTS)], hostile) for n, hostile in enumerate(ELSEWHERE)]
    for status, hostile in pairs[::4]:
        where = field.redirecting(hostile.url(field.port), status=status)
        with pytest.raises(AgentflowError):
            await connected(where, hostile.answers, transport=transport)

    assert field.seen == []
    assert len([path for path in field.asked if path.startswith("/to/")]) >= 20


@pytest.mark.parametrize("hostile", REBINDING, ids=str)
async def test_a_name_that_changes_its_address_is_asked_nowhere_else(field: Ground, hostile: Hostile) -> None:
    """It was public when it was checked, and is this machine when it is connected to."""
    for _ in range(2):
        with pytest.raises(AgentflowError):
            await connected(hostile.url(field.port), hostile.answers)

    assert field.seen == []


async def test_a_server_does_not_choose_where_messages_go(field: Ground) -> None:
    """Over SSE the server says where to post: not to another host, whoever that is."""
    with serving() as api:
        for target in (
            f"http://127.0.0.1:{field.port}/x",
            f"//[::1]:{field.port}/x",
            f"http://localhost:{field.port}/",
        ):
            body = f"event: endpoint\ndata: {target}\n\n".encode()
            api.always = Answer(200, body, "text/event-stream")
            with pytest.raises(AgentflowError):
                await connected(f"{api.url}/sse", None, "127.0.0.1/32", transport="sse", seconds=0.5)

        assert [sent.method for sent in api.sent if sent.method == "POST"] == []

    assert field.seen == []
