"""Secrets of each form that rules know, made anew from a seed: none is one that anybody gave out."""

from __future__ import annotations

import base64
import json
import random
import string
from collections.abc import Callable

LETTERS = string.ascii_letters + string.digits


class Planter:
    """Makes secrets of a known form, each another one."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def text(self, length: int, letters: str = LETTERS) -> str:
        return "".join(self._random.choice(letters) for _ in range(length))

    def card(self) -> str:
        digits = [self._random.choice((4, 5)), *(self._random.randrange(10) for _ in range(14))]
        total = sum(sum(divmod(2 * d, 10)) if n % 2 == 0 else d for n, d in enumerate(digits))
        plain = "".join(map(str, [*digits, -total % 10]))
        return self._random.choice((plain, " ".join(plain[n : n + 4] for n in range(0, 16, 4))))

    def iban(self) -> str:
        account = self.text(18, string.digits)
        check = 98 - int(f"{account}131400") % 97
        return f"DE{check:02d}{account}"

    def jwt(self) -> str:
        def part(data: object) -> str:
            return base64.urlsafe_b64encode(json.dumps(data).encode()).rstrip(b"=").decode()

        return f"{part({'alg': 'HS256'})}.{part({'sub': self.text(9)})}.{self.text(43)}"

    def private_key(self) -> str:
        lines = "\n".join(self.text(64) for _ in range(3))
        return f"-----BEGIN RSA PRIVATE KEY-----\n{lines}\n-----END RSA PRIVATE KEY-----"

    def forms(self) -> list[Callable[[], tuple[str, str]]]:
        """Each gives a text as it stands somewhere, and the part of it that nobody may see."""

        def alone(make: Callable[[], str]) -> Callable[[], tuple[str, str]]:
            return lambda: (value := make(), value)

        def within(text: str, make: Callable[[], str]) -> Callable[[], tuple[str, str]]:
            return lambda: (text.replace("HERE", value := make()), value)

        return [
            alone(lambda: f"{self.text(8).lower()}@{self.text(6).lower()}.example.com"),
            alone(self.card),
            alone(self.iban),
            alone(lambda: f"sk-proj-{self.text(40)}"),
            alone(lambda: f"ghp_{self.text(36)}"),
            alone(lambda: f"AKIA{self.text(16, string.ascii_uppercase + string.digits)}"),
            alone(lambda: f"xoxb-{self.text(12, string.digits)}-{self.text(24)}"),
            alone(lambda: f"AIza{self.text(35)}"),
            alone(self.jwt),
            alone(self.private_key),
            within("Authorization: Bearer HERE", lambda: self.text(30)),
            within("postgres://shop:HERE@db.internal:5432/orders", lambda: self.text(14)),
            within("https://api.example.org/v1?api_key=HERE&page=2", lambda: self.text(24)),
            within('{"password": "HERE"}', lambda: self.text(12)),
        ]

    def planted(self, count: int) -> list[tuple[str, str]]:
        forms = self.forms()
        return [forms[n % len(forms)]() for n in range(count)]
