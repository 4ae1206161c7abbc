"""What the shop sells, read from `products.json`."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
CATEGORIES = {
    "tents": "For one night or thirty, on grass, rock or snow. Every pole and zip can be replaced.",
    "jackets": "Shells, down and fleece that go over one another without fuss.",
    "boots": "From the way to work to the way to the top. Leather boots can be resoled.",
    "stoves": "Three fuels, three tempers. All of them boil water.",
    "backpacks": "Packs that carry on the hips, with ten years of warranty on frame and seams.",
}
FREE_DELIVERY_FROM = Decimal("80.00")


@dataclass(frozen=True, slots=True, kw_only=True)
class Product:
    """One thing for sale; `price` is in EUR with VAT, `stock` in pieces."""

    slug: str
    name: str
    category: str
    price: Decimal
    stock: int
    delivery: str
    warranty_years: int
    colour: str
    summary: str
    description: tuple[str, ...]
    details: tuple[tuple[str, str], ...]


def load(path: Path = HERE / "products.json") -> dict[str, Product]:
    """All products by slug, in the order of the file."""
    return {row["slug"]: _product(row) for row in json.loads(path.read_text(encoding="utf-8"))}


def _product(row: dict[str, Any]) -> Product:
    values: dict[str, Any] = {
        **row,
        "price": Decimal(row["price"]),
        "description": tuple(row["description"]),
        "details": tuple(row["details"].items()),
    }
    return Product(**values)


def search(products: Iterable[Product], query: str) -> list[Product]:
    """The products that hold every word of `query`, those with a word in their name first."""
    words = re.findall(r"\w+", query.casefold())
    hits = [p for p in products if words and all(w in _text(p) for w in words)]
    return sorted(hits, key=lambda p: not any(w in p.name.casefold() for w in words))


def _text(product: Product) -> str:
    details = (f"{name} {value}" for name, value in product.details)
    parts = (product.name, product.category, product.summary, *product.description, *details)
    return " ".join(parts).casefold()


def delivery_cost(goods: Decimal, country: str = "Germany") -> Decimal:
    """What it costs to send `goods` EUR worth to `country`."""
    if goods >= FREE_DELIVERY_FROM:
        return Decimal("0.00")

    return Decimal("9.90") if country in {"United Kingdom", "Norway", "Switzerland"} else Decimal("5.90")


def money(amount: Decimal) -> str:
    """`amount` as people read it: 1,349.00 EUR."""
    return f"{amount:,.2f} EUR"
