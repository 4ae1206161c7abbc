"""`fork`: a new run with the history of another one up to a step, live from there."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from agentflow import app
from agentflow.cli.arguments import Options
from agentflow.cli.definitions import definition_of, events_of
from agentflow.cli.running import perform
from agentflow.exceptions import ProjectError


def fork_run(
    run_id: str, wanted: app.Fork, file: str | None, options: Options, *, migrate: bool = False
) -> int:
    """Fork a run and see the new one through; gives the exit code."""
    definition = definition_of(asyncio.run(events_of(run_id)), file)
    options = replace(options, model=options.model or definition.model)

    async def start(settings: app.Settings) -> app.Run[Any]:
        return await app.fork(definition.workflow, run_id, wanted, settings=settings, migrate=migrate)

    return perform(definition.project, options, start)


def values_of(words: Sequence[str]) -> dict[str, Any]:
    """The values of `--set PLACE=VALUE`: JSON, or else text."""
    return dict(_value(word) for word in words)


def _value(word: str) -> tuple[str, Any]:
    place, equals, text = word.partition("=")
    if not equals or not place.strip():
        raise ProjectError(
            f"`--set {word}` sets nothing",
            hint='write `--set input.question="..."` or `--set plan.output[0].text="..."`',
        )

    try:
        return place.strip(), json.loads(text)
    except ValueError:
        return place.strip(), text
