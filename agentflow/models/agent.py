"""Agents on the SDK's Runner: agentflow's tools in, every activation and call recorded, typed results out."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextvars import copy_context
from copy import copy
from dataclasses import dataclass, field, replace
from typing import Any

from agents import (
    Agent,
    AgentsException,
    FunctionTool,
    MaxTurnsExceeded,
    RunConfig,
    RunContextWrapper,
    Runner,
    RunResult,
    ToolErrorFormatterArgs,
)
from agents import Tool as SdkTool
from agents.tool_context import ToolContext

from agentflow.context import current
from agentflow.exceptions import (
    GuardrailTripped,
    ModelCannot,
    ModelRefused,
    ModelTimeout,
    ModelUnreachable,
    ProjectError,
    ToolError,
)
from agentflow.marking import notice
from agentflow.mcp import McpServer
from agentflow.models.activation import Activation
from agentflow.models.agent_spec import AgentCall as AgentCall
from agentflow.models.agent_spec import AgentResult as AgentResult
from agentflow.models.agent_spec import AgentSpec as AgentSpec
from agentflow.models.calls import STOPS, Calls, Use, all_required, jsonable, told
from agentflow.models.catalog import ModelRef
from agentflow.models.completion import answered
from agentflow.models.computer import HasScreen, computer_tool, refuse_model
from agentflow.models.errors import translated
from agentflow.models.foreign import labelled, needs_approval, strict
from agentflow.models.guarding import Judgement, input_guardrails, output_guardrails
from agentflow.models.pool import ModelPool
from agentflow.models.sdk import (
    Model,
    ModelResponse,
    ModelSettings,
    TResponseStreamEvent,
    bound,
    calls_something,
    completed_event,
    counted,
    model_settings,
    offered,
    output_schema,
    tool_calls,
)
from agentflow.models.stretches import NextStretch, Stretches
from agentflow.models.traced import TracedModel
from agentflow.tools import Tool

# An agent that was called as a tool fails the run with these: asking again would fail the same way.
_AGENT_STOPS = (*STOPS, GuardrailTripped, ModelCannot, ModelRefused, ModelTimeout, ModelUnreachable)
_ASKED = {
    "type": "object",
    "properties": {"input": {"type": "string", "description": "The task, with all that is needed for it."}},
    "required": ["input"],
    "additionalProperties": False,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Shared:
    """What all the runs below one call have in common, but for `calls`, of which each run has its own."""

    pool: ModelPool
    model: Model | str
    calls: Calls
    usage: Counter[str] = field(default_factory=Counter[str])


async def run_agent(call: AgentCall, pool: ModelPool) -> AgentResult:
    """Run an agent to its answer.

    Raises `ModelTurnsExceeded`, `GuardrailTripped` and the errors of models.
    """
    shared = _Shared(pool=pool, model=call.model, calls=Calls(call.first_number, call.mark))
    spec = replace(
        call.spec,
        settings=call.settings or call.spec.settings,
        max_turns=call.max_turns or call.spec.max_turns,
    )
    output, name = await _Run(spec, shared).perform(call.text)
    usage = {key: shared.usage[key] for key in sorted(shared.usage)}
    return AgentResult(output=output, usage=usage, evidence=shared.calls.evidence, agent=name)


class _Run:
    """One loop of the SDK: the agents that hand over to one another, and the one that is at work."""

    def __init__(self, spec: AgentSpec, shared: _Shared) -> None:
        self.shared = shared
        self.offered: list[str] = []
        self.stretches = Stretches()
        self._spec = spec
        self._text = ""
        self._outer = copy_context()
        self._specs: dict[str, AgentSpec] = {}
        self._agents: dict[str, Agent[Any]] = {}
        self._served: dict[str, list[Tool[..., Any]]] = {}
        self._tools: dict[str, Tool[..., Any]] = {}
        self._call_ids: set[str] = set()

    async def perform(self, text: str, **attributes: Any) -> tuple[Any, str]:
        """The final output, and the name of the agent that gave it."""
        self._text = text
        self.active = await self._began(self._spec, attributes)
        try:
            await self._connect(self._spec)
            result = await self._answered(text)
        except BaseException as error:
            known = self._known(error)
            await self.active.finish(known)
            if known is error:
                raise

            raise known from error

        self.active.record.result = jsonable(result.final_output)
        await self.active.finish(None)
        return result.final_output, result.last_agent.name

    async def _answered(self, text: str) -> RunResult:
        """What the Runner gives in the end, which is started anew for each stretch."""
        agent, most = self._agent(self._spec), self._spec.max_turns
        context, config = RunContextWrapper[Any](None), self._run_config()
        while True:
            left = most - self.stretches.turns
            try:
                return await Runner.run(agent, text, context=context, max_turns=left, run_config=config)
            except NextStretch as stretch:
                agent = self._agent(stretch.agent)
                # They are of what was given at first, and have judged it.
                agent.input_guardrails = []
            except MaxTurnsExceeded:
                # The Runner would say how many were left for the last stretch.
                raise MaxTurnsExceeded(f"Max turns ({most}) exceeded") from None

    async def _connect(self, spec: AgentSpec) -> None:
        """Connect the MCP servers of an agent and of those that it may hand over to."""
        for server in spec.mcp_servers:
            if isinstance(server, McpServer):
                self._served.setdefault(spec.name, []).extend(await self.shared.pool.tools(server))
            else:
                await self.shared.pool.connect(server)

        for other in spec.handoffs:
            await self._connect(other)

    async def activate(self, spec: AgentSpec) -> Activation:
        """The activation of `spec`; when another agent was at work, it has handed over and is finished."""
        previous = self.active
        if previous.name != spec.name:
            previous.record.attributes["handoff_to"] = spec.name
            await previous.finish(None)
            self.active = await self._began(spec, {"handoff_from": previous.name})

        return self.active

    async def _began(self, spec: AgentSpec, attributes: Mapping[str, Any]) -> Activation:
        activation = Activation(spec.name, self._outer)
        request = {"instructions": spec.instructions, "text": self._text}
        described = {"description": spec.description, "request_model": self.model(spec).ref.name}
        await activation.begin(request, {**described, **attributes})
        return activation

    def _known(self, error: BaseException) -> BaseException:
        """The error that ends this run, in agentflow's words."""
        if self.shared.calls.stopped_by is not None and isinstance(error, Exception):
            return self.shared.calls.stopped_by

        if isinstance(error, AgentsException):
            return translated(error, subject=f"agent `{self.active.name}`")

        return error

    def _run_config(self) -> RunConfig:
        return RunConfig(
            tracing_disabled=True,
            tool_not_found_behavior="return_error_to_model",
            tool_error_formatter=self._told_unknown,
            tool_name_collision_policy="error",
        )

    def _told_unknown(self, failure: ToolErrorFormatterArgs[Any]) -> str | None:
        if failure.kind != "tool_not_found":
            return None

        known = ", ".join(f"`{name}`" for name in self.offered)
        return f"there is no tool `{failure.tool_name}`" + (f"; there are: {known}" if known else "")

    def model(self, spec: AgentSpec) -> TracedModel:
        model = spec.model or self.shared.model
        if isinstance(model, str):
            return self.shared.pool.model(model)

        ref = ModelRef(provider="scripted", name=type(model).__name__)
        return (
            model
            if isinstance(model, TracedModel)
            else TracedModel(model, ref, prices=self.shared.pool.prices)
        )

    def _agent(self, spec: AgentSpec) -> Agent[Any]:
        """The SDK's agent for `spec`, made once: the SDK knows agents apart by object and by name."""
        if self._specs.setdefault(spec.name, spec) != spec:
            raise ProjectError(f"two agents are named `{spec.name}`", hint="give each a name of its own")

        if spec.name not in self._agents:
            self._agents[spec.name] = _RecordedAgent(
                run=self,
                name=spec.name,
                handoff_description=spec.description or None,
                instructions=self._instructed(spec),
                tools=[
                    *(self._tool(tool, spec) for tool in (*spec.tools, *self._served.get(spec.name, ()))),
                    *map(self._asking, spec.agents_as_tools),
                ],
                output_type=output_schema(spec.output),
                model=_ActivatedModel(self, spec),
                model_settings=model_settings(spec.settings),
                handoffs=[self._agent(other) for other in spec.handoffs],
                input_guardrails=input_guardrails(spec.input_guardrails, self._judged),
                output_guardrails=output_guardrails(spec.output_guardrails, self._judged),
                mcp_servers=[strict(s) for s in spec.mcp_servers if not isinstance(s, McpServer)],
                # Errors come to us, to be recorded; what is told to the model is decided there.
                mcp_config={"failure_error_function": None},
            )

        return self._agents[spec.name]

    async def _judged(self, work: Coroutine[Any, Any, Judgement]) -> Judgement:
        """What a guardrail does, under the agent that is at work when it does it."""
        return await self.active.within(work)

    def _instructed(self, spec: AgentSpec) -> str | None:
        """The instructions, with what the marks mean where some may come."""
        mark = self.shared.calls.mark
        is_marked = bool(mark) and (mark in self._text + spec.instructions or _reaches_out(self._spec))
        return "\n\n".join(filter(None, (spec.instructions, notice(mark) if is_marked else ""))) or None

    def offers(self, name: str) -> bool:
        """Whether a model is still shown the tool of that name.

        It stays known to the SDK, which would fail the whole run where a tool that it has disabled is called.
        """
        tool, context = self._tools.get(name), current()
        return tool is None or context is None or not context.refusal(tool)

    def _tool(self, tool: Tool[..., Any], spec: AgentSpec) -> SdkTool:
        self._tools[tool.name] = tool
        if isinstance(tool, HasScreen):
            refuse_model(tool, self.model(spec).ref)
            return computer_tool(tool, self.shared.calls, lambda: self.active.within)

        @_typed
        async def invoke(context: ToolContext[Any], raw: str) -> Any:
            use = Use(tool=tool, call_id=context.tool_call_id, raw=raw)
            return await self.active.within(self.shared.calls.use(use))

        return FunctionTool(
            name=tool.name,
            description=tool.description,
            params_json_schema=tool.parameters,
            on_invoke_tool=invoke,
            strict_json_schema=all_required(tool.parameters),
        )

    def _asking(self, spec: AgentSpec) -> FunctionTool:
        """An agent as a tool of another one: it starts anew with the text it is given."""

        @_typed
        async def invoke(context: ToolContext[Any], raw: str) -> Any:
            return await self.active.within(self._asked(spec, raw, context.tool_call_id))

        return FunctionTool(
            name=re.sub(r"[^a-zA-Z0-9_-]+", "_", spec.name),
            description=spec.description or f"Ask the agent {spec.name}.",
            params_json_schema=_ASKED,
            on_invoke_tool=invoke,
        )

    async def _asked(self, spec: AgentSpec, raw: str, call_id: str) -> str:
        calls, turn = self.shared.calls, self.shared.calls.turn
        with turn.begun(call_id):
            below = calls.below()
            try:
                output = await self._performed(spec, raw, call_id, below)
            except Exception as error:  # noqa: BLE001 - whatever broke in an agent is told to the one that asked
                if below.stopped_by is not None or isinstance(error, _AGENT_STOPS):
                    raise calls.stopping(error) from None

                await turn.reached(call_id)
                calls.take_over(below)
                return told(spec.name, error)

            await turn.reached(call_id)
            return calls.shown(calls.take_over(below, output))

    async def _performed(self, spec: AgentSpec, raw: str, call_id: str, below: Calls) -> Any:
        text = str(json.loads(raw)["input"])
        run = _Run(spec, replace(self.shared, calls=below))
        output, _ = await run.perform(text, called_as_tool=True, call_id=call_id)
        return output

    def mcp_tool(self, function: FunctionTool) -> FunctionTool:
        """A tool of an MCP server, recorded and approved like one of our own."""

        @_typed
        async def invoke(context: ToolContext[Any], raw: str) -> Any:
            async def work() -> Any:
                try:
                    return await function.on_invoke_tool(context, raw)
                except AgentsException as error:
                    # The SDK puts what a tool says of its failure into words of its own.
                    raise (error.__cause__ if isinstance(error.__cause__, ToolError) else error) from None

            tool = labelled(function, work, await needs_approval(function, context, raw))
            use = Use(tool=tool, call_id=context.tool_call_id, raw=raw, foreign=work)
            return await self.active.within(self.shared.calls.use(use))

        recorded = copy(function)
        recorded.on_invoke_tool = invoke
        recorded.needs_approval = False
        return recorded

    def count(self, response: ModelResponse) -> None:
        """Add up usage, and mend call ids that are empty or used before: some servers give such."""
        self.stretches.answered()
        self.shared.usage.update(counted(response.usage))
        calls = tool_calls(response)
        for call in calls:
            if not call.call_id or call.call_id in self._call_ids:
                call.call_id = f"{call.call_id or 'call'}_{len(self._call_ids)}"

            self._call_ids.add(call.call_id)

        self.shared.calls.begin_turn([call.call_id for call in calls])


Invoke = Callable[[ToolContext[Any], str], Coroutine[Any, Any, Any]]


def _typed(invoke: Invoke) -> Invoke:
    """The same, with types for annotations: where they are text, the SDK compiles them at each call of the tool."""
    invoke.__annotations__ = {"context": ToolContext[Any], "raw": str, "return": Any}
    return invoke


def _reaches_out(spec: AgentSpec) -> bool:
    has_own = bool(spec.tools or spec.mcp_servers or spec.agents_as_tools)
    return has_own or any(map(_reaches_out, spec.handoffs))


@dataclass
class _RecordedAgent(Agent[Any]):
    """An agent whose MCP tools go through the run like all others."""

    run: _Run | None = None

    async def get_all_tools(self, run_context: RunContextWrapper[Any]) -> list[SdkTool]:
        # None of them is ever disabled: the SDK makes a task for each, every turn, to find that out.
        return [*await self.get_mcp_tools(run_context), *self.tools]

    async def get_mcp_tools(self, run_context: RunContextWrapper[Any]) -> list[SdkTool]:
        if not self.mcp_servers:
            return []

        tools = await super().get_mcp_tools(run_context)
        run = self.run
        return [run.mcp_tool(tool) if run and isinstance(tool, FunctionTool) else tool for tool in tools]


class _ActivatedModel(Model):
    """The model of one agent. Its calls tell who is at work: each turn of the SDK's loop begins with one."""

    def __init__(self, run: _Run, spec: AgentSpec) -> None:
        self._run = run
        self._spec = spec
        self._model = run.model(spec).conversing()
        self._has_called = False

    async def get_response(self, *args: Any, **kwargs: Any) -> ModelResponse:
        request = bound(args, kwargs)
        request["input"] = self._run.stretches.whole(request["input"], self._spec)
        activation = await self._run.activate(self._spec)
        if (context := current()) is not None:
            context.count_seen()

        request["tools"] = [tool for tool in request["tools"] if self._run.offers(tool.name)]
        self._run.offered = offered(request)
        settings: ModelSettings = request["model_settings"]
        if self._has_called and settings.tool_choice is not None:
            # As the Runner does within a stretch: who was made to call something shall not be made to for ever.
            request["model_settings"] = replace(settings, tool_choice=None)

        response = await activation.within(answered(self._model, request))
        self._run.count(response)
        self._has_called = self._has_called or calls_something(response)
        return response

    async def stream_response(self, *args: Any, **kwargs: Any) -> AsyncIterator[TResponseStreamEvent]:
        yield completed_event(await self.get_response(*args, **kwargs), self._model.ref.name)
