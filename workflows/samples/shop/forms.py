"""The shop's two forms: what they hold, and what is wrong with what was sent."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

TOPICS = ("Order and delivery", "Returns", "Repair and warranty", "Product advice", "Something else")
COUNTRIES = ("Germany", "Austria", "Denmark", "France", "Netherlands", "Norway", "Portugal", "Spain",
             "Sweden", "Switzerland", "United Kingdom")  # fmt: skip
PAYMENTS = ("Card", "Bank transfer", "Invoice")

Values: TypeAlias = Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """A form as it was sent: its values, and a text for each field that is wrong."""

    values: Values = field(default_factory=dict[str, str])
    errors: Values = field(default_factory=dict[str, str])


def contact(values: Values) -> Sent:
    errors = _missing(values, name="Please tell us your name.", message="Please write a message.")
    errors |= _email(values) | _choice(values, "topic", TOPICS, "Please choose a topic.")
    if len(values.get("message", "")) > 2000:
        errors["message"] = "Please keep it under 2,000 characters."

    return Sent(values=values, errors=errors)


def checkout(values: Values) -> Sent:
    errors = _missing(
        values,
        name="Please give the full name.",
        street="Please give street and number.",
        postcode="Please give the postcode.",
        city="Please give the city.",
        terms="Please accept the terms.",
    )
    errors |= _email(values) | _choice(values, "country", COUNTRIES, "Please choose a country.")
    errors |= _choice(values, "payment", PAYMENTS, "Please choose how to pay.")
    return Sent(values=values, errors=errors)


def _missing(values: Values, **texts: str) -> dict[str, str]:
    return {name: text for name, text in texts.items() if not values.get(name, "").strip()}


def _email(values: Values) -> dict[str, str]:
    fits = re.fullmatch(r"[^@\s]+@[^@\s]+\.[^@\s]+", values.get("email", "").strip())
    return {} if fits else {"email": "Please give an email address like name@example.com."}


def _choice(values: Values, name: str, choices: tuple[str, ...], text: str) -> dict[str, str]:
    return {} if values.get(name) in choices else {name: text}
