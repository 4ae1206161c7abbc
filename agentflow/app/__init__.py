"""The composition root: puts a definition, a journal, models and observers together, and runs."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from agentflow.app.compose import Settings as Settings
from agentflow.app.compose import check_result as check_result
from agentflow.app.compose import compile_workflow as compile_workflow
from agentflow.app.compose import new_run_id as new_run_id
from agentflow.app.compose import run as run
from agentflow.app.handle import Approver as Approver
from agentflow.app.handle import Run as Run
from agentflow.app.inputs import coerce_input as coerce_input
from agentflow.app.result import Decision as Decision
from agentflow.app.result import Pending as Pending
from agentflow.app.result import Result as Result
from agentflow.app.result import answer_hint as answer_hint
from agentflow.app.result import user_name as user_name

if TYPE_CHECKING:
    from agentflow.app.diffing import Diff as Diff
    from agentflow.app.diffing import diff as diff
    from agentflow.app.forking import Fork as Fork
    from agentflow.app.forking import fork as fork
    from agentflow.app.outside import cancel as cancel
    from agentflow.app.outside import is_due as is_due
    from agentflow.app.outside import keep_head as keep_head
    from agentflow.app.outside import waiting_in as waiting_in
    from agentflow.app.replaying import Replayed as Replayed
    from agentflow.app.replaying import replay as replay
    from agentflow.app.replaying import replay_events as replay_events
    from agentflow.app.resuming import load as load
    from agentflow.app.resuming import resume as resume
else:
    # What is done with runs that were: a process that only runs one does without.
    _HOMES = {
        "Diff": "diffing",
        "diff": "diffing",
        "Fork": "forking",
        "fork": "forking",
        "cancel": "outside",
        "is_due": "outside",
        "keep_head": "outside",
        "waiting_in": "outside",
        "Replayed": "replaying",
        "replay": "replaying",
        "replay_events": "replaying",
        "load": "resuming",
        "resume": "resuming",
    }

    def __getattr__(name: str) -> Any:
        if name not in _HOMES:
            raise AttributeError(f"module 'agentflow.app' has no attribute {name!r}")

        value = getattr(import_module(f"agentflow.app.{_HOMES[name]}"), name)
        globals()[name] = value
        return value
