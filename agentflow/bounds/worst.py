"""The most that a run of a workflow can do: a function of its spec alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from agentflow.bounds.amount import COUNTS, NOTHING, Amount, Bound, brief, listed, named, short
from agentflow.bounds.entries import entries_of
from agentflow.bounds.heaviest import Scales
from agentflow.bounds.nesting import nesting_of
from agentflow.bounds.net import net_of
from agentflow.bounds.visit import SUMMED, Load, Price, of_leaf, of_workflow, within
from agentflow.spec import StepSpec, WorkflowSpec, steps_in

# With more tools in more steps than this, each tool's calls are added up over all steps, also of cases that exclude each other.
_WEIGHED = 200_000
_SHOWN = 20  # more terms never fit into what is said


def worst_case(
    spec: WorkflowSpec,
    *,
    with_budget: bool = True,
    price: Price | None = None,
    named: Mapping[str, Sequence[str]] | None = None,
) -> Bound:
    """The most that any run can do of a workflow that was found to be sound.

    Some run comes to it where steps come one after the other, and for loops, maps, joins and sub-workflows in one another. It
    can be too much, never too little, where branches run in parallel in a cycle with several bounded edges, and in long cycles.
    Budgets are bounds as well, unless `with_budget` is False. `price` gives US dollars for tokens read and written, of the
    model that the run uses; without it, money is bounded by budgets only. `named` are the tools that functions name, by their
    `call`: how often they are called nobody knows.
    """
    load = _Frame(spec, "", price, named or {}, with_budget=with_budget).load()
    load = within(load, spec.budget if with_budget else None, "the workflow", price)
    return Bound(
        **{name: _said(getattr(load, name)) for name in COUNTS},
        tool_calls_by={tool: _said(amount) for tool, amount in load.by_tool.items()},
        steps_by=load.by_step,
        assumes=tuple(_assumed(spec, load, named or {})),
    )


def _said(amount: Amount) -> Amount:
    return replace(amount, why=short(amount.why))


class _Frame:
    """One workflow: the spec's own, or one inside of it at the steps that `place` names."""

    def __init__(
        self,
        spec: WorkflowSpec,
        place: str,
        price: Price | None,
        named: Mapping[str, Sequence[str]],
        *,
        with_budget: bool,
    ) -> None:
        self.place, self.price, self.named, self.with_budget = place, price, named, with_budget
        self.net = net_of(spec)
        self.entries = entries_of(self.net)
        self.scales = Scales(self.net, self.entries)
        self.visits = [self._visit(step) for step in spec.steps]

    def load(self) -> Load:
        """All visits together, whatever the way that a run takes."""
        summed = {name: self._joined([getattr(v, name) for v in self.visits]) for name in SUMMED}
        return Load(
            **summed,
            seconds=self._joined([v.seconds for v in self.visits], together=False),
            parallel=self._parallel(),
            by_tool=dict(self._by_tool()),
            by_step=self._by_step(),
            names_model=any(v.names_model for v in self.visits),
        )

    def _visit(self, step: StepSpec) -> Load:
        place, owner = self.place + step.id, f"`{self.place}{step.id}`"
        if step.workflow is None:
            load = of_leaf(step, place, self.price, self.named.get(step.call, ()))
            return within(load, step.budget if self.with_budget else None, owner, self.price)

        inner = _Frame(
            step.workflow, f"{place}/", self.price, self.named, with_budget=self.with_budget
        ).load()
        # Items of a map of workflows have a budget each, and the step's goes before the workflow's own.
        budget = (step.budget or step.workflow.budget) if self.with_budget else None
        return of_workflow(step, within(inner, budget, owner, self.price), place)

    def _joined(self, parts: Sequence[Amount], *, together: bool = True, weighed: bool = True) -> Amount:
        most = self.entries.most
        missing = next((p for p, times in zip(parts, most, strict=True) if times and p.value is None), None)
        if missing is not None:
            return missing

        weight = [p.value or 0 for p in parts]
        total = sum(w * times for w, times in zip(weight, most, strict=True))
        value = self.scales.heaviest(weight, together=together) if weighed and total else total
        return Amount(value=value, why=self._why(parts, is_part=value < total))

    def _why(self, parts: Sequence[Amount], *, is_part: bool) -> str:
        most = self.entries.most
        heavy = [n for n, part in enumerate(parts) if part.value and most[n]]
        heavy.sort(key=lambda n: -(parts[n].value or 0) * most[n])
        if not heavy:
            return ""

        terms = [brief(self.net.steps[n].id) + self._often(n) + parts[n].why for n in heavy[:_SHOWN]]
        return "one way through " * is_part + listed(terms, len(heavy))

    def _often(self, node: int) -> str:
        times, back = self.entries.most[node], self.entries.reason.get(node)
        if times == 1 or back is None:
            return f" x {times}" if times > 1 else ""

        edge = self.net.edges[back]
        source, target = self.net.steps[edge.source].id, self.net.steps[edge.target].id
        return f" x {times} (at_most of {brief(source)} -> {brief(target)})"

    def _parallel(self) -> Amount:
        weight = [v.parallel.value or 0 for v in self.visits]
        nesting = nesting_of(self.net)
        why = "at once: " + listed([brief(s.id) for s, w in zip(self.net.steps, weight, strict=True) if w])
        return Amount(value=nesting.at_once(weight), why="branches and maps" if nesting.is_whole else why)

    def _by_tool(self) -> Iterator[tuple[str, Amount]]:
        tools = list(dict.fromkeys(tool for visit in self.visits for tool in visit.by_tool))
        weighed = len(tools) * len(self.visits) <= _WEIGHED
        found: dict[str, list[tuple[int, Amount]]] = {}
        for n, visit in enumerate(self.visits):
            for tool, amount in visit.by_tool.items():
                found.setdefault(tool, []).append((n, amount))

        for tool in tools:
            yield tool, self._joined_few(found[tool], weighed=weighed)

    def _joined_few(self, few: Sequence[tuple[int, Amount]], *, weighed: bool) -> Amount:
        if weighed:
            parts = [NOTHING] * len(self.visits)
            for n, amount in few:
                parts[n] = amount

            return self._joined(parts)

        missing = next((a for n, a in few if self.entries.most[n] and a.value is None), None)
        return missing or Amount(value=sum((a.value or 0) * self.entries.most[n] for n, a in few))

    def _by_step(self) -> Mapping[str, int]:
        each = zip(self.visits, self.entries.most, strict=True)
        return {at: n * times for visit, times in each for at, n in visit.by_step.items()}


def _assumed(spec: WorkflowSpec, load: Load, calling: Mapping[str, Sequence[str]]) -> Iterator[str]:
    steps = list(steps_in(spec))
    if quiet := [p for p, step in steps if step.kind == "function" and not calling.get(step.call)]:
        yield f"functions that name no tool make no calls: {named(quiet)}"

    if guarded := [place for place, step in steps if step.options.get("guardrails")]:
        yield f"guardrails make no model calls: {named(guarded)}"

    yield "no process is cut off (a call under way is then made again), and no limit is raised"
    if load.seconds.value is not None:
        yield "a step ends at its timeout, no person is asked within one, and agentflow itself takes no time"
