"""Logs as JSON lines that carry the trace and the span of the step that wrote them, so that they are found from either."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable, Generator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TextIO

from agentflow.events import ErrorInfo, Event, RunStarted, StepFailed, StepFinished, StepStarted
from agentflow.exceptions import ProjectError
from agentflow.tracing.content import Capture
from agentflow.tracing.ids import hex_trace_id, span_id, step_span_id


@dataclass(frozen=True, slots=True)
class Place:
    """Where in a run something is logged."""

    run: str
    step: str
    attempt: int

    def data(self) -> dict[str, Any]:
        """The names under which a log says it; ids as Jaeger shows them."""
        id_ = step_span_id(self.run, self.step, self.attempt) if self.step else span_id(self.run)
        step = {"step": self.step, "attempt": self.attempt} if self.step else {}
        return {"run_id": self.run, **step, "trace_id": hex_trace_id(self.run), "span_id": f"{id_:016x}"}


_here: ContextVar[Place | None] = ContextVar("agentflow_place", default=None)


def log_scope(run_id: str) -> Callable[[str, int], AbstractContextManager[None]]:
    """What has logs of a step, and of the threads that it starts, tell the step."""

    @contextmanager
    def scope(activation: str, attempt: int) -> Generator[None]:
        token = _here.set(Place(run_id, activation, attempt))
        try:
            yield
        finally:
            _here.reset(token)

    return scope


class JsonLines(logging.Handler):
    """Writes each record, and each event of a run, as one line of JSON; what it says is told as far as `capture` lets it."""

    def __init__(self, to: TextIO, capture: Capture) -> None:
        super().__init__()
        self._to, self._capture = to, capture
        self._run = ""
        self._attempts: dict[str, int] = {}

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._write(self._line(record))
        except Exception:  # noqa: BLE001 - a log must not end what is logged
            self.handleError(record)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - its name there
        """What cannot be written is lost, and the record's own text is not put on the terminal for that."""

    def _line(self, record: logging.LogRecord) -> dict[str, Any]:
        place = _here.get()
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(),
            "level": record.levelname,
            "logger": record.name,
            "message": self._capture.text(record.getMessage()),
            **(place.data() if place is not None else {}),
        }
        if record.exc_info and record.exc_info[0] is not None:
            line["error.type"] = record.exc_info[0].__name__
            line["exception"] = self._capture.text(logging.Formatter().formatException(record.exc_info))

        return line

    def take_up(self, event: object) -> None:
        """Follow what happened before a run was taken up, without writing it."""
        if isinstance(event, RunStarted):
            self._run = event.run
        elif isinstance(event, StepStarted):
            self._attempts[event.step] = event.attempt

    def __call__(self, event: object) -> None:
        """Write an event of the run, without what anybody said; streamed text is not logged."""
        if not isinstance(event, Event):
            return

        self.take_up(event)
        step = str(getattr(event, "step", ""))
        place = Place(self._run, step, self._attempts.get(step, 1))
        error: ErrorInfo | None = getattr(event, "error", None)
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(event.at / 1e9, UTC).isoformat(),
            "level": "ERROR" if error is not None else "INFO",
            "logger": "agentflow",
            "event": event.type,
            "seq": event.seq,
            **_named(event),
            **place.data(),
        }
        if error is not None:
            line |= {"error.type": error.kind, "message": self._capture.text(error.message)}

        with self.lock or _nothing(), suppress(OSError, ValueError):  # a full disk does not end a run
            self._write(line)

        if isinstance(event, StepFinished | StepFailed):
            self._attempts.pop(step, None)

    def _write(self, line: Mapping[str, Any]) -> None:
        # Names of steps and tools may come from a model, and hold anything.
        text = json.dumps({n: self._clean(v) for n, v in line.items()}, ensure_ascii=False, default=str)
        self._to.write(text.encode(errors="replace").decode() + "\n")
        self._to.flush()

    def _clean(self, value: Any) -> Any:
        return (
            self._capture.redactor(value)
            if isinstance(value, str) and self._capture.level != "full"
            else value
        )


@contextmanager
def _nothing() -> Generator[None]:
    yield


def _named(event: Event) -> dict[str, str]:
    names = ("workflow", "operation", "kind", "name", "tool", "by")
    return {name: str(value) for name in names if (value := getattr(event, name, ""))}


def opened(where: str, root: Path) -> TextIO:
    """The file that logs go to, which nobody else may read; `-` is standard error. Raises `ProjectError`."""
    if where == "-":
        return sys.stderr

    path = root / where
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)
        return path.open("a", encoding="utf-8")
    except OSError as error:
        raise ProjectError(
            f"the log `{path}` cannot be written: {error.strerror or error}",
            hint="set AGENTFLOW_LOG, or `log` in `[tool.agentflow]`, to a file, or to `-` for standard error",
        ) from None
