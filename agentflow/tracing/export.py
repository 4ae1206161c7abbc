"""Spans on their way to a collector, sent in the background.

OpenTelemetry is loaded where it is first needed, which for sending is a thread of its own: a run does not wait for it.
"""

from __future__ import annotations

import os
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from queue import Empty, SimpleQueue

from agentflow.events import Event, RunStarted
from agentflow.tracing.collector import Collector, collector_of
from agentflow.tracing.content import Capture, capture_of, told
from agentflow.tracing.document import otlp_json as otlp_json
from agentflow.tracing.ids import step_span_id, trace_id
from agentflow.tracing.span import SpanData
from agentflow.tracing.spans import SpanFolder
from agentflow.tracing.values import Attribute
from agentflow.tracing.wire import Answer, Wire, contexts

# A request holds at most so many spans and bytes: collectors refuse large ones (4 MiB is a common limit).
BATCH = 96
BATCH_BYTES = 2_000_000
# So many spans wait for a collector that is down; what is more is in the journal, and is sent from there.
KEPT = 4096
_GATHERING = 0.05  # seconds for which events are let come together before spans are made of them
_IDLE = 1.0  # seconds after which what has come together is sent
_FIRST, _LONGEST = (
    0.5,
    30.0,
)  # seconds for which a collector that is down is left alone: twice as long each time
_LOADING = 10.0  # seconds for which at most loading is waited for before the time of the collector begins
_PATIENCE = 600.0  # seconds for which at most it is left alone because it asked for that


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """How many spans a collector took and how many it did not, and the last reason why not."""

    sent: int
    failed: int
    why: str = ""


@dataclass(frozen=True, slots=True)
class _Flush:
    """Asks to send what is left until a time, and to say so then."""

    until: float
    done: threading.Event


_Item = Event | Sequence[SpanData] | _Flush | None


class Exporter:
    """An observer that sends the spans of a run as they end. It never raises into the run, nor makes it wait.

    It takes one run at a time, from its first event on: a run that is resumed begins with the events that its journal
    has. `since` says how many of them a collector has the spans of already; those are made, but not sent. What it has and
    is sent again all the same is the same again, so it keeps one.
    """

    def __init__(
        self,
        collector: Collector,
        *,
        content: Capture | bool = True,
        environ: Mapping[str, str] | None = None,
        since: int = 0,
    ) -> None:
        self.collector, self._content, self._since = collector, content, since
        self._environ = dict(os.environ if environ is None else environ)
        self._queue: SimpleQueue[_Item] = SimpleQueue()
        self._hurry = threading.Event()
        self._thread: threading.Thread | None = None
        self._is_loaded = threading.Event()
        self._wire: Wire | None = None
        self._folder: SpanFolder | None = None
        # Each span with the number of the event that ended it; 0 where nobody keeps account of it.
        self._pending: deque[tuple[int, SpanData]] = deque()
        self._folded, self._gap = since, 0
        self._rest_until, self._rests, self._is_asked_to_rest = 0.0, 0, False
        self._largest = BATCH
        self._sent = self._failed = 0
        self._why = self._unmade = ""

    def __call__(self, event: object) -> None:
        """Take an event of the run; streamed text has no span."""
        if isinstance(event, Event):
            self._put(event)

    def send(self, spans: Sequence[SpanData]) -> None:
        """Send finished spans, such as those of a run that ended long ago."""
        self._put(tuple(spans))

    @property
    def upto(self) -> int:
        """The number of the event up to which all spans were answered for."""
        # Asked while the thread works, so in this order: what is folded is pending first, and what is given up is a gap first.
        folded = self._folded
        with suppress(IndexError):
            folded = self._pending[0][0] - 1

        gap = self._gap
        return min(folded, gap - 1) if gap else folded

    def flush(self, timeout: float = 5.0) -> Delivery:
        """Send what is left and say what came of all so far; waits at most `timeout` seconds for the collector."""
        done = threading.Event()
        self._start()
        self._is_loaded.wait(_LOADING)
        self._put(_Flush(time.monotonic() + timeout, done))
        if done.wait(timeout):
            why = self._why if self._failed else self._unmade
            return Delivery(sent=self._sent, failed=self._failed, why=why)

        why = self._why or f"{self.collector.place} did not answer within {timeout:g} s"
        return Delivery(sent=self._sent, failed=self._failed + len(self._pending), why=why)

    def close(self) -> None:
        """Let the thread end once it has done what it was given."""
        if self._thread is not None:
            self._put(None)

    def _put(self, item: _Item) -> None:
        self._queue.put(item)
        if not isinstance(item, Event):
            self._hurry.set()

        self._start()

    def _start(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="agentflow-export", daemon=True)
            self._thread.start()

    def _work(self) -> None:
        # Opened before there is a span, as it takes a while to load and a run mostly waits.
        self._open()
        self._is_loaded.set()
        while True:
            events: list[Event] = []
            for item in self._came():
                if isinstance(item, Event):
                    events.append(item)
                    continue

                self._take(events)
                events = []
                if item is None:
                    return

                if isinstance(item, _Flush):
                    self._finish(item)
                else:
                    self._tell([(0, span) for span in item])

            self._take(events)

    def _came(self) -> list[_Item]:
        """What there is to do now; where nothing comes for a while, what has come together is sent."""
        try:
            items = [self._queue.get(timeout=_IDLE if self._pending else None)]
        except Empty:
            self._deliver()
            return []

        # Events come by ones and twos: together they cost half, as they are then not turned to between steps.
        self._hurry.wait(_GATHERING)
        self._hurry.clear()
        with suppress(Empty):
            while True:
                items.append(self._queue.get_nowait())

        return items

    def _take(self, events: Sequence[Event]) -> None:
        ended: list[tuple[int, SpanData]] = []
        for event in events:
            try:
                ended += [(event.seq, span) for span in self._fold(event)]
            except Exception as error:  # noqa: BLE001 - a run must not end for its spans' sake
                self._fail(error, event.seq)

        self._tell(ended)
        self._folded = max([self._folded, *(event.seq for event in events)])

    def _tell(self, ended: Sequence[tuple[int, SpanData]]) -> None:
        for number, span in ended:
            try:
                self._pending.append((number, told(span, content=self._content)))
            except Exception as error:  # noqa: BLE001 - as above
                self._fail(error, number)

            if len(self._pending) >= BATCH:
                self._deliver()

    def _fail(self, error: Exception, number: int) -> None:
        self._unmade = f"a span could not be made: {type(error).__name__}: {error}"
        self._leave(number)

    def _fold(self, event: Event) -> Sequence[SpanData]:
        if isinstance(event, RunStarted):
            self._folder = SpanFolder(event.run, with_records=True)

        if self._folder is None:
            self._unmade = "the run was taken up without the events before; its journal has its spans"
            self._leave(event.seq)
            return ()

        spans = self._folder.fold(event)
        return spans if event.seq > self._since or not event.seq else ()

    def _deliver(self) -> None:
        """Send what has come together, unless the collector is left alone; it is kept where it was not taken."""
        if time.monotonic() >= self._rest_until:
            while self._pending and self._deliver_batch():
                pass

        while len(self._pending) > KEPT:
            self._give_up()

    def _finish(self, flush: _Flush) -> None:
        """Send what is left: a collector that asked for time is given it, one that does not answer is asked once more."""
        while self._pending:
            left = self._rest_until - time.monotonic()
            if left > 0 and self._is_asked_to_rest:
                if time.monotonic() + left >= flush.until:
                    break

                time.sleep(left)

            if not self._deliver_batch() and not self._is_asked_to_rest:
                break

        while self._pending:
            self._give_up()

        flush.done.set()

    def _give_up(self) -> None:
        self._leave(self._pending[0][0])
        self._pending.popleft()
        self._failed += 1

    def _leave(self, number: int) -> None:
        """From this event on the spans are not all there: the journal has them, and they are sent from there."""
        if number and (not self._gap or number < self._gap):
            self._gap = number

    def _deliver_batch(self) -> bool:
        """Whether it makes sense to go on."""
        wire = self._open()
        if wire is None:
            return False

        batch = self._batch()
        try:
            answer = wire.send([span for _, span in batch])
        except Exception as error:  # noqa: BLE001 - as above
            answer = Answer(why=f"{type(error).__name__}: {error}")

        self._why = answer.why or self._why
        if answer.later:
            self._rest(answer)
            return False

        self._rests, self._is_asked_to_rest = 0, False
        if answer.is_wrong and len(batch) > 1:
            # One of them may be what is wrong with all, or they are too many.
            self._largest = len(batch) // 2
            return True

        self._settle(batch, answer)
        return True

    def _settle(self, batch: Sequence[tuple[int, SpanData]], answer: Answer) -> None:
        is_answered = answer.taken or answer.is_wrong or not answer.why
        for number, _ in batch:
            if not is_answered:  # refused for who asks: that may be mended
                self._leave(number)

            self._pending.popleft()

        self._sent += answer.taken
        self._failed += len(batch) - answer.taken
        self._largest = min(BATCH, 2 * self._largest)

    def _rest(self, answer: Answer) -> None:
        """Leave the collector alone for as long as it asks for, or for longer each time."""
        self._rests += 1
        # Not all of those who wait for it come back at once.
        wait = min(_LONGEST, _FIRST * 2 ** min(self._rests, 10)) * random.uniform(0.5, 1)  # noqa: S311
        self._is_asked_to_rest = not answer.is_gone
        self._rest_until = time.monotonic() + (wait if answer.wait is None else min(answer.wait, _PATIENCE))

    def _open(self) -> Wire | None:
        if self._wire is None:
            try:
                self._wire = Wire(self.collector, self._environ)
            except Exception as error:  # noqa: BLE001 - as above
                self._why = f"{type(error).__name__}: {error}"

        return self._wire

    def _batch(self) -> list[tuple[int, SpanData]]:
        batch: list[tuple[int, SpanData]] = []
        size = 0
        for entry in self._pending:
            size += _size(entry[1])
            if batch and (len(batch) == self._largest or size > BATCH_BYTES):
                break

            batch.append(entry)

        return batch


def from_environment(environ: Mapping[str, str] | None = None) -> Exporter | None:
    """An exporter to where OTEL_EXPORTER_OTLP_ENDPOINT (or ..._TRACES_ENDPOINT) points; None where neither is set."""
    environ = os.environ if environ is None else environ
    collector = collector_of(environ)
    return (
        Exporter(collector, content=capture_of(environ), environ=environ) if collector is not None else None
    )


def step_scope(run_id: str) -> Callable[[str, int], AbstractContextManager[None]]:
    """What makes a step's span the current one while the step runs, so that spans of other libraries nest under it."""

    @contextmanager
    def scope(activation: str, attempt: int) -> Generator[None]:
        from opentelemetry import context, trace

        here = trace.NonRecordingSpan(contexts()(trace_id(run_id), step_span_id(run_id, activation, attempt)))
        token = context.attach(trace.set_span_in_context(here))
        try:
            yield
        finally:
            context.detach(token)

    return scope


def _size(span: SpanData) -> int:
    events = sum(_length(event.attributes) for event in span.events)
    return 256 + _length(span.attributes) + events


def _length(attributes: Mapping[str, Attribute]) -> int:
    return sum(len(name) + len(value) if isinstance(value, str) else 64 for name, value in attributes.items())
