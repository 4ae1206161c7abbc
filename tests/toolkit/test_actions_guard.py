"""Actions and hostile addresses: no document, no argument and no answer gets a request to where it must not go."""

from __future__ import annotations

from typing import Any

import pytest

from agentflow.exceptions import (
    AgentflowError,
    DocumentInvalid,
    EffectInDoubt,
    ToolArgumentsInvalid,
    ToolError,
)
from agentflow.toolkit.actions import actions
from agentflow.tools import Tool
from tests.toolkit.hostile_urls import (
    ELSEWHERE,
    HOSTILE,
    OPEN_HOST,
    OPEN_NETWORK,
    REBINDING,
    REDIRECTS,
    Answers,
    Ground,
    Hostile,
    resolver,
)


def tool_at(
    url: str, answers: Answers | None = None, *, path: str = "/act", method: str = "get", **more: Any
) -> Tool[..., Any]:
    """An action of an API whose document gives `url` as its server, or `path` below it."""
    names = ["id"] if "{id}" in path else []
    parameters = [{"name": name, "in": "path", "required": True} for name in names]
    parameters += [{"name": name, "in": place} for name, place in (("q", "query"), ("X-To", "header"))]
    node = {"operationId": "act", "parameters": parameters, "responses": {}}
    document = {
        "openapi": "3.1.0",
        "info": {"title": "T"},
        "servers": [{"url": url}],
        "paths": {path: {method: node}},
    }
    options: dict[str, Any] = {"networks": [OPEN_NETWORK], "resolver": resolver(answers), **more}
    return actions(document, **options)[0]


async def test_the_open_server_is_reached_so_that_silence_means_something(field: Ground) -> None:
    """What the project names may be reached, by name and by number."""
    await tool_at(field.open_url, server=field.open_url).invoke({})
    named = f"http://{OPEN_HOST}:{field.port}"
    await tool_at(named, server=named).invoke({"q": "x"})
    assert [path for path in field.asked if path.startswith("/")] == ["/act", "/act?q=x"]


@pytest.mark.parametrize("method", ["get", "post"])
async def test_a_server_that_is_not_public_is_never_asked(field: Ground, method: str) -> None:
    """Each hostile address as the server that a document names, and as one that a project was told to name."""
    tried = 0
    for hostile in HOSTILE:
        url = hostile.url(field.port)
        for more in ({}, {"server": url}):
            tried += 1
            with pytest.raises(AgentflowError) as refused:
                await tool_at(url, hostile.answers, method=method, **more).invoke({})

            assert isinstance(refused.value, DocumentInvalid | ToolError), url

    assert (field.seen, tried) == ([], 2 * len(HOSTILE))


@pytest.mark.parametrize("status", REDIRECTS)
@pytest.mark.parametrize("method", ["get", "post"])
async def test_no_redirect_leads_elsewhere(field: Ground, method: str, status: int) -> None:
    """Neither a read, which follows within the API, nor a write, which follows nothing."""
    for hostile in ELSEWHERE:
        where = field.redirecting(hostile.url(field.port), status=status)
        path = where.removeprefix(field.open_url)
        tool = tool_at(field.open_url, hostile.answers, server=field.open_url, path=path, method=method)
        try:
            reply = await tool.invoke({})
        except (ToolError, EffectInDoubt):
            continue

        assert method == "post", hostile
        assert reply.data is None or reply.status in (302, 303), hostile

    assert field.seen == []


@pytest.mark.parametrize("hostile", REBINDING, ids=str)
async def test_a_name_that_changes_its_address_is_asked_at_the_first(field: Ground, hostile: Hostile) -> None:
    """What was checked is what is connected to."""
    url = hostile.url(field.port).rstrip("/")
    for _ in range(3):
        try:
            await tool_at(url, hostile.answers, server=url).invoke({})
        except ToolError:
            continue

    assert field.seen == []


async def test_arguments_do_not_choose_the_server(field: Ground) -> None:
    """Each hostile address, and tricks with the ends of addresses, as a path, query and header value."""
    tricks = [
        "@127.0.0.1",
        "\\\\127.0.0.1\\x",
        "//127.0.0.1/",
        "/../../@127.0.0.1",
        "?x@127.0.0.1",
        "#@127.0.0.1",
        "\r\nHost: 127.0.0.1",
    ]
    tool = tool_at(field.open_url, server=field.open_url, path="/x/{id}")
    for value in [hostile.url(field.port) for hostile in HOSTILE] + tricks:
        for arguments in ({"id": value, "q": value}, {"id": "1", "X-To": value}):
            try:
                await tool.invoke(arguments)
            except ToolArgumentsInvalid:
                continue

    paths = [path for path in field.asked if path.startswith("/")]
    assert all(
        path.startswith("/x/") and path.count("/") == 2 for path in (p.partition("?")[0] for p in paths)
    )
    assert field.seen == []
    assert len(paths) > len(HOSTILE)
