"""Secrets by name: read where they are used, and taken out of whatever is shown, sent to a model or written down.

Known values are kept for the whole process, as what has to be hidden is found by its value, wherever it turns up.
"""

from __future__ import annotations

import json
import os
import re
import stat
from base64 import b64encode
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any
from urllib.parse import quote, quote_plus

from agentflow.exceptions import SecretMissing

FILE = ".secrets.toml"
# Shorter ones cannot be told apart from ordinary text.
_SHORTEST = 8
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

_lock = Lock()
_known: dict[str, str] = {}  # how a value may be written -> the name that it is replaced by
_folders: list[Path] = []
_pattern: re.Pattern[str] | None = None
_has_stand_ins: ContextVar[bool] = ContextVar("agentflow_stand_ins", default=False)


@dataclass(frozen=True, slots=True)
class Secret:
    """A value that only the tool which needs it may see, such as a key.

    It is read, in this order, from the environment variable `name`, from the file that `name_FILE` names, from the TOML
    file that AGENTFLOW_SECRETS names, or from `.secrets.toml` in the project's folder. Neither `repr` nor `str` shows it.
    """

    name: str

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise SecretMissing(
                "that is no name of a secret, which may hold letters, digits and `_`",
                hint='give the name of an environment variable, such as Secret("SHOP_KEY"), not the value itself',
            )

    def reveal(self, environ: Mapping[str, str] = os.environ) -> str:
        """The value, without white space around it; from now on it is hidden by `redact`.

        Raises `SecretMissing` where there is none, or none that could be recognised.
        """
        value = (_found(self.name, environ) or "").strip()
        if not value and _has_stand_ins.get():
            return f"[secret {self.name}]"

        if not value:
            raise SecretMissing(
                f"the secret `{self.name}` is not set",
                hint=f'set the environment variable {self.name}, or put `{self.name} = "..."` into {FILE}',
            )

        if len(value) < _SHORTEST:
            raise SecretMissing(
                f"the secret `{self.name}` has fewer than {_SHORTEST} characters",
                hint="a value so short cannot be kept out of what is shown: use a longer one",
            )

        hide(self.name, value)
        return value

    def is_set(self, environ: Mapping[str, str] = os.environ) -> bool:
        """Whether there is a value."""
        return bool((_found(self.name, environ) or "").strip())


@contextmanager
def stand_ins() -> Generator[None, None, None]:
    """Have secrets that are not set be what stands in their place where they were written down.

    A run that is executed again needs none, as nothing is called with them.
    """
    token = _has_stand_ins.set(True)
    try:
        yield
    finally:
        _has_stand_ins.reset(token)


def look_in(folder: Path) -> None:
    """Read secrets also from `.secrets.toml` in `folder`."""
    with _lock:
        if folder not in _folders:
            _folders.append(folder)


def hide(name: str, value: str) -> None:
    """Have `redact` replace `value`, also as it stands in JSON, addresses, and Basic or Bearer headers."""
    global _pattern
    if len(value) < _SHORTEST:
        return

    with _lock:
        # Asked with the lock held: who is told that it is known may rely on its being hidden.
        if _known.get(value) == name:
            return

        for form in _forms(value):
            _known.setdefault(form, name)

        # The longest first: a value may begin like another one.
        _pattern = re.compile("|".join(re.escape(form) for form in sorted(_known, key=len, reverse=True)))


def redact(text: str) -> str:
    """`text` with each known secret replaced by `[secret NAME]`."""
    pattern = _pattern
    return text if pattern is None else pattern.sub(lambda match: f"[secret {_known[match[0]]}]", text)


def edition() -> object:
    """What is another one whenever more secrets are known than before: what was redacted until then may hold them."""
    return _pattern


def has_secrets() -> bool:
    """Whether any secret is known, and so could have to be hidden."""
    return _pattern is not None


def has_hidden(data: bytes) -> bool:
    """Whether a secret was taken out of `data`, which `redact_bytes` gave."""
    return _pattern is not None and b"[secret " in data


def redact_within(value: Any) -> Any:
    """`redact` for each text in plain data: lists, mappings and what they hold."""
    if _pattern is None:
        return value

    match value:
        case str():
            return redact(value)
        case list():
            return [redact_within(item) for item in value]
        case dict():
            return {name: redact_within(item) for name, item in value.items()}
        case _:
            return value


def redact_bytes(data: bytes) -> bytes:
    """`redact` for text in UTF-8, and for bytes that are no text as far as they hold such."""
    if _pattern is None:
        return data

    # Surrogates carry what is not UTF-8 through unharmed.
    return redact(data.decode(errors="surrogateescape")).encode(errors="surrogateescape")


def _forms(value: str) -> Iterator[str]:
    """The ways in which a value is written down, none of them shorter than what can be recognised."""
    yield value
    for in_ascii in (True, False):
        once = json.dumps(value, ensure_ascii=in_ascii)[1:-1]
        yield once
        # Arguments of a tool are JSON in a text that is in JSON itself.
        yield json.dumps(once)[1:-1]
        yield json.dumps(once, ensure_ascii=False)[1:-1]

    yield quote(value, safe="")
    yield quote_plus(value)
    yield quote(value)
    yield repr(value)[1:-1]
    yield from _in_base64(value.encode())


def _in_base64(value: bytes) -> Iterator[str]:
    """The letters that stand for `value` alone in Base64, whichever of the three places it begins at (as in Basic headers)."""
    for before in range(3):
        encoded = b64encode(bytes(before) + value).decode()
        inner = encoded[-(-before * 8 // 6) : (before + len(value)) * 8 // 6]
        if len(inner) >= _SHORTEST:
            yield inner
            yield inner.replace("+", "-").replace("/", "_")


def _found(name: str, environ: Mapping[str, str]) -> str | None:
    if name in environ:
        return environ[name]

    if path := environ.get(f"{name}_FILE"):
        return _text(Path(path), f"`{name}_FILE`")

    own = environ.get("AGENTFLOW_SECRETS")
    files = [Path(own)] if own else [folder / FILE for folder in _folders if (folder / FILE).is_file()]
    found = (_table(file).get(name) for file in files)
    return next((value for value in found if value is not None), None)


def _table(file: Path) -> dict[str, str]:
    import tomllib  # most processes have no file of secrets

    text = _text(file, "the file of secrets", private=True)
    try:
        return {name: str(value) for name, value in tomllib.loads(text).items()}
    except tomllib.TOMLDecodeError as error:
        raise SecretMissing(
            f"{file} is not TOML: {error}", hint='write lines such as `KEY = "value"`'
        ) from None


def _text(file: Path, what: str, *, private: bool = False) -> str:
    try:
        if private and os.name == "posix" and file.stat().st_mode & (stat.S_IRGRP | stat.S_IROTH):
            raise SecretMissing(f"{what} {file} can be read by others", hint=f"chmod 600 {file}")

        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SecretMissing(f"{what} {file} cannot be read: {error}") from None
