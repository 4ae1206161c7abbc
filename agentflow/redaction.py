"""What must not leave this machine by accident, known by its form: taken out of text, whoever wrote it there.

`secrets` knows values; this module knows patterns: addresses of e-mail, cards, accounts, keys, tokens, passwords in URLs.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, cast
from urllib.parse import unquote_plus

from agentflow.exceptions import ProjectError
from agentflow.secrets import edition
from agentflow.secrets import redact as without_secrets

_NAME = re.compile(r"[a-z][a-z0-9_-]{0,39}")
# A word begins here, also where what is before it is a letter of an escape, as in `\\nword`.
_ESCAPED = r"(?<=\\[nrtbfv])|(?<=\\u00[0-9A-Fa-f]{2})"
_NOT_BEFORE = rf"(?:(?<![A-Za-z0-9_-])|{_ESCAPED})"
_NOT_AFTER = r"(?![A-Za-z0-9_-])"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """What is replaced by `[name]`: where `pattern` matches and `holds` says yes to it; of named `secret` groups only those.

    Without one of its `hints`, which are in small letters, and its `sign` the pattern need not be looked for: not in the text,
    and where that is JSON, not in what it says.
    """

    name: str
    pattern: re.Pattern[str]
    holds: Callable[[str], bool] | None = None
    hints: tuple[str, ...] = ()
    sign: re.Pattern[str] | None = None

    def may_match(self, text: str, small: str) -> bool:
        """Whether the pattern may be in `text`, which is `small` in small letters."""
        is_hinted = not self.hints or any(hint in small for hint in self.hints)
        return is_hinted and (self.sign is None or self.sign.search(text) is not None)

    def __call__(self, text: str) -> str:
        return self.pattern.sub(self._replaced, text)

    def _replaced(self, match: re.Match[str]) -> str:
        whole = match[0]
        if self.holds is not None:
            # What comes after it may look as if it went on.
            end = next((end for end in _ends(whole) if self.holds(whole[:end])), 0)
            return f"[{self.name}]{whole[end:]}" if end else whole

        if "secret" not in self.pattern.groupindex:
            return f"[{self.name}]"

        first, last = (at - match.start() for at in match.span("secret"))
        return f"{whole[:first]}[{self.name}]{whole[last:]}"


def _ends(text: str) -> Iterator[int]:
    """Where something in groups may end: at its own end, then before each gap, the last first."""
    yield len(text)
    yield from (at for at in range(len(text) - 1, 0, -1) if text[at] in " -")


def _is_card(text: str) -> bool:
    """Whether the digits have the check sum of Luhn."""
    digits = [int(letter) for letter in reversed(text) if letter.isdecimal()]
    if not 13 <= len(digits) <= 19:
        return False

    doubled = [sum(divmod(2 * digit, 10)) for digit in digits[1::2]]
    return len(set(digits)) > 1 and (sum(digits[::2]) + sum(doubled)) % 10 == 0


def _is_iban(text: str) -> bool:
    """Whether the check digits of ISO 13616 fit."""
    plain = re.sub(r"[^A-Za-z0-9]", "", text).upper()
    return 15 <= len(plain) <= 34 and int("".join(str(int(c, 36)) for c in plain[4:] + plain[:4])) % 97 == 1


def _rule(name: str, hints: str, pattern: str, sign: str = "") -> Rule:
    seen = re.compile(sign) if sign else None
    return Rule(name=name, pattern=re.compile(pattern), hints=tuple(hints.split()), sign=seen)


def _number(name: str, sign: str, pattern: str, holds: Callable[[str], bool]) -> Rule:
    return Rule(name=name, pattern=re.compile(pattern), holds=holds, sign=re.compile(sign))


# Keys as those who give them out say that they look.
_KEYS = "|".join(  # noqa: FLY002 - one a line, with whose it is
    (
        r"sk-[A-Za-z0-9_-]{16,}",  # OpenAI, Anthropic, and who follows them
        r"[sr]k_(?:live|test)_[A-Za-z0-9]{16,}",  # Stripe
        r"gh[pousr]_[A-Za-z0-9]{20,}",  # GitHub
        r"github_pat_[A-Za-z0-9_]{20,}",
        r"glpat-[A-Za-z0-9_-]{16,}",  # GitLab
        r"(?:AKIA|ASIA)[A-Z0-9]{16}",  # AWS
        r"AIza[A-Za-z0-9_-]{30,}",  # Google
        r"xox[abeoprs]-[A-Za-z0-9-]{10,}",  # Slack
        r"hf_[A-Za-z0-9]{20,}",  # Hugging Face
        r"npm_[A-Za-z0-9]{30,}",
        r"SG\.[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{16,}",  # SendGrid
    )
)
_KEY_HINTS = "sk- k_live_ k_test_ ghp_ gho_ ghu_ ghs_ ghr_ github_pat glpat akia asia aiza xox hf_ npm_ sg."
# What stands under such a name is a secret, whatever it looks like.
_TELLING = (
    r"password|passwd|passphrase|pwd|api[_-]?key|private[_-]?key|client[_-]?secret|secret[_-]?(?:access[_-]?)?key"
    r"|(?:access|auth|id|refresh|session)[_-]?token"
)
_TELLS = re.compile(rf"(?i:(?:{_TELLING})$)")
_SHORTEST = 6
_REMEMBERED, _LONGER = 200, 20_000
# Texts that are longer together more often hold something, and are then looked at twice.
_LOOKED = 1000
# Bytes of texts that are remembered as holding nothing, and what one has beside its letters.
_ROOM, _WEIGHT = 2_000_000, 100
_PRIVATE_KEY = r"-----BEGIN (?:[A-Z0-9]+ ){0,4}PRIVATE KEY(?: BLOCK)?-----"
RULES: tuple[Rule, ...] = (
    # A block that was cut off is taken out to where it ends.
    _rule(
        "private-key",
        "-----begin",
        _PRIVATE_KEY + r"(?:[^-]|-(?!----END ))*(?:-----END [A-Z0-9 ]{0,60}-----)?",
    ),
    _rule("jwt", "eyj", _NOT_BEFORE + r"eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*"),
    _rule(
        "password",
        "://",
        r"(?i:\b[a-z][a-z0-9+.-]{0,30}://)[^\s/?#\"'<>@:]{0,256}:(?P<secret>[^\s/?#\"'<>]{1,256})@",
    ),
    _rule(
        "token",
        "bearer authorization",
        r"(?i:\b(?:bearer|authorization['\"]?\s{0,4}[:=]\s{0,4}['\"]?(?:basic|token)))\s{1,4}"
        r"(?P<secret>[A-Za-z0-9._~+/=-]{8,})",
    ),
    _rule(
        "password",
        "passw passphrase pwd api_key api-key apikey private_key private-key privatekey secret token",
        rf"(?i:(?:{_TELLING}))['\"]?\s{{0,4}}[=:]\s{{0,4}}['\"]?"
        rf"(?P<secret>[^\s'\"&,;\[\]{{}}<>]{{{_SHORTEST},256}})",
        # Counts of tokens are in every trace.
        sign=rf"(?i:{_TELLING})",
    ),
    _rule("key", _KEY_HINTS, f"{_NOT_BEFORE}(?:{_KEYS}){_NOT_AFTER}"),
    _rule(
        "email",
        "@",
        r"(?<![A-Za-z0-9._%+-])[A-Za-z0-9._%+-]{1,64}@(?:[A-Za-z0-9-]{1,63}\.){1,8}[A-Za-z]{2,24}(?![A-Za-z0-9])",
    ),
    _number(
        "iban",
        r"[A-Z]{2}\d{2}",
        rf"(?:(?<![A-Za-z0-9])|{_ESCAPED})[A-Z]{{2}}\d{{2}}(?:[ -]?[A-Z0-9]{{1,4}}){{3,8}}(?![A-Za-z0-9])",
        _is_iban,
    ),
    # Numbers that begin with 1, as times since 1970 do, are no cards.
    _number(
        "card",
        # In JSON any letter may stand before it as an escape. It is looked for from its first digit on, which is quicker.
        r"[2-6](?:(?<![A-Za-z0-9.].)|(?<=\\[nrtbfv].)|(?<=\\u[0-9A-Fa-f]{4}.))\d{3}(?:[ -]?\d){9}",
        rf"(?:(?<![A-Za-z0-9.])|{_ESCAPED})[2-6]\d{{3}}(?:[ -]?\d){{9,21}}(?![A-Za-z0-9])",
        _is_card,
    ),
)
_CARD = RULES[-1]
# Numbers of as many digits as a card has, from the least to below the most; times in nanoseconds have more.
_LEAST, _MOST = 10**12, 10**18
# What may be written in another way: as an escape of JSON, or in an address.
_WRITTEN = re.compile(r"\\u00|%[0-9A-Fa-f]{2}")
_GAPS = re.compile(r"([\s\"'<>]+)")


@lru_cache(4096)
def tells(name: str) -> bool:
    """Whether the name says that what stands under it is a secret."""
    return _TELLS.search(name) is not None


_SIGNS = tuple((rule.hints, rule.sign and rule.sign.search) for rule in RULES)


def _may_match(text: str) -> bool:
    """`Rule.may_match` of any of `RULES`, spelled out: each text of each span comes here."""
    small = text.lower()
    for hints, search in _SIGNS:
        for hint in hints:
            if hint in small:
                break
        else:
            if hints:
                continue

        if search is None or search(text):
            return True

    return _WRITTEN.search(text) is not None


class _Found:
    """What was found while the same secrets were known: texts and names that nothing was taken out of, and texts as told.

    Threads look at once: one that began when fewer were known adds to what was left then, which nobody asks any more.
    """

    __slots__ = ("_room", "edition", "longer", "names", "short", "texts")

    def __init__(self, edition: object, clean: Callable[[str], str]) -> None:
        self.edition = edition
        # Names and ids come again and again.
        self.short = lru_cache(4096)(clean)
        # What is looked at to see whether it holds something is then told without it.
        self.longer = lru_cache(64)(clean)
        self.texts: set[str] = set()
        self.names: set[tuple[str, ...]] = {()}
        self._room = _ROOM

    def add(self, texts: Sequence[str], size: int) -> None:
        """Remember texts of so many bytes, if there is room; where that is used up, what was remembered goes."""
        if size > self._room:
            self.texts, self._room = set(), _ROOM

        if size <= self._room:
            self.texts.update(texts)
            self._room -= size

    def add_names(self, names: tuple[str, ...]) -> None:
        """Remember names: most things have the same as many others."""
        if len(self.names) >= _REMEMBERED:
            self.names = {()}

        self.names.add(names)


class Redactor:
    """Takes out of text what rules match, and secrets that are known by value."""

    def __init__(self, more: Sequence[Rule] = ()) -> None:
        self.rules = (*more, *RULES)
        self._has_own = bool(more)
        self._found = _Found(edition(), self._ruled)

    def __call__(self, text: str) -> str:
        """`text` without it; JSON stays JSON."""
        found = self._known()
        text = without_secrets(text)
        if len(text) <= _REMEMBERED:
            return found.short(text)

        return found.longer(text) if len(text) <= _LONGER else self._ruled(text)

    def _known(self) -> _Found:
        """What was found by the secrets that are known now: what was told as it is may hold what was no secret then."""
        found = self._found
        if found.edition is not (known := edition()):
            found = self._found = _Found(known, self._ruled)

        return found

    def leaves(self, texts: Iterable[str], names: tuple[str, ...] = ()) -> bool:
        """Whether nothing is to be taken out of any of these; a text that was left once is not looked at again.

        None of the `names` may say that a secret stands under it either.
        """
        found = self._known()
        if names not in found.names and not self._leaves_names(names, found):
            return False

        shortest = 0 if self._has_own else _SHORTEST
        new = [text for text in texts if text not in found.texts and len(text) >= shortest]
        if not new:
            return True

        size = sum(map(len, new))
        # Most texts hold nothing, which one look at all tells: what a rule is known by stands in one text, and a new line
        # between two makes none.
        is_plain = (
            size <= _LOOKED and not self._has_own and found.edition is None and not _may_match("\n".join(new))
        )
        if not is_plain and not all(self(text) == text for text in new):
            return False

        found.add(new, size + _WEIGHT * len(new))
        return True

    def _leaves_names(self, names: tuple[str, ...], found: _Found) -> bool:
        if any(map(tells, names)) or not self.leaves(names):
            return False

        found.add_names(names)
        return True

    def _ruled(self, text: str) -> str:
        """`text` without what rules match; what is known by value is taken out of the texts that stand in JSON."""
        if not self._has_own and not _may_match(text):
            return text

        # In JSON what a pattern begins or ends with may be written as an escape: values are looked at, not how they are written.
        data = _parsed(text)
        try:
            cleaned = None if data is None else self.within(data)
        except RecursionError:  # nested so deep that it is looked at as the text that it is
            cleaned = None

        if cleaned is None:
            return self._plain(text)

        return text if cleaned == data else json.dumps(cleaned, separators=(",", ":"), ensure_ascii=False)

    def within(self, value: Any) -> Any:
        """The same for each text in plain data, names included."""
        match value:
            case str():
                return self(value)
            case list() | tuple():
                return [self.within(item) for item in cast("Sequence[Any]", value)]
            case dict():
                return {self(str(name)): self.named(str(name), item) for name, item in value.items()}
            case int() | float() if _LEAST <= value < _MOST:
                text = _CARD(str(value))
                return value if text == str(value) else text
            case _:
                return value

    def named(self, name: str, value: Any) -> Any:
        """What stands under a name, which may be what says that it is a password."""
        cleaned = self.within(value)
        if not isinstance(cleaned, str) or cleaned != value or not tells(name):
            return cleaned

        return "[password]" if len(cleaned) >= _SHORTEST and " " not in cleaned else cleaned

    def _plain(self, text: str) -> str:
        text = self._matched(text)
        if "%" not in text:
            return text

        return "".join(self._decoded(word) if "%" in word else word for word in _GAPS.split(text))

    def _decoded(self, word: str) -> str:
        """A word of an address, in which what is looked for may be written with `%`."""
        plain = unquote_plus(word)
        cleaned = self._matched(plain)
        return word if cleaned == plain else cleaned

    def _matched(self, text: str) -> str:
        small = text.lower()
        for rule in self.rules:
            if rule.may_match(text, small):
                text = rule(text)

        return text


def _parsed(text: str) -> Any:
    """The data of a text that is JSON with texts in it, else None; also where a name stands twice, as one hides the other."""
    if not text.startswith(("{", "[", '"')):
        return None

    try:
        return json.loads(text, object_pairs_hook=_object)
    except (ValueError, RecursionError):
        return None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    known = dict(pairs)
    if len(known) < len(pairs):
        raise ValueError("a name stands there twice")

    return known


def rules_of(given: Mapping[str, Any], where: str) -> tuple[Rule, ...]:
    """The rules of a project, by name; raises `ProjectError` for one that is no regular expression, or matches everything."""
    return tuple(_checked(given, where))


def _checked(given: Mapping[str, Any], where: str) -> Iterator[Rule]:
    for name, text in given.items():
        if not _NAME.fullmatch(name) or not isinstance(text, str):
            raise ProjectError(
                f"{where}: `{name}` is no rule",
                hint='write NAME = "REGULAR EXPRESSION", the name in small letters',
            )

        try:
            pattern = re.compile(text)
        except re.error as error:
            raise ProjectError(
                f"{where}: `{name}` is no regular expression: {error}",
                hint="write it as Python's `re` reads it",
            ) from None

        if pattern.search(""):
            raise ProjectError(
                f"{where}: `{name}` matches where there is nothing",
                hint="say what has to stand there at least",
            )

        yield Rule(name=name, pattern=pattern)
