"""Security schemes: which secret an operation is called with, and where it is written."""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Mapping, Sequence
from typing import cast

from agentflow.exceptions import ToolError
from agentflow.secrets import Secret
from agentflow.toolkit.actions.document import Node
from agentflow.toolkit.actions.operation import Credential, Place


def credentials(operation: Node, secrets: Mapping[str, str]) -> tuple[Credential, ...]:
    """What an operation is called with: of the ways that it allows, the first whose secrets are all named."""
    root = operation.document.root
    asked = operation if operation.has("security") else root
    ways = [list(way.members()) for way in asked.child("security").items()]
    if not ways:
        return ()

    for way in ways:
        if all(name in secrets for name, _ in way):
            made = [_credential(root, name, node, secrets[name]) for name, node in way]
            return tuple(credential for credential in made if credential is not None)

    names = " or ".join(" with ".join(f"`{name}`" for name, _ in way) for way in ways)
    first, title = ways[0][0][0], root.child("info").text("title")
    operation.fault(
        f"needs {names}, for which no secret is named",
        f'name the secret: `secrets={{"{first}": "{_suggested(f"{title}_{first}")}"}}`, whose value stands in the environment',
    )
    return ()


def _suggested(name: str) -> str:
    return "_".join(re.findall(r"[A-Za-z0-9]+", name)).upper()


def _credential(root: Node, scheme: str, place: Node, secret: str) -> Credential | None:
    node = root.child("components").child("securitySchemes").child(scheme).resolved()
    if node.value is None:
        place.fault(f"the security scheme `{scheme}` is not in the document")
        return None

    kind, http = node.text("type"), node.text("scheme").lower()
    if kind == "apiKey":
        return _key(node, scheme, secret)

    if kind in ("oauth2", "openIdConnect") or (kind, http) == ("http", "bearer"):
        return Credential(scheme=scheme, secret=secret, place="header", name="Authorization", form="bearer")

    if (kind, http) == ("http", "basic"):
        return Credential(scheme=scheme, secret=secret, place="header", name="Authorization", form="basic")

    node.fault(
        f"a scheme of type `{' '.join(filter(None, (kind, http)))}` cannot be used",
        "apiKey, http bearer, http basic, and tokens of oauth2 can",
    )
    return None


def _key(node: Node, scheme: str, secret: str) -> Credential | None:
    place, name = node.text("in"), node.text("name")
    if place not in ("header", "query", "cookie") or not name:
        node.fault("says not where the key goes", "write `in` (header, query or cookie) and `name`")
        return None

    return Credential(scheme=scheme, secret=secret, place=cast("Place", place), name=name)


def written(credential: Credential) -> str:
    """The secret as it is sent. Raises `SecretMissing`, or `ToolError` where it cannot be written there."""
    value = Secret(credential.secret).reveal()
    if credential.form == "basic":
        if ":" not in value:
            raise ToolError(
                f"the secret `{credential.secret}` is no user and password",
                hint="write it as `user:password`",
            )

        return f"Basic {b64encode(value.encode()).decode()}"

    if not value.isprintable() or not value.isascii():
        raise ToolError(f"the secret `{credential.secret}` holds characters that cannot be sent")

    return f"Bearer {value}" if credential.form == "bearer" else value


def places(credentials: Sequence[Credential]) -> list[tuple[Place, str]]:
    """Where the credentials of an operation are written."""
    return [(credential.place, credential.name) for credential in credentials]
