"""The sample web shop, visited as a person with a browser would: pages, cart, checkout and contact form."""

from __future__ import annotations

import re
from collections.abc import Iterator
from decimal import Decimal
from html.parser import HTMLParser
from http.cookiejar import CookieJar
from urllib.error import HTTPError
from urllib.parse import urlencode, urljoin
from urllib.request import HTTPCookieProcessor, OpenerDirector, build_opener

import pytest

from workflows.samples.shop.catalogue import CATEGORIES, load
from workflows.samples.shop.server import Shop, start

ADDRESS = {
    "name": "Ada Lovelace",
    "email": "ada@example.com",
    "street": "Speicherweg 1",
    "postcode": "20457",
    "city": "Hamburg",
    "country": "Germany",
    "payment": "Card",
    "terms": "yes",
}
MESSAGE = {"name": "Ada", "email": "ada@example.com", "topic": "Returns", "message": "Too small."}


@pytest.fixture
def shop() -> Iterator[Shop]:
    shop = start()
    yield shop
    shop.stop()


class Visitor:
    """Somebody with a cookie jar."""

    def __init__(self, shop: Shop) -> None:
        self.shop = shop
        self.opener: OpenerDirector = build_opener(HTTPCookieProcessor(CookieJar()))

    def get(self, path: str) -> str:
        with self.opener.open(urljoin(self.shop.url, path), timeout=10) as response:
            text: str = response.read().decode()
            return text

    def post(self, path: str, **values: str) -> tuple[int, str]:
        try:
            with self.opener.open(self.shop.url + path, urlencode(values).encode(), timeout=10) as response:
                return response.status, response.read().decode()
        except HTTPError as error:
            with error:
                return error.code, error.read().decode()


class Page(HTMLParser):
    """What a page refers to, and which of its controls have a label."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.controls: set[str] = set()
        self.labelled: set[str] = set()
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        self.addresses += [values[name] for name in ("href", "src", "action") if name in values]
        if tag in {"input", "select", "textarea"} and values.get("type") != "hidden":
            self.controls.add(values["id"])
        elif tag == "label":
            self.labelled.add(values["for"])


def test_every_link_leads_to_a_page_of_the_shop(shop: Shop) -> None:
    """A visitor who follows every link stays in the shop and meets no error, and every control has a label."""
    visitor, waiting, seen = Visitor(shop), ["/"], set[str]()
    while waiting:
        path = waiting.pop().partition("#")[0] or "/"
        if path in seen:
            continue

        seen.add(path)
        html = visitor.get(path)
        if path.startswith("/static"):
            continue

        page = Page(html)
        assert page.controls <= page.labelled
        assert all(
            address.startswith(("/", "#")) and not address.startswith("//") for address in page.addresses
        )
        waiting += page.addresses

    assert {f"/product/{slug}" for slug in load()} | {f"/category/{name}" for name in CATEGORIES} < seen


def test_a_product_page_says_what_a_buyer_asks(shop: Shop) -> None:
    """Price, stock, delivery time and warranty stand on the page of each of the sixteen products."""
    products, visitor = load(), Visitor(shop)
    assert len(products) == 16
    for product in products.values():
        html = visitor.get(f"/product/{product.slug}")
        for text in (f"{product.price:,.2f} EUR", product.delivery, f"{product.warranty_years} years"):
            assert f"<td>{text}</td>" in html


def test_search_finds_by_every_word(shop: Shop) -> None:
    """All words must fit; a product with one of them in its name comes first, and nonsense finds nothing."""
    visitor = Visitor(shop)
    names = re.findall(r'card-name">([^<]+)', visitor.get("/search?q=fjell+tent"))
    assert names == ["Fjell 2 tent", "Fjell 3 tent"]
    assert "0 products" in visitor.get("/search?q=submarine")
    assert "&lt;script&gt;" in visitor.get("/search?q=%3Cscript%3E")


def test_an_order_holds_what_was_in_the_cart(shop: Shop) -> None:
    """What was put into the cart is what is ordered, with delivery added, and the cart is empty afterwards."""
    visitor = Visitor(shop)
    visitor.post("/cart", product="ember-gas", quantity="1")
    status, html = visitor.post("/checkout", **ADDRESS)
    assert (status, "HB-20001" in html) == (200, True)
    assert shop.orders[0].total == Decimal("64.50") + Decimal("5.90")
    assert [(line.product.slug, line.quantity) for line in shop.orders[0].lines] == [("ember-gas", 1)]
    assert "Nothing in here yet" in visitor.get("/cart")


def test_the_cart_can_be_changed(shop: Shop) -> None:
    """A quantity can be changed, none of it removes the line, and delivery is free from 80 EUR."""
    visitor = Visitor(shop)
    visitor.post("/cart", product="lark-20", quantity="1")
    visitor.post("/cart", product="fjell-2", quantity="1")
    _, html = visitor.post("/cart/change", product="fjell-2", quantity="2")
    assert "777.00 EUR" in html
    assert ">free<" in html
    _, html = visitor.post("/cart/change", product="fjell-2", quantity="0")
    assert "Fjell" not in html
    assert "84.90 EUR" in html


def test_a_checkout_with_gaps_orders_nothing(shop: Shop) -> None:
    """The form comes back with what was typed and a text at each field that is wrong."""
    visitor = Visitor(shop)
    visitor.post("/cart", product="lark-20", quantity="1")
    status, html = visitor.post(
        "/checkout", **{**ADDRESS, "city": "", "email": "nowhere", "country": "Atlantis"}
    )
    assert status == 422
    assert "3 fields" in html
    assert 'value="Speicherweg 1"' in html
    assert 'aria-describedby="city-error"' in html
    assert shop.orders == []


def test_a_message_gets_a_reference(shop: Shop) -> None:
    """A message is kept as it was written, and its reference number is shown."""
    _, html = Visitor(shop).post("/contact", **MESSAGE, newsletter="yes")
    message = shop.messages[0]
    assert message.reference in html
    assert (message.topic, message.message, message.newsletter) == ("Returns", "Too small.", True)


def test_what_a_visitor_writes_is_shown_as_text(shop: Shop) -> None:
    """Markup in a form that comes back is escaped."""
    status, html = Visitor(shop).post("/contact", **{**MESSAGE, "email": "", "message": "<b>$name</b>"})
    assert status == 422
    assert "&lt;b&gt;$name&lt;/b&gt;" in html


@pytest.mark.parametrize(
    "path", ["/nowhere", "/product/none", "/category/none", "/static/../server.py", "/contact/sent"]
)
def test_there_is_no_other_page(shop: Shop, path: str) -> None:
    """Unknown addresses answer 404, also those that try to leave the folder."""
    with pytest.raises(HTTPError) as caught:
        Visitor(shop).get(path)

    with caught.value as error:
        assert error.code == 404


def test_a_form_that_is_too_long_is_refused(shop: Shop) -> None:
    """More than the largest form is not read into memory."""
    visitor = Visitor(shop)
    with pytest.raises((HTTPError, ConnectionError, OSError)):
        visitor.opener.open(shop.url + "/contact", b"x" * 70_000, timeout=10).close()

    assert shop.messages == []
