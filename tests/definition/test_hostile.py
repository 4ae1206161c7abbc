"""What is easily overlooked is said, with nothing beside it; what only looks broken is not."""

from __future__ import annotations

import pytest

from agentflow.assessment import further
from agentflow.exceptions import DefinitionError
from agentflow.workflow import keeping_problems
from tests.definition.hostile import BROKEN, COMBINED, SOUND, Build

ALL: dict[str, tuple[Build, str]] = {**BROKEN, **COMBINED}


def codes(build: Build) -> str:
    """The codes of all problems and warnings, in order."""
    with keeping_problems():
        workflow = build()

    return " ".join(sorted(p.code for p in (*workflow.problems, *further(workflow, "responses/some-model"))))


@pytest.mark.parametrize("name", ALL)
def test_what_is_overlooked_is_said(name: str) -> None:
    """Errors and warnings of a broken workflow come in one go, each that there is, and no other."""
    build, expected = ALL[name]
    assert codes(build) == expected


@pytest.mark.parametrize("name", SOUND)
def test_what_only_looks_broken_is_sound(name: str) -> None:
    """No false alarm, and no warning."""
    assert codes(SOUND[name]) == ""


@pytest.mark.parametrize("name", [name for name, (_, said) in BROKEN.items() if said < "AF150"])
def test_errors_refuse_a_workflow(name: str) -> None:
    """Without a check around it, each error is raised where the workflow is made; AF118 hangs on the model of a run."""
    build, expected = BROKEN[name]
    if expected == "AF118":
        assert build()
    else:
        with pytest.raises(DefinitionError):
            build()


def test_the_corpus_is_as_large_as_it_says() -> None:
    """Sixty broken workflows, fifteen combinations and forty sound ones."""
    assert len(BROKEN) >= 60
    assert len([said for _, said in COMBINED.values() if " " in said]) >= 15
    assert len(SOUND) >= 40
