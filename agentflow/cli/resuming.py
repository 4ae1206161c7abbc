"""`resume`: take up one run."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from agentflow import app
from agentflow.cli.arguments import Options
from agentflow.cli.definitions import definition_of, events_of
from agentflow.cli.running import perform
from agentflow.exceptions import ProjectError


def is_for_all(run: str | None, *, every: bool, parallel: int | None, alone: Sequence[str]) -> bool:
    """Whether all runs are meant and not one; `alone` are the options given that are for one run only."""
    if every == (run is not None):
        raise ProjectError(
            "`--all` and the name of a run exclude each other" if every else "no run is named",
            hint="agentflow resume RUN, or agentflow resume --all",
        )

    if every and alone:
        raise ProjectError(f"`{alone[0]}` is for one run", hint=f"agentflow resume RUN {alone[0]} ...")

    if parallel is not None and (not every or parallel < 1):
        raise ProjectError(
            f"`--parallel {parallel}` cannot be" if every else "`--parallel` is for `--all`",
            hint="agentflow resume --all --parallel 4",
        )

    return every


def resume_run(
    run_id: str, file: str | None, budget: Sequence[str], options: Options, *, migrate: bool
) -> int:
    """Take up a run with the definition that it names; gives the exit code."""
    limits = dict(_limit(word) for word in budget)
    definition = definition_of(asyncio.run(events_of(run_id)), file)
    options = replace(options, model=options.model or definition.model)

    async def start(settings: app.Settings) -> app.Run[Any]:
        return await app.resume(
            definition.workflow, run_id, settings=settings, budget=limits, migrate=migrate
        )

    return perform(definition.project, options, start)


def _limit(word: str) -> tuple[str, float]:
    name, _, text = word.partition("=")
    try:
        number = float(text)
    except ValueError:
        raise ProjectError(
            f"`--budget {word}` is no limit",
            hint="write `--budget usd=2`, or `--budget STEP.tokens=9000` for a step",
        ) from None

    return name.strip(), int(number) if number.is_integer() else number
