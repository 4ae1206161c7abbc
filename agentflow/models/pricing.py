"""What a model call costs, from the price list that the genai-prices package carries: nothing is fetched."""

from __future__ import annotations

from collections.abc import Mapping

from agentflow.models.catalog import EMBEDDED, ModelRef, parse

_KEYS = {
    "input_tokens": "input_tokens",
    "output_tokens": "output_tokens",
    "cached_tokens": "cache_read_tokens",
}


def cost_usd(model_name: str, usage: Mapping[str, int | float]) -> float | None:
    """US dollars for `usage` by `model_name` (a name or a whole reference); None when its price is not known."""
    # A bare name stands for itself here, wherever OPENAI_BASE_URL points; slashes are part of some names.
    ref = parse(model_name, {}) if _is_reference(model_name) else None
    if ref is not None and ref.provider in ("embedded", "scripted"):
        return 0.0

    return _listed(ref.name if ref else model_name, ref, usage)


def _is_reference(text: str) -> bool:
    return text == EMBEDDED.name or text.startswith(("responses/", "chat/", "scripted/"))


def _listed(name: str, ref: ModelRef | None, usage: Mapping[str, int | float]) -> float | None:
    # Imported here: the price list takes a third of a second to load.
    from genai_prices import Usage, calc_price

    counted = Usage(**{_KEYS[key]: int(count) for key, count in usage.items() if key in _KEYS})
    try:
        if ref is not None and ref.url:
            return float(calc_price(counted, name, provider_api_url=ref.url).total_price)

        return float(calc_price(counted, name).total_price)
    except (LookupError, ValueError):
        return None
