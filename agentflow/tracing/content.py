"""What of a run may be told outside of the journal: the one place that decides it.

Four levels, from least to most: `none` leaves out what people, models and tools said; `digests` puts digest and size in its
place; `redacted` tells it without what gives itself away as a key, a password or a person's address; `full` tells it as it is.
Secrets that are known by value are told at no level.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, get_args

from agentflow.encoding import texts_of
from agentflow.exceptions import ProjectError
from agentflow.redaction import Redactor, rules_of
from agentflow.secrets import has_secrets, redact
from agentflow.tracing import semconv
from agentflow.tracing.records import attributes_of
from agentflow.tracing.span import SpanData, SpanEvent
from agentflow.tracing.values import Attribute, Joined

Level = Literal["none", "digests", "redacted", "full"]
LEVELS: tuple[Level, ...] = get_args(Level)
# A trace without words helps nobody, and a key or an address in somebody else's store cannot be taken back.
DEFAULT: Level = "redacted"
_OFF = ("false", "no_content", "event_only")
_ASKED = f"{semconv.OPERATION_REQUEST}."


@dataclass(frozen=True, slots=True)
class Capture:
    """How much is told, and what is taken out of it."""

    level: Level = DEFAULT
    redactor: Redactor = field(default_factory=Redactor, compare=False)

    def at_most(self, level: str) -> Capture:
        """The same, but no more than `level`."""
        known = LEVELS.index(self.level)
        return replace(self, level=LEVELS[min(known, *(n for n, name in enumerate(LEVELS) if name == level))])

    def text(self, text: str) -> str:
        """A text that says something, as it may be told."""
        match self.level:
            case "none":
                return ""
            case "digests":
                return f"sha256:{_digest(text)} ({len(text.encode(errors='replace'))} bytes)" if text else ""
            case "redacted":
                return self.redactor(text)
            case "full":
                return redact(text)


FULL, NONE = Capture("full"), Capture("none")


def capture_of(environ: Mapping[str, str], settings: Mapping[str, Any] | None = None) -> Capture:
    """What AGENTFLOW_CONTENT, OpenTelemetry's own variable, or `content` of `[tool.agentflow]` says, in this order.

    `redact` of the settings holds rules of the project. Raises `ProjectError` for a level or a rule that is none.
    """
    settings = settings or {}
    rules: Any = settings.get("redact", {})
    if not isinstance(rules, Mapping):
        raise ProjectError(
            "`[tool.agentflow.redact]` is no table", hint='write NAME = "REGULAR EXPRESSION" in it'
        )

    wish = environ.get("OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT", "").strip().lower()
    given = {
        "AGENTFLOW_CONTENT": environ.get("AGENTFLOW_CONTENT", "").strip().lower(),
        "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT": "none" if wish in _OFF else "",
        "`content` of `[tool.agentflow]`": str(settings.get("content", "")),
    }
    where, level = next(((where, said) for where, said in given.items() if said), ("", DEFAULT))
    return Capture(level_of(level, where), Redactor(rules_of(rules, "`[tool.agentflow.redact]`")))


def level_of(text: str, where: str) -> Level:
    """The level of that name; raises `ProjectError`."""
    for level in LEVELS:
        if level == text:
            return level

    raise ProjectError(f"{where}: `{text}` is no level of content", hint=f"levels are: {', '.join(LEVELS)}")


def told(span: SpanData, *, content: Capture | bool) -> SpanData:
    """The span as it may be told, its records as attributes. `content` may say simply that all of it may be, or nothing."""
    capture = content if isinstance(content, Capture) else FULL if content else NONE
    is_as_it_is = capture.level == "full" and not has_secrets()
    if not is_as_it_is and not (capture.level == "redacted" and _is_plain(span, capture.redactor)):
        return _shown(span, capture)

    if span.records is None:
        return span

    audit = attributes_of(span.records, content=_all)
    return span.with_all({**span.attributes, **audit})


def _is_plain(span: SpanData, redactor: Redactor) -> bool:
    """Whether there is nothing to take out of a span and its events: most have nothing, and are looked at once, not text by text."""
    names, texts = tuple(span.attributes), [span.name, span.error, *_texts(span.attributes)]
    for event in span.events:
        names += tuple(event.attributes)
        texts += [event.name, *_texts(event.attributes)]

    for record in span.records or ():
        texts += texts_of(record.event)

    return redactor.leaves(texts, names)


def _texts(attributes: Mapping[str, Attribute]) -> list[str]:
    texts: list[str] = []
    for value in attributes.values():
        if type(value) is str:  # most are that, or whole numbers
            texts.append(value)
        elif type(value) is int:
            continue
        elif isinstance(value, Joined):
            texts += value.parts
        elif isinstance(value, str):
            texts.append(value)
        elif isinstance(value, tuple):
            texts += value

    return texts


def _all(raws: Sequence[bytes]) -> bool:
    del raws
    return True


def _for_records(capture: Capture) -> Callable[[Sequence[bytes]], bool] | None:
    """Whether JSON of events may be told: if there is nothing to take out of any, as it is told whole or not at all."""
    match capture.level:
        case "full":
            return lambda raws: all(redact(raw.decode(errors="replace")).encode() == raw for raw in raws)
        case "redacted":
            return lambda raws: capture.redactor.leaves([raw.decode(errors="replace") for raw in raws])
        case _:
            return None


def _shown(span: SpanData, capture: Capture) -> SpanData:
    audit: Mapping[str, Attribute] = {}
    if span.records is not None:
        audit = attributes_of(span.records, content=_for_records(capture))

    clean: Callable[[str], str] = redact if capture.level == "full" else capture.redactor
    error = span.error
    if capture.level in ("none", "digests") and error:
        error = str(span.attributes.get(semconv.ERROR_TYPE, ""))

    return span._replace(
        name=clean(span.name),
        error=clean(error),
        attributes={**_told(span.attributes, capture, clean), **audit},
        records=None,
        events=tuple(_event(event, capture, clean) for event in span.events),
    )


def _event(event: SpanEvent, capture: Capture, clean: Callable[[str], str]) -> SpanEvent:
    return replace(event, name=clean(event.name), attributes=_told(event.attributes, capture, clean))


def _told(
    attributes: Mapping[str, Attribute], capture: Capture, clean: Callable[[str], str]
) -> dict[str, Attribute]:
    shown: dict[str, Attribute] = {}
    for name, value in attributes.items():
        # What a label or an argument is called may be anything as well.
        name = clean(name) if name.startswith(semconv.UNBOUNDED) else name
        if capture.level in ("none", "digests") and (is_content(name) or _is_foreign(name, value)):
            shown |= _summed_up(name, value) if capture.level == "digests" else {}
        elif isinstance(value, str):
            shown[name] = capture.redactor.named(name, value) if capture.level == "redacted" else clean(value)
        else:
            shown[name] = tuple(map(clean, value)) if isinstance(value, tuple) else value

    return shown


def is_content(name: str) -> bool:
    """Whether an attribute holds what people, models or tools said."""
    return name in semconv.CONTENT or name.startswith(_ASKED)


def _is_foreign(name: str, value: Attribute) -> bool:
    """Whether it is a text that the code of a step or a tool gave a name of its own: nobody knows what it says."""
    if not name.startswith(semconv.OWN) or not isinstance(value, str | tuple):
        return False

    is_known = name in semconv.KNOWN or name.removesuffix(".digest") in semconv.KNOWN
    return not is_known and not name.startswith(semconv.NAMED)


def _summed_up(name: str, value: Attribute) -> dict[str, Attribute]:
    text = value if isinstance(value, str) else "\x1f".join(value) if isinstance(value, tuple) else str(value)
    return {f"{name}.digest": f"sha256:{_digest(text)}", f"{name}.size": len(text.encode(errors="replace"))}


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode(errors="replace")).hexdigest()
