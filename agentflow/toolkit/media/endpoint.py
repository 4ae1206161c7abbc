"""Where a service that speaks the OpenAI API is, which of its models is asked, and whose key opens it."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from agentflow.exceptions import ToolError
from agentflow.secrets import Secret

OPENAI_URL = "https://api.openai.com/v1"
_URL = re.compile(r"https?://[^\s/?#]+[^\s?#]*")
_NAMED = re.compile(r"(?P<model>[^\s@]+)(?:@(?P<url>\S+))?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """A server and one of its models; `base_url` ends in `/v1` as a rule, and may lie in a private network.

    The key is sent to `base_url` and nowhere else: no redirect is followed. `timeout` is for a whole call, in seconds.
    """

    model: str
    base_url: str = OPENAI_URL
    key: Secret | None = None
    timeout: float = 300

    def __post_init__(self) -> None:
        parts = urlsplit(self.base_url)
        if "@" in parts.netloc:
            raise ToolError(
                f"the address of `{parts.hostname}` holds a password, which would be written down",
                hint='give the key as `key=Secret("NAME")`',
            )

        if not _URL.fullmatch(self.base_url) or not parts.hostname:
            raise ToolError(
                f"`{self.base_url}` is no address of a server", hint="write it as `http://host:port/v1`"
            )

        object.__setattr__(self, "base_url", self.base_url.rstrip("/"))


def named(
    variable: str, *, model: str, what: str, timeout: float = 300, environ: Mapping[str, str] | None = None
) -> Endpoint:
    """The endpoint for `what` that the environment names: `variable` (`NAME` or `NAME@URL`), else OPENAI_BASE_URL or
    OPENAI_API_KEY with `model`.

    As for language models, OpenAI's key goes to OpenAI and to OPENAI_BASE_URL, and AGENTFLOW_API_KEY to other servers.
    Raises `ToolError` that says what to connect.
    """
    known = os.environ if environ is None else environ
    text, server = known.get(variable, "").strip(), known.get("OPENAI_BASE_URL", "").strip()
    match = _NAMED.fullmatch(text)
    if text and match is None:
        raise ToolError(f"{variable} is `{text}`", hint="write it as `NAME` or `NAME@http://host:port/v1`")

    url = (match["url"] if match else None) or server
    if not url and not Secret("OPENAI_API_KEY").is_set(known):
        raise ToolError(
            f"there is no service for {what} here",
            hint=f"set {variable} to `MODEL@http://host:port/v1`, a server that speaks the OpenAI API, or OPENAI_API_KEY for OpenAI",
        )

    url = url or OPENAI_URL
    return Endpoint(
        model=match["model"] if match else model,
        base_url=url,
        key=_key(url, server, known),
        timeout=timeout,
    )


def _key(url: str, server: str, environ: Mapping[str, str]) -> Secret | None:
    own = [OPENAI_URL, *([server] if server else [])]
    name = "OPENAI_API_KEY" if _origin(url) in map(_origin, own) else "AGENTFLOW_API_KEY"
    secret = Secret(name)
    return secret if url == OPENAI_URL or secret.is_set(environ) else None


def _origin(url: str) -> tuple[str, str, int | None]:
    try:
        parts = urlsplit(url)
        port = parts.port or {"http": 80, "https": 443}.get(parts.scheme)
        return parts.scheme, parts.hostname or "", port
    except ValueError:
        return "", url, None
