"""A run from its parts: a definition, a journal, models, observers."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from weakref import WeakKeyDictionary

from agentflow.app.handle import Approver, Run
from agentflow.app.inputs import coerce_input
from agentflow.app.lease import Lease
from agentflow.bounds import COUNTS, Bound
from agentflow.engine.budget import price_hint
from agentflow.engine.committing import Observer
from agentflow.engine.graph import Program, bind
from agentflow.engine.runner import Runner, Scope
from agentflow.events import adapter
from agentflow.exceptions import ProjectError
from agentflow.journal import Journal
from agentflow.journal.memory import MemoryJournal
from agentflow.spec import steps_in
from agentflow.version import VERSION
from agentflow.workflow import Workflow

if TYPE_CHECKING:
    from agentflow.audit.heads import Heads

T = TypeVar("T")
# For the digits of a random number: after those of the time, more of them could be taken for a card's.
_LETTERS = str.maketrans("0123456789", "ghijkmnpqr")
# It names a folder of artifacts and stands in commands, so it must be plain.
_RUN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What a run is given beside its definition and input.

    `prices` are of models that the price list does not know, or that cost something else here: `Price` by model name.
    `heads` is where the head of the run is kept at each end, pause and resumption, beside the journal. `service` names
    this process in the spans of what it does, where workers share a run or a collector.
    """

    journal: Journal | None = None
    model: str = "embedded"
    models: Mapping[str, Any] | None = None
    prices: Mapping[str, Any] = field(default_factory=dict[str, Any])
    root: Path | None = None
    observers: Sequence[Observer] = ()
    approver: Approver | None = None
    scope: Scope | None = None
    heads: Heads | None = None
    service: str = ""


_IN_MEMORY = Settings()
_programs: WeakKeyDictionary[Workflow[Any, Any], Program] = WeakKeyDictionary()


def compile_workflow(workflow: Workflow[Any, Any]) -> Program:
    """The workflow as the engine runs it; made once for each workflow."""
    known = _programs.get(workflow)
    if known is None:
        children = {name: compile_workflow(child) for name, child in workflow.children()}
        known = bind(workflow.spec, workflow.steps, children, workflow.types)
        _programs[workflow] = known

    return known


def new_run_id(name: str) -> str:
    """A name for a run that sorts by time and reads well: `research-261123-081530-kfjanhcg`."""
    drawn = os.urandom(4).hex().translate(_LETTERS)
    return f"{name}-{_stamp(int(time.time()))}-{drawn}"


@lru_cache(maxsize=1)
def _stamp(second: int) -> str:
    # Many runs may begin within one.
    return time.strftime("%y%m%d-%H%M%S", time.gmtime(second))


def check_run_id(run_id: str | None) -> str | None:
    """The name that a run is to have; raises `ProjectError` where it cannot be one."""
    if run_id is not None and not _RUN_ID.fullmatch(run_id):
        raise ProjectError(
            f"`{run_id}` cannot name a run", hint="use letters, digits, `.`, `_` and `-`, at most 128 of them"
        )

    return run_id


def run(
    workflow: Workflow[Any, T],
    value: Any,
    *,
    run_id: str | None = None,
    attributes: Mapping[str, str] | None = None,
    settings: Settings | None = None,
) -> Run[T]:
    """A new run of `workflow` on `value`; await it for the output, or iterate its `events()`.

    `value` is what the workflow takes, or plain data that fits it. Without `settings`, the run is kept in memory and
    uses the embedded model.
    """
    settings = settings or _IN_MEMORY
    check_run_id(run_id)
    checked = coerce_input(workflow, value)
    refuse_unpriced(workflow, settings)
    runner = runner_of(workflow, run_id or new_run_id(workflow.name), settings)
    runner.input = checked
    runner.begin(
        checked,
        VERSION,
        dict(attributes or {}),
        workflow.data,
        bound_of(workflow),
        nonce=os.urandom(8).hex(),
    )
    # Nobody else can ask anything of a run whose journal nobody else has.
    lease = Lease(runner.journal, runner.run_id) if settings.journal is not None else None
    return handle_of(workflow, runner, settings, lease)


_bounds: WeakKeyDictionary[Workflow[Any, Any], dict[str, Any]] = WeakKeyDictionary()


def bound_of(workflow: Workflow[Any, Any]) -> dict[str, Any]:
    """The bound of a workflow as it stands on the record of its runs; made once for each workflow."""
    known = _bounds.get(workflow)
    if known is None:
        known = _bounds[workflow] = bound_data(workflow.bound)

    return known


def bound_data(bound: Bound) -> dict[str, Any]:
    """A bound as it stands on the record of a run: the amounts by name, each with why it is so."""
    amounts = {name: getattr(bound, name) for name in COUNTS}
    return {
        name: {"value": amount.value, "why": amount.why} if amount.why else {"value": amount.value}
        for name, amount in amounts.items()
    }


def handle_of(workflow: Workflow[Any, T], runner: Runner, settings: Settings, lease: Lease | None) -> Run[T]:
    """The run as its caller holds it."""
    check = partial(check_result, workflow)
    return Run(runner, lease, approver=settings.approver, check=check, heads=settings.heads)


def check_result(workflow: Workflow[Any, Any], tool: str, result: Any) -> None:
    """Raise `ProjectError` where what a person gives as the result of a call is nothing that the tool could have given."""
    known = next((t for t in workflow.tools() if t.name == tool), None)
    if known is None or known.gives is Any:
        return

    try:
        adapter(known.gives).validate_python(result)
    except ValueError as error:
        raise ProjectError(
            f"this is no result of `{tool}`: {error}", hint="give it as JSON, as the tool would have given it"
        ) from None


def runner_of(workflow: Workflow[Any, Any], run_id: str, settings: Settings) -> Runner:
    """The engine's side of a run."""
    pool = _pool_with(settings) if settings.models else None
    shared: dict[str, Any] = {"prices": dict(settings.prices)}
    runner = Runner(
        compile_workflow(workflow),
        settings.journal or MemoryJournal(),
        run_id,
        model=settings.model,
        root=settings.root or _folder(os.getcwd()),  # noqa: PTH109 - made once
        shared=shared if pool is None else {**shared, "models": pool},
        contents=workflow.contents,
        observers=list(settings.observers),
        scope=settings.scope,
        service=settings.service,
    )
    if pool is not None:
        runner.closers.append(pool.aclose)

    return runner


@lru_cache(maxsize=8)
def _folder(name: str) -> Path:
    return Path(name)


def _pool_with(settings: Settings) -> Any:
    from agentflow.models.pool import ModelPool  # loads the SDK
    from agentflow.toolkit.mcp import client_of

    return ModelPool(os.environ, extra=settings.models, prices=settings.prices, clients=client_of)


def refuse_unpriced(workflow: Workflow[Any, Any], settings: Settings) -> None:
    """Raise `ProjectError` where money is bounded and the price of a model is not known: that bound could not be held."""
    if not compile_workflow(workflow).graph.is_priced:
        return

    from agentflow.models.pricing import is_priced  # loads the price list

    named = {str(step.options["model"]) for _, step in steps_in(workflow.spec) if step.options.get("model")}
    for model in sorted({settings.model, *named}):
        if not is_priced(model, settings.prices):
            raise ProjectError(
                f"workflow `{workflow.name}` has a budget in usd, and the price of `{model}` is not known",
                hint=price_hint(model),
            )
