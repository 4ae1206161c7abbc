"""Whether a text may be shown: what a service that speaks the OpenAI API says of it, as a value and as a guardrail."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from agentflow.exceptions import ToolError
from agentflow.toolkit.media.calling import Answer, asked
from agentflow.toolkit.media.endpoint import Endpoint, named

VARIABLE = "AGENTFLOW_MODERATION"
_MODEL = "omni-moderation-latest"
_SECONDS = 30.0  # a verdict takes less than one; what waits for it is a whole agent
# Well inside of what OpenAI's model reads at once, whatever the language; a longer text is judged in parts.
_PART = 20_000
# A word that is cut in two is whole in one of the parts.
_OVERLAP = 200
_MOST_PARTS = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Moderation:
    """What was said of a text: whether it is `flagged`, for which categories, and how sure each is, from 0 to 1."""

    flagged: bool
    categories: dict[str, bool]
    scores: dict[str, float]

    @property
    def reason(self) -> str:
        """The categories that it is flagged for, each with its score; empty where it is not flagged."""
        if not self.flagged:
            return ""

        found = sorted(name for name, is_hit in self.categories.items() if is_hit)
        told = (f"{name} ({self.scores[name]:.2f})" if name in self.scores else name for name in found)
        return ", ".join(told) or "no category was named"


class Moderator:
    """Judges texts by `endpoint`, else by the server that AGENTFLOW_MODERATION, OPENAI_BASE_URL or OPENAI_API_KEY names.

    `thresholds` flag a category from a score on that may be lower than the service's own. It stands as it is among the
    `input_guardrails` or `output_guardrails` of an agent: then a flagged text ends the step, and so does one that could not
    be judged. `on_failure="allow"` lets it pass where the service is down, too slow, or asked too often, and not where it
    refuses or answers nonsense.
    """

    name = "moderation"

    def __init__(
        self,
        *,
        endpoint: Endpoint | None = None,
        thresholds: Mapping[str, float] | None = None,
        on_failure: Literal["refuse", "allow"] = "refuse",
    ) -> None:
        if on_failure not in ("refuse", "allow"):
            raise ToolError(f"`on_failure` is `{on_failure}`", hint='give "refuse" or "allow"')

        self.on_failure = on_failure
        self._endpoint, self._thresholds = endpoint, dict(thresholds or {})

    async def __call__(self, text: str) -> Moderation:
        return await self.moderate(text)

    async def moderate(self, text: str) -> Moderation:
        """Say whether a text holds hate, threats, sexual content, violence or calls to self-harm."""
        if not text.strip():
            return Moderation(flagged=False, categories={}, scores={})

        endpoint = self._endpoint or named(VARIABLE, model=_MODEL, what="moderation", timeout=_SECONDS)
        parts = _parts(text)
        # Not every server takes a list.
        answer = await asked(endpoint, "/moderations", body={"input": parts if len(parts) > 1 else text})
        found = answer.data().get("results")
        if not isinstance(found, list) or len(found) != len(parts):
            raise answer.odd(f"`results` does not hold {len(parts)}")

        return self._held(_together([_moderation(one, answer) for one in found]), answer)

    def _held(self, found: Moderation, answer: Answer) -> Moderation:
        """`found` with what exceeds our own thresholds flagged as well."""
        if unknown := sorted(self._thresholds.keys() - found.scores.keys()):
            raise ToolError(
                f"{answer.where} gave no score for {', '.join(f'`{name}`' for name in unknown)}, which has a threshold",
                hint=f"it knows {', '.join(f'`{name}`' for name in sorted(found.scores)) or 'no categories'}",
            )

        hit = {name for name, least in self._thresholds.items() if found.scores[name] >= least}
        categories = found.categories | dict.fromkeys(sorted(hit), True)
        return Moderation(flagged=found.flagged or bool(hit), categories=categories, scores=found.scores)


def _parts(text: str) -> list[str]:
    if len(text) <= _PART:
        return [text]

    parts = [text[at : at + _PART] for at in range(0, len(text) - _OVERLAP, _PART - _OVERLAP)]
    if len(parts) > _MOST_PARTS:
        raise ToolError(
            f"a text of {len(text):,} characters is too long to be judged",
            hint=f"give at most {_MOST_PARTS * (_PART - _OVERLAP):,} characters at once",
        )

    return parts


def _moderation(one: Any, answer: Answer) -> Moderation:
    given: dict[str, Any] = one if isinstance(one, dict) else {}
    flagged, categories, scores = (given.get(key) for key in ("flagged", "categories", "category_scores"))
    # A verdict that is guessed at protects nobody: "false" would count as flagged, and a missing one as harmless.
    if (
        not isinstance(flagged, bool)
        or not isinstance(categories, dict)
        or not isinstance(scores, dict | None)
    ):
        raise answer.odd("a verdict without `flagged` and `categories`")

    if not all(isinstance(hit, bool | None) for hit in categories.values()):
        raise answer.odd("a category that is neither true nor false")

    return Moderation(
        flagged=flagged,
        categories={str(name): bool(hit) for name, hit in categories.items()},
        scores={
            str(name): _score(score, answer) for name, score in (scores or {}).items() if score is not None
        },
    )


def _score(given: Any, answer: Answer) -> float:
    if isinstance(given, bool) or not isinstance(given, int | float) or not math.isfinite(given):
        raise answer.odd("a score that is no number")

    return float(given)


def _together(found: list[Moderation]) -> Moderation:
    """One verdict for the parts of a text: the worst of each."""
    categories: dict[str, bool] = {}
    scores: dict[str, float] = {}
    for one in found:
        for name, hit in one.categories.items():
            categories[name] = categories.get(name, False) or hit

        for name, score in one.scores.items():
            scores[name] = max(scores.get(name, 0.0), score)

    return Moderation(flagged=any(one.flagged for one in found), categories=categories, scores=scores)
