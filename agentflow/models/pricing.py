"""What a model call costs: by the project's own prices, else by the list that the genai-prices package carries.

Nothing is fetched.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from math import isfinite
from typing import TYPE_CHECKING, Any, cast

from agentflow.exceptions import ProjectError
from agentflow.models.catalog import EMBEDDED, ModelRef, parse

if TYPE_CHECKING:
    from genai_prices import Usage
    from genai_prices.types import PriceCalculation

_KEYS = {
    "input_tokens": "input_tokens",
    "output_tokens": "output_tokens",
    "cached_tokens": "cache_read_tokens",
}
_FREE = ("embedded", "scripted")
_FORM = "write it as `{ input = 0.2, output = 0.8 }`, in US dollars per million tokens"


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """US dollars per million tokens; cached input costs as much as other input."""

    input: float
    output: float

    def of(self, input_tokens: float, output_tokens: float) -> float:
        """US dollars for that many tokens."""
        return (input_tokens * self.input + output_tokens * self.output) / 1_000_000


def cost_usd(
    model: str | ModelRef, usage: Mapping[str, int | float], prices: Mapping[str, Price] | None = None
) -> float | None:
    """US dollars for `usage` by `model` (a name or a whole reference); None when its price is not known.

    `prices` go before the list. They are by whole reference, by reference without an address, or by bare name.
    """
    ref = _reference(model)
    name = ref.name if ref is not None else str(model)
    given = _given(name, ref, prices or {})
    if given is not None:
        return given.of(usage.get("input_tokens", 0), usage.get("output_tokens", 0))

    if ref is not None and ref.provider in _FREE:
        return 0.0

    return _listed(name, ref, usage)


def is_at_once(ref: ModelRef, prices: Mapping[str, Price]) -> bool:
    """Whether `cost_usd` of a model answers at once; else it loads the list first, which takes a third of a second."""
    return (
        ref.provider in _FREE or _list.cache_info().currsize > 0 or _given(ref.name, ref, prices) is not None
    )


def price_of(
    model: str | ModelRef, prices: Mapping[str, Price] | None = None
) -> Callable[[int, int], float | None]:
    """US dollars for a call of `model`, as a function of its input and output tokens; see `cost_usd`."""

    def price(input_tokens: int, output_tokens: int) -> float | None:
        return cost_usd(model, {"input_tokens": input_tokens, "output_tokens": output_tokens}, prices)

    return price


def is_priced(model: str | ModelRef, prices: Mapping[str, Price] | None = None) -> bool:
    """Whether the price of `model` is known."""
    return price_of(model, prices)(1, 1) is not None


def prices_from(table: Any, where: str) -> dict[str, Price]:
    """The prices that settings give, by model; raises `ProjectError` that says `where` for an entry that is none."""
    if not isinstance(table, Mapping):
        raise ProjectError(f"{where} is no table of prices", hint=_FORM)

    known = cast("Mapping[str, Any]", table)
    return {name: _price(entry, f"{where}: the price of `{name}`") for name, entry in known.items()}


def _price(entry: Any, where: str) -> Price:
    if not isinstance(entry, Mapping):
        raise ProjectError(f"{where} is `{entry!r}`", hint=_FORM)

    known = cast("Mapping[str, Any]", entry)
    for name in ("input", "output"):
        if name not in known:
            raise ProjectError(f"{where} has no `{name}`", hint=_FORM)

    for name, value in known.items():
        if name not in ("input", "output"):
            raise ProjectError(f"{where} has an unknown part `{name}`", hint=_FORM)

        if not isinstance(value, int | float) or isinstance(value, bool):
            raise ProjectError(f"{where}: `{name}` is `{value!r}`, which is no number", hint=_FORM)

        if not isfinite(value) or value < 0:
            raise ProjectError(f"{where}: `{name}` is {value}; a price is 0 or more", hint=_FORM)

    return Price(input=float(known["input"]), output=float(known["output"]))


def _reference(model: str | ModelRef) -> ModelRef | None:
    """The reference that `model` is; None for a bare name."""
    if isinstance(model, ModelRef):
        return model

    # A bare name stands for itself here, wherever OPENAI_BASE_URL points; slashes are part of some names.
    is_reference = model == EMBEDDED.name or model.startswith(("responses/", "chat/", "scripted/"))
    return parse(model, {}) if is_reference else None


def _given(name: str, ref: ModelRef | None, prices: Mapping[str, Price]) -> Price | None:
    """The price that the project gives: the most exact of its names for the model counts."""
    if not prices:
        return None

    names = [name]
    if ref is not None:
        whole = str(ref)
        names = [whole, whole.partition("@http")[0], name]

    plain = {key.rstrip("/"): price for key, price in prices.items()}
    return next((plain[known] for known in names if known in plain), None)


@cache
def _list() -> tuple[type[Usage], Callable[..., PriceCalculation]]:
    # Imported here: the price list takes a third of a second to load.
    from genai_prices import Usage, calc_price

    return Usage, calc_price


def _listed(name: str, ref: ModelRef | None, usage: Mapping[str, int | float]) -> float | None:
    counted_as, calc_price = _list()
    counted = counted_as(**{_KEYS[key]: int(count) for key, count in usage.items() if key in _KEYS})
    try:
        if ref is not None and ref.url:
            return float(calc_price(counted, name, provider_api_url=ref.url).total_price)

        return float(calc_price(counted, name).total_price)
    except (LookupError, ValueError):
        return None
