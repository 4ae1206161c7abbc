"""Events as text and back, their hashes, and the values they carry."""

from __future__ import annotations

import json
from dataclasses import FrozenInstanceError, dataclass, fields, replace
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic_core import to_json

from agentflow.encoding import chained, decode, encode
from agentflow.events import EVENTS, ErrorInfo, Payload, RunFailed, RunFinished, StepFinished, TimerSet
from agentflow.exceptions import JournalDamaged
from agentflow.journal import canonical, stand_in
from tests.definition.sound import Again, Big
from tests.journal.examples import EXAMPLES, started


def test_each_type_of_event_has_an_example() -> None:
    """No type of event is left out of these tests."""
    assert {type(e) for e in EXAMPLES} == set(EVENTS.values())


@pytest.mark.parametrize("event", EXAMPLES, ids=lambda e: e.type)
def test_an_event_comes_back_as_it_was(event: Any) -> None:
    """Decoding what was encoded gives an equal event, and encoding that gives the same bytes."""
    raw = encode(event)

    assert decode(raw) == event
    assert encode(decode(raw)) == raw
    assert json.loads(raw)["type"] == event.type
    assert raw.isascii() or raw.decode()


@pytest.mark.parametrize("event", EXAMPLES, ids=lambda e: e.type)
def test_events_are_the_same_where_all_their_fields_are(event: Any) -> None:
    """An event equals a copy, with the same hash, and no event of which one field is another, or of another kind."""
    assert replace(event) == event
    assert repr(replace(event)) == repr(event)
    for field in fields(event):
        other = replace(event, **{field.name: object()})
        assert other != event
        assert f"{field.name}=<object" in repr(other)

    assert all(event != other for other in (*EXAMPLES, None) if other is not event)


def test_events_can_be_kept_in_sets() -> None:
    """Equal events have one hash; what cannot be hashed in one is refused as ever."""
    assert (
        len(
            {
                TimerSet(at=1, step="a", due=2),
                TimerSet(at=1, step="a", due=2),
                TimerSet(at=1, step="a", due=3),
            }
        )
        == 2
    )
    with pytest.raises(TypeError, match="unhashable"):
        hash(started())


@pytest.mark.parametrize("event", EXAMPLES, ids=lambda e: e.type)
def test_an_event_cannot_be_changed(event: Any) -> None:
    """No field of an event can be set or taken away."""
    for field in fields(event):
        with pytest.raises(FrozenInstanceError):
            setattr(event, field.name, None)
        with pytest.raises(FrozenInstanceError):
            delattr(event, field.name)


@pytest.mark.parametrize("event", EXAMPLES, ids=lambda e: e.type)
def test_an_event_with_its_payload_apart_comes_back(event: Any) -> None:
    """A payload that is kept elsewhere is asked for by what stands in its place."""
    apart: dict[str, bytes] = {}

    def keep(raw: bytes) -> bytes:
        apart[str(len(apart))] = raw
        return json.dumps({"at": str(len(apart) - 1)}).replace(" ", "").encode()

    raw = encode(event, keep)
    again = decode(raw, lambda value: apart[value["at"]])

    assert again == event
    assert encode(again) == encode(event)


JSONABLE = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)


@settings(max_examples=300, deadline=None)
@given(st.text() | st.integers() | st.integers(-(10**400), 10**400) | st.booleans() | st.none())
@example("".join(map(chr, (*range(0xD800), *range(0xE000, 0x10FFFF)))))
@example(10**5000)
def test_plain_values_are_written_as_pydantic_writes_them(value: Any) -> None:
    """What is written without pydantic is the same to the byte, so that hashes of runs are."""
    assert Payload(value).json == to_json(value)


def test_text_that_is_no_unicode_is_refused() -> None:
    """Half of a surrogate pair, which JSON in UTF-8 cannot hold, is no value to be written."""
    with pytest.raises(ValueError, match="surrogates not allowed"):
        _ = Payload("half \ud800").json


@settings(max_examples=150, deadline=None)
@given(JSONABLE, st.text(st.characters(codec=None)), st.integers(0, 2**62))
def test_whatever_is_written_is_read(value: Any, text: str, at: int) -> None:
    """Any value and any message, also with half characters, survives byte for byte."""
    try:
        output = Payload(value)
        _ = output.json
    except ValueError:
        return

    event = StepFinished(seq=1, at=at, step="s", output=output)
    failed = RunFailed(seq=1, at=at, step="s", error=ErrorInfo(kind="E", message=text))

    assert encode(decode(encode(event))) == encode(event)
    assert decode(encode(failed)) == failed


def test_numbers_stay_as_they_were_written() -> None:
    """Floats are not written anew when an event is read, so its hash stays."""
    event = RunFinished(seq=1, at=1, output=Payload([1e16, 1e-7, 0.1, -0.0, 123456789.123456789]))

    assert canonical(decode(encode(event))) == canonical(event)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{}",
        b"[]",
        b'"text"',
        b"null",
        b"\xff\xfe",
        b'{"type":"run.finished"',
        b'{"type":"no.such"}',
        b'{"type":"run.finished","at":1,"seq":1}',
        b'{"type":"step.started","at":1,"seq":1,"step":"a","colour":"red"}',
        b'{"type":"run.failed","at":1,"step":"a","error":"text"}',
        b'{"type":"timer.fired","at":1,"step":"a"} ',
        encode(EXAMPLES[5])[:-3],
    ],
)
def test_what_is_no_event_is_damage(raw: bytes) -> None:
    """Bytes that are no event are a `JournalDamaged`, whatever they are."""
    with pytest.raises(JournalDamaged, match="an event cannot be read"):
        decode(raw)


def test_defaults_are_left_out() -> None:
    """An event is as short as it can be, in the order of its fields."""
    assert (
        encode(StepFinished(seq=2, at=1, step="a#1"))
        == b'{"type":"step.finished","at":1,"seq":2,"step":"a#1"}'
    )


def test_a_hash_stands_for_all_before_it() -> None:
    """Changing, dropping or turning round earlier events changes the last hash."""

    def head(events: list[Any]) -> bytes:
        last = b""
        for event in events:
            last = chained(last, canonical(event))

        return last

    a, b, c = EXAMPLES[0], EXAMPLES[9], EXAMPLES[12]

    assert (
        len({head([a, b, c]), head([b, a, c]), head([a, c]), head([a, b]), head([a, b, EXAMPLES[13]])}) == 5
    )


def test_large_payloads_have_a_stand_in() -> None:
    """Short values stand for themselves; long ones, and those that look like a stand-in, by their digest."""
    assert stand_in(b'"x"') == b'"x"'
    assert json.loads(stand_in(b'"' + b"x" * 9000 + b'"'))["size"] == 9002
    assert stand_in(b'{"$payload":"sha256:0"}').startswith(b'{"$payload":"sha256:')
    assert stand_in(b'{"$payload":"sha256:0"}') != b'{"$payload":"sha256:0"}'


@dataclass(frozen=True, kw_only=True)
class Holder:
    """Something with a list."""

    items: list[Again]


def test_a_living_value_is_itself() -> None:
    """A value that never was text is given as the same object, whoever asks."""
    value = Big(number=1)
    payload = Payload(value)

    assert payload.value(Again) is value
    assert payload.value(int) is value
    assert Payload(None).value(int) is None


def test_a_read_value_is_what_each_asks_for() -> None:
    """A value from text is read as the type that is asked for, also by the second one who asks."""
    payload = Payload(raw=b'{"number":1}')

    assert payload.value(Again) == Again(number=1)
    assert payload.value(Big) == Big(number=1)
    assert payload.value(Again) is payload.value(Again)
    assert payload.value(dict[str, int]) == {"number": 1}


def test_a_read_value_keeps_the_type_it_had() -> None:
    """Where it is known as what a value was written, it is read as that for everybody."""
    payload = Payload(raw=b'{"number":1}')
    payload.kind = Big

    assert type(payload.value(Again)) is Big


def test_items_of_a_list() -> None:
    """A list is taken apart once; items of a living list are its objects, items of a read one of its type."""
    alive = Payload([Big(number=1)])
    read = Payload(raw=b'[{"number":1},{"number":2}]')
    typed = Payload(raw=b'[{"number":1}]')
    typed.kind = list[Big]

    assert alive.items()[0].value(Again) == Big(number=1)
    assert [p.value(Again) for p in read.items()] == [Again(number=1), Again(number=2)]
    assert type(typed.items()[0].value(Again)) is Big
    assert read.items() is read.items()
    assert [p.value(int) for p in Payload((1, 2)).items()] == [1, 2]


@pytest.mark.parametrize(
    "payload",
    [
        Payload("text"),
        Payload({"a": 1}),
        Payload(7),
        Payload(None),
        Payload(raw=b'"text"'),
        Payload(raw=b'{"a":1}'),
        Payload(raw=b"7"),
    ],
    ids=repr,
)
def test_what_is_no_list_has_no_items(payload: Payload) -> None:
    """Text, mappings and single values cannot be taken apart, alive or read."""
    with pytest.raises(TypeError, match="is no list"):
        payload.items()


def test_parts_make_a_list_or_a_tuple() -> None:
    """Values put together are read as the list or tuple that is asked for, and written as one list."""
    parts = [Payload(1), Payload(raw=b'"a"')]

    assert Payload(parts=parts).value(tuple[int, str]) == (1, "a")
    assert Payload(parts=[Payload(1), Payload(2)]).value(list[int]) == [1, 2]
    assert Payload(parts=[Payload(1), Payload(2)]).value(tuple[int, ...]) == (1, 2)
    assert Payload(parts=()).value(list[int]) == []
    assert (Payload(parts=parts).json, Payload(parts=()).json) == (b'[1,"a"]', b"[]")


def test_payloads_are_equal_by_what_they_say() -> None:
    """A living and a read payload of the same value are equal, and hash alike."""
    assert Payload({"a": 1}) == Payload(raw=b'{"a":1}')
    assert hash(Payload([1])) == hash(Payload(parts=[Payload(1)]))
    assert Payload(1) != 1
    assert repr(Payload("x")) == 'Payload("x")'


def test_every_field_of_an_event_has_a_plain_type() -> None:
    """Only payloads and errors are more than JSON."""
    for kind in EVENTS.values():
        assert {f.name for f in fields(kind)} >= {"at", "seq"}

    assert started().input == Payload({"text": "why?"})
