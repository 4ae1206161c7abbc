"""What is different between two definitions, in words for people: a line for each step, edge or limit that changed."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields
from typing import Any, Literal, TypeGuard

from agentflow.spec import Budget, MapSpec, Retry, WorkflowSpec, to_data
from agentflow.typeref import short_name

_SHOWN, _BEFORE, _MEMBERS = 40, 12, 5  # characters of a value, those before a difference, members of a list
_ABSENT: Any = object()
Data = Mapping[str, Any]
Say = Callable[[Any, Any], Iterator[str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One difference: `where` is the step, edge, budget or workflow, `what` is said of it."""

    kind: Literal["added", "removed", "changed"]
    what: str
    where: str

    def __str__(self) -> str:
        return _one_line(f"{self.where}{':' if self.where.startswith('budget') else ''} {self.what}")


def changes(old: WorkflowSpec, new: WorkflowSpec) -> list[Change]:
    """All differences, in the order of the new definition; empty exactly where the digests are equal."""
    return list(_workflow(_plain(old), _plain(new), ""))


def _plain(spec: WorkflowSpec) -> Data:
    """The definition as its digest sees it."""
    data: Data = json.loads(json.dumps(to_data(spec)))
    return data


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False)


def _differ(old: Any, new: Any) -> bool:
    if old is _ABSENT or new is _ABSENT:
        return old is not new

    # As text, since 1, 1.0 and True are equal in Python, and are not in a digest.
    return _text(old) != _text(new)


def _differing(old: Data, new: Data) -> Iterator[tuple[str, Any, Any]]:
    """The names whose values differ, with both values: those of `new` first, then those that are gone."""
    for name in [*new, *(name for name in old if name not in new)]:
        before, after = old.get(name, _ABSENT), new.get(name, _ABSENT)
        if _differ(before, after):
            yield name, before, after


def _workflow(old: Data, new: Data, path: str) -> Iterator[Change]:
    """The differences of a workflow; `path` leads to the step that runs it, and is empty for the run's own."""
    renamed = _renamed(old["steps"], new["steps"])
    before = _with_new_name(old, *renamed) if renamed else old
    yield from _itself(before, new, path)
    yield from _steps(before, new, path, renamed)
    yield from _edges(before["edges"], new["edges"], path)


def _renamed(old: Data, new: Data) -> tuple[str, str] | None:
    """The old and the new id of a step, where one is gone, one is new, and they are equal but for their id."""
    gone, added = [id_ for id_ in old if id_ not in new], [id_ for id_ in new if id_ not in old]
    if len(gone) != 1 or len(added) != 1 or _differ(old[gone[0]], new[added[0]]):
        return None

    return gone[0], added[0]


def _with_new_name(flow: Data, gone: str, name: str) -> Data:
    """The workflow as if the step had always had its new name, so that the renaming is said once."""

    def named(id_: str) -> str:
        return name if id_ == gone else id_

    def reading(step: Data) -> Data:
        return {**step, "reads": list(map(named, step["reads"]))} if "reads" in step else step

    return {
        **flow,
        "start": named(flow["start"]),
        "end": named(flow["end"]),
        "steps": {named(id_): reading(step) for id_, step in flow["steps"].items()},
        "edges": [{**e, "from": named(e["from"]), "to": named(e["to"])} for e in flow["edges"]],
    }


def _itself(old: Data, new: Data, path: str) -> Iterator[Change]:
    """The differences of the workflow but for its steps and edges."""
    where, budget = (f"workflow `{path}`", f"budget of `{path}`") if path else ("workflow", "budget")
    for name, before, after in _differing(_without(old, _PARTS), _without(new, _PARTS)):
        for what in _OF_WORKFLOWS[name](before, after):
            yield Change(kind="changed", what=what, where=budget if name == "budget" else where)


def _without(data: Data, names: tuple[str, ...]) -> Data:
    return {name: value for name, value in data.items() if name not in names}


def _steps(old: Data, new: Data, path: str, renamed: tuple[str, str] | None) -> Iterator[Change]:
    before, after = old["steps"], new["steps"]
    for id_, step in after.items():
        where = f"step `{_inside(path, id_)}`"
        if renamed is not None and id_ == renamed[1]:
            was = f"step `{_inside(path, renamed[0])}`"
            yield Change(kind="changed", what=f"is now called `{id_}`", where=was)

        if id_ not in before:
            yield Change(kind="added", what="is new", where=where)
        else:
            yield from _step(before[id_], step, _inside(path, id_))

    for id_ in before:
        if id_ not in after:
            yield Change(kind="removed", what="is gone", where=f"step `{_inside(path, id_)}`")


def _inside(path: str, id_: str) -> str:
    return f"{path}/{id_}" if path else id_


def _step(old: Data, new: Data, path: str) -> Iterator[Change]:
    is_entered = "workflow" in old and "workflow" in new
    entered = ("workflow",) if is_entered else ()
    said: list[str] = []
    for name, before, after in _differing(_without(old, entered), _without(new, entered)):
        said += _OF_STEPS[name](before, after) if name in _OF_STEPS else _value(name, before, after)

    if said:
        yield Change(kind="changed", what=f"changed: {'; '.join(said)}", where=f"step `{path}`")

    if is_entered:
        yield from _workflow(old["workflow"], new["workflow"], path)


def _edges(old: Sequence[Data], new: Sequence[Data], path: str) -> Iterator[Change]:
    same = _matched(old, new)
    gone = [edge for index, edge in enumerate(old) if index not in same.values()]
    added = [edge for index, edge in enumerate(new) if index not in same]
    for index, edge in enumerate(new):
        if index not in same:
            yield Change(kind="added", what="is new", where=_edge(edge, path, gone))
        elif said := list(_numbers(old[same[index]], edge)):
            what = f"changed: {'; '.join(said)}"
            yield Change(kind="changed", what=what, where=_edge(edge, path, ()))

    for edge in gone:
        yield Change(kind="removed", what="is gone", where=_edge(edge, path, added))

    order = [same[index] for index in sorted(same)]
    if order != sorted(order):
        where = f"workflow `{path}`" if path else "workflow"
        yield Change(kind="changed", what="has its edges in another order", where=where)


def _matched(old: Sequence[Data], new: Sequence[Data]) -> dict[int, int]:
    """Which edge of the old definition each of the new one is: an equal one, else the one that is most alike."""
    same: dict[int, int] = {}
    for alike in (
        ("from", "to", "on", "slot", "at_most"),
        ("from", "to", "on", "slot"),
        ("from", "to", "on"),
    ):
        left: dict[str, list[int]] = {}
        for index, edge in enumerate(old):
            if index not in same.values():
                left.setdefault(_text([edge.get(name) for name in alike]), []).append(index)

        for index, edge in enumerate(new):
            candidates = left.get(_text([edge.get(name) for name in alike]))
            if index not in same and candidates:
                same[index] = candidates.pop(0)

    return same


def _edge(edge: Data, path: str, others: Sequence[Data]) -> str:
    """The edge in words; its case with modules where one of `others` would read the same without."""
    ends = f"edge `{_inside(path, edge['from'])}` -> `{_inside(path, edge['to'])}`"
    case = edge.get("on")
    if case is None:
        return ends

    clashes = any((o["from"], o["to"]) == (edge["from"], edge["to"]) for o in others if _alike(o, case))
    return f"{ends} on `{case if clashes else short_name(case)}`"


def _alike(edge: Data, case: str) -> bool:
    return "on" in edge and short_name(edge["on"]) == short_name(case)


def _value(name: str, old: Any, new: Any) -> Iterator[str]:
    """What is different between two values; `name` leads to them, with dots."""
    if _is_mapping(old) and _is_mapping(new):
        for key, before, after in _differing(old, new):
            yield from _value(f"{name}.{key}" if name else key, before, after)
    elif _is_list(old) and _is_list(new):
        yield from _lists(name, old, new) or [f"`{name}` in another order"]
    elif old is _ABSENT or new is _ABSENT:
        verb = "is now" if old is _ABSENT else "is gone, it was"
        yield f"`{name}` {verb} {_shown(new if old is _ABSENT else old)}"
    elif isinstance(old, str) and isinstance(new, str) and _is_long(old, new):
        yield f"its {name} ({_first_difference(old, new)})"
    else:
        yield f"`{name}` {_pair(old, new)}"


def _is_mapping(value: Any) -> TypeGuard[dict[str, Any]]:
    return isinstance(value, dict)


def _is_list(value: Any) -> TypeGuard[list[Any]]:
    return isinstance(value, list)


def _lists(name: str, old: list[Any], new: list[Any]) -> list[str]:
    """Lists of named things (agents) are compared by name, others by what is in only one of them."""
    before, after = _by_name(old), _by_name(new)
    if before is not None and after is not None:
        return list(_value(name, before, after))

    left, gained = [_text(item) for item in old], list[Any]()
    for item in new:
        if _text(item) in left:
            left.remove(_text(item))
        else:
            gained.append(item)

    groups = (("with", gained), ("without", [json.loads(text) for text in left]))
    return [f"`{name}` {word} {_some(items)}" for word, items in groups if items]


def _by_name(items: list[Any]) -> dict[str, Any] | None:
    named = {item["name"]: item for item in items if _is_mapping(item) and isinstance(item.get("name"), str)}
    return named if len(named) == len(items) else None


def _some(items: Sequence[Any]) -> str:
    more = f" and {len(items) - _MEMBERS} more" if len(items) > _MEMBERS else ""
    return ", ".join(map(_shown, items[:_MEMBERS])) + more


def _is_long(*texts: str) -> bool:
    return any(len(text) > _SHOWN or "\n" in text for text in texts)


def _first_difference(old: str, new: str) -> str:
    """Where two texts part: the first line that is not the same, as far as it can be shown."""
    before, after = old.splitlines(), new.splitlines()
    if max(len(before), len(after)) < 2 and before != after:
        return _pair(old, new)

    known = min(len(before), len(after))
    for number in range(known):
        if before[number] != after[number]:
            return f"line {number + 1}: {_pair(before[number], after[number])}"

    if len(before) == len(after):
        return f"only in line ends, {len(old)} -> {len(new)} characters"

    verb, longer = ("gains", after) if len(after) > known else ("loses", before)
    return f"{verb} {len(longer) - known} of {len(longer)} lines, from `{_cut(longer[known])}`"


def _pair(old: Any, new: Any) -> str:
    """Two values that differ, each cut so that the first difference is seen."""
    if not isinstance(old, str) or not isinstance(new, str):
        return f"{_shown(old)} -> {_shown(new)}"

    ends = min(len(old), len(new))
    same = next((i for i in range(ends) if old[i] != new[i]), ends)
    start = max(0, same - _BEFORE) if _is_long(old, new) else 0
    return f"`{_cut(old, start)}` -> `{_cut(new, start)}`"


def _shown(value: Any) -> str:
    if isinstance(value, str):
        return f"`{_cut(value)}`"

    if _is_list(value) and value:
        return _some(value)

    return _cut(_text(value))


def _cut(text: str, start: int = 0) -> str:
    end = start + _SHOWN
    return f"{'…' if start else ''}{_one_line(text[start:end])}{'…' if len(text) > end else ''}"


def _one_line(text: str) -> str:
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _types(old: Any, new: Any) -> str:
    """Two types, with their modules only where they read the same without."""
    before, after = ("Any" if text is _ABSENT else text for text in (old, new))
    if short_name(before) == short_name(after):
        return f"`{before}` -> `{after}`"

    return f"`{short_name(before)}` -> `{short_name(after)}`"


def _numbers(old: Data, new: Data) -> Iterator[str]:
    """The limits that differ; one that is not there is none."""
    for name, before, after in _differing(old, new):
        numbers = ("none" if value is _ABSENT else _text(value) for value in (before, after))
        yield f"`{name}` {' -> '.join(numbers)}"


def _limits(label: str, kind: type[Budget | MapSpec | Retry], added: str, removed: str) -> Say:
    """How limits that stand together are said to be new, gone, or different."""
    usual = {f.name: f.default for f in fields(kind) if f.default is not MISSING and f.default is not None}

    def say(old: Any, new: Any) -> Iterator[str]:
        if old is not _ABSENT and new is not _ABSENT:
            yield from (f"{label} {said}" for said in _numbers({**usual, **old}, {**usual, **new}))
        else:
            numbers = ", ".join(f"`{k}` {_text(v)}" for k, v in (new if old is _ABSENT else old).items())
            yield (added if old is _ABSENT else removed) + (f" ({numbers})" if numbers else "")

    return say


def _typed(name: str) -> Say:
    return lambda old, new: iter([f"{name} {_types(old, new)}"])


def _called(old: Any, new: Any) -> Iterator[str]:
    yield f"`{old}` is now called `{new}`"


def _at_end(verb: str) -> Say:
    return lambda old, new: iter([f"{verb} with `{old}` -> `{new}`"])


def _description(old: Any, new: Any) -> Iterator[str]:
    before, after = ("" if text is _ABSENT else text for text in (old, new))
    where = _first_difference(before, after) if _is_long(before, after) else _pair(before, after)
    yield f"is described in other words ({where})"


def _budget(old: Any, new: Any) -> Iterator[str]:
    said = list(_numbers({} if old is _ABSENT else old, {} if new is _ABSENT else new))
    yield "; ".join(said) or ("one without limits is new" if old is _ABSENT else "one without limits is gone")


def _allowed(old: Any, new: Any) -> Iterator[str]:
    before, after = ([_flow(flow) for flow in (() if given is _ABSENT else given)] for given in (old, new))
    yield from (f"allows {flow} now" for flow in after if flow not in before)
    yield from (f"no longer allows {flow}" for flow in before if flow not in after)
    if sorted(before) == sorted(after):
        yield "allows the same flows in another order"


def _flow(flow: Data) -> str:
    where = f" at `{flow['step']}`" if flow.get("step") else ""
    return f"`{flow['kind']}`{where} because `{_line(flow.get('because', ''))}`"


def _line(text: str) -> str:
    plain = " ".join(str(text).split())
    return plain if len(plain) <= _SHOWN else plain[: _SHOWN - 1] + "…"


def _options(old: Any, new: Any) -> Iterator[str]:
    yield from _value("", {} if old is _ABSENT else old, {} if new is _ABSENT else new)


def _reads(old: Any, new: Any) -> Iterator[str]:
    yield from _value("reads", [] if old is _ABSENT else old, [] if new is _ABSENT else new)


def _inner(old: Any, new: Any) -> Iterator[str]:
    verb, flow = ("runs", new) if old is _ABSENT else ("no longer runs", old)
    yield f"it {verb} the workflow `{flow['name']}`"


# What a workflow is made of has words of its own.
_PARTS = ("steps", "edges")
_OF_WORKFLOWS: Mapping[str, Say] = {
    "name": _called,
    "takes": _typed("takes"),
    "gives": _typed("gives"),
    "start": _at_end("starts"),
    "end": _at_end("ends"),
    "description": _description,
    "budget": _budget,
    "allow": _allowed,
}
_OF_STEPS: Mapping[str, Say] = {
    "takes": _typed("`takes`"),
    "gives": _typed("`gives`"),
    "retry": _limits("retry", Retry, "it is tried again now", "it is not tried again any more"),
    "map": _limits("each", MapSpec, "it runs for each item now", "it no longer runs for each item"),
    "budget": _limits("budget", Budget, "it has a budget now", "it has no budget any more"),
    "options": _options,
    "reads": _reads,
    "workflow": _inner,
}
