"""The shop's pages: the files of `templates/` filled with escaped values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from html import escape
from string import Template

from workflows.samples.shop.cart import Cart, Line
from workflows.samples.shop.catalogue import CATEGORIES, HERE, Product, delivery_cost, money
from workflows.samples.shop.forms import COUNTRIES, PAYMENTS, TOPICS, Sent

LOW_STOCK = 6
TINTS = {"tents": "pine", "jackets": "slate", "boots": "ochre", "stoves": "rust", "backpacks": "pine"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """The part of a page that differs: its title, its content as HTML, and where in the shop it stands."""

    title: str
    content: str
    category: str = ""
    query: str = ""


@cache
def _template(name: str) -> Template:
    return Template((HERE / "templates" / f"{name}.html").read_text(encoding="utf-8"))


@cache
def _art(category: str) -> str:
    return (HERE / "art" / f"{category}.svg").read_text(encoding="utf-8").strip()


def _fill(template: str, html: Mapping[str, str] | None = None, **texts: str) -> str:
    """`template` with `texts` escaped and `html` as it is."""
    escaped = {name: escape(text) for name, text in texts.items()}
    return _template(template).substitute(escaped, **(html or {}))


def document(page: Page, cart: Cart) -> str:
    """The whole HTML document around `page`."""
    links = (_link(category, page.category) for category in CATEGORIES)
    count = f"{cart.size} item{'' if cart.size == 1 else 's'}"
    html = {"navigation": "".join(links), "content": page.content}
    return _fill(
        "layout", html, title=page.title, query=page.query, cart_count=count, cart_size=str(cart.size)
    )


def _link(category: str, here: str) -> str:
    mark = ' aria-current="page"' if category == here else ""
    return f'<li><a href="/category/{category}"{mark}>{category.title()}</a></li>'


def home(products: Iterable[Product]) -> Page:
    favourites = [p for p in products if p.slug in {"fjell-2", "brae-shell", "cairn-mid", "vandre-45"}]
    kinds = "".join(
        _fill("kind", {"art": _art(name)}, slug=name, colour=TINTS[name], title=name.title())
        for name in CATEGORIES
    )
    html = {"art": _art("tents"), "kinds": kinds, "cards": _cards(favourites)}
    return Page(title="Outdoor equipment", content=_fill("home", html))


def category(name: str, products: Iterable[Product]) -> Page:
    cards = _cards(p for p in products if p.category == name)
    content = _fill("category", {"cards": cards}, title=name.title(), lead=CATEGORIES[name])
    return Page(title=name.title(), content=content, category=name)


def found(query: str, hits: list[Product]) -> Page:
    count = f"{len(hits)} product{'' if len(hits) == 1 else 's'}"
    summary = f"{count} for “{query}”." if query else "Type a word into the search box above."
    return Page(
        title="Search", content=_fill("search", {"cards": _cards(hits)}, summary=summary), query=query
    )


def product(item: Product, products: Iterable[Product]) -> Page:
    siblings = [p for p in products if p.category == item.category and p != item]
    html = {
        "art": _art(item.category),
        "description": "".join(f"<p>{escape(text)}</p>" for text in item.description),
        "facts": "".join(_fact(*row) for row in _facts(item)),
        "cards": _cards(siblings),
    }
    content = _fill(
        "product", html, category_title=item.category.title(), category=item.category, **_texts(item)
    )
    return Page(title=item.name, content=content, category=item.category)


def _facts(item: Product) -> list[tuple[str, str]]:
    return [
        ("Price", money(item.price)),
        ("In stock", f"{item.stock} pieces" if item.stock else "Sold out, made to order"),
        ("Delivery time", item.delivery),
        ("Warranty", f"{item.warranty_years} years"),
        *item.details,
    ]


def _fact(name: str, value: str) -> str:
    return f'<tr><th scope="row">{escape(name)}</th><td>{escape(value)}</td></tr>'


def _cards(products: Iterable[Product]) -> str:
    return "".join(_fill("card", {"art": _art(p.category)}, **_texts(p)) for p in products)


def _texts(item: Product) -> dict[str, str]:
    text, style = _stock(item.stock)
    return {
        "slug": item.slug,
        "name": item.name,
        "colour": item.colour,
        "summary": item.summary,
        "price": money(item.price),
        "stock": text,
        "stock_class": style,
    }


def _stock(pieces: int) -> tuple[str, str]:
    if pieces == 0:
        return "Made to order", "none"

    return (f"Only {pieces} left", "low") if pieces <= LOW_STOCK else ("In stock", "plenty")


def cart(content: Cart, notice: str = "") -> Page:
    html = {"notice": _notice(notice)}
    if not content.lines:
        return Page(title="Cart", content=_fill("cart_empty", html))

    html["rows"] = "".join(_row(line) for line in content.lines)
    return Page(title="Cart", content=_fill("cart", html, **_sums(content)))


def _row(line: Line) -> str:
    texts = {**_texts(line.product), "sum": money(line.sum), "quantity": str(line.quantity)}
    return _fill("cart_row", None, **texts)


def _sums(content: Cart, country: str = "Germany") -> dict[str, str]:
    shipping = delivery_cost(content.goods, country)
    return {"shipping": money(shipping) if shipping else "free", "total": money(content.goods + shipping)}


def _notice(text: str, *, bad: bool = False) -> str:
    style, role = ("notice bad", "alert") if bad else ("notice", "status")
    return f'<p class="{style}" role="{role}">{escape(text)}</p>' if text else ""


def checkout(content: Cart, sent: Sent) -> Page:
    lines = (f"<li><span>{n} × {escape(p.name)}</span> <span>{money(p.price * n)}</span></li>"
             for p, n in ((line.product, line.quantity) for line in content.lines))  # fmt: skip
    html = {
        **_fields(sent, "name", "email", "street", "postcode", "city", "country", "payment", "terms"),
        "country_options": _options(COUNTRIES, sent.values.get("country", "")),
        "payment_choices": "".join(_choice(name, sent.values.get("payment", "")) for name in PAYMENTS),
        "terms_checked": " checked" if sent.values.get("terms") else "",
        "notice": _faults(sent),
        "lines": "".join(lines),
    }
    sums = _sums(content, sent.values.get("country", "Germany"))
    return Page(title="Checkout", content=_fill("checkout", html, **sums))


def contact(sent: Sent) -> Page:
    html = {
        **_fields(sent, "name", "email", "topic", "message"),
        "topic_options": _options(TOPICS, sent.values.get("topic", "")),
        "newsletter_checked": " checked" if sent.values.get("newsletter") else "",
        "notice": _faults(sent),
    }
    return Page(title="Contact", content=_fill("contact", html))


def _fields(sent: Sent, *names: str) -> dict[str, str]:
    """For each field its value, the text of its error and the attributes that tie the two together."""
    html: dict[str, str] = {}
    for name in names:
        error = sent.errors.get(name)
        html[f"{name}_value"] = escape(sent.values.get(name, ""))
        html[f"{name}_error"] = f'<p class="error" id="{name}-error">{escape(error)}</p>' if error else ""
        html[f"{name}_aria"] = f' aria-invalid="true" aria-describedby="{name}-error"' if error else ""

    return html


def _faults(sent: Sent) -> str:
    count = len(sent.errors)
    text = f"Please look at {'one field' if count == 1 else f'{count} fields'} again." if count else ""
    return _notice(text, bad=True)


def _options(choices: Iterable[str], chosen: str) -> str:
    rows = (f"<option{' selected' if c == chosen else ''}>{escape(c)}</option>" for c in choices)
    return '<option value="">Please choose</option>' + "".join(rows)


def _choice(name: str, chosen: str) -> str:
    ident = f"payment-{name.lower().replace(' ', '-')}"
    mark = " checked" if name == chosen else ""
    return (
        f'<div class="choice"><input type="radio" id="{ident}" name="payment" value="{name}"{mark}>'
        f'<label for="{ident}">{name}</label></div>'
    )


def ordered(reference: str, total: Decimal) -> Page:
    content = _fill("ordered", None, reference=reference, total=money(total))
    return Page(title="Order received", content=content)


def sent_message(reference: str) -> Page:
    return Page(title="Message received", content=_fill("sent", None, reference=reference))


def text(name: str, title: str) -> Page:
    """A page without any values, such as the questions and answers."""
    return Page(title=title, content=_fill(name))


def problem(heading: str, explanation: str) -> Page:
    return Page(title=heading, content=_fill("problem", None, heading=heading, text=explanation))
