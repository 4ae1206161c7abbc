"""Secrets: where they are read from, and that they are found again wherever they turn up."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Thread
from urllib.parse import quote, quote_plus

import pytest

from agentflow import secrets
from agentflow.exceptions import SecretMissing
from agentflow.secrets import Secret, hide, look_in, redact, redact_bytes

VALUE = 'p4ss "word"/ü+ßx\\y='


@pytest.fixture(autouse=True)
def _apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(secrets, "_known", {})
    monkeypatch.setattr(secrets, "_folders", [])
    monkeypatch.setattr(secrets, "_pattern", None)


def test_a_secret_is_read_from_the_environment_and_hidden_from_then_on() -> None:
    assert redact("sesame-42") == "sesame-42"
    assert Secret("SHOP_KEY").reveal({"SHOP_KEY": " sesame-42\n"}) == "sesame-42"
    assert redact("the key is sesame-42.") == "the key is [secret SHOP_KEY]."


def test_a_secret_is_read_from_a_file_that_the_environment_names(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("from-a-file\n")
    assert Secret("KEY").reveal({"KEY_FILE": str(tmp_path / "key")}) == "from-a-file"
    with pytest.raises(SecretMissing, match=r"`KEY_FILE`.*cannot be read"):
        Secret("KEY").reveal({"KEY_FILE": str(tmp_path / "none")})


def test_a_secret_is_read_from_the_file_of_the_project_if_nobody_else_can_read_it(tmp_path: Path) -> None:
    file = tmp_path / ".secrets.toml"
    file.write_text('KEY = "in-the-project"\n')
    look_in(tmp_path)
    file.chmod(0o644)
    with pytest.raises(SecretMissing, match="can be read by others") as error:
        Secret("KEY").reveal({})
    assert error.value.hint == f"chmod 600 {file}"
    file.chmod(0o600)
    assert Secret("KEY").reveal({}) == "in-the-project"
    assert Secret("KEY").reveal({"KEY": "the environment first"}) == "the environment first"


def test_a_file_of_secrets_elsewhere_is_named_by_the_environment(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text('KEY = "in-my-file"\n')
    file.chmod(0o600)
    assert Secret("KEY").reveal({"AGENTFLOW_SECRETS": str(file)}) == "in-my-file"
    file.write_text("KEY = in-my-file")
    with pytest.raises(SecretMissing, match="is not TOML"):
        Secret("KEY").reveal({"AGENTFLOW_SECRETS": str(file)})


def test_what_is_missing_is_named_with_how_to_set_it() -> None:
    with pytest.raises(SecretMissing, match="`SHOP_KEY` is not set") as error:
        Secret("SHOP_KEY").reveal({"SHOP_KEY": "  "})
    assert "environment variable SHOP_KEY" in error.value.hint
    assert not Secret("SHOP_KEY").is_set({})


def test_a_value_given_for_a_name_is_refused_and_not_repeated() -> None:
    with pytest.raises(SecretMissing) as error:
        Secret("sk-proj-123456789")
    assert "sk-proj" not in str(error.value) + error.value.hint


def test_a_value_too_short_to_be_recognised_is_refused() -> None:
    with pytest.raises(SecretMissing, match="fewer than 8"):
        Secret("PIN").reveal({"PIN": "1234"})


WAYS: dict[str, Callable[[str], str]] = {
    "plain": str,
    "JSON": json.dumps,
    "JSON with its letters": lambda value: json.dumps(value, ensure_ascii=False),
    "JSON in JSON": lambda value: json.dumps(json.dumps(value)),
    "JSON in JSON with its letters": lambda value: json.dumps(
        json.dumps(value, ensure_ascii=False), ensure_ascii=False
    ),
    "JSON with its letters in JSON": lambda value: json.dumps(json.dumps(value, ensure_ascii=False)),
    "a path": lambda value: f"https://x/{quote(value)}",
    "a query": lambda value: f"https://x/?key={quote(value, safe='')}&a=1",
    "a form": lambda value: f"key={quote_plus(value)}",
    "Python": repr,
}


@pytest.mark.parametrize("way", WAYS)
def test_a_secret_is_found_however_it_is_written(way: str) -> None:
    hide("KEY", VALUE)
    shown = redact(WAYS[way](VALUE))
    assert "[secret KEY]" in shown
    assert "p4ss" not in shown


@pytest.mark.parametrize("user", ["", "a", "ab", "abc", "someone"])
def test_a_secret_is_found_in_a_basic_header_whoever_uses_it(user: str) -> None:
    hide("KEY", "correct horse battery staple")
    for made in (base64.b64encode, base64.urlsafe_b64encode):
        header = made(f"{user}:correct horse battery staple".encode()).decode()
        shown = redact(f"Authorization: Basic {header}")
        assert "[secret KEY]" in shown
        assert b"horse" not in base64.b64decode(header[: len(header) // 4 * 4]) or "[secret" in shown


def test_who_comes_while_a_value_is_being_made_known_waits_until_it_is_hidden(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Two threads that reveal one secret at once both find it hidden from then on."""
    shown: list[str] = []

    def second() -> None:
        hide("KEY", "sesame-42")
        shown.append(redact("sesame-42"))

    other = Thread(target=second)

    def forms(value: str) -> Iterator[str]:
        yield value
        other.start()
        other.join(0.05)  # it has time to come to an end, if it does not wait

    monkeypatch.setattr(secrets, "_forms", forms)
    hide("KEY", "sesame-42")
    other.join()
    assert shown == ["[secret KEY]"]


def test_the_longer_of_two_secrets_that_begin_alike_is_hidden_whole() -> None:
    hide("A", "abcdefgh")
    hide("B", "abcdefghij")
    assert redact("abcdefghij abcdefgh") == "[secret B] [secret A]"


def test_bytes_that_are_no_text_keep_all_but_the_secret() -> None:
    hide("KEY", "sesame-42")
    assert redact_bytes(b"\xff\x00sesame-42\xfe") == b"\xff\x00[secret KEY]\xfe"
