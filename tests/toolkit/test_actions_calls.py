"""Calls of actions, against an API on this machine that behaves as real ones do."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from agentflow.context import current
from agentflow.exceptions import (
    AddressRefused,
    EffectInDoubt,
    FileUnreadable,
    NetworkUnavailable,
    RateLimited,
    SecretMissing,
    ToolArgumentsInvalid,
    ToolError,
    ToolTimeout,
)
from agentflow.toolkit.actions import Action, Reply, actions
from agentflow.tools import Tool
from tests.toolkit.api import Answer, Api, Sent, serving

Json = Mapping[str, Any]


@pytest.fixture
def api() -> Iterator[Api]:
    with serving() as api:
        yield api


def document(paths: Json, *, version: str = "3.1.0", **more: Any) -> dict[str, Any]:
    return {"openapi": version, "info": {"title": "Shop", "version": "1"}, "paths": paths, **more}


def operation(*parameters: Json, **more: Any) -> dict[str, Any]:
    return {
        "operationId": "act",
        "parameters": list(parameters),
        "responses": {"200": {"description": "ok"}},
        **more,
    }


def takes(name: str, place: str, schema: Json | None = None, **more: Any) -> Json:
    required = {"required": True} if place == "path" else {}
    return {"name": name, "in": place, "schema": schema or {"type": "string"}, **required, **more}


def act(api: Api, node: Json, *, path: str = "/act", method: str = "get", **options: Any) -> Tool[..., Any]:
    """The one tool of a document with one operation, at the API."""
    more = options.pop("more", {})
    options = {"server": api.url, "networks": ["127.0.0.1/32"], **options}
    (tool,) = actions(document({path: {method: node}}, **more), **options)
    return tool


async def sent(api: Api, tool: Tool[..., Any], **arguments: Any) -> Sent:
    """What arrives of a call, whatever it is answered."""
    api.always = Answer(200, {})
    await tool.invoke(arguments)
    return api.sent[-1]


LIST, OBJECT = {"type": "array", "items": {"type": "string"}}, {"type": "object"}
RED: Json = {"R": 100, "G": 200}
COLOURS = ["blue", "black", "brown"]
# The table of "Style Examples" in OpenAPI 3.1.1, percent-encoded where URLs have to be.
STYLES = {
    "matrix, plain": (takes("color", "path", style="matrix"), "blue", "/act/;color=blue"),
    "matrix, list": (takes("color", "path", LIST, style="matrix"), COLOURS, "/act/;color=blue,black,brown"),
    "matrix, list, explode": (
        takes("color", "path", LIST, style="matrix", explode=True),
        COLOURS,
        "/act/;color=blue;color=black;color=brown",
    ),
    "matrix, object": (takes("color", "path", OBJECT, style="matrix"), RED, "/act/;color=R,100,G,200"),
    "matrix, object, explode": (
        takes("color", "path", OBJECT, style="matrix", explode=True),
        RED,
        "/act/;R=100;G=200",
    ),
    "label, plain": (takes("color", "path", style="label"), "blue", "/act/.blue"),
    "label, list": (takes("color", "path", LIST, style="label"), COLOURS, "/act/.blue,black,brown"),
    "label, list, explode": (
        takes("color", "path", LIST, style="label", explode=True),
        COLOURS,
        "/act/.blue.black.brown",
    ),
    "label, object, explode": (
        takes("color", "path", OBJECT, style="label", explode=True),
        RED,
        "/act/.R=100.G=200",
    ),
    "simple, list": (takes("color", "path", LIST), COLOURS, "/act/blue,black,brown"),
    "simple, object": (takes("color", "path", OBJECT), RED, "/act/R,100,G,200"),
    "simple, object, explode": (takes("color", "path", OBJECT, explode=True), RED, "/act/R=100,G=200"),
    "form, plain": (takes("color", "query"), "blue", "/act?color=blue"),
    "form, empty": (takes("color", "query"), "", "/act?color="),
    "form, list": (takes("color", "query", LIST), COLOURS, "/act?color=blue&color=black&color=brown"),
    "form, list, in one": (
        takes("color", "query", LIST, explode=False),
        COLOURS,
        "/act?color=blue,black,brown",
    ),
    "form, object": (takes("color", "query", OBJECT), RED, "/act?R=100&G=200"),
    "form, object, in one": (takes("color", "query", OBJECT, explode=False), RED, "/act?color=R,100,G,200"),
    "spaces": (
        takes("color", "query", LIST, style="spaceDelimited", explode=False),
        COLOURS,
        "/act?color=blue%20black%20brown",
    ),
    "pipes": (
        takes("color", "query", LIST, style="pipeDelimited", explode=False),
        COLOURS,
        "/act?color=blue|black|brown",
    ),
    "deep": (takes("color", "query", OBJECT, style="deepObject"), RED, "/act?color[R]=100&color[G]=200"),
    "deeper": (
        takes("f", "query", OBJECT, style="deepObject"),
        {"a": {"b": [1, 2]}},
        "/act?f[a][b]=1&f[a][b]=2",
    ),
    "as JSON": (
        {"name": "f", "in": "query", "content": {"application/json": {"schema": OBJECT}}},
        {"a": [1]},
        "/act?f=%7B%22a%22%3A%5B1%5D%7D",
    ),
    "no room for another parameter": (takes("q", "query"), "a&admin=1#x", "/act?q=a%26admin%3D1%23x"),
    "reserved": (takes("q", "query", allowReserved=True), "a/b:c&d", "/act?q=a/b:c%26d"),
    "numbers": (takes("n", "query", {"type": "number"}), 3.0, "/act?n=3"),
    "booleans": (takes("n", "query", {"type": "boolean"}), True, "/act?n=true"),
    "other letters": (takes("color", "path"), "blå/gul", "/act/bl%C3%A5%2Fgul"),
}


@pytest.mark.parametrize("case", STYLES)
async def test_parameters_are_written_as_the_standard_has_it(api: Api, case: str) -> None:
    """Each style, with what could be taken for another parameter or path encoded."""
    parameter, value, expected = STYLES[case]
    path = "/act/{color}" if parameter["in"] == "path" else "/act"
    tool = act(api, operation(parameter), path=path)
    got = await sent(api, tool, **{str(parameter["name"]): value})
    assert got.path == expected


@pytest.mark.parametrize(
    "value", ["..", ".", "../admin", "a/../../b", "%2e%2e", "%252e%252e%252fx", "..\\x", "/", "", "a\\..\\b"]
)
async def test_a_value_does_not_lead_to_another_path(api: Api, value: str) -> None:
    """Whatever the server decodes, and however often, nothing climbs out of the place of a parameter."""
    tool = act(api, operation(takes("id", "path")), path="/items/{id}")
    with pytest.raises(ToolArgumentsInvalid, match="would lead to another path"):
        await tool.invoke({"id": value})

    assert api.sent == []


async def test_headers_and_cookies_are_sent_and_cannot_be_broken_out_of(api: Api) -> None:
    """A line end in a header is refused; a cookie cannot add another one."""
    tool = act(api, operation(takes("X-Tag", "header", LIST), takes("theme", "cookie")))
    got = await sent(api, tool, **{"X-Tag": ["a", "b"], "theme": "dark; admin=1"})
    assert (got.headers["X-Tag"], got.headers["Cookie"]) == ("a,b", "theme=dark%3B%20admin%3D1")
    with pytest.raises(ToolArgumentsInvalid, match="no header can"):
        await tool.invoke({"X-Tag": ["a\r\nX-Admin: 1"]})


async def test_bodies_are_written_by_their_media_type(api: Api) -> None:
    """JSON, both kinds of forms, and plain text."""

    def body(kind: str, schema: Json, **more: Any) -> dict[str, Any]:
        return operation(requestBody={"required": True, "content": {kind: {"schema": schema, **more}}})

    value = {"name": "Ann & Bo", "tags": ["a", "b"], "at": {"x": 1}}
    encoding = {"encoding": {"tags": {"style": "form", "explode": False}}}
    got = await sent(api, act(api, body("application/json", OBJECT), method="post"), body=value)
    assert (got.json, got.headers["Content-Type"]) == (value, "application/json")
    form = "application/x-www-form-urlencoded"
    got = await sent(api, act(api, body(form, OBJECT, **encoding), method="post"), body=value)
    assert got.body == b"name=Ann%20%26%20Bo&tags=a,b&at=%7B%22x%22%3A1%7D"
    parts = {
        "type": "object",
        "properties": {"name": {"type": "string"}, "photo": {"type": "string", "format": "binary"}},
    }
    tool = act(api, body("multipart/form-data", parts), method="post")
    got = await sent(api, tool, body={"name": "Ann & Bo"})
    assert b'name="name"\r\n\r\nAnn & Bo\r\n' in got.body
    assert "photo" not in json.dumps(tool.parameters)
    got = await sent(api, act(api, body("text/plain", {"type": "string"}), method="post"), body="hello")
    assert got.body == b"hello"


async def test_arguments_that_do_not_fit_are_not_sent(api: Api) -> None:
    """All faults are told at once, each with its place and what would fit."""
    order = {
        "type": "object",
        "required": ["sku", "amount"],
        "additionalProperties": False,
        "properties": {
            "sku": {"type": "string", "pattern": "^[A-Z]+$"},
            "amount": {"type": "integer", "minimum": 1},
            "by": {"type": "string", "format": "date"},
        },
    }
    node = operation(
        takes("dry", "query", {"type": "boolean"}),
        requestBody={"required": True, "content": {"application/json": {"schema": order}}},
    )
    tool = act(api, node, method="post")
    with pytest.raises(ToolArgumentsInvalid) as refused:
        await tool.invoke(
            {"dry": "yes", "body": {"sku": "a", "amount": 0, "by": "tomorrow", "colour": "red"}}
        )

    told = str(refused.value)
    for fault in (
        '`dry`: is "yes"',
        "`body.sku`: does not match",
        "`body.amount`: is 0, and must be at least 1",
    ):
        assert fault in told

    assert "`body.by`" in told
    assert "`body.colour`: there is no such name; there is: `sku`, `amount`, `by`" in told
    with pytest.raises(ToolArgumentsInvalid, match="`body`: is missing"):
        await tool.invoke({})

    with pytest.raises(ToolArgumentsInvalid, match="cannot be written"):
        await act(
            api,
            operation(requestBody=node["requestBody"] | {"content": {"application/json": {}}}),
            method="post",
        ).invoke({"body": {"n": float("nan")}})

    assert api.sent == []


SCHEMES = {
    "key in a header": ({"type": "apiKey", "in": "header", "name": "X-Key"}, "s3cr3t-value"),
    "key in the query": ({"type": "apiKey", "in": "query", "name": "key"}, "s3cr3t-value"),
    "key in a cookie": ({"type": "apiKey", "in": "cookie", "name": "sid"}, "s3cr3t-value"),
    "bearer": ({"type": "http", "scheme": "bearer"}, "s3cr3t-value"),
    "basic": ({"type": "http", "scheme": "Basic"}, "user:s3cr3t-value"),
    "oauth": ({"type": "oauth2", "flows": {}}, "s3cr3t-value"),
}
SENT: dict[str, Callable[[Sent], bool]] = {
    "key in a header": lambda s: s.headers["X-Key"] == "s3cr3t-value",
    "key in the query": lambda s: s.path.endswith("?key=s3cr3t-value"),
    "key in a cookie": lambda s: s.headers["Cookie"] == "sid=s3cr3t-value",
    "bearer": lambda s: s.headers["Authorization"] == "Bearer s3cr3t-value",
    "basic": lambda s: s.headers["Authorization"] == "Basic dXNlcjpzM2NyM3QtdmFsdWU=",
    "oauth": lambda s: s.headers["Authorization"] == "Bearer s3cr3t-value",
}


@pytest.mark.parametrize("scheme", SCHEMES)
async def test_a_secret_reaches_the_api_and_nobody_else(
    api: Api, scheme: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A secret is read by its name when it is needed; the schema, the reply and the errors do not hold it."""
    described, value = SCHEMES[scheme]
    more = {"components": {"securitySchemes": {"k": described}}, "security": [{"k": []}]}
    parameter = takes("X-Key", "header") if scheme == "key in a header" else takes("q", "query")
    tool = act(api, operation(parameter), more=more, secrets={"k": "SHOP_KEY"})
    with pytest.raises(SecretMissing, match="SHOP_KEY"):
        await tool.invoke({})

    monkeypatch.setenv("SHOP_KEY", value)
    assert SENT[scheme](await sent(api, tool))
    assert "X-Key" not in tool.parameters["properties"]
    api.always = None
    next_page = {"Link": f'<{api.url}/act?page=2&key=s3cr3t-value>; rel="next"'}
    api.answers["GET /act"] = Answer(200, {}, headers=next_page)
    reply = await tool.invoke({})
    assert set(reply.links) == {"next"}
    assert scheme != "key in the query" or reply.links["next"] == f"{api.url}/act?page=2"
    for answer in (
        Answer(403, {"you": value}),
        Answer(200, {}, breaks_after=0),
        Answer(200, b"x" * 6_000_000),
    ):
        api.answers["GET /act"] = answer
        with pytest.raises(ToolError) as told:
            await tool.invoke({})

        assert "s3cr3t" not in f"{told.value} {told.value.hint} {told.value.__cause__}"


async def test_json_is_held_against_what_the_document_promises(api: Api) -> None:
    """A reply that fits says nothing more; one that does not is given with what does not fit."""
    schema = {
        "type": "object",
        "required": ["id"],
        "properties": {"id": {"type": "integer"}, "s": {"writeOnly": True}},
    }
    answers = {"200": {"description": "ok", "content": {"application/json": {"schema": schema}}}}
    tool = act(api, operation(responses=answers))
    api.answers["GET /act"] = Answer(200, {"id": 7})
    assert await tool.invoke({}) == Reply(status=200, data={"id": 7})
    api.answers["GET /act"] = Answer(200, {"id": "seven"})
    reply = await tool.invoke({})
    assert reply.data == {"id": "seven"}
    assert reply.notes == [
        'it is not what the document promises: `id`: is "seven", and must be of type integer'
    ]
    odd = {
        "an answer the document does not tell of": Answer(201, {}),
        "it says that it is JSON, and is not": Answer(200, b"<html>"),
        "it is `text/html`, and the document promises": Answer(200, b"<html>", "text/html"),
        "it is empty, and the document promises": Answer(200, None),
    }
    for told, answer in odd.items():
        api.answers["GET /act"] = answer
        note = " ".join((await tool.invoke({})).notes)
        assert told.split("an answer")[0] in note or "does not tell of an answer 201" in note


async def test_large_answers_are_cut_and_say_so(api: Api) -> None:
    """Lists and texts are ended early, data stays data; what is larger than is allowed is refused."""
    api.answers["GET /act"] = Answer(
        200, {"items": [{"n": n, "text": "x" * 3000} for n in range(200)], "total": 200}
    )
    reply = await act(api, operation(), max_characters=8000).invoke({})
    assert reply.data["total"] == 200
    assert 0 < len(reply.data["items"]) < 200
    assert len(json.dumps(reply.data)) <= 8000
    assert "of 200 items are shown" in reply.notes[0]
    with pytest.raises(FileUnreadable, match="larger than 1,000 bytes"):
        await act(api, operation(), max_bytes=1000).invoke({})

    api.answers["GET /act"] = Answer(200, b'{"a":' * 50_000 + b"1" + b"}" * 50_000)
    assert (await act(api, operation()).invoke({})).notes


async def test_what_is_no_text_is_told_and_not_dumped(api: Api) -> None:
    """Outside of a run there is no place for a file."""
    api.answers["GET /act"] = Answer(200, b"\x89PNG....", "image/png")
    assert current() is None
    reply = await act(api, operation()).invoke({})
    assert reply.data is None
    assert "`image/png`, 8 bytes" in reply.notes[0]


ERRORS: dict[str, tuple[Answer, type[Exception], str]] = {
    "bad arguments": (
        Answer(422, {"sku": "unknown"}),
        ToolError,
        r'422 Unprocessable .*: \{"sku": "unknown"\}',
    ),
    "a page of HTML": (
        Answer(404, b"<html><script>x()</script><h1>Gone</h1>", "text/html"),
        ToolError,
        "404 Not Found: Gone$",
    ),
    "too often": (Answer(429, {}, headers={"Retry-After": "7"}), RateLimited, "429"),
    "busy": (Answer(503, {}, headers={"Retry-After": "7"}), RateLimited, "503"),
    "a gateway": (Answer(502, b"bad", "text/plain"), NetworkUnavailable, "502 Bad Gateway: bad"),
    "broken at length": (Answer(500, b"x" * 6_000_000), ToolError, "500 Internal Server Error$"),
    "broken": (
        Answer(500, {"trace": "x" * 9000}),
        ToolError,
        r"500 Internal Server Error: .{1500,1600}\.\.\.",
    ),
    "cut short": (Answer(200, {"a": "b" * 100}, breaks_after=20), NetworkUnavailable, "broke off"),
    "silent": (Answer(waits=True), ToolTimeout, "took longer than its 0.2 s|no answer in time"),
}


@pytest.mark.parametrize("case", ERRORS)
async def test_each_failure_is_told_as_what_it_is(api: Api, case: str) -> None:
    """What the API says is told, cut to size, as the kind of error that says whether to try again."""
    answer, kind, text = ERRORS[case]
    api.answers["GET /act"] = answer
    tool = act(api, operation(), timeout=0.2 if answer.waits else 30)
    with pytest.raises(kind, match=text) as told:
        await tool.invoke({})

    assert type(told.value) is kind
    if isinstance(told.value, RateLimited):
        assert told.value.retry_after == 7


async def test_a_read_is_made_again_and_a_write_is_not(api: Api) -> None:
    """As tools are: for a reason that may pass, and only what may be repeated."""
    answers = [Answer(200, {"n": 2}), Answer(429, {}, headers={"Retry-After": "0"})]
    api.answers["GET /act"] = api.answers["POST /act"] = lambda _: answers.pop()
    assert (await act(api, operation(), retries=1)()).data == {"n": 2}
    answers[:] = [Answer(200, {}), Answer(429, {}, headers={"Retry-After": "0"})]
    with pytest.raises(RateLimited):
        await act(api, operation(), method="post", retries=1)()


async def test_nothing_listens(api: Api) -> None:
    """An API that cannot be reached is told as such, also of a write: nothing was sent."""
    with serving() as gone:
        tool = act(gone, operation(), method="post")

    with pytest.raises(NetworkUnavailable, match="cannot be reached"):
        await tool.invoke({})


@pytest.mark.parametrize("answer", [Answer(504, {}), Answer(200, {"a": 1}, breaks_after=0)])
async def test_a_write_of_which_nobody_knows_is_in_doubt(api: Api, answer: Answer) -> None:
    """A POST whose answer was lost may have been carried out; a PUT can simply be made again."""
    api.answers["POST /act"] = api.answers["PUT /act"] = answer
    with pytest.raises(EffectInDoubt, match="not known whether `POST"):
        await act(api, operation(), method="post").invoke({})

    with pytest.raises(NetworkUnavailable):
        await act(api, operation(), method="put").invoke({})

    with pytest.raises(NetworkUnavailable):
        await act(api, operation(), method="post", operations={"act": Action(idempotent=True)}).invoke({})


async def test_a_write_whose_answer_is_too_large_was_carried_out(api: Api) -> None:
    """Telling it as a failure would have it made again."""
    api.answers["POST /act"] = Answer(201, {"a": "x" * 5000})
    reply = await act(api, operation(), method="post", max_bytes=100).invoke({})
    assert reply.status == 201
    assert "it was carried out" in reply.notes[0]


async def test_redirects_stay_within_the_api(api: Api) -> None:
    """A read follows them on its own host and port only; a write follows none."""
    api.answers["GET /act"] = Answer(302, headers={"Location": "/there"})
    api.answers["GET /there"] = Answer(200, {"here": True})
    assert (await act(api, operation()).invoke({})).data == {"here": True}
    with serving() as other:
        api.answers["GET /act"] = Answer(302, headers={"Location": f"{other.url}/there"})
        with pytest.raises(AddressRefused):
            await act(api, operation()).invoke({})

        api.answers["POST /act"] = Answer(303, headers={"Location": f"{other.url}/made/1"})
        reply = await act(api, operation(), method="post").invoke({})
        assert (reply.status, reply.links) == (303, {"location": f"{other.url}/made/1"})
        api.answers["POST /act"] = Answer(308, headers={"Location": f"{other.url}/act"})
        with pytest.raises(ToolError, match=f"It is at `{other.url}/act` now"):
            await act(api, operation(), method="post").invoke({})

        assert other.sent == []


async def test_cookies_of_an_answer_are_not_sent_again(api: Api) -> None:
    """What one call was answered does not change the next."""
    tool = act(api, operation())
    api.answers["GET /act"] = Answer(200, {}, headers={"Set-Cookie": "sid=1; Path=/"})
    await tool.invoke({})
    await tool.invoke({})
    assert "Cookie" not in api.sent[-1].headers
    assert Path(api.sent[-1].path) == Path("/act")
