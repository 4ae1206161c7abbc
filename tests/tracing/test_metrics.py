"""Metrics are counted from what a run does, under the names of the conventions, and sent where that is asked for."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from agentflow import Context, Workflow, operation, step
from agentflow.cli.telemetry import wants_metrics
from agentflow.events import Event
from agentflow.exceptions import ProjectError
from agentflow.tracing.metrics import Metrics
from tests.tracing.conftest import Tracing
from tests.tracing.launching import PROJECT, launched
from tests.tracing.otlp import Receiver


@pytest.fixture
def receiver() -> Generator[Receiver]:
    receiver = Receiver()
    yield receiver
    receiver.close()


@step
async def work(text: str, ctx: Context) -> str:
    for _ in range(2):
        async with operation(
            "chat", "gpt-x", request={"messages": [text]}, provider="openai", request_model="gpt-x"
        ) as said:
            said.usage = {"input_tokens": 10, "output_tokens": 3, "usd": 0.25}

    async with operation("tool", "look", request={"at": text}):
        pass

    try:
        async with operation("tool", "broken", request={}):
            raise TimeoutError("slow")
    except TimeoutError:
        return text


counted = Workflow("counted", start=work, end=work)


def measured(events: Sequence[Event], before: int = 0) -> dict[str, list[Any]]:
    """The data points that come of events, by metric, where the first `before` happened earlier."""
    reader = InMemoryMetricReader()
    metrics = Metrics({"OTEL_SERVICE_NAME": "shop"}, reader)
    metrics.take_up(events[:before])
    for event in events[before:]:
        metrics(event)

    data = reader.get_metrics_data()
    metrics.close()
    if data is None:
        return {}

    (resource,) = data.resource_metrics
    assert resource.resource.attributes["service.name"] == "shop"
    return {m.name: list(m.data.data_points) for scope in resource.scope_metrics for m in scope.metrics}


async def test_what_a_run_does_is_counted_under_the_names_of_the_conventions(tracing: Tracing) -> None:
    """Durations by operation, tokens and money by model, failures by type; nothing that anybody said is a label."""
    found = measured((await tracing(counted, "a secret")).events)
    (tokens,) = found["gen_ai.client.inference.usage.input_tokens"]
    assert tokens.value == 20
    assert dict(tokens.attributes) == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "gpt-x",
    }
    (each,) = found["gen_ai.client.inference.operation.output_tokens"]
    assert (each.count, each.sum, each.explicit_bounds[:3]) == (2, 6, (1, 4, 16))
    assert found["agentflow.usage.usd"][0].value == 0.5
    tools = {
        p.attributes["gen_ai.tool.name"]: p.attributes.get("error.type")
        for p in found["gen_ai.execute_tool.duration"]
    }
    assert tools == {"look": None, "broken": "TimeoutError"}
    assert found["agentflow.invoke_workflow.duration"][0].count == 1
    assert "secret" not in str(found)


async def test_what_happened_before_a_run_was_taken_up_is_not_counted_again(tracing: Tracing) -> None:
    """Two processes that share a run count it once, wherever it is divided."""
    events = (await tracing(counted, "a")).events
    whole = measured(events)["gen_ai.client.inference.usage.input_tokens"][0].value
    for at in range(len(events)):
        parts = [measured(events[:at]), measured(events, before=at)]
        tokens = [p.get("gen_ai.client.inference.usage.input_tokens", []) for p in parts]
        assert sum(point.value for points in tokens for point in points) == whole


def test_metrics_are_sent_where_that_is_asked_for(tmp_path: Path, receiver: Receiver) -> None:
    """With the setting they arrive beside the spans; without it nothing is sent of them."""
    (tmp_path / "workflows").mkdir()
    (tmp_path / "workflows" / "slowly.py").write_text(PROJECT)
    where = {"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url}
    assert launched(tmp_path, "run", "slowly", "a", **where).returncode == 0
    assert receiver.metrics == []
    assert launched(tmp_path, "run", "slowly", "a", **where, AGENTFLOW_METRICS="true").returncode == 0
    request: Any = ExportMetricsServiceRequest.FromString(receiver.metrics[0])
    (metric,) = request.resource_metrics[0].scope_metrics[0].metrics
    assert metric.name == "agentflow.invoke_workflow.duration"


def test_what_does_not_say_whether_is_refused() -> None:
    """Neither another word nor metrics without a collector pass for a setting."""
    where = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://x"}
    assert wants_metrics(where, {"metrics": True})
    assert not wants_metrics({**where, "AGENTFLOW_METRICS": "false"}, {"metrics": True})
    assert not wants_metrics({**where, "OTEL_METRICS_EXPORTER": "none"}, {"metrics": True})
    with pytest.raises(ProjectError, match="no collector"):
        wants_metrics({"AGENTFLOW_METRICS": "1"}, {})

    with pytest.raises(ProjectError, match="`maybe`"):
        wants_metrics({**where, "AGENTFLOW_METRICS": "maybe"}, {})
