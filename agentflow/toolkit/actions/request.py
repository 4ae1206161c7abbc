"""From arguments to a request: the address, the headers and the body of one call."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from agentflow.exceptions import ToolArgumentsInvalid
from agentflow.toolkit.actions import writing
from agentflow.toolkit.actions.operation import Body, Operation
from agentflow.toolkit.actions.parameters import is_json
from agentflow.toolkit.actions.security import written

_LONGEST = 8000  # characters of an address, as servers and the guard have it


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What is sent. `shown` is the address without what is secret, for people and models; `url` is not to be told."""

    method: str
    url: str = field(repr=False)
    shown: str
    headers: Mapping[str, str] = field(repr=False)
    content: bytes | None = field(repr=False)


def request(operation: Operation, arguments: Mapping[str, Any]) -> Request:
    """The request of a call with valid `arguments`. Raises `ToolArgumentsInvalid`, or `SecretMissing`."""
    path, query = operation.path, writing.Pairs()
    headers: dict[str, str] = {"Accept": _accepted(operation)}
    cookies = writing.Pairs()
    for parameter in operation.parameters:
        value = arguments.get(parameter.argument)
        if value is None:
            continue

        if parameter.place == "path":
            path = path.replace(f"{{{parameter.name}}}", writing.in_path(parameter, value))
        elif parameter.place == "query":
            query += writing.in_query(parameter, value)
        elif parameter.place == "header":
            headers[parameter.name] = writing.in_header(parameter, value)
        else:
            cookies += writing.in_cookie(parameter, value)

    content = _content(operation.body, arguments, headers)
    shown = _address(operation.server + path, query)
    for credential in operation.credentials:
        secret = written(credential)
        if credential.place == "header":
            headers[credential.name] = secret
        else:
            pair = [(writing.encoded(credential.name), writing.encoded(secret))]
            query, cookies = (
                (query + pair, cookies) if credential.place == "query" else (query, cookies + pair)
            )

    if cookies:
        headers["Cookie"] = "; ".join(f"{name}={value}" for name, value in cookies)

    url = _address(operation.server + path, query)
    if len(url) > _LONGEST:
        raise ToolArgumentsInvalid(
            f"the address of the call would have {len(url):,} characters, and may have {_LONGEST:,}",
            hint="give shorter values",
        )

    return Request(method=operation.method.upper(), url=url, shown=shown, headers=headers, content=content)


def _address(address: str, query: writing.Pairs) -> str:
    return address + ("?" + "&".join(f"{name}={value}" for name, value in query) if query else "")


def _accepted(operation: Operation) -> str:
    kinds = dict.fromkeys(kind for answer in operation.answers.values() for kind in answer if "*" not in kind)
    return ", ".join([*kinds, "application/json;q=0.9", "*/*;q=0.1"])


def _content(body: Body | None, arguments: Mapping[str, Any], headers: dict[str, str]) -> bytes | None:
    if body is None or "body" not in arguments:
        return None

    value, kind = arguments["body"], body.media_type
    headers["Content-Type"] = kind
    if is_json(kind):
        return json.dumps(value, ensure_ascii=False, allow_nan=False).encode()

    if kind == "text/plain":
        return str(value).encode()

    if not isinstance(value, Mapping):
        raise ToolArgumentsInvalid("`body` is a form, and must be an object of its fields")

    pairs = writing.form(body.fields, value)
    if kind == "multipart/form-data":
        return _multipart(pairs, headers)

    return "&".join(f"{name}={item}" for name, item in pairs).encode()


def _multipart(pairs: writing.Pairs, headers: dict[str, str]) -> bytes:
    """A form in parts (RFC 7578), all of them text."""
    border = uuid4().hex
    headers["Content-Type"] = f"multipart/form-data; boundary={border}"
    parts = [
        f'--{border}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{writing.decoded(item)}\r\n'
        for name, item in pairs
    ]
    return "".join([*parts, f"--{border}--\r\n"]).encode()
