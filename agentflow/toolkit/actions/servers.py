"""The address that an API is at: from the document, or as the project says."""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import urlsplit

from agentflow.toolkit.actions.document import Node


def server(path: Node, operation: Node, own: str, variables: Mapping[str, str]) -> str:
    """The address that the paths of an operation are appended to; `own`, where the project gives it, goes first."""
    root = operation.document.root
    if own:
        return _address(root, own)

    for node in (operation, path, root):
        for found in node.child("servers").items():
            return _address(found, _filled(found, variables))

    root.fault("names no server", 'say where the API is: `server="https://api.example.com/v1"`')
    return ""


def _filled(node: Node, variables: Mapping[str, str]) -> str:
    def value(match: re.Match[str]) -> str:
        known = node.child("variables").child(match[1])
        chosen = variables.get(match[1], known.text("default"))
        choices = [str(item.value) for item in known.child("enum").items()]
        if not chosen:
            node.fault(f"has no value for `{{{match[1]}}}`", f'give one: `variables={{"{match[1]}": "..."}}`')
        elif choices and chosen not in choices:
            known.fault(f"`{match[1]}` is `{chosen}`", f"it is one of: {', '.join(choices)}")

        return chosen

    return re.sub(r"\{([^{}]+)\}", value, node.text("url"))


def _address(node: Node, url: str) -> str:
    hint = 'say where the API is: `server="https://api.example.com/v1"`'
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018 - raises for what is no port
    except ValueError as error:
        node.fault(f"the server `{url}` is no address: {error}", hint)
        return ""

    if parts.scheme not in ("http", "https") or not parts.hostname:
        node.fault(f"the server `{url}` is no full http or https address", hint)
    elif parts.query or parts.fragment or parts.username is not None:
        node.fault(f"the server `{parts.hostname}` has a query, a fragment or a user in its address", hint)

    return url.rstrip("/")
