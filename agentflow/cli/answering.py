"""`approve` and `resolve`: answer what a run waits for, and let it go on, here or in the process that drives it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from agentflow import app
from agentflow.app import requests
from agentflow.cli.arguments import Options
from agentflow.cli.definitions import Definition, definition_of, events_of
from agentflow.cli.output import DONE, WRONG_USE, err, error_data, escape, out, print_error, print_json
from agentflow.cli.pending import items_of, print_items
from agentflow.cli.reading import json_or_text
from agentflow.cli.running import perform
from agentflow.engine.people import Waiting
from agentflow.events import Event, Verdict
from agentflow.exceptions import ProjectError, RunBusy
from agentflow.journal.owner import describe


@dataclass(frozen=True, kw_only=True)
class Answer:
    """An answer to a run: the kind of question, the name it was given by, and the request it is sent as."""

    run_id: str
    definition: Definition
    kind: str
    name: str | None
    request: Callable[[Waiting], Mapping[str, Any]]


def approve_run(
    run_id: str, name: str | None, yes: bool | None, comment: str, file: str | None, options: Options
) -> int:
    """Answer an approval of a run and let it go on; gives the exit code."""
    if yes is None:
        raise ProjectError("no single answer is given", hint="add `--yes` or `--no`")

    answer = Answer(
        run_id=run_id,
        definition=definition_of(asyncio.run(events_of(run_id)), file),
        kind="approval",
        name=name,
        request=lambda w: requests.approval(w, approved=yes, by=app.user_name(), comment=comment),
    )
    return _give(answer, options)


def verdict_of(done: str | None, *, retry: bool, fail: bool) -> Verdict:
    """The one verdict that is given."""
    given: dict[Verdict, bool] = {"done": done is not None, "retry": retry, "fail": fail}
    chosen: list[Verdict] = [verdict for verdict, is_given in given.items() if is_given]
    if len(chosen) != 1:
        raise ProjectError(
            "no single answer is given", hint="add one of `--done RESULT`, `--retry` and `--fail`"
        )

    return chosen[0]


def resolve_run(
    run_id: str,
    name: str | None,
    verdict: Verdict,
    done: str | None,
    comment: str,
    file: str | None,
    options: Options,
) -> int:
    """Say what became of an effect in doubt and let the run go on; gives the exit code."""
    result = None if done is None else json_or_text(done)
    definition = definition_of(asyncio.run(events_of(run_id)), file)

    def request(waiting: Waiting) -> Mapping[str, Any]:
        if verdict == "done":
            app.check_result(definition.workflow, waiting.tool, result)

        return requests.resolution(waiting, verdict, result=result, by=app.user_name(), comment=comment)

    answer = Answer(run_id=run_id, definition=definition, kind="effect", name=name, request=request)
    return _give(answer, options)


def _give(answer: Answer, options: Options) -> int:
    options = replace(options, model=options.model or answer.definition.model)

    async def start(settings: app.Settings) -> app.Run[Any] | int:
        while True:
            try:
                run = await app.resume(answer.definition.workflow, answer.run_id, settings=settings)
            except RunBusy:
                code = await _delivered(answer, settings, options)
            else:
                code = await _given_here(answer, run, options)
                return run if code is None else code

            # None: whoever drove the run does not any more.
            if code is not None:
                return code

    return perform(answer.definition.project, options, start)


async def _given_here(answer: Answer, run: app.Run[Any], options: Options) -> int | None:
    try:
        about = _chosen(answer, run.runner.waiting(), run.runner.history, options)
        if about is not None:
            requests.act(run.runner, answer.request(about))
            return None
    except BaseException:
        await run.give_back()
        raise

    await run.give_back()
    return WRONG_USE


async def _delivered(answer: Answer, settings: app.Settings, options: Options) -> int | None:
    """Hand the answer to the process that drives the run; None where none does any more."""
    journal = settings.journal
    assert journal is not None
    waiting = await app.waiting_in(answer.definition.workflow, answer.run_id, settings)
    about = _chosen(answer, waiting, await journal.read(answer.run_id), options)
    if about is None:
        return WRONG_USE

    request = answer.request(about)
    holder = await journal.holder(answer.run_id)
    if holder is None:
        return None

    driver = describe(holder.owner)
    if not options.as_json:
        # It may take a while until a process that is stopped counts as gone.
        err.print(f"[dim]run `{answer.run_id}` is driven by {escape(driver)}: it is given the answer[/]")

    if not await requests.deliver(journal, answer.run_id, request):
        return None

    if options.as_json:
        print_json({"run_id": answer.run_id, "delivered": True, "to": driver, "answered": about.name})
    else:
        out.print(f"{escape(driver)}, which drives run `{answer.run_id}`, has the answer to `{about.name}`")
        err.print(f"[dim]look: agentflow show {answer.run_id}[/]")

    return DONE


def _chosen(
    answer: Answer, waiting: Sequence[Waiting], events: Sequence[Event], options: Options
) -> Waiting | None:
    """What the answer is about; None where several wait and none is named, which were shown then."""
    try:
        return requests.choose(answer.run_id, waiting, answer.kind, answer.name)
    except ProjectError as error:
        alike = [w for w in waiting if w.kind == answer.kind]
        if answer.name is not None or len(alike) < 2:
            raise

        items = items_of(answer.run_id, alike, events)
        if options.as_json:
            print_json({"error": error_data(error), "pending": [item.data() for item in items]})
        else:
            print_items(items)
            print_error(error, as_json=False)

        return None
