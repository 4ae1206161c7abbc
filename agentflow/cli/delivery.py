"""Sending a run's spans while it runs, and saying what became of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from agentflow.app import Run
from agentflow.tracing.export import Exporter, from_environment, step_scope


class Delivering:
    """The exporter of one run."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._exporter: Exporter | None = from_environment(environ)

    def watch(self, run: Run[Any]) -> None:
        """Export what `run` commits, and let third-party spans nest under its steps."""
        if self._exporter is not None:
            # A run that is taken up: its spans go on from what happened before. What was sent is sent the same again.
            for event in run.runner.history:
                self._exporter(event)

            run.runner.observers.append(self._exporter)
            run.runner.scope = step_scope(run.id)

    def close(self) -> str:
        """Send what is left; a line for the person where something did not arrive."""
        if self._exporter is None:
            return ""

        delivery = self._exporter.flush(10.0)
        if delivery.failed:
            return f"{delivery.failed} spans were not delivered: {delivery.why}; they are in the journal"

        return f"{delivery.sent} spans delivered"
