"""From a document to its operations: each checked in full, with all faults of all of them at once."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network
from typing import Any
from urllib.parse import urlsplit

from agentflow.toolkit.actions.document import Document, Node
from agentflow.toolkit.actions.operation import Credential, Operation, Parameter, Schema
from agentflow.toolkit.actions.parameters import arguments, body, brief, is_json, parameters
from agentflow.toolkit.actions.schemas import Schemas
from agentflow.toolkit.actions.security import credentials, places
from agentflow.toolkit.actions.selection import Entry, selected, tags
from agentflow.toolkit.actions.servers import server

_LONGEST = 1000  # characters of a tool's description
_PORTS = (80, 443)


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What a project says of a document: which operations, called what, at which server, with which secrets."""

    include: Sequence[str] = ()
    exclude: Sequence[str] = ()
    prefix: str = ""
    server: str = ""
    variables: Mapping[str, str] = field(default_factory=dict[str, str])
    secrets: Mapping[str, str] = field(default_factory=dict[str, str])
    networks: Sequence[str] = ()


def operations(document: Document, choice: Choice) -> list[Operation]:
    """The operations that are chosen. Raises `DocumentInvalid` with all that is wrong with any of them."""
    _check_frame(document, choice)
    requests = Schemas(document=document, direction="request")
    responses = Schemas(document=document, direction="response")
    entries = selected(document, choice.include, choice.exclude, choice.prefix)
    made = [_operation(entry, choice, requests, responses) for entry in entries]
    if not made:
        document.root.child("paths").fault("there is no operation to make a tool of")

    document.refuse()
    return made


def _check_frame(document: Document, choice: Choice) -> None:
    root = document.root
    if not root.child("info").text("title"):
        root.child("info").fault("has no `title`", "name the API: its tools are known by it")

    known = [name for name, _ in root.child("components").child("securitySchemes").members()]
    for scheme in choice.secrets:
        if scheme not in known:
            root.child("components").child("securitySchemes").fault(
                f"there is no scheme `{scheme}`, for which a secret is named",
                f"there are: {', '.join(known)}",
            )


def _operation(entry: Entry, choice: Choice, requests: Schemas, responses: Schemas) -> Operation:
    node = entry.operation
    own = credentials(node, choice.secrets)
    found = parameters(requests, entry.at, node, places(own))
    _check_path(entry, found)
    content = body(requests, node)
    address = server(entry.at, node, choice.server, choice.variables)
    _check_server(node, address, choice, own)
    return Operation(
        id=entry.id,
        tool=entry.tool,
        method=entry.method,
        path=entry.path,
        pointer=node.pointer,
        server=address,
        description=_description(entry),
        tags=tags(node),
        parameters=tuple(found),
        body=content,
        credentials=own,
        answers=_answers(responses, node),
        schema=arguments(found, content),
    )


def _description(entry: Entry) -> str:
    summary, text = entry.operation.text("summary").strip(), entry.operation.text("description").strip()
    said = [part for part in (summary, text if text != summary else "") if part]
    note = ["Deprecated."] if entry.operation.flag("deprecated") else []
    return brief("\n\n".join([*said, *note]) or f"{entry.method.upper()} {entry.path}", _LONGEST)


def _check_path(entry: Entry, found: Sequence[Parameter]) -> None:
    """The parameters in a path and those of its operation must be the same."""
    named = re.findall(r"\{([^{}]*)\}", entry.path)
    known = [parameter.name for parameter in found if parameter.place == "path"]
    for name in dict.fromkeys(named):
        if name not in known:
            entry.operation.fault(
                f"the path has `{{{name}}}`, and there is no such parameter", "add it to `parameters`"
            )

    for name in known:
        if name not in named:
            entry.operation.fault(f"its parameter `{name}` is not in the path `{entry.path}`")


def _check_server(node: Node, address: str, choice: Choice, own: Sequence[Credential]) -> None:
    """What a document says of itself must neither lead to odd ports nor have secrets sent in the clear."""
    if not address or choice.server:
        return

    parts = urlsplit(address)
    if parts.port not in (None, *_PORTS):
        node.document.root.child("servers").fault(
            f"the server `{address}` is at port {parts.port}",
            f'if that is right, say so: `server="{address}"`',
        )

    if own and parts.scheme == "http" and not _is_within(str(parts.hostname), choice.networks):
        node.document.root.child("servers").fault(
            f"the secret `{own[0].secret}` would go to `{address}` in the clear",
            f'use https, or say that it may: `server="{address}"`',
        )


def _is_within(host: str, networks: Sequence[str]) -> bool:
    try:
        return any(ip_address(host) in ip_network(network) for network in networks)
    except ValueError:
        return False


def _answers(schemas: Schemas, operation: Node) -> dict[str, dict[str, Schema]]:
    made: dict[str, dict[str, Any]] = {}
    for status, node in operation.child("responses").members():
        if not re.fullmatch(r"[1-5](\d\d|XX|xx)|default", status):
            node.fault(f"`{status}` is no status", "write `200`, `4XX` or `default`")
            continue

        made[status] = {}
        for kind, content in node.resolved().child("content").members():
            wanted = is_json(kind) and content.has("schema")
            made[status][kind] = schemas.alone(content.child("schema")) if wanted else True

    return made
