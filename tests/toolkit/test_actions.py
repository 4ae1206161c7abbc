"""From OpenAPI documents to tools: schemas, names, labels, and all that can be wrong with a document."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from agentflow import Planner, Workflow
from agentflow.conformance import schema_faults
from agentflow.exceptions import DocumentInvalid, ProjectError, ToolArgumentsInvalid, UnknownName
from agentflow.toolkit.actions import Action, actions
from agentflow.tools import Labels, Tool

Json = Mapping[str, Any]

SHOP = """
openapi: 3.0.3
info: {title: Small Shop, version: "1"}
servers:
  - url: https://{region}.example.com/v1/
    variables: {region: {default: eu, enum: [eu, us]}}
security: [{key: []}]
components:
  securitySchemes:
    key: {type: apiKey, in: header, name: X-Key}
  parameters:
    page: {name: page, in: query, description: Which page., schema: {type: integer, minimum: 1, default: 1}}
  schemas:
    Order:
      type: object
      required: [id, sku]
      properties:
        id: {type: integer, readOnly: true}
        sku: {type: string, example: ABC}
        paid: {type: string, nullable: true, enum: [yes, no]}
        total: {type: number, minimum: 0, exclusiveMinimum: true}
        due: {type: string, format: date, default: 2030-01-31}
        parts: {type: array, items: {$ref: '#/components/schemas/Order'}}
paths:
  /orders:
    parameters: [{$ref: '#/components/parameters/page'}]
    get:
      operationId: orders.list
      tags: [orders]
      summary: List orders.
      responses: {200: {description: ok}}
    post:
      operationId: orders.create
      tags: [orders, writing]
      requestBody:
        required: true
        content: {application/json: {schema: {$ref: '#/components/schemas/Order'}}}
      responses: {201: {description: ok}}
  /orders/{order-id}:
    get:
      deprecated: true
      description: One order.
      parameters: [{name: order-id, in: path, required: true, schema: {type: string}}]
      responses: {200: {description: ok}}
    delete:
      operationId: orders.cancel
      parameters: [{name: order-id, in: path, required: true, schema: {type: string}}]
      security: []
      responses: {204: {description: ok}}
"""
KEY = {"key": "SHOP_KEY"}


def tools(document: Any = SHOP, **options: Any) -> dict[str, Tool[..., Any]]:
    return {tool.name: tool for tool in actions(document, **options)}


def one(paths: Json, *, version: str = "3.1.0", **more: Any) -> dict[str, Any]:
    servers = [{"url": "https://api.example.com"}]
    return {
        "openapi": version,
        "info": {"title": "T", "version": "1"},
        "servers": servers,
        "paths": paths,
        **more,
    }


def faults(document: Any, **options: Any) -> str:
    with pytest.raises(DocumentInvalid) as refused:
        actions(document, **options)

    return str(refused.value)


def test_a_document_becomes_tools_with_names_labels_and_origins() -> None:
    """GET reads, PUT and DELETE may be repeated, POST and PATCH may not; writes are approved."""
    made = tools(secrets=KEY)
    assert list(made) == ["orders_list", "orders_create", "get_orders_by_order-id", "orders_cancel"]
    assert made["orders_list"].labels == Labels("read", "untrusted", private=True, outside=True)
    create, cancel = made["orders_create"], made["orders_cancel"]
    assert create.labels == Labels("write", "untrusted", private=True, outside=True, needs_approval=True)
    assert cancel.labels == Labels("write", "untrusted", private=False, outside=True, needs_approval=True)
    assert (create.idempotent, cancel.idempotent) == (False, True)
    assert create.origin == "openapi:Small Shop#orders.create"
    assert made["get_orders_by_order-id"].description == "One order.\n\nDeprecated."


def test_the_schema_of_a_tool_stands_by_itself() -> None:
    """References and cycles become definitions, and OpenAPI's own keywords those of JSON Schema."""
    create = tools(secrets=KEY)["orders_create"]
    assert create.parameters == {
        "type": "object",
        "additionalProperties": False,
        "required": ["body"],
        "properties": {
            "page": {"description": "Which page.", "type": "integer", "minimum": 1, "default": 1},
            "body": {"$ref": "#/$defs/Order"},
        },
        "$defs": {
            "Order": {
                "type": "object",
                "required": ["sku"],
                "properties": {
                    "sku": {"type": "string"},
                    "paid": {"type": ["string", "null"], "enum": ["yes", "no", None]},
                    "total": {"type": "number", "exclusiveMinimum": 0},
                    "due": {"type": "string", "format": "date", "default": "2030-01-31"},
                    "parts": {"type": "array", "items": {"$ref": "#/$defs/Order"}},
                },
            }
        },
    }
    assert schema_faults(create.parameters) == []
    assert create.validate({"body": {"sku": "A", "paid": None, "parts": [{"sku": "B"}]}})
    with pytest.raises(ToolArgumentsInvalid, match=r"`body.parts\[0\].sku`: is missing"):
        create.validate({"body": {"sku": "A", "parts": [{}]}})


def test_json_text_data_and_files_are_the_same_document(tmp_path: Path) -> None:
    """A file is found beside the file that names it."""
    data = one({"/a": {"get": {"operationId": "a", "responses": {}}}})
    (tmp_path / "a.json").write_text(json.dumps(data))
    (tmp_path / "shop.yaml").write_text(SHOP)
    (tmp_path / "shop.py").write_text(
        "from agentflow.toolkit.actions import actions\nmade = actions('shop.yaml', secrets={'key': 'SHOP_KEY'})\n"
    )
    scope: dict[str, Any] = {}
    exec(compile((tmp_path / "shop.py").read_text(), str(tmp_path / "shop.py"), "exec"), scope)
    assert [t.name for t in scope["made"]] == list(tools(secrets=KEY))
    same = [tools(data), tools(json.dumps(data)), tools(str(tmp_path / "a.json"))]
    assert [list(t) for t in same] == [["a"]] * 3


SELECTIONS: dict[str, tuple[dict[str, Any], list[str]]] = {
    "an id": ({"include": ["orders.list"]}, ["orders_list"]),
    "a tag": ({"include": ["tag:writing"]}, ["orders_create"]),
    "a method": ({"include": ["GET"]}, ["orders_list", "get_orders_by_order-id"]),
    "a path": ({"include": ["GET /orders/*"]}, ["get_orders_by_order-id"]),
    "any": ({"include": ["orders.*"], "exclude": ["DELETE"]}, ["orders_list", "orders_create"]),
    "a prefix": ({"include": ["orders.list"], "prefix": "shop_"}, ["shop_orders_list"]),
}


@pytest.mark.parametrize("case", SELECTIONS)
def test_operations_are_chosen(case: str) -> None:
    """By id, tag, method and path; what is left out is not looked at."""
    options, expected = SELECTIONS[case]
    assert list(tools(secrets=KEY, **options)) == expected


def test_what_names_no_operation_is_a_fault() -> None:
    """A name with a slip in it must not silently leave a write in, or out."""
    assert "there is no operation `orders.crate`" in faults(SHOP, secrets=KEY, exclude=["orders.crate"])
    with pytest.raises(UnknownName, match=r"orders\.crate"):
        actions(SHOP, secrets=KEY, operations={"orders.crate": Action(effect="read")})


def test_only_the_project_loosens_a_label() -> None:
    """A POST that reads needs no approval; a write without one says so; all else stays as the method has it."""
    loosened = {
        "orders.create": Action(effect="read", private=False, description="Look orders up.", timeout=5),
        "orders.cancel": Action(needs_approval=False, returns="trusted"),
    }
    made = tools(secrets=KEY, operations=loosened)
    create, cancel = made["orders_create"], made["orders_cancel"]
    assert create.labels == Labels("read", "untrusted", outside=True)
    assert (create.description, create.timeout, create.idempotent) == ("Look orders up.", 5, True)
    assert cancel.labels == Labels("write", "trusted", outside=True)
    assert tools(secrets=KEY, idempotency_header="Idempotency-Key")["orders_create"].idempotent


def test_names_are_valid_and_told_apart() -> None:
    """Whatever ids and parameters are called, a model gets names that servers take, each once."""
    path = "/a b/{x}/" + "long" * 30
    node = {
        "responses": {},
        "parameters": [
            {"name": "x", "in": "path", "required": True},
            {"name": "x", "in": "query"},
            {"name": "filter[a b]", "in": "query"},
            {"name": "body", "in": "query"},
            {"name": "Accept", "in": "header"},
        ],
    }
    made = actions(
        one({
            path: {"get": {**node, "operationId": "a b"}, "put": {**node, "operationId": "a/b"}, "delete": node},
        })
    )  # fmt: skip
    assert [t.name for t in made][:2] == ["a_b", "a_b_2"]
    assert all(len(t.name) <= 64 for t in made)
    assert list(made[0].parameters["properties"]) == ["x", "x_in_query", "filter_a_b", "body_in_query"]


def schema_of(schema: Any, *, version: str, **components: Any) -> Any:
    content = {"application/json": {"schema": schema}}
    node = {"operationId": "a", "requestBody": {"content": content}, "responses": {}}
    more = {"components": {"schemas": components}}
    return actions(one({"/a": {"post": node}}, version=version, **more))[0].parameters["properties"]["body"]


def test_schemas_of_both_versions_mean_the_same() -> None:
    """What 3.0 calls nullable is a type of 3.1; bounds, choices and joined schemas are kept."""
    old = {
        "type": "integer",
        "nullable": True,
        "maximum": 9,
        "exclusiveMaximum": True,
        "example": 3,
        "xml": {},
    }
    new = {"type": ["integer", "null"], "exclusiveMaximum": 9, "examples": [3]}
    both = {"type": ["integer", "null"], "exclusiveMaximum": 9}
    assert schema_of(old, version="3.0.3") == schema_of(new, version="3.1.0") == both
    choice = {"oneOf": [{"type": "string"}, {"const": 3}], "discriminator": {"propertyName": "kind"}}
    assert schema_of(choice, version="3.1.1") == {"oneOf": [{"type": "string"}, {"const": 3}]}
    nullable = {"nullable": True, "allOf": [{"type": "string"}], "description": "d"}
    assert schema_of(nullable, version="3.0.0") == {
        "description": "d",
        "anyOf": [{"allOf": [{"type": "string"}]}, {"type": "null"}],
    }
    joined = {
        "allOf": [{"properties": {"id": {"readOnly": True}, "n": {}}}],
        "required": ["id", "n"],
    }
    assert schema_of(joined, version="3.1.0") == {"allOf": [{"properties": {"n": {}}}], "required": ["n"]}
    described = {"$ref": "#/components/schemas/N", "description": "more"}
    assert schema_of(described, version="3.1.0", N={"type": "null"}) == {
        "$ref": "#/$defs/N",
        "description": "more",
    }
    assert schema_of(described, version="3.0.0", N={"type": "string"}) == {"$ref": "#/$defs/N"}
    assert schema_of({"properties": {"x-a": True}}, version="3.1.0") == {"properties": {"x-a": True}}


FAULTS: dict[str, tuple[Json, str]] = {
    "a reference outside": (
        {"requestBody": {"content": {"application/json": {"schema": {"$ref": "http://127.0.0.1/x"}}}}},
        'requestBody/content/application~1json/schema/$ref: refers to `"http://127.0.0.1/x"`, which is outside',
    ),
    "a file beside": ({"requestBody": {"$ref": "other.yaml#/a"}}, "which is outside of the document"),
    "a lost reference": ({"parameters": [{"$ref": "#/components/parameters/no"}]}, "is not in the document"),
    "no pointer": ({"parameters": [{"$ref": "#thing"}]}, "which is no JSON pointer"),
    "a circle of references": (
        {"parameters": [{"$ref": "#/paths/~1a/get/parameters/0"}]},
        "leads back to itself",
    ),
    "an odd place": ({"parameters": [{"name": "a", "in": "head"}]}, "`in` is `head`"),
    "a path parameter that is not in the path": (
        {"parameters": [{"name": "a", "in": "path", "required": True}]},
        "its parameter `a` is not in the path `/a`",
    ),
    "an optional path parameter": (
        {"parameters": [{"name": "a", "in": "path"}]},
        "in the path and not `required`",
    ),
    "an odd style": (
        {"parameters": [{"name": "a", "in": "query", "style": "simple"}]},
        "`style` is `simple`",
    ),
    "a header of the client": (
        {"parameters": [{"name": "Host", "in": "header"}]},
        "written by the client itself",
    ),
    "no header": ({"parameters": [{"name": "a b", "in": "header"}]}, "cannot be the name of a header"),
    "an odd type": (
        {"parameters": [{"name": "a", "in": "query", "schema": {"type": "strng"}}]},
        'is "strng", and must be one',
    ),
    "an odd pattern": (
        {"parameters": [{"name": "a", "in": "query", "schema": {"pattern": "("}}]},
        "no regular expression",
    ),
    "no schema": ({"parameters": [{"name": "a", "in": "query", "schema": "string"}]}, "is no schema"),
    "a name for a schema": (
        {"parameters": [{"name": "a", "in": "query", "schema": {"$id": "x"}}]},
        "`$id` cannot be used",
    ),
    "a dynamic reference": (
        {"parameters": [{"name": "a", "in": "query", "schema": {"$dynamicRef": "#x"}}]},
        "`$dynamicRef` cannot be used",
    ),
    "a file to send": (
        {
            "requestBody": {
                "content": {
                    "multipart/form-data": {
                        "schema": {
                            "required": ["f"],
                            "properties": {"f": {"type": "string", "format": "binary"}},
                        }
                    }
                }
            }
        },
        "`f` is a file, and actions send none",
    ),
    "bytes to send": (
        {"requestBody": {"content": {"image/png": {}}}},
        "a body of `image/png` cannot be written",
    ),
    "no list": ({"parameters": {}}, "is `{}`, and must be a list"),
    "no object": ({"responses": []}, "is `[]`, and must be an object"),
    "no text": ({"description": 3}, "is `3`, and must be text"),
    "no status": ({"responses": {"2000": {}}}, "`2000` is no status"),
    "a scheme that is not there": (
        {"security": [{"lost": []}]},
        "needs `lost`, for which no secret is named",
    ),
    "a server that is none": (
        {"servers": [{"url": "/v1"}]},
        "the server `/v1` is no full http or https address",
    ),
    "a server on an odd port": ({"servers": [{"url": "https://a.example:22"}]}, "is at port 22"),
    "a server with a user": ({"servers": [{"url": "https://u:p@a.example"}]}, "a user in its address"),
}


@pytest.mark.parametrize("case", FAULTS)
def test_each_fault_is_told_with_its_place(case: str) -> None:
    """A JSON pointer, what is wrong, and where it is not plain, how to mend it."""
    node, told = FAULTS[case]
    said = faults(one({"/a": {"get": {"operationId": "a", "responses": {}, **node}}}))
    assert told in said
    assert "#/" in said


def test_all_faults_are_told_at_once() -> None:
    """Also those of several operations; an operation that is left out has none."""
    paths = {
        "/a": {"get": {"operationId": "a", "parameters": [{"name": "x", "in": "no"}], "responses": {}}},
        "/b/{y}": {"get": {"operationId": "a", "responses": {}}},
        "c": {"get": {"operationId": "c", "responses": {}}},
    }
    said = faults(one(paths))
    assert "the document has 4 faults" in said
    for place in (
        "#/paths/~1a/get/parameters/0: `in`",
        "#/paths/~1b~1{y}/get: the path has `{y}`",
        "#/paths/c: the path",
    ):
        assert place in said

    assert "`operationId` is `a`, as that of /paths/~1a/get" in said


def test_documents_that_are_none_are_refused(tmp_path: Path) -> None:
    """Other versions, other files, addresses, and YAML that unfolds without end."""
    assert "is Swagger 2.0" in faults({"swagger": "2.0"})
    assert 'openapi: is `"4.0"`' in faults({"openapi": "4.0"})
    bomb = "openapi: 3.1.0\na: &a [x, x, x, x, x, x, x, x, x]\n"
    for last, name in zip("abcdefgh", "bcdefghi", strict=True):
        bomb += f"{name}: &{name} [{', '.join([f'*{last}'] * 9)}]\n"

    refused = {
        "is too large, or holds itself": bomb,
        "holds itself": "openapi: 3.1.0\na: &a [*a]\n",
        "cannot be read": str(tmp_path / "nothing.yaml"),
        "is an address": "https://example.com/openapi.json",
        "neither JSON nor YAML": "openapi: 3.1.0\n  a: [",
        "no OpenAPI document": "- a\n- b\n",
    }
    for told, source in refused.items():
        with pytest.raises(ProjectError, match=told):
            actions(source)


def test_a_secret_is_not_sent_in_the_clear_unless_the_project_says_so() -> None:
    """A document does not decide that a key goes over plain http."""
    document = SHOP.replace("https://{region}", "http://{region}")
    assert "the secret `SHOP_KEY` would go to" in faults(document, secrets=KEY)
    assert tools(document, secrets=KEY, server="http://shop.internal:8080")
    local = document.replace("{region}.example.com", "10.0.0.7")
    assert tools(local, secrets=KEY, networks=["10.0.0.0/8"])


def test_what_the_project_says_of_a_document_is_checked() -> None:
    """Secrets for schemes that are not there, values of variables that cannot be."""
    assert (
        'needs `key`, for which no secret is named\n    hint: name the secret: `secrets={"key": "SMALL_SHOP_KEY"}`'
        in faults(SHOP)
    )
    assert "there is no scheme `kee`" in faults(SHOP, secrets={"kee": "SHOP_KEY"})
    assert "`region` is `mars`" in faults(SHOP, secrets=KEY, variables={"region": "mars"})


def test_private_data_of_one_api_may_go_back_to_it_and_nowhere_else() -> None:
    """Reads of one server follow each other without a warning; an operation at another server is another place."""
    document = one(
        {
            "/a": {"get": {"operationId": "a", "responses": {}}},
            "/b": {"get": {"operationId": "b", "responses": {}}},
            "/c": {
                "get": {"operationId": "c", "responses": {}, "servers": [{"url": "https://other.example"}]}
            },
        }
    )

    def codes(*names: str) -> list[str]:
        planner = Planner("plan", takes=str, gives=str, tools=actions(document, include=names, private=True))
        return [finding.code for finding in Workflow("w", start=planner, end=planner).flows()]

    assert codes("a", "b") == []
    assert codes("a", "b", "c") == ["AF204"]
