"""Actions: the operations of an OpenAPI document as tools, with labels, checked arguments and a guarded way out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal
from urllib.parse import urlsplit

from agentflow.evidence import Trust
from agentflow.exceptions import UnknownName
from agentflow.limits import Rate
from agentflow.path import caller
from agentflow.toolkit.actions import reading
from agentflow.toolkit.actions.calling import READS, Caller
from agentflow.toolkit.actions.document import Document, read
from agentflow.toolkit.actions.operation import Operation
from agentflow.toolkit.actions.reading import Choice
from agentflow.toolkit.actions.reply import Reply
from agentflow.toolkit.lookup import Resolver
from agentflow.tools import Tool

__all__ = ["Action", "Reply", "actions"]

_NO_TEXT: Mapping[str, str] = MappingProxyType({})
# Methods that do the same however often they are called (RFC 9110, section 9.2.2).
_IDEMPOTENT = (*READS, "put", "delete")


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """What a project knows better of one operation than its method tells; None leaves it as it is.

    A POST that only searches is `effect="read"`, and needs no approval then; a write that nobody has to approve says
    `needs_approval=False`. `timeout` is in seconds; `retries`, `concurrency` and `rate` are those of tools.
    """

    effect: Literal["none", "read", "write"] | None = None
    returns: Trust | None = None
    private: bool | None = None
    idempotent: bool | None = None
    needs_approval: bool | None = None
    description: str | None = None
    timeout: float | None = None
    retries: int | None = None
    concurrency: int | None = None
    rate: Rate | None = None


_NO_ACTIONS: Mapping[str, Action] = MappingProxyType({})


def actions(
    document: str | Path | Mapping[str, Any],
    *,
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
    server: str = "",
    variables: Mapping[str, str] = _NO_TEXT,
    secrets: Mapping[str, str] = _NO_TEXT,
    operations: Mapping[str, Action] = _NO_ACTIONS,
    networks: Sequence[str] = (),
    prefix: str = "",
    private: bool | None = None,
    idempotency_header: str = "",
    timeout: float = 30,
    retries: int = 0,
    max_bytes: int = 5_000_000,
    max_characters: int = 20_000,
    resolver: Resolver | None = None,
) -> list[Tool[..., Any]]:
    """The operations of an OpenAPI 3.0 or 3.1 document as tools, in its order.

    `document` is a file (JSON or YAML, relative to the file that calls this), the text of one, or its data. `include` and
    `exclude` name operations: an `operationId`, `tag:NAME`, a method, a method and a path (`GET /orders/*`); `*` stands for
    anything. `server` is the address of the API, where the document's is not to be used, and `variables` fill the latter.

    `secrets` gives the name of a secret for each security scheme: `{"api_key": "SHOP_KEY"}`; no model ever sees its value.
    GET reads; PUT and DELETE are writes that may be repeated, POST and PATCH such that may not; all writes need an approval,
    and `operations` says by operation what is to be otherwise. All reach outside and return untrusted data, which is
    `private` where a secret is used, unless said. With `idempotency_header`, writes carry a key there and may be repeated.

    Only public addresses are reached, and `networks` (such as `10.1.0.0/16`) besides. `timeout` is in seconds, and `retries`
    is how often what may be repeated is made again; `max_bytes` counts what an answer may have, and `max_characters` what is shown of its data; a longer one is kept as a file.

    Raises `DocumentInvalid` with all that is wrong, each with its place in the document.
    """
    folder = Path(caller(2).file).parent
    known = read(document, folder)
    choice = Choice(
        include=include,
        exclude=exclude,
        prefix=prefix,
        server=server,
        variables=variables,
        secrets=secrets,
        networks=networks,
    )
    found = reading.operations(known, choice)
    for name in operations:
        if name not in [operation.id for operation in found]:
            raise UnknownName("operation", name, [operation.id for operation in found])

    calls = Caller(
        timeout=timeout,
        max_bytes=max_bytes,
        max_characters=max_characters,
        networks=tuple(networks),
        key_header=idempotency_header,
        resolver=resolver,
    )
    made = _Making(known, calls, private=private, retries=retries)
    return [made.tool(operation, operations.get(operation.id, Action())) for operation in found]


class _Making:
    """Makes the tools of one document."""

    def __init__(self, document: Document, calls: Caller, *, private: bool | None, retries: int) -> None:
        self._title = document.root.child("info").text("title").replace("#", " ")
        self._calls, self._private, self._retries = calls, private, retries

    def tool(self, operation: Operation, said: Action) -> Tool[..., Any]:
        """An operation as a tool, labelled by its method and by what the project says of it."""
        by_method: Literal["read", "write"] = "read" if operation.method in READS else "write"
        effect = said.effect or by_method
        private = self._private if said.private is None else said.private
        asks = effect == "write" if said.needs_approval is None else said.needs_approval
        repeats = operation.method in _IDEMPOTENT or bool(self._calls.key_header) or effect != "write"
        is_idempotent = repeats if said.idempotent is None else said.idempotent
        calls, limit = self._calls, self._calls.timeout if said.timeout is None else said.timeout
        is_once = effect == "write" and not is_idempotent

        async def call(**arguments: Any) -> Reply:
            return await calls.call(operation, arguments, is_once=is_once)

        return Tool(
            name=operation.tool,
            description=said.description or operation.description,
            function=call,
            effect=effect,
            returns=said.returns or "untrusted",
            private=bool(operation.credentials) if private is None else private,
            outside=True,
            idempotent=is_idempotent,
            needs_approval=asks,
            timeout=limit,
            retries=self._retries if said.retries is None else said.retries,
            concurrency=said.concurrency,
            rate=said.rate,
            origin=f"openapi:{self._title}#{operation.id}",
            # One document can name several servers.
            reaches=f"openapi:{self._title}@{urlsplit(operation.server).netloc}",
            schema=operation.schema,
        )
