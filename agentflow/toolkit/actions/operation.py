"""Operations of an API as values: all that a call of one needs to know."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Place = Literal["path", "query", "header", "cookie"]
Schema = Mapping[str, Any] | bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """One parameter: `argument` is its name for the tool, `name` for the API.

    `style` and `explode` say how lists and objects are written (OpenAPI 3.1, "Style Values"); `as_json` that the value is
    written as JSON instead. `keeps_reserved`: characters such as `/` and `:` stay as they are in a query.
    """

    argument: str
    name: str
    place: Place
    schema: Schema
    is_required: bool = False
    description: str = ""
    style: str = "form"
    explode: bool = False
    as_json: bool = False
    keeps_reserved: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Body:
    """What is sent: of which media type, and in a form, how each field of it that is not sent as it is."""

    media_type: str
    schema: Schema
    is_required: bool
    description: str = ""
    fields: Mapping[str, Parameter] = field(default_factory=dict[str, Parameter])


@dataclass(frozen=True, slots=True, kw_only=True)
class Credential:
    """Where a secret goes: a header, a query parameter or a cookie `name`; `scheme` is what the document calls it.

    `form` is how the secret is written there: as it is, as a bearer token, or as a user and password.
    """

    scheme: str
    secret: str
    place: Place
    name: str
    form: Literal["plain", "bearer", "basic"] = "plain"


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One operation: what its tool takes, how a call of it is made, and what it answers with.

    `server` is the address that `path` is appended to. `answers` are schemas by status (`200`, `2XX`, `default`) and media
    type. `schema` is that of the tool's arguments.
    """

    id: str
    tool: str
    method: str
    path: str
    pointer: str
    server: str
    description: str = ""
    tags: tuple[str, ...] = ()
    parameters: tuple[Parameter, ...] = ()
    body: Body | None = None
    credentials: tuple[Credential, ...] = ()
    answers: Mapping[str, Mapping[str, Schema]] = field(default_factory=dict[str, Any])
    schema: Mapping[str, Any] = field(default_factory=dict[str, Any])
