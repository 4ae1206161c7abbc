"""A visitor's cart, kept in a cookie as `fjell-2.1~lark-20.2`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

from workflows.samples.shop.catalogue import Product

MOST = 9


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One product in a cart or an order."""

    product: Product
    quantity: int

    @property
    def sum(self) -> Decimal:
        return self.product.price * self.quantity


@dataclass(frozen=True, slots=True)
class Cart:
    """Lines in the order in which they were added."""

    lines: tuple[Line, ...] = ()

    @property
    def goods(self) -> Decimal:
        return sum((line.sum for line in self.lines), Decimal("0.00"))

    @property
    def size(self) -> int:
        return sum(line.quantity for line in self.lines)

    def quantity(self, product: Product) -> int:
        return next((line.quantity for line in self.lines if line.product == product), 0)

    def changed(self, product: Product, quantity: int) -> Cart:
        """The cart with `quantity` of `product`; none of it removes the line."""
        quantity = max(0, min(quantity, MOST))
        others = tuple(line for line in self.lines if line.product != product)
        return Cart((*others, Line(product=product, quantity=quantity)) if quantity else others)

    def cookie(self) -> str:
        return "~".join(f"{line.product.slug}.{line.quantity}" for line in self.lines)


def read_cart(cookie: str, products: Mapping[str, Product]) -> Cart:
    """The cart in a cookie's value; what does not fit the catalogue is left out."""
    cart = Cart()
    for part in cookie.split("~"):
        slug, _, quantity = part.partition(".")
        if slug in products and quantity.isdecimal():
            cart = cart.changed(products[slug], int(quantity))

    return cart
