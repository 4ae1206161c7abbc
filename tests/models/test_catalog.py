"""Models are named by one grammar, chosen in one order, and priced from one list."""

from __future__ import annotations

import pytest

from agentflow.exceptions import ModelUnreachable, ProjectError
from agentflow.models.catalog import OPENAI_DEFAULT, ModelRef, choose, parse
from agentflow.models.pricing import cost_usd
from tests.models.openai_server import OpenAIServer

KEY = {"OPENAI_API_KEY": "k"}
SERVER = {"OPENAI_BASE_URL": "http://127.0.0.1:11434/v1/"}
LOCAL = "http://127.0.0.1:11434/v1"


@pytest.mark.parametrize(
    ("text", "environ", "expected"),
    [
        ("embedded", KEY, ModelRef(provider="embedded", name="embedded")),
        ("gpt-5-mini", KEY, ModelRef(provider="openai", name="gpt-5-mini", key_env="OPENAI_API_KEY")),
        (
            "qwen3:4b",
            SERVER,
            ModelRef(provider="chat", name="qwen3:4b", base_url=LOCAL, key_env="OPENAI_API_KEY"),
        ),
        (
            "chat/meta-llama/Llama-3.1-8B@http://10.0.0.2:8000/v1",
            KEY,
            ModelRef(provider="chat", name="meta-llama/Llama-3.1-8B", base_url="http://10.0.0.2:8000/v1"),
        ),
        (
            "responses/m@https://llm.example/v1",
            {"AGENTFLOW_API_KEY": "k"},
            ModelRef(
                provider="openai", name="m", base_url="https://llm.example/v1", key_env="AGENTFLOW_API_KEY"
            ),
        ),
        ("chat/gpt-5-mini", KEY, ModelRef(provider="chat", name="gpt-5-mini", key_env="OPENAI_API_KEY")),
        (
            "chat/m@https://api.openai.com/v1",
            KEY,
            ModelRef(provider="chat", name="m", key_env="OPENAI_API_KEY"),
        ),
        ("scripted/one", {}, ModelRef(provider="scripted", name="one")),
    ],
)
def test_each_form_of_the_grammar(text: str, environ: dict[str, str], expected: ModelRef) -> None:
    """A model's name gives its API, its server and the variable that holds its key."""
    assert parse(text, environ) == expected


@pytest.mark.parametrize(
    "text",
    ["embedded", "responses/gpt-5-mini", "chat/m@http://127.0.0.1:1/v1", "responses/a/b@https://h/v1"],
)
def test_a_reference_written_out_is_read_back_the_same(text: str) -> None:
    """The text of a reference is stable, so a journal can name the model of a run."""
    assert str(parse(text, KEY)) == text
    assert parse(str(parse(text, KEY)), KEY) == parse(text, KEY)


@pytest.mark.parametrize(
    "text", ["", "a b", "/x", "anthropic/claude", "gpt-5@http://h/v1", "chat/m@ftp://h", "chat/", "chat/m@"]
)
def test_an_unknown_form_is_refused_with_the_grammar(text: str) -> None:
    """What is no name of a model says how one is written."""
    with pytest.raises(ProjectError) as caught:
        parse(text, KEY)

    assert "`responses/NAME`" in caught.value.hint


def test_the_order_of_choice() -> None:
    """`--model` goes before AGENTFLOW_MODEL, that before the setting, and the environment comes last."""
    environ = {**KEY, "AGENTFLOW_MODEL": "from-variable"}
    assert choose("from-flag", "from-setting", environ).name == "from-flag"
    assert choose(None, "from-setting", environ).name == "from-variable"
    assert choose(None, "from-setting", KEY).name == "from-setting"
    assert choose(None, None, KEY).name == OPENAI_DEFAULT
    assert choose(None, None, {**KEY, "OPENAI_MODEL": "gpt-5-mini"}).name == "gpt-5-mini"
    assert str(choose(None, None, {})) == "embedded"


def test_a_compatible_server_is_asked_for_its_first_model() -> None:
    """With OPENAI_BASE_URL alone, the model is the first that the server lists."""
    with OpenAIServer() as server:
        ref = choose(None, None, {"OPENAI_BASE_URL": server.url})

    assert str(ref) == f"chat/scripted-1@{server.url}"


def test_a_server_that_is_not_there_is_an_error_with_a_hint() -> None:
    """A run without a named model on a dead server says which server, and how to name a model."""
    with OpenAIServer() as server:
        url = server.url

    with pytest.raises(ModelUnreachable, match=url) as caught:
        choose(None, None, {"OPENAI_BASE_URL": url})

    assert "OPENAI_MODEL" in caught.value.hint


def test_a_server_that_lists_nothing_is_an_error() -> None:
    """A server without models cannot be chosen from."""
    with (
        OpenAIServer(models=()) as server,
        pytest.raises(ModelUnreachable, match="does not list a model"),
    ):
        choose(None, None, {"OPENAI_BASE_URL": server.url})


def test_openai_s_key_goes_to_no_other_server() -> None:
    """A model that names a server of its own is not sent the key of OpenAI."""
    assert parse("chat/m@https://llm.example/v1", KEY).key_env is None
    assert parse("chat/m@http://127.0.0.1:11434/v1", {**KEY, **SERVER}).key_env == "OPENAI_API_KEY"


def test_a_password_in_an_address_is_refused_and_not_repeated() -> None:
    """References are written to the journal, so an address must not hold a secret."""
    with pytest.raises(ProjectError) as caught:
        parse("chat/m@https://user:hunter2@llm.example/v1", {})

    assert "hunter2" not in str(caught.value)


def test_the_default_model_is_the_sdk_s() -> None:
    """The name that is taken without the SDK loaded is the one that the SDK would take."""
    from agents.models import get_default_model

    assert get_default_model() == OPENAI_DEFAULT


def test_prices_are_known_unknown_or_nothing() -> None:
    """Listed models cost what the list says, unlisted ones None, and the embedded model nothing."""
    usage = {"input_tokens": 1_000_000, "output_tokens": 0, "cached_tokens": 0, "requests": 1}
    assert cost_usd("gpt-4o", usage) == pytest.approx(2.5)
    assert cost_usd("responses/gpt-4o", usage) == pytest.approx(2.5)
    assert cost_usd("gpt-4o", {**usage, "cached_tokens": 1_000_000}) == pytest.approx(1.25)
    assert cost_usd("nonesuch", usage) is None
    assert cost_usd("chat/gpt-4o@http://127.0.0.1:1/v1", usage) is None
    assert cost_usd("embedded", usage) == 0.0
