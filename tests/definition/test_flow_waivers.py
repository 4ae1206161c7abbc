"""A workflow may allow a flow of content, and says why; an allowance without a reason, or for nothing, is not let pass."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from agentflow import DefinitionError, Flow, Tool, Workflow
from agentflow.exceptions import Problem, ProjectError
from agentflow.path import Place
from agentflow.spec import from_data, to_data
from agentflow.validation.flow import flows, unused_waivers
from tests.definition.test_flow import (
    agent,
    begin,
    files,
    keep,
    line,
    mail,
    note,
    read,
    read_mail,
    search,
    send,
    tidy,
    told,
)

OURS = "the mailbox is our own"


def to_write(step: str = "", because: str = OURS) -> Flow:
    return Flow("untrusted-to-write", step=step, because=because)


def inner(*allow: Flow) -> Workflow[Any, Any]:
    return Workflow("inner", start=begin, end=keep, edges=[begin >> keep], allow=allow)


def reasons(workflow: Workflow[Any, Any]) -> list[tuple[str, str]]:
    return [(finding.step, finding.waived) for finding in workflow.flows()]


def warned(workflow: Workflow[Any, Any]) -> list[str]:
    return [f"{p.code} {p.where.split(' (')[0]}" for p in told(workflow)]


def refused(*allow: Flow) -> tuple[Problem, ...]:
    with pytest.raises(DefinitionError) as error:
        line(read, mail, allow=allow)

    return error.value.problems


@pytest.mark.parametrize("step", ["mail", ""])
def test_an_allowed_flow_is_not_warned_of(step: str) -> None:
    """A flow that is allowed, at its step or in all of the workflow, is silent and still told with its reason."""
    workflow = line(read, mail, allow=[to_write(step)])

    assert told(workflow) == []
    assert reasons(workflow) == [("mail", OURS)]


def test_only_the_named_step_is_allowed() -> None:
    """Another step with the same kind of flow is warned of."""
    assert warned(line(read, keep, mail, allow=[to_write("keep")])) == ["AF201 step `mail`"]


def test_only_the_named_kind_is_allowed() -> None:
    """A step has its say for each kind of flow: one that is allowed leaves the other."""
    workflow = line(agent("a", search, files, send), allow=[to_write("a")])

    assert warned(workflow) == ["AF204 step `a`"]


def test_what_becomes_worse_is_warned_of_again() -> None:
    """What was allowed while only private data was there is not, once untrusted content is there as well."""
    allow = [Flow("private-to-outside", step="a", because="they have a contract with us")]

    assert warned(line(agent("a", files, send), allow=allow)) == []
    assert warned(line(read, agent("a", files, send), allow=allow)) == [
        "AF201 step `a`",
        "AF204 step `a`",
        "AF211 `allow` of workflow `line`",
    ]


@pytest.mark.parametrize("step", ["inner/keep", "inner", ""])
def test_a_workflow_allows_what_is_inside_of_it(step: str) -> None:
    """A step of a sub-workflow is named with the step that runs it, by that step alone, or with all others."""
    assert told(line(read, inner(), allow=[to_write(step)])) == []


def test_a_sub_workflow_allows_its_own() -> None:
    """What a sub-workflow allows holds inside of it, and nowhere else."""
    workflow = line(read, inner(to_write("keep")), mail)

    assert reasons(workflow) == [("inner/keep", OURS), ("mail", "")]


def test_a_step_outside_is_none_of_a_sub_workflow() -> None:
    """A sub-workflow cannot allow a flow of the workflow around it."""
    assert warned(line(read, inner(to_write("mail")), mail)) == [
        "AF201 step `inner/keep`",
        "AF201 step `mail`",
        "AF211 `allow` of workflow `inner`",
    ]


def test_an_allowance_for_nothing_is_warned_of() -> None:
    """What is allowed and does not happen is said, so that it does not lie in wait."""
    (warning,) = told(line(begin, mail, allow=[to_write("mail")]))

    assert (warning.code, warning.severity) == ("AF211", "warning")
    assert warning.what == '`Flow("untrusted-to-write", step="mail")` allows what does not happen'


def test_an_allowance_that_stands_there_twice() -> None:
    """The second of two equal allowances is one too many; a broad and a narrow one each have their use."""
    assert warned(line(read, mail, allow=[to_write("mail"), to_write("mail")])) == [
        "AF211 `allow` of workflow `line`"
    ]
    assert warned(line(read, mail, allow=[to_write(), to_write("mail")])) == []


@pytest.mark.parametrize("because", ["", "  "])
def test_an_allowance_needs_a_reason(because: str) -> None:
    """A workflow with a flow that is allowed without a reason is refused, with the place where it is written."""
    (problem,) = refused(to_write("mail", because))

    assert (problem.code, problem.severity) == ("AF210", "error")
    assert problem.what == '`Flow("untrusted-to-write", step="mail")` does not say why'
    assert problem.where.startswith("`allow` of workflow `line` (")
    assert problem.hint == 'say so: `because="..."`'


def test_an_allowance_without_a_reason_silences_nothing() -> None:
    """A definition that was never checked gains nothing by it."""
    workflow = line(read, mail)
    spec = replace(workflow.spec, allow=(to_write("mail", "  "),))

    tools: dict[str, Tool[..., Any]] = {read_mail.origin: read_mail, send.origin: send}

    assert [f.waived for f in flows(spec, tools, {mail.step_spec().call: [send.origin]})] == [""]


def test_the_reason_for_the_step_is_told_first() -> None:
    """Where a step is allowed by itself and with all others, its own reason is given."""
    workflow = line(read, keep, mail, allow=[to_write(because="all ours"), to_write("mail")])

    assert reasons(workflow) == [("keep", "all ours"), ("mail", OURS)]


def test_an_allowance_of_no_known_kind_is_refused() -> None:
    """A kind that is misspelt would allow nothing, and is told at once."""
    kind: Any = "untrusted-to-writ"
    (problem,) = refused(Flow(kind, because=OURS))

    assert (problem.code, problem.what) == ("AF210", "there is no kind of flow `untrusted-to-writ`")
    assert "untrusted-to-write, untrusted-to-outside, private-to-outside, all-three" in problem.hint


def test_what_is_allowed_is_part_of_the_definition() -> None:
    """Allowed flows are in the spec and its digest; without any, a definition is as it was before."""
    plain, allowed = line(read, mail), line(read, mail, allow=[to_write("mail")])

    assert "allow" not in to_data(plain.spec)
    assert to_data(allowed.spec)["allow"] == [{"kind": "untrusted-to-write", "step": "mail", "because": OURS}]
    assert allowed.digest != plain.digest


def test_what_is_allowed_comes_back_from_data() -> None:
    """Data of a definition gives an equal one back, with what it and what is inside of it allow."""
    workflow = line(read, inner(to_write()), allow=[to_write("inner")])
    spec = from_data(to_data(workflow.spec))

    assert spec == workflow.spec
    assert Workflow.of_steps(spec, workflow.steps, Place("", 0)).digest == workflow.digest


@pytest.mark.parametrize(
    ("allow", "said"),
    [
        ("all", "`allow` is 'all'"),
        ([3], "`allow` is 3"),
        ([{"kind": 3}], "`kind` is 3"),
        ([{"kind": "all-three", "steps": "x"}], "unknown `steps`"),
        ([{"because": "x"}], "kind"),
    ],
)
def test_what_cannot_be_read_is_refused(allow: Any, said: str) -> None:
    """An allowance that a file has in another form is named."""
    with pytest.raises(ProjectError, match=r"allow") as error:
        from_data({**to_data(line(begin, tidy).spec), "allow": allow})

    assert said in str(error.value)


def test_a_workflow_that_stands_there_twice_needs_its_allowance_once() -> None:
    """What a sub-workflow allows is of use where any of its places has that flow."""
    first = Workflow("inner", start=tidy, end=note_it, edges=[tidy >> note_it], allow=[to_write()])
    before = Workflow("before", start=first, end=first)
    after = Workflow("after", start=first, end=first)
    workflow = line(before, read, after)

    assert reasons(workflow) == [("after/inner/note_it", OURS)]
    assert unused_waivers(workflow.spec, workflow.flows()) == []


note_it = agent("note_it", note)
