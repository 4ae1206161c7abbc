"""What tells others of a run while it goes on, each where it is asked for: spans, metrics and logs."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Generator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

from agentflow.app import Run
from agentflow.cli.delivery import Delivering
from agentflow.exceptions import ProjectError
from agentflow.tracing.collector import names_collector
from agentflow.tracing.content import capture_of
from agentflow.tracing.logs import JsonLines, log_scope, opened
from agentflow.tracing.metrics import Metrics

_YES, _NO = ("1", "true", "yes", "otlp"), ("", "0", "false", "no", "none")
Scope = Callable[[str, int], AbstractContextManager[None]]


class Telemetry:
    """What is told of one run."""

    def __init__(
        self, run: Run[Any], environ: Mapping[str, str], settings: Mapping[str, Any], root: Path
    ) -> None:
        self._run = run
        self._spans = Delivering(run, environ, settings)
        self._metrics = Metrics(environ) if wants_metrics(environ, settings) else None
        self._level = logging.WARNING
        where = wanted_log(environ, settings)
        self._log = JsonLines(opened(where, root), capture_of(environ, settings)) if where else None

    async def begin(self) -> None:
        """Observe the run from here on, and have its steps' spans and logs tell the step."""
        await self._spans.begin()
        runner = self._run.runner
        if self._metrics is not None:
            self._metrics.take_up(runner.history)
            runner.observers.append(self._metrics)

        if self._log is not None:
            for event in runner.history:
                self._log.take_up(event)

            runner.observers.append(self._log)
            runner.scope = both(runner.scope, log_scope(self._run.id))
            logging.getLogger().addHandler(self._log)
            self._level = logging.getLogger().level
            logging.getLogger().setLevel(min(self._level, logging.INFO))

    async def close(self, status: str) -> str:
        """Send what is left; a line for the person of what arrived and what did not."""
        said = [await self._spans.close(status)]
        if self._metrics is not None:
            said.append(await asyncio.to_thread(self._metrics.close))

        if self._log is not None:
            logging.getLogger().removeHandler(self._log)
            logging.getLogger().setLevel(self._level)
            self._log.close()

        return "; ".join(filter(None, said))


def wanted_log(environ: Mapping[str, str], settings: Mapping[str, Any]) -> str:
    """Where logs are to go: AGENTFLOW_LOG, or `log` of the settings; `` is nowhere."""
    return environ.get("AGENTFLOW_LOG") or str(settings.get("log", ""))


def wants_metrics(environ: Mapping[str, str], settings: Mapping[str, Any]) -> bool:
    """Whether metrics are to be sent: AGENTFLOW_METRICS, or `metrics` of the settings; raises `ProjectError` for other words."""
    wish = environ.get("AGENTFLOW_METRICS", str(settings.get("metrics", ""))).strip().lower()
    if wish not in (*_YES, *_NO):
        raise ProjectError(
            f"`{wish}` does not say whether metrics are to be sent", hint="say `true` or `false`"
        )

    if (
        wish in _YES
        and not names_collector(environ)
        and not environ.get("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT")
    ):
        raise ProjectError(
            "metrics are to be sent, but no collector is named", hint="set OTEL_EXPORTER_OTLP_ENDPOINT"
        )

    return wish in _YES and "none" not in environ.get("OTEL_METRICS_EXPORTER", "").lower()


def both(first: Scope | None, second: Scope) -> Scope:
    """Two things that hold while a step runs."""

    @contextmanager
    def scope(activation: str, attempt: int) -> Generator[None]:
        if first is None:
            with second(activation, attempt):
                yield
        else:
            with first(activation, attempt), second(activation, attempt):
                yield

    return scope
