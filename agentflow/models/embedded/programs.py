"""Programs that stand in a request: code to be run, or a sum that can be written as one."""

from __future__ import annotations

import re

_FENCED = re.compile(r"```(?:python|py)?\s*\n?(.*?)```", re.DOTALL | re.IGNORECASE)
_INLINE = re.compile(r"`([^`]+)`")
_ANNOUNCED = re.compile(
    r"\b(?:run|execute|evaluate|try|test)\b[^:\n]{0,60}:\s*(?P<code>.+)$|\b(?:code|script|snippet|program)\b[^:\n]{0,40}:\s*(?P<code2>.+)$",
    re.DOTALL | re.IGNORECASE,
)
_LOOKS_LIKE_CODE = re.compile(
    r"[\w\])]\s*=\s*\S|\b(?:print|import|for|def|while|len|sum|range)\b\s*[\w(]|\w\(.*\)", re.DOTALL
)
_EXPRESSION = re.compile(r"(?<![\w.,])[-(]*\d[\d.,]*(?:\s*(?:\*\*|[-+*/^×÷%()])\s*[-(]*\d[\d.,]*\)*)+")
_WORDS = (
    (r"(?<=\d),(?=\d{3}\b)", ""),
    (r"\bto the power of\b|\braised to\b|\^", "**"),
    (r"\bmultiplied by\b|\btimes\b|×", "*"),
    (r"(?<=\d)\s*x\s*(?=\d)", "*"),
    (r"\bdivided by\b|÷", "/"),
    (r"\bplus\b", "+"),
    (r"\bminus\b", "-"),
    (r"\bmod(?:ulo)?\b", "%"),
    (r"(?<=\d)\s*%?\s*(?:percent|per cent|%) of (?:€|\$|£)?\s*(?=\d)", "/100*"),
)
_LIST = re.compile(r"-?\d+(?:\.\d+)?(?:\s*(?:,|;|and|, and)\s*-?\d+(?:\.\d+)?){2,}")
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?")
_MEASURES = {
    r"\b(?:mean|average)\b": "sum(numbers) / len(numbers)",
    r"\bmedian\b": "(sorted(numbers)[(len(numbers) - 1) // 2] + sorted(numbers)[len(numbers) // 2]) / 2",
    r"\b(?:sample standard deviation)\b": "(sum((n - sum(numbers) / len(numbers)) ** 2 for n in numbers) / (len(numbers) - 1)) ** 0.5",
    r"(?<!sample )\bstandard deviation\b": "(sum((n - sum(numbers) / len(numbers)) ** 2 for n in numbers) / len(numbers)) ** 0.5",
    r"\bvariance\b": "sum((n - sum(numbers) / len(numbers)) ** 2 for n in numbers) / len(numbers)",
    r"\b(?:sum|total|add up)\b": "sum(numbers)",
    r"\b(?:largest|maximum|highest|biggest)\b": "max(numbers)",
    r"\b(?:smallest|minimum|lowest)\b": "min(numbers)",
    r"\bsort\b": "sorted(numbers)",
}


def code(text: str) -> str | None:
    """A Python program for `text`: the one in it, or one for the sum in it; None when neither is there."""
    return _written(text) or _measure(text) or _sum(text)


def _written(text: str) -> str | None:
    fenced = _FENCED.search(text)
    if fenced:
        return fenced.group(1).strip()

    announced = _ANNOUNCED.search(text)
    found = (announced["code"] or announced["code2"]).strip() if announced else ""
    if _LOOKS_LIKE_CODE.search(found):
        return found.strip("`").strip()

    inline = _INLINE.search(text)
    return inline.group(1).strip() if inline and _LOOKS_LIKE_CODE.search(inline.group(1)) else None


def _measure(text: str) -> str | None:
    """A program for a measure of a list of numbers, such as their mean."""
    numbers = _LIST.search(text)
    asked = [formula for pattern, formula in _MEASURES.items() if re.search(pattern, text, re.IGNORECASE)]
    if numbers is None or len(asked) != 1:
        return None

    listed = ", ".join(_NUMBER.findall(numbers.group(0)))
    # Which deviation was computed is said with the number: there are two, and people mean either.
    said = '"of the population:", ' if "**" in asked[0] and "- 1)" not in asked[0] else ""
    return f"numbers = [{listed}]\nprint({said}{asked[0]})"


def _sum(text: str) -> str | None:
    """A program for an arithmetic expression that stands alone among the numbers of `text`."""
    plain = text
    for pattern, sign in _WORDS:
        plain = re.sub(pattern, sign, plain, flags=re.IGNORECASE)

    found = _EXPRESSION.search(plain)
    if found is None or re.search(r"\d", plain[: found.start()] + plain[found.end() :]):
        return None

    expression = found.group(0).strip()
    try:
        compile(expression, "expression", "eval")
    except SyntaxError:
        return None

    return f"print({expression})"
