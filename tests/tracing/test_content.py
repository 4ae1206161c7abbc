"""What leaves the journal: as much of what was said as one setting allows, and never what gives itself away as a secret."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import fields
from html import unescape
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentflow import Context, Retry, Workflow, operation, secrets, step
from agentflow.encoding import encode, texts_of
from agentflow.events import EVENTS, ErrorInfo, Event, Payload
from agentflow.exceptions import ProjectError
from agentflow.redaction import Redactor, rules_of
from agentflow.reporting.page import page
from agentflow.secrets import Secret, hide
from agentflow.tracing import content, semconv
from agentflow.tracing.content import DEFAULT, FULL, LEVELS, Capture, Level, capture_of, is_content, told
from agentflow.tracing.document import otlp_json
from agentflow.tracing.spans import SpanData, spans_of
from tests.tracing.conftest import Tracing
from tests.tracing.planted import Planter
from tests.tracing.workflows import counting

redacted = Redactor()


def test_two_hundred_planted_secrets_are_in_no_span(tracing_of_secrets: list[SpanData], planted: Any) -> None:
    """Prompts, arguments, results, errors and addresses that hold secrets are told without them, whatever the level but one."""
    # A private key is looked for by a line of it, which is written the same way however it is quoted.
    needles = [secret.splitlines()[-2 if "\n" in secret else 0] for _, secret in planted]
    for level in ("none", "digests", "redacted"):
        text = json.dumps(otlp_json(tracing_of_secrets, content=Capture(level)), ensure_ascii=False)
        assert [needle for needle in needles if needle in text] == []

    whole = json.dumps(otlp_json(tracing_of_secrets, content=FULL), ensure_ascii=False)
    assert [needle for needle in needles if needle not in whole] == [], "they were never there"


def test_two_hundred_planted_secrets_are_in_no_report(run_of_secrets: Sequence[Event], planted: Any) -> None:
    """The page of a run is told like its spans."""
    needles = [secret.splitlines()[-2 if "\n" in secret else 0] for _, secret in planted]
    told = unescape(page(run_of_secrets, "", clean=redacted))
    assert [needle for needle in needles if needle in told] == []
    whole = unescape(page(run_of_secrets, ""))
    assert [needle for needle in needles if needle not in whole] == [], "they were never there"


@pytest.fixture(scope="module")
def planted() -> list[tuple[str, str]]:
    return Planter(7).planted(200)


@pytest.fixture
async def tracing_of_secrets(run_of_secrets: Sequence[Event]) -> list[SpanData]:
    return spans_of(run_of_secrets, with_records=True)


@pytest.fixture
async def run_of_secrets(tracing: Tracing, planted: list[tuple[str, str]]) -> Sequence[Event]:
    """A run that has a fifth of the secrets each in its input, in prompts, in arguments and results of tools, and in errors."""
    parts = [[text for text, _ in planted[n::5]] for n in range(5)]

    @step(retries=Retry(times=1, delay=0.001))
    async def leaks(question: str, ctx: Context) -> str:
        request = {
            "messages": [{"role": "user", "content": "\n".join(parts[1])}],
            "instructions": "; ".join(parts[1]),
        }
        async with operation("chat", "m", request=request) as record:
            record.result = [{"type": "message", "role": "assistant", "content": f"see {parts[3][0]}"}]

        for text in parts[2]:
            async with operation(
                "tool", "shop", request={"text": text, "nested": {"json": json.dumps([text])}}
            ) as record:
                record.result = {"said": text}

        for text in parts[3]:
            async with operation("retrieval", "web", request={"query": text, "url": text}) as record:
                record.result = [{"source": text, "text": text}]

        if ctx.attempt == 1:
            raise ValueError("\n".join(parts[4]))

        return "\n".join(parts[3])

    traced = await tracing(Workflow("leaking", start=leaks, end=leaks), "\n".join(parts[0]))
    assert traced.result.status == "done"
    return traced.events


async def test_texts_under_names_of_their_own_are_content_too(tracing: Tracing) -> None:
    """What a tool notes of itself, under whatever name, and what arguments and labels are called, is not told where nothing is."""

    @step
    async def notes(text: str) -> str:
        async with operation(
            "retrieval", "web", request={"bob@example.org": 1}, mood="said bob", tries=2
        ) as record:
            record.attributes["retried_after"] = "Error: said bob"

        return text

    traced = await tracing(Workflow("w", start=notes, end=notes), "a")
    span = traced.one("retrieval web")
    for level in ("none", "digests"):
        shown = told(span, content=Capture(level))
        assert "bob" not in str(shown)
        assert shown.attributes["agentflow.tries"] == 2

    assert "bob@" not in str(told(span, content=Capture("redacted")))
    root = told(traced.one("invoke_workflow w"), content=Capture("none")).attributes
    assert {
        semconv.WORKFLOW_DIGEST,
        semconv.WORKFLOW_GRAPH,
        semconv.RUN_STATUS,
        "agentflow.bound.model_calls",
    } <= set(root)


async def test_secrets_known_by_value_are_told_at_no_level(
    tracing: Tracing, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A secret by name is neither in the journal nor in spans, also where everything else is told."""
    monkeypatch.setenv("SHOP_KEY", "not-of-any-form-77")

    @step
    async def leaks(text: str) -> str:
        key = Secret("SHOP_KEY").reveal()
        async with operation("tool", "shop", request={"key": key, "url": f"https://x/?k={key}"}) as record:
            record.result = f"{key}!"

        return f"it is {key}"

    traced = await tracing(Workflow("w", start=leaks, end=leaks), "what is the key?")
    assert not any(b"not-of-any-form-77" in encode(event) for event in traced.events), "the journal holds it"
    spans = spans_of(traced.events, with_records=True)
    for level in LEVELS:
        assert "not-of-any-form-77" not in json.dumps(otlp_json(spans, content=Capture(level)))

    assert "[secret SHOP_KEY]" in json.dumps(otlp_json(spans))


@pytest.mark.parametrize(
    "text",
    [
        "the answer to 4242 questions of 2026-11-30T16:45:00 in run 20261130-164500-ab12cd",
        "1764517200000000000 1764517200000 12345678901234567890 4111 1111 1111 1112",
        "sha256:4111111111111111aaaa4111111111111111bbbb4111111111111111cccc411111111111",
        "https://example.org/@user/page?tokens=5 at 12:30@noon, a@b, x@y.z",
        "task-sk-ill, risk-averse-and-very-long-hyphenated-word, hf_hub, AKIA, bearer of news",
        '{"n": 1.50, "password": ""}',
        "[1.50, \n 2]",
        "used 1234 tokens; 5 % of 100%; https://x.org/a%20b?token_count=123456",
    ],
)
def test_what_is_no_secret_stays_as_it_is(text: str) -> None:
    """Times, digests, ids, numbers and words that only look alike are told, byte for byte."""
    assert redacted(text) == text


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("ask bob.o'hara+x@mail.example.co.uk.", "ask bob.o'[email]."),
        ("4111-1111-1111-1111, or DE89 3704 0044 0532 0130 00", "[card], or [iban]"),
        ("ftp://me:p@ss:w0rd@host/x", "ftp://me:[password]@host/x"),
        ('{"a":"x\\nme@example.org\\u000asecond@example.org"}', '{"a":"x\\n[email]\\n[email]"}'),
        ('{"api_key":"abc123abc","n":2}', '{"api_key":"[password]","n":2}'),
        ('{"out":"{\\"mail\\":\\"a\\\\u0040b.example\\"}"}', '{"out":"{\\"mail\\":\\"[email]\\"}"}'),
        ("card 4111 1111 1111 1111 12/27 123", "card [card] 12/27 123"),
        ("4111111111111111 41 pieces", "[card] 41 pieces"),
        ("pay to DE89 3704 0044 0532 0130 00 BIC COBADEFFXXX", "pay to [iban] BIC COBADEFFXXX"),
        ("{'said': 'a\\n4111111111111111\\nsk-abcdefghijklmnopqrst", "{'said': 'a\\n[card]\\n[key]"),
        (
            "https://x.org/?q=card%204111111111111111&to=bob%40example.org",
            "https://x.org/?q=card [card]&to=[email]",
        ),
        ('{"dbPassword":"hunter2x"}', '{"dbPassword":"[password]"}'),
        ("aws_secret_access_key = wJalrXUtnFEMI/K7MDENG", "aws_secret_access_key = [password]"),
        (
            '{"refreshToken":"abcdef123456","X-Api-Key":"k1k2k3k4"}',
            '{"refreshToken":"[password]","X-Api-Key":"[password]"}',
        ),
        ("[" * 400 + '"me@example.org"' + "]" * 400, "[" * 400 + '"[email]"' + "]" * 400),
        ("-----BEGIN OPENSSH PRIVATE KEY-----\nabc-def\ncut off", "[private-key]"),
    ],
)
def test_what_is_taken_out_leaves_the_rest(text: str, left: str) -> None:
    """Around what is taken out all stays, and JSON stays JSON."""
    assert redacted(text) == left


@given(
    st.recursive(
        st.text(max_size=12), lambda t: st.lists(t) | st.dictionaries(st.text(max_size=5), t), max_leaves=8
    )
)
def test_redacting_twice_is_redacting_once_and_json_stays_json(value: Any) -> None:
    """Whatever the data, what comes out is JSON again, and has nothing more to take out."""
    text = json.dumps([value, "x\nme@example.org"], ensure_ascii=False)
    once = redacted(text)
    assert "me@example.org" not in once
    assert isinstance(json.loads(once), list)
    assert redacted(once) == once


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    "piece",
    [
        "a.",
        "a@",
        "-----BEGIN PRIVATE KEY-----\n",
        "://a:",
        "DE89 ",
        "eyJ",
        "sk-",
        "password=",
        "4 ",
        "[",
        '{"a":',
    ],
)
def test_hostile_text_takes_no_more_time_than_its_length(piece: str) -> None:
    """Text made to keep a pattern busy is done with in time: with a cost that grows by the square it would take hours."""
    assert isinstance(redacted(piece * (600_000 // len(piece))), str)


def test_a_project_adds_rules_of_its_own() -> None:
    """What a project calls secret is taken out as well, also where ours see nothing."""
    capture = capture_of({}, {"redact": {"customer": r"CU-\d{6}"}})
    assert capture.text("of CU-123456 and me@example.org") == "of [customer] and [email]"


@given(st.lists(st.sampled_from(["step s1", "s1#1", "17", "CU-123456", "a@b.co", "words", "k-1234567890"])))
def test_what_was_left_once_is_looked_at_again_where_more_is_secret(texts: list[str]) -> None:
    """Rules of a project are looked for from the start, and a value that becomes a secret from then on."""
    redactor = Redactor(rules_of({"customer": r"CU-\d{6}"}, "here"))
    for _ in range(2):
        assert redactor.leaves(texts) == (not {"CU-123456", "a@b.co"} & set(texts))

    assert redactor.leaves((), ("k-1234567890", "plain"))
    with pytest.MonkeyPatch.context() as patching:
        patching.setattr(secrets, "_known", {})
        patching.setattr(secrets, "_pattern", None)
        hide("KEY", "k-1234567890")
        assert redactor.leaves(texts) == (not {"CU-123456", "a@b.co", "k-1234567890"} & set(texts))
        assert not redactor.leaves((), ("k-1234567890", "plain"))


def test_a_name_that_says_what_stands_under_it_is_not_left() -> None:
    """Names are looked at for what they say of their values, not only for what they hold."""
    redactor = Redactor()
    assert redactor.leaves(["agentflow.password"])
    assert not redactor.leaves((), ("agentflow.password",))


def never(*given: object) -> bool:
    """Whatever is asked: no."""
    del given
    return False


async def test_looking_at_all_of_a_span_tells_the_same_as_looking_at_each_text(
    tracing_of_secrets: list[SpanData], tracing: Tracing, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Spans with secrets and without are told the same whether or not one look is had at all that they say."""
    plain = spans_of((await tracing(counting, "a b c")).events, with_records=True)
    for level in LEVELS:
        capture = Capture(level)
        came = [told(span, content=capture) for span in (*tracing_of_secrets, *plain)]
        with monkeypatch.context() as patching:
            patching.setattr(content, "_is_plain", never)
            assert came == [told(span, content=Capture(level)) for span in (*tracing_of_secrets, *plain)]


@pytest.mark.parametrize("level", ["redacted", "full"])
async def test_events_written_before_a_secret_was_known_are_not_told_again(
    level: Level, tracing: Tracing
) -> None:
    """What a span holds from before somebody named a secret is neither told nor stands in its events; the others are told."""
    spans = spans_of((await tracing(counting, "swordfish b")).events, with_records=True)
    capture = Capture(level)
    before = [semconv.AUDIT_CONTENT in told(span, content=capture).attributes for span in spans]
    with pytest.MonkeyPatch.context() as patching:
        patching.setattr(secrets, "_known", {})
        patching.setattr(secrets, "_pattern", None)
        hide("FISH", "swordfish")
        after = [told(span, content=capture) for span in spans]

    assert all(before)
    assert "swordfish" not in str(after)
    assert 0 < sum(semconv.AUDIT_CONTENT in span.attributes for span in after) < len(spans)


def test_all_that_an_event_says_is_among_its_texts() -> None:
    """A word in any field of any event, however deep, is in one of the parts that are looked at."""
    for kind in EVENTS.values():
        for field in fields(kind):
            if field.type in ("int", "float", "bool"):
                continue

            given: dict[str, Any] = {f.name: _FILLING.get(str(f.type), "x") for f in fields(kind)}
            given[field.name] = _PLANTED.get(str(field.type), "a needle")
            event = kind(**given)
            assert b"needle" in encode(event), f"{kind.type}.{field.name}"
            assert any("needle" in text for text in texts_of(event)), f"{kind.type}.{field.name}"


_FILLING = {
    "int": 1,
    "float": 0.5,
    "bool": True,
    "Payload": Payload(1),
    "ErrorInfo": ErrorInfo(kind="k", message="m"),
}
_PLANTED = {
    "Payload": Payload([{"a": "needle"}]),
    "Payload | None": Payload("needle"),
    "ErrorInfo": ErrorInfo(kind="k", message="a needle"),
    "ErrorInfo | None": ErrorInfo(kind="k", message="m", traceback="needle"),
    "Json": {"a": ["needle"]},
    "Mapping[str, str]": {"a": "needle"},
}


@pytest.mark.parametrize(
    ("rules", "why"),
    [({"x": "("}, "no regular expression"), ({"x": "a*"}, "nothing"), ({"X y": "a"}, "no rule")],
)
def test_a_rule_that_is_none_is_refused(rules: dict[str, str], why: str) -> None:
    """The name of the rule and what is wrong with it are said before anything runs."""
    with pytest.raises(ProjectError, match=why):
        rules_of(rules, "here")


def test_one_setting_says_how_much_is_told() -> None:
    """The environment comes before the project's settings, and what is not said is the default."""
    assert capture_of({}).level == DEFAULT == "redacted"
    assert capture_of({}, {"content": "full"}).level == "full"
    assert capture_of({"AGENTFLOW_CONTENT": "digests"}, {"content": "full"}).level == "digests"
    no = {"OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT": "NO_CONTENT"}
    assert capture_of(no, {"content": "full"}).level == "none"
    assert capture_of({**no, "AGENTFLOW_CONTENT": "full"}).level == "full"
    assert Capture("full").at_most("digests").level == "digests"
    assert Capture("none").at_most("full").level == "none"
    with pytest.raises(ProjectError, match="`all` is no level of content"):
        capture_of({"AGENTFLOW_CONTENT": "all"})


async def test_digests_stand_for_what_is_not_told(tracing_of_secrets: list[SpanData]) -> None:
    """At `digests` each content has its digest and size; at `none` not even those; the rest is the same at both."""
    span = next(s for s in tracing_of_secrets if s.name == "execute_tool shop")
    digests = told(span, content=Capture("digests")).attributes
    nothing = told(span, content=Capture("none")).attributes

    assert str(digests[f"{semconv.TOOL_ARGUMENTS}.digest"]).startswith("sha256:")
    assert digests[f"{semconv.TOOL_ARGUMENTS}.size"] == len(
        str(span.attributes[semconv.TOOL_ARGUMENTS]).encode()
    )
    assert not any(is_content(name) for name in digests)
    assert {n for n in digests if n in nothing} == set(nothing)
    assert set(nothing) - {semconv.AUDIT_RECORDS} == {n for n in span.attributes if not is_content(n)}
