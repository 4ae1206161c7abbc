"""Filling in a form through a session, reading back what it holds, and sending it."""

from __future__ import annotations

from agentflow.exceptions import ToolError
from agentflow.toolkit.browser.forms import Field, Match, is_yes, option_for
from agentflow.toolkit.browser.pages import Visit
from agentflow.toolkit.browser.session import BrowserSession
from agentflow.toolkit.browser.snapshot import Node, parse


async def fill_in(session: BrowserSession, match: Match) -> None:
    """Put each value into its field."""
    for place, value in match.values:
        await _enter(session, place, value)


async def _enter(session: BrowserSession, place: Field, value: str) -> None:
    match place.kind:
        case "text":
            await session.fill(place.ref, value)
        case "switch":
            await session.check(place.ref, is_yes(value))
        case "list":
            await session.select(place.ref, _choice(place, value))
        case "radio":
            await session.check(place.options[_choice(place, value)], True)


def _choice(place: Field, value: str) -> str:
    choice = option_for(place, value)
    if choice is None:
        known = ", ".join(f"`{name}`" for name in place.options)
        raise ToolError(f"`{place.label}` has no choice `{value}`; it has {known}")

    return choice


async def to_be_sent(session: BrowserSession, match: Match) -> list[str]:
    """The values that a form sends when it sends what was filled in: of text as it was given, of choices as the site has it."""
    return [
        value if place.kind == "text" else await session.held(_chosen(place, value))
        for place, value in match.values
    ]


def _chosen(place: Field, value: str) -> str:
    return place.options[_choice(place, value)] if place.kind == "radio" else place.ref


async def read_back(session: BrowserSession, match: Match) -> list[str]:
    """What the form's fields hold now, one `label: value` each, as the page shows it."""
    nodes = {node.ref: node for node in parse(await session.snapshot()).walk() if node.ref}
    return [f"{place.label}: {_held(place, nodes)}" for place, _ in match.values]


def _held(place: Field, nodes: dict[str, Node]) -> str:
    node = nodes.get(place.ref, Node(role="none"))
    match place.kind:
        case "text":
            return node.text or node.inner_text()
        case "switch":
            return "yes" if "checked" in node.flags else "no"
        case "list":
            return next((child.name for child in node.walk() if "selected" in child.flags), "")
        case "radio":
            chosen = (name for name, ref in place.options.items() if "checked" in _flags(nodes, ref))
            return next(chosen, "")


def _flags(nodes: dict[str, Node], ref: str) -> frozenset[str]:
    return nodes[ref].flags if ref in nodes else frozenset()


async def send(session: BrowserSession, match: Match) -> Visit:
    """Press the form's button; raises `ToolError` if it has none."""
    button = match.button
    if button is None:
        raise ToolError(f"the form `{match.form.name}` has no button to send it with")

    return await session.click(button.ref)
