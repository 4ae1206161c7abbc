"""Matching named values to the fields of a form by the labels that people see."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from agentflow.toolkit.browser.relevance import words
from agentflow.toolkit.browser.snapshot import Node

_KINDS: Mapping[str, Literal["text", "switch", "list", "radio"]] = {
    "textbox": "text",
    "searchbox": "text",
    "spinbutton": "text",
    "checkbox": "switch",
    "switch": "switch",
    "combobox": "list",
    "listbox": "list",
    "radio": "radio",
}
_FRAMES = frozenset({"form", "search", "dialog"})
_GROUPS = frozenset({"group", "radiogroup"})
_YES = frozenset({"yes", "true", "on", "1", "x", "checked"})
_ALIASES = {"mail": "email", "phone": "telephone", "tel": "telephone", "zip": "postcode", "town": "city",
            "subject": "topic", "comment": "message", "text": "message"}  # fmt: skip
# A value ends at a comma, a semicolon or the end; a colon in it with a space behind it begins another pair.
_PAIR = re.compile(
    r"""(?P<key>[^\W\d_][\w '-]{0,40}?)(?::\s+|\s*=\s*)"""
    r"""(?P<value>"[^"]+"|'[^']+'|(?:[^,;\n:=]|[:=](?!\s))+(?=[,;\n]|$))"""
)
_ADDRESS = re.compile(r"\w+://\S+")
_SENDS = re.compile(r"(?i)\b(send|submit|place|confirm|continue|save|register|sign up|log in|search|go)\b")
_ENOUGH = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One thing to fill in; `options` are the choices of a list or of radio buttons, with their references."""

    kind: Literal["text", "switch", "list", "radio"]
    label: str
    ref: str
    options: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """Fields that are sent together, and buttons, in the order of the page."""

    name: str
    parts: tuple[Field | Node, ...]

    @property
    def fields(self) -> list[Field]:
        return [part for part in self.parts if isinstance(part, Field)]

    def button(self, last: Field) -> Node | None:
        """The button that most likely sends what was filled in down to `last`."""
        after = self.parts[self.parts.index(last) :]
        usable = [p for p in after if isinstance(p, Node) and "disabled" not in p.flags]
        return next((b for b in usable if _SENDS.search(b.name)), usable[0] if usable else None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """Which of the named values go into which fields of a form, and the names that fit none."""

    form: Form
    values: tuple[tuple[Field, str], ...]
    missing: tuple[str, ...]

    @property
    def button(self) -> Node | None:
        parts = self.form.parts
        return self.form.button(max((f for f, _ in self.values), key=parts.index)) if self.values else None


def pairs_in(task: str) -> dict[str, str]:
    """The `name: value` pairs that a task spells out; of a longer phrase the last three words are the name."""
    pairs: dict[str, str] = {}
    for found in _PAIR.finditer(_ADDRESS.sub(" ", task)):
        value = found["value"].strip().strip("\"'")
        if value:
            pairs[" ".join(found["key"].split()[-3:])] = value

    return pairs


def forms_of(root: Node) -> list[Form]:
    """The forms of a page that have fields; fields that stand in no named form are taken as one."""
    parts: dict[int, list[Field | Node]] = {}
    names: dict[int, str] = {}
    for node, frame, group in _controls(root, root, ""):
        names[id(frame)] = frame.name
        _add(parts.setdefault(id(frame), []), node, group)

    forms = [Form(name=names[key], parts=tuple(row)) for key, row in parts.items()]
    return [form for form in forms if form.fields]


def _controls(node: Node, frame: Node, group: str) -> Iterator[tuple[Node, Node, str]]:
    """Each control below `node` with the form and the name of the group that it stands in."""
    frame = node if node.role in _FRAMES else frame
    group = node.name if node.role in _GROUPS else group
    if node.role in _KINDS or node.role == "button":
        yield node, frame, group

    for child in node.children:
        yield from _controls(child, frame, group)


def _add(parts: list[Field | Node], node: Node, group: str) -> None:
    if node.role == "button":
        parts.append(node)
        return

    kind = _KINDS[node.role]
    options = {child.name: child.ref for child in node.walk() if child.role == "option"}
    if kind == "list" and not options:
        kind = "text"  # a combobox that is typed into

    last = parts[-1] if parts else None
    if kind != "radio":
        parts.append(Field(kind=kind, label=node.name, ref=node.ref, options=options))
    elif isinstance(last, Field) and last.kind == "radio" and last.label == group:
        parts[-1] = replace(last, options={**last.options, node.name: node.ref})
    else:
        parts.append(Field(kind="radio", label=group, ref=node.ref, options={node.name: node.ref}))


def best_match(forms: Sequence[Form], values: Mapping[str, str]) -> Match | None:
    """The form that takes most of `values`, or None if no form takes any of them."""
    matches = [_match(form, values) for form in forms]
    return max((m for m in matches if m.values), key=lambda m: len(m.values), default=None)


def _match(form: Form, values: Mapping[str, str]) -> Match:
    fits = ((likeness(name, value, f), name, f) for name, value in values.items() for f in form.fields)
    chosen: dict[str, Field] = {}
    for score, name, place in sorted(fits, key=lambda row: -row[0]):
        if score >= _ENOUGH and name not in chosen and place not in chosen.values():
            chosen[name] = place

    return Match(
        form=form,
        values=tuple(
            (place, values[name]) for place in form.fields for name in chosen if chosen[name] is place
        ),
        missing=tuple(name for name in values if name not in chosen),
    )


def likeness(name: str, value: str, place: Field) -> float:
    """How well a named value fits a field, 0 to 1: by its label, else by a choice that is the value itself."""
    asked, label = _terms(name), _terms(place.label)
    shared = len(asked & label)
    by_label = 0.0 if not shared else 1.0 if asked == label else 0.9 * shared / min(len(asked), len(label))
    by_choice = 0.6 if option_for(place, value) else 0.0
    return max(by_label, by_choice)


def _terms(text: str) -> frozenset[str]:
    plain = text.casefold().replace("e-mail", "email")
    return frozenset(_ALIASES.get(word, word) for word in words(plain))


def option_for(place: Field, value: str) -> str | None:
    """The choice of `place` that `value` names, exactly or as the only one that begins with it."""
    wanted = value.strip().casefold()
    exact = [name for name in place.options if name.casefold() == wanted]
    near = [name for name in place.options if wanted and name.casefold().startswith(wanted)]
    return exact[0] if exact else near[0] if len(near) == 1 else None


def is_yes(value: str) -> bool:
    """Does `value` ask for a box to be ticked?"""
    return value.strip().casefold() in _YES
