"""Which language model a run uses: how one is named, and which is taken when nobody names one."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlsplit

from agentflow.exceptions import ModelUnreachable, ProjectError

Provider = Literal["openai", "chat", "embedded", "scripted"]

OPENAI_URL = "https://api.openai.com/v1"
# What openai-agents 0.24 takes when no model is named; a test compares the two.
OPENAI_DEFAULT = "gpt-5.6-luna"
GRAMMAR = (
    "a model is `embedded`, `NAME`, `responses/NAME` or `chat/NAME`; "
    "the last two may end in `@http://host:port/v1`"
)
_FORM = re.compile(
    r"(?:(?P<api>responses|chat|scripted)/)?(?P<name>[^\s@/][^\s@]*)(?:@(?P<url>https?://[^\s/@]\S*))?"
)
_LISTING_TIMEOUT = 5.0  # seconds: a server that lists its models at all does it at once


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRef:
    """A model and where it is served. `key_env` names the variable that holds its key; the key is never kept.

    `openai` speaks the Responses API, `chat` speaks Chat Completions; without `base_url` both mean OpenAI itself.
    """

    provider: Provider
    name: str
    base_url: str | None = None
    key_env: str | None = None

    @property
    def url(self) -> str | None:
        """Where requests go, or None for a model that runs in this process."""
        return self.base_url or (OPENAI_URL if self.provider in ("openai", "chat") else None)

    @property
    def vendor(self) -> str:
        """Who serves the model, in the words of the GenAI conventions where they have one."""
        if self.provider in ("embedded", "scripted"):
            return "agentflow"

        return "openai" if self.base_url is None else "openai_compatible"

    def __str__(self) -> str:
        if self.provider == "embedded":
            return "embedded"

        api = "responses" if self.provider == "openai" else self.provider
        return f"{api}/{self.name}" + (f"@{self.base_url}" if self.base_url else "")


EMBEDDED = ModelRef(provider="embedded", name="embedded")


def choose(explicit: str | None, setting: str | None, environ: Mapping[str, str]) -> ModelRef:
    """The model of a run: `--model`, `AGENTFLOW_MODEL`, the project's setting, the environment, `embedded`."""
    text = explicit or environ.get("AGENTFLOW_MODEL") or setting
    return parse(text, environ) if text else _found(environ)


def parse(text: str, environ: Mapping[str, str]) -> ModelRef:
    """The model that `text` names; raises `ProjectError` when it is no name of a model."""
    if text.strip() == "embedded":
        return EMBEDDED

    match = _FORM.fullmatch(text.strip())
    if match is None:
        raise ProjectError(f"`{text}` is no name of a model", hint=GRAMMAR)

    api, name, url = match["api"], match["name"], match["url"]
    if api is None and (url or "/" in name):
        raise ProjectError(f"`{text}` does not say which API the model speaks", hint=GRAMMAR)

    if api == "scripted":
        return ModelRef(provider="scripted", name=name)

    return _served(api, name, _origin(url) or _server(environ), environ)


def _served(api: str | None, name: str, url: str | None, environ: Mapping[str, str]) -> ModelRef:
    """A bare name (`api` is None) means Responses at OpenAI, and Chat Completions anywhere else."""
    chat = api == "chat" or (api is None and url is not None)
    return ModelRef(
        provider="chat" if chat else "openai", name=name, base_url=url, key_env=_key_env(url, environ)
    )


def _found(environ: Mapping[str, str]) -> ModelRef:
    """The model that the environment's variables point at; without any, the embedded one."""
    name = environ.get("OPENAI_MODEL") or environ.get("OPENAI_DEFAULT_MODEL")
    server = _server(environ)
    if server:
        return _served(None, name or _first_model(server, environ), server, environ)

    if environ.get("OPENAI_API_KEY"):
        return _served(None, name or OPENAI_DEFAULT, None, environ)

    return EMBEDDED


def _server(environ: Mapping[str, str]) -> str | None:
    """The compatible server that `OPENAI_BASE_URL` names, or None when it is unset or OpenAI itself."""
    url = environ.get("OPENAI_BASE_URL")
    if url and not re.match(r"https?://[^\s/@]\S*$", url):
        raise ProjectError(f"OPENAI_BASE_URL is `{url}`", hint="write it as `http://host:port/v1`")

    return _origin(url)


def _origin(url: str | None) -> str | None:
    """`url` as it is kept: no slash at its end, and None when it is OpenAI's own."""
    if not url or _host(url) == _host(OPENAI_URL):
        return None

    if "@" in urlsplit(url).netloc:
        raise ProjectError(
            f"the address of `{urlsplit(url).hostname}` holds a password, and would be written to the journal",
            hint="set the key as OPENAI_API_KEY or AGENTFLOW_API_KEY instead",
        )

    return url.rstrip("/")


def _key_env(url: str | None, environ: Mapping[str, str]) -> str | None:
    """The variable that holds the key for `url`: OpenAI's key goes to OpenAI and to OPENAI_BASE_URL only."""
    if url is None or _host(url) == _host(environ.get("OPENAI_BASE_URL", "")):
        return "OPENAI_API_KEY"

    return "AGENTFLOW_API_KEY" if environ.get("AGENTFLOW_API_KEY") else None


def _host(url: str) -> str:
    return urlsplit(url).netloc.rpartition("@")[2].lower()


def _first_model(url: str, environ: Mapping[str, str]) -> str:
    """The name of the first model that the server at `url` lists."""
    # Imported here: only a server without a named model is asked.
    import json
    import urllib.request

    key = environ.get("OPENAI_API_KEY", "none")
    headers = {"Authorization": f"Bearer {key}"}
    request = urllib.request.Request(f"{url}/models", headers=headers)  # noqa: S310 - the scheme was checked
    try:
        with urllib.request.urlopen(request, timeout=_LISTING_TIMEOUT) as response:  # noqa: S310
            models = json.load(response)["data"]
        return str(models[0]["id"])
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise ModelUnreachable(
            f"the server at {url} does not list a model: {type(error).__name__}: {error}",
            hint="is it running? Else name a model: set OPENAI_MODEL, or pass --model chat/NAME",
        ) from error
