"""Actions inside of runs: checked, approved, recorded, kept as files, and named in YAML."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from agents.testing import ScriptedModel, assistant_message, function_call

from agentflow import Agent, Planner, Workflow, step
from agentflow.app.result import Pending
from agentflow.events import ArtifactKept, OperationFinished, OperationStarted
from agentflow.exceptions import DefinitionError, ToolArgumentsInvalid
from agentflow.project import Project
from agentflow.spec import from_data, to_data
from agentflow.testing import run_to_end
from agentflow.toolkit.actions import Action, actions
from agentflow.tools import Tool
from tests.toolkit.api import Answer, Api, serving

SHOP = """
openapi: 3.1.0
info: {title: Shop, version: "1"}
security: [{key: []}]
components: {securitySchemes: {key: {type: apiKey, in: header, name: X-Key}}}
paths:
  /orders:
    get: {operationId: listOrders, summary: List the orders., responses: {200: {description: ok}}}
    post:
      operationId: createOrder
      summary: Order something.
      requestBody: {required: true, content: {application/json: {schema: {type: object, required: [sku]}}}}
      responses: {201: {description: ok}}
  /orders/{id}:
    get:
      operationId: getOrder
      parameters: [{name: id, in: path, required: true, schema: {type: integer}}]
      responses: {200: {description: ok}}
"""


@dataclass(frozen=True, kw_only=True)
class Ask:
    question: str


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> Iterator[Api]:
    monkeypatch.setenv("SHOP_KEY", "s3cr3t-value")
    with serving() as api:
        api.answers = {
            "GET /orders": Answer(200, [{"id": 7}]),
            "GET /orders/7": Answer(200, {"id": 7, "sku": "A"}),
            "POST /orders": Answer(201, {"id": 8}),
        }
        yield api


def shop(api: Api, **options: Any) -> list[Tool[..., Any]]:
    more: dict[str, Any] = {
        "secrets": {"key": "SHOP_KEY"},
        "server": api.url,
        "networks": ["127.0.0.1/32"],
        **options,
    }
    return actions(SHOP, **more)


def plan(*calls: tuple[str, Mapping[str, Any]], done: bool = False) -> Any:
    """A planning turn as a model says it."""
    told = [
        {
            "id": f"{name}{n}",
            "tool": name,
            "arguments": json.dumps(arguments),
            "after": [],
            "why": "",
            "confidence": 0.9,
        }
        for n, (name, arguments) in enumerate(calls)
    ]
    for call in told:
        call["alternatives"] = []

    return [assistant_message(json.dumps({"thought": "so", "calls": told, "done": done}))]


def planned(api: Api, **options: Any) -> Workflow[Ask, str]:
    planner = Planner("plan", takes=Ask, gives=str, tools=shop(api, **options))
    return Workflow("orders", start=planner, end=planner)


async def test_a_planner_reads_and_a_person_approves_what_is_sent(api: Api) -> None:
    """Reads of one API follow each other; a write is made once, as it was approved, with its key."""
    asked: list[Pending] = []

    def approve(pending: Pending) -> bool:
        asked.append(pending)
        return bool(pending.subject["body"]["sku"] == "A")

    orders = [plan(("createOrder", {"body": {"sku": sku}})) for sku in ("A", "B")]
    model = ScriptedModel(
        [plan(("listOrders", {})), plan(("getOrder", {"id": 7})), *orders, [assistant_message("done")]]
    )
    workflow = planned(api, idempotency_header="Idempotency-Key")
    assert [finding.code for finding in workflow.flows() if not finding.waived] == []
    ended = await run_to_end(workflow, Ask(question="again"), model=model, approve=approve)

    assert ended.output == "done"
    assert [(s.method, s.path) for s in api.sent] == [
        ("GET", "/orders"),
        ("GET", "/orders/7"),
        ("POST", "/orders"),
    ]
    assert [pending.subject for pending in asked] == [
        {"body": {"sku": "A"}},
        {"body": {"sku": "B"}},
    ]
    assert api.sent[-1].json == {"sku": "A"}
    assert api.sent[-1].headers["Idempotency-Key"]
    assert all(s.headers["X-Key"] == "s3cr3t-value" for s in api.sent)
    begun = [e for e in ended.events if isinstance(e, OperationStarted) and e.kind == "tool"]
    assert [e.name for e in begun] == ["listOrders", "getOrder", "createOrder", "createOrder"]
    assert "s3cr3t" not in repr(ended.events)
    assert "s3cr3t" not in str([call.input for call in model.calls])


async def test_an_agent_is_told_what_does_not_fit_and_mends_it(api: Api) -> None:
    """The schema goes to the model as it stands; a call that does not fit it reaches nobody."""
    model = ScriptedModel(
        [
            [function_call("getOrder", {"id": "seven"}, call_id="c1")],
            [function_call("getOrder", {"id": 7}, call_id="c2")],
            [assistant_message("A")],
        ]
    )
    agent = Agent("clerk", takes=Ask, gives=str, tools=shop(api, include=["getOrder"]))
    ended = await run_to_end(Workflow("w", start=agent, end=agent), Ask(question="which?"), model=model)
    assert ended.output == "A"
    assert [s.path for s in api.sent] == ["/orders/7"]
    assert '`id`: is \\"seven\\", and must be of type integer' in json.dumps(model.calls[1].input)
    called = {e.operation for e in ended.events if isinstance(e, OperationStarted) and e.kind == "tool"}
    failed, done = [e for e in ended.events if isinstance(e, OperationFinished) and e.operation in called]
    assert failed.error is not None
    assert failed.error.kind == ToolArgumentsInvalid.__name__
    assert done.error is None


async def test_steps_call_actions_by_name_and_keep_what_is_large(api: Api) -> None:
    """Code names its tools as others; what is no text, and what was cut, lies beside the run."""
    list_orders, get_order = shop(api, include=["GET"], max_characters=2000)
    api.answers["GET /orders"] = Answer(200, b"\x89PNG....", "image/png")
    api.answers["GET /orders/7"] = Answer(200, {"lines": ["x" * 100] * 1000})

    @step
    async def look(ask: Ask) -> list[str]:
        picture = await list_orders()
        order = await get_order(id=7)
        return [picture.file, order.notes[-1], str(len(order.data["lines"]))]

    workflow = Workflow("w", start=look, end=look)
    assert {tool.name for tool in workflow.tools()} == {"listOrders", "getOrder"}
    ended = await run_to_end(workflow, Ask(question="look"))
    picture, note, lines = ended.output
    kept = [e for e in ended.events if isinstance(e, ArtifactKept)]
    assert [(e.name, e.media_type) for e in kept] == [
        ("listOrders.png", "image/png"),
        ("getOrder.json", "application/json"),
    ]
    assert picture.endswith("listOrders.png")
    assert "all of it (" in note
    assert int(lines) < 1000


async def test_a_lost_answer_of_a_write_is_asked_about(api: Api) -> None:
    """The run waits for a person instead of ordering twice."""
    api.answers["POST /orders"] = Answer(201, {"id": 8}, breaks_after=0)
    (order,) = shop(api, include=["createOrder"], operations={"createOrder": Action(needs_approval=False)})

    @step
    async def buy(ask: Ask) -> str:
        return str((await order(body={"sku": ask.question})).data)

    ended = await run_to_end(Workflow("w", start=buy, end=buy), Ask(question="A"), approve=None)
    assert ended.result.status == "waiting"
    assert [pending.kind for pending in ended.result.pending] == ["effect"]
    assert len(api.sent) == 1


YAML = """
agentflow: 1
name: orders
start: plan
end: plan
steps:
  plan:
    kind: planner
    takes: str
    gives: list[agentflow:Evidence]
    options:
      tools: [{tools}]
edges: []
"""


@pytest.fixture
def project(tmp_path: Path, api: Api) -> Iterator[Project]:
    """A project whose `tools/shop.py` makes actions of the document beside it."""
    for folder in ("tools", "workflows"):
        (tmp_path / folder).mkdir()

    (tmp_path / "tools" / "shop.openapi.yaml").write_text(SHOP)
    (tmp_path / "tools" / "shop.py").write_text(
        "from agentflow.toolkit.actions import actions\n\n"
        f"shop = actions('shop.openapi.yaml', server='{api.url}', secrets={{'key': 'SHOP_KEY'}}, networks=['127.0.0.1/32'])\n"
    )
    known = {
        name: module
        for name, module in sys.modules.items()
        if name.partition(".")[0] in ("tools", "workflows")
    }
    yield Project(root=tmp_path)
    for name in [name for name in sys.modules if name.partition(".")[0] in ("tools", "workflows")]:
        del sys.modules[name]

    sys.modules.update(known)
    sys.path.remove(str(tmp_path))


async def test_yaml_names_actions_one_by_one_or_as_a_list(project: Project, api: Api) -> None:
    """A list stands for its tools, an origin for one; what is printed of either loads as the same."""
    (project.workflows / "one.yaml").write_text(YAML.replace("{tools}", '"openapi:Shop#listOrders"'))
    one = project.load("orders")
    assert [tool.name for tool in one.tools()] == ["listOrders"]
    (project.workflows / "one.yaml").write_text(YAML.replace("{tools}", "tools.shop:shop"))
    every = project.load("orders")
    assert [tool.name for tool in every.tools()] == ["listOrders", "createOrder", "getOrder"]
    assert from_data(to_data(every.spec)) == every.spec
    (project.workflows / "one.yaml").write_text(json.dumps(to_data(every.spec)))
    assert project.load("orders").spec.digest == every.spec.digest
    (project.workflows / "one.yaml").write_text(YAML.replace("{tools}", '"openapi:Shop#listOrder"'))
    with pytest.raises(DefinitionError, match=r"openapi:Shop#listOrder"):
        project.load("orders")
