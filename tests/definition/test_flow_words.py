"""What is said of a flow: where, the path step by step, and how to mend it; and what the sample workflows are told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from agentflow import Tool, Wait, Workflow
from agentflow.project import Project
from agentflow.spec import EdgeSpec, StepSpec, WorkflowSpec
from agentflow.tools import tool
from agentflow.validation.flow import flows
from agentflow.validation.flow_graph import arrivals, graph_of
from tests.definition.test_flow import (
    agent,
    ask_web,
    begin,
    files,
    found,
    keep,
    line,
    look_over,
    mail,
    mail_the_read,
    own,
    plan,
    read,
    read_mail,
    search,
    send,
    shell,
    tidy,
    told,
)


@pytest.mark.parametrize(
    ("workflow", "path"),
    [
        (
            line(read, tidy, mail),
            ["`read` (read_mail: untrusted) -> `tidy` -> `mail` (send: write, outside)"],
        ),
        (
            line(read, look_over, mail_the_read),
            ["`read` (read_mail: untrusted) -> `mail_the_read` (by `ctx.output`; send: write, outside)"],
        ),
        (line(agent("a", shell)), ["`a` (shell: untrusted, write)"]),
        (
            line(plan("p", search, files)),
            ["`p` (search: untrusted, outside)", "`p` (files: private; search: outside)"],
        ),
        (
            line(own, plan("p", search)),
            ["`p` (search: untrusted, outside)", "`own` (files: private) -> `p` (search: outside)"],
        ),
    ],
)
def test_the_path_is_told_step_by_step(workflow: Workflow[str, str], path: list[str]) -> None:
    """A path leads from the tool that content is from to the call that it reaches, once for each kind of content."""
    (finding,) = workflow.flows()

    assert list(finding.path) == path
    assert all(way in finding.what for way in path)


def test_the_nearest_source_is_told() -> None:
    """Where content comes by several ways, the shortest is shown."""
    far = agent("far", read_mail)
    (finding,) = line(far, tidy, read, mail).flows()

    assert finding.path[0].startswith("`read` (read_mail: untrusted) -> ")


def test_a_long_path_is_cut_in_the_middle() -> None:
    """Of a path over many steps its source and its last steps are shown, and how many are left out."""
    waits = [Wait(f"w{n}", of=str, seconds=1) for n in range(20)]
    (finding,) = line(read, *waits, mail).flows()

    assert finding.path[0].startswith("`read` (read_mail: untrusted) -> ... 13 more -> `w13` -> `w14` -> ")


def test_a_warning_says_where_and_how_to_mend_it() -> None:
    """A warning has a code, the step with its file and line, what may happen, and the ways out; it refuses nothing."""
    inner = Workflow("inner", start=begin, end=keep, edges=[begin >> keep])
    (warning,) = told(line(read, inner))

    assert (warning.code, warning.severity) == ("AF201", "warning")
    assert warning.where == f"step `inner/keep` ({keep.place})"
    assert warning.what.startswith(
        "untrusted content can reach `note`, which writes, with no approval between: `read`"
    )
    assert "`needs_approval=True` on `note`" in warning.hint
    assert '`allow=[Flow("untrusted-to-write", step="inner/keep", because="...")]`' in warning.hint


def test_tools_of_one_origin_count_as_the_worse() -> None:
    """Where a function makes tools with different labels, each may be the one that is called."""

    def made(*, is_guarded: bool) -> Tool[..., Any]:
        @tool(effect="write", returns="trusted", needs_approval=is_guarded)
        async def act(text: str) -> str:
            """Act."""
            return text

        return act

    guarded, free = made(is_guarded=True), made(is_guarded=False)

    assert found(line(read, agent("a", guarded))) == []
    assert found(line(read, agent("a", guarded), agent("b", free))) == ["AF201 a: act", "AF201 b: act"]


def test_a_tool_that_is_not_known_may_do_anything() -> None:
    """A definition alone, without its tools, is judged by the worst that they could be."""
    workflow = line(agent("a", search))

    assert [f.code for f in flows(workflow.spec, {})] == ["AF201", "AF204"]
    assert flows(workflow.spec, {search.origin: search}) == []


def test_labels_of_a_server_can_be_given() -> None:
    """A server whose tools are known to be harmless is not warned of."""
    options = {"mcp_servers": ["docs"], "tools": [send.origin]}
    step = StepSpec(id="a", kind="agent", options=options)
    spec = WorkflowSpec(name="w", start="a", end="a", steps=(step,))
    known: dict[str, Tool[..., Any]] = {send.origin: send}

    assert [f.code for f in flows(spec, known)] == ["AF201", "AF204"]
    assert [f.code for f in flows(spec, {**known, "mcp:docs": files})] == ["AF203"]


def test_work_grows_with_the_edges() -> None:
    """At most two arrivals of each kind are kept at a step, however many tools and ways there are."""
    count = 300
    options = {"tools": [f"tool{n}" for n in range(20)]}
    steps = tuple(StepSpec(id=f"s{n}", kind="agent", options=options) for n in range(count))
    edges = tuple(
        EdgeSpec(source=f"s{n}", target=f"s{m}")
        for n in range(count)
        for m in (n + 1, n + 7, n // 2)
        if m < count
    )
    spec = WorkflowSpec(name="w", start="s0", end=f"s{count - 1}", steps=steps, edges=edges)

    assert all(len(arrived) <= 2 for arrived in arrivals(graph_of(spec, {}, {}), "private"))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("data_analysis", []),
        ("site_check", []),
        ("ticket_triage", []),
        ("research", ["AF204 plan: web_search"]),
    ],
)
def test_the_sample_workflows(name: str, expected: list[str]) -> None:
    """Of the samples, only the plan of `research` has all three: own documents, pages of the web, and a way there."""
    workflow = Project(root=Path(__file__).parents[2]).load(name)

    assert found(workflow) == expected


def test_without_its_approval_the_triage_would_send_what_nobody_saw() -> None:
    """The replies of `ticket_triage` hold passages of own documents: its approval is what keeps them from leaving."""
    workflow = Project(root=Path(__file__).parents[2]).load("ticket_triage")
    spec = workflow.spec
    ends = {("approve", "send"): "collect"}
    edges = tuple(
        EdgeSpec(source=ends.get((e.source, e.target), e.source), target=e.target) for e in spec.edges
    )
    sending = {"workflows.ticket_triage:send": ["tools.mail:send_mail"]}
    looking = {"workflows.ticket_triage:look_up": ["tools.files:file_search"]}
    from tools.files import file_search
    from tools.mail import send_mail

    tools: dict[str, Tool[..., Any]] = {file_search.origin: file_search, send_mail.origin: send_mail}
    opened = WorkflowSpec(name="w", start=spec.start, end=spec.end, steps=spec.steps, edges=edges)

    assert flows(spec, tools, {**sending, **looking}) == []
    assert [(f.code, f.step) for f in flows(opened, tools, {**sending, **looking})] == [("AF203", "send")]


def test_a_search_may_follow_a_search() -> None:
    """Words of a page that go into the next search are no warning while nothing private is there."""
    assert found(line(plan("p", search), ask_web)) == []
