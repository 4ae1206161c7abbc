"""Detours: what to try after calls failed, without ever making the same call twice."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from agentflow.models.embedded import cues
from agentflow.models.embedded.arguments import Source, fill
from agentflow.models.embedded.families import Offer, family
from agentflow.models.embedded.router import Choice
from agentflow.models.embedded.turn import Call, Observation, Turn, key

# Who is asked next when a tool of this family failed or found nothing.
_NEXT: Mapping[str, Sequence[str]] = {
    "web_search": ("file_search",),
    "file_search": ("web_search",),
    "computer": ("web_search", "file_search"),
}
_ACTING = ("press", "sign_in", "form", "transact")
_REFUSED = re.compile(
    r"arguments? (?:of|for|do|does|did)|do(?:es)? not fit|ToolArgumentsInvalid|invalid argument|validation",
    re.IGNORECASE,
)
_NAMED = re.compile(r"`(\w+)`:")


def detours(turn: Turn, drafted: Sequence[Call]) -> list[Call]:
    """Calls that go around what failed, and calls of the draft that were not made; none that was made before."""
    made = {key(o.tool, o.arguments) for o in turn.observations if not o.skipped}
    number = _highest(turn.observations)
    instead: dict[str, str] = {}
    found: list[Call] = []
    for proposed in (*_around(turn, drafted), *_unmade(turn, drafted)):
        call = _renamed(proposed, f"c{number + len(found) + 1}", instead)
        if key(call.tool, call.arguments) in made or not _reachable(call, turn, found):
            continue

        made.add(key(call.tool, call.arguments))
        instead[proposed.id] = call.id
        found.append(call)

    return found


def _around(turn: Turn, drafted: Sequence[Call]) -> Iterator[Call]:
    """For each failure another way to the same thing; it bears the id of the call that it stands in for."""
    for seen in turn.observations:
        if seen.skipped or (seen.ok and not seen.empty):
            continue

        if not seen.ok and _REFUSED.search(f"{seen.error} {seen.text}"):
            yield from _repaired(seen, turn, drafted)
        else:
            yield from _elsewhere(seen, turn, drafted)


def _elsewhere(seen: Observation, turn: Turn, drafted: Sequence[Call]) -> Iterator[Call]:
    failed = turn.offer(seen.tool)
    kind = family(failed) if failed else None
    text = _asked(seen, drafted)
    if kind is None or (kind == "computer" and _acts(text)):
        return

    for wanted in _NEXT.get(kind, ()):
        offer = next((o for o in turn.offers if family(o) == wanted), None)
        filled = fill(Source(text=text, whole=turn.task), offer.parameters) if offer else None
        if offer and filled and filled.arguments is not None:
            reason = "found nothing" if seen.ok else "failed"
            why = f"`{seen.tool}` {reason}, so the same is asked of `{offer.name}`"
            yield _standing_in(seen, offer, filled.arguments, why, drafted)
            return


def _acts(text: str) -> bool:
    """Is something to be done on a site, which no search can do instead?"""
    strength = dict(zip(cues.NAMES, cues.read(text), strict=True))
    return any(strength[name] for name in _ACTING)


def _repaired(seen: Observation, turn: Turn, drafted: Sequence[Call]) -> Iterator[Call]:
    """The refused call with arguments that fit better, once: a repaired call that is refused as well is dropped."""
    offer = turn.offer(seen.tool)
    earlier = [o for o in turn.observations if o.tool == seen.tool and o is not seen]
    if offer is None or any(_REFUSED.search(f"{o.error} {o.text}") for o in earlier if not o.ok):
        return

    arguments = _mended(seen, offer, Source(text=_asked(seen, drafted), whole=turn.task))
    if arguments is not None:
        yield _standing_in(seen, offer, arguments, f"`{seen.tool}` refused its arguments; mended", drafted)


def _mended(seen: Observation, offer: Offer, source: Source) -> dict[str, Any] | None:
    properties = offer.parameters.get("properties", {})
    required: set[str] = set(offer.parameters.get("required", ()))
    faulty = set(_NAMED.findall(f"{seen.error} {seen.text}"))
    kept = {n: v for n, v in seen.arguments.items() if n in properties and n not in faulty}
    filled = fill(source, offer.parameters)
    if filled.arguments is None:
        return kept if required <= kept.keys() else None

    return kept | {n: v for n, v in filled.arguments.items() if n in required and n not in kept}


def _unmade(turn: Turn, drafted: Sequence[Call]) -> Iterator[Call]:
    """Calls of the draft that nothing came of yet."""
    seen = {o.id for o in turn.observations if not o.skipped}
    yield from (call for call in drafted if call.id not in seen)


def _reachable(call: Call, turn: Turn, found: Sequence[Call]) -> bool:
    """Does each call that `call` waits for have a result, or will it have one?"""
    there = {o.id for o in turn.observations if o.ok} | {c.id for c in found}
    return set(call.after) <= there


def _renamed(call: Call, name: str, instead: Mapping[str, str]) -> Call:
    """`call` under its new id, waiting for the calls that stand in for those it waited for."""
    arguments = {n: _redirected(v, instead) for n, v in call.arguments.items()}
    return replace(call, id=name, after=tuple(instead.get(i, i) for i in call.after), arguments=arguments)


def _redirected(value: Any, instead: Mapping[str, str]) -> Any:
    if not isinstance(value, str):
        return value

    return re.sub(r"\$\{(c\d+)\.", lambda m: f"${{{instead.get(m.group(1), m.group(1))}.", value)


def _standing_in(
    seen: Observation, offer: Offer, arguments: Mapping[str, Any], why: str, drafted: Sequence[Call]
) -> Call:
    origin = _origin(seen, drafted)
    every = ((origin.choice.tool, origin.choice.confidence), *origin.choice.alternatives) if origin else ()
    confidence = next((p for tool, p in every if tool == offer.name), 0.0)
    choice = Choice(offer.name, confidence, tuple(pair for pair in every if pair[0] != offer.name))
    after = origin.after if origin else ()
    return Call(id=seen.id, tool=offer.name, arguments=arguments, after=after, why=why, choice=choice)


def _asked(seen: Observation, drafted: Sequence[Call]) -> str:
    """The part of the request that a call was made for; for an unknown call, the longest text it was given."""
    origin = _origin(seen, drafted)
    if origin is not None:
        return origin.why

    return max((v for v in seen.arguments.values() if isinstance(v, str)), key=len, default="")


def _origin(seen: Observation, drafted: Sequence[Call]) -> Call | None:
    return next((c for c in drafted if c.id == seen.id and c.tool == seen.tool), None)


def _highest(observations: Sequence[Observation]) -> int:
    numbers = (re.fullmatch(r"c(\d+)", o.id) for o in observations)
    return max((int(m.group(1)) for m in numbers if m), default=0)
