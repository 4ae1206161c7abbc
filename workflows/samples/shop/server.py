"""The sample web shop of Halden & Brook: `start()` serves it on a free loopback port."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from http import HTTPStatus
from http.cookies import CookieError, SimpleCookie
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar
from urllib.parse import parse_qs, unquote, urlsplit

from workflows.samples.shop import forms, pages
from workflows.samples.shop.cart import Cart, Line, read_cart
from workflows.samples.shop.catalogue import CATEGORIES, HERE, Product, delivery_cost, load, search
from workflows.samples.shop.forms import Sent
from workflows.samples.shop.pages import Page

LARGEST_FORM = 64 * 1024
STATIC = {"shop.css": "text/css", "shop.js": "text/javascript", "mark.svg": "image/svg+xml"}
TEXTS = {"/faq": ("faq", "Questions and answers"), "/returns": ("returns", "Returns and exchanges")}


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What somebody ordered; `total` is in EUR with delivery."""

    reference: str
    lines: tuple[Line, ...]
    total: Decimal
    values: forms.Values


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """What somebody wrote through the contact form."""

    reference: str
    name: str
    email: str
    topic: str
    message: str
    newsletter: bool


@dataclass(kw_only=True)
class Shop:
    """A running shop. `orders` and `messages` fill as visitors send forms."""

    products: dict[str, Product]
    orders: list[Order] = field(default_factory=list[Order])
    messages: list[Message] = field(default_factory=list[Message])
    server: ThreadingHTTPServer = field(init=False, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    @property
    def port(self) -> int:
        return self.server.server_port

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def order(self, cart: Cart, values: forms.Values) -> Order:
        total = cart.goods + delivery_cost(cart.goods, values["country"])
        with self._lock:
            reference = f"HB-{20001 + len(self.orders)}"
            order = Order(reference=reference, lines=cart.lines, total=total, values=values)
            self.orders.append(order)

        return order

    def write(self, values: forms.Values) -> Message:
        texts = {name: values[name].strip() for name in ("name", "email", "topic", "message")}
        with self._lock:
            reference = f"M-{1001 + len(self.messages)}"
            message = Message(reference=reference, newsletter=values.get("newsletter") == "yes", **texts)
            self.messages.append(message)

        return message

    def stop(self) -> None:
        """Stop serving and give the port back."""
        self.server.shutdown()
        self.server.server_close()


def start(port: int = 0) -> Shop:
    """Serve a new shop on 127.0.0.1, on a free port unless one is given."""
    shop = Shop(products=load())
    handler = type("ShopHandler", (Handler,), {"shop": shop})
    shop.server = ThreadingHTTPServer(("127.0.0.1", port), handler)
    # A short poll: `stop` returns as soon as the serving loop looks up.
    threading.Thread(target=shop.server.serve_forever, args=(0.05,), name="shop", daemon=True).start()
    return shop


class Handler(BaseHTTPRequestHandler):
    """Answers one request; `shop` is set on the subclass that `start` makes."""

    shop: ClassVar[Shop]

    def do_GET(self) -> None:
        path = urlsplit(self.path).path
        first, _, rest = path.lstrip("/").partition("/")
        fixed: dict[str, Callable[[], None]] = {
            "/": lambda: self._page(pages.home(self._products)),
            "/search": self._search,
            "/cart": lambda: self._page(pages.cart(self._cart)),
            "/checkout": self._show_checkout,
            "/checkout/done": self._show_order,
            "/contact": lambda: self._page(pages.contact(Sent())),
            "/contact/sent": self._show_message,
        }
        under: dict[str, Callable[[str], None]] = {
            "category": self._category,
            "product": self._product,
            "static": self._static,
        }
        if path in TEXTS:
            self._page(pages.text(*TEXTS[path]))
        elif path in fixed:
            fixed[path]()
        elif first in under and rest:
            under[first](unquote(rest))
        else:
            self._missing()

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_POST(self) -> None:
        handlers: dict[str, Callable[[forms.Values], None]] = {
            "/cart": self._add,
            "/cart/change": self._change,
            "/checkout": self._order,
            "/contact": self._contact,
        }
        handler = handlers.get(urlsplit(self.path).path)
        size = self.headers.get("Content-Length", "0")
        if handler is None:
            self._missing()
        elif not size.isdecimal() or int(size) > LARGEST_FORM:
            self._page(pages.problem("Too long", "That is more than this form takes."), HTTPStatus(413))
        else:
            body = self.rfile.read(int(size)).decode("utf-8", "replace")
            handler({name: values[-1] for name, values in parse_qs(body).items()})

    @property
    def _products(self) -> list[Product]:
        return list(self.shop.products.values())

    @property
    def _query(self) -> dict[str, str]:
        return {name: values[-1] for name, values in parse_qs(urlsplit(self.path).query).items()}

    @property
    def _cart(self) -> Cart:
        try:
            cookie = SimpleCookie(self.headers.get("Cookie", "")).get("cart")
        except CookieError:
            return Cart()

        return read_cart(cookie.value, self.shop.products) if cookie else Cart()

    def _search(self) -> None:
        query = self._query.get("q", "").strip()
        self._page(pages.found(query, search(self._products, query)))

    def _category(self, name: str) -> None:
        if name in CATEGORIES:
            self._page(pages.category(name, self._products))
        else:
            self._missing()

    def _product(self, slug: str) -> None:
        product = self.shop.products.get(slug)
        if product:
            self._page(pages.product(product, self._products))
        else:
            self._missing()

    def _static(self, name: str) -> None:
        if name in STATIC:
            self._send(HTTPStatus.OK, (HERE / "static" / name).read_bytes(), STATIC[name])
        else:
            self._missing()

    def _add(self, values: forms.Values) -> None:
        product = self.shop.products.get(values.get("product", ""))
        quantity = values.get("quantity", "")
        if product is None or not quantity.isdecimal():
            self._missing()
            return

        cart = self._cart
        self._keep(cart.changed(product, cart.quantity(product) + int(quantity)))

    def _change(self, values: forms.Values) -> None:
        product = self.shop.products.get(values.get("product", ""))
        quantity = values.get("quantity", "")
        if product is None or not quantity.isdecimal():
            self._missing()
        else:
            self._keep(self._cart.changed(product, int(quantity)))

    def _keep(self, cart: Cart, target: str = "/cart") -> None:
        cookie = f"cart={cart.cookie()}; Path=/; HttpOnly; SameSite=Lax"
        self._send(HTTPStatus.SEE_OTHER, b"", "text/plain", {"Location": target, "Set-Cookie": cookie})

    def _show_checkout(self) -> None:
        cart = self._cart
        self._page(pages.checkout(cart, Sent()) if cart.lines else pages.cart(cart))

    def _order(self, values: forms.Values) -> None:
        cart, sent = self._cart, forms.checkout(values)
        if not cart.lines:
            self._page(pages.cart(cart), HTTPStatus.CONFLICT)
        elif sent.errors:
            self._page(pages.checkout(cart, sent), HTTPStatus.UNPROCESSABLE_ENTITY)
        else:
            order = self.shop.order(cart, values)
            # A redirect, so that reloading the confirmation does not order a second time.
            self._keep(Cart(), f"/checkout/done?reference={order.reference}")

    def _show_order(self) -> None:
        reference = self._query.get("reference", "")
        order = next((o for o in self.shop.orders if o.reference == reference), None)
        if order:
            self._page(pages.ordered(reference, order.total))
        else:
            self._missing()

    def _contact(self, values: forms.Values) -> None:
        sent = forms.contact(values)
        if sent.errors:
            self._page(pages.contact(sent), HTTPStatus.UNPROCESSABLE_ENTITY)
        else:
            message = self.shop.write(values)
            self._redirect(f"/contact/sent?reference={message.reference}")

    def _show_message(self) -> None:
        reference = self._query.get("reference", "")
        message = next((m for m in self.shop.messages if m.reference == reference), None)
        if message:
            self._page(pages.sent_message(reference))
        else:
            self._missing()

    def _missing(self) -> None:
        text = "The address may be mistyped, or the product is no longer made."
        self._page(pages.problem("There is no such page", text), HTTPStatus.NOT_FOUND)

    def _redirect(self, target: str) -> None:
        self._send(HTTPStatus.SEE_OTHER, b"", "text/plain", {"Location": target})

    def _page(self, page: Page, status: HTTPStatus = HTTPStatus.OK) -> None:
        self._send(status, pages.document(page, self._cart).encode(), "text/html")

    def _send(
        self, status: HTTPStatus, body: bytes, media_type: str, headers: dict[str, str] | None = None
    ) -> None:
        self.send_response(status)
        self.send_header("Content-Type", f"{media_type}; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Content-Security-Policy", "default-src 'self'; frame-ancestors 'none'")
        self.send_header("X-Content-Type-Options", "nosniff")
        for name, value in (headers or {}).items():
            self.send_header(name, value)

        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is the base class's
        """Say nothing: a sample in the middle of a run should not write to its terminal."""


def main() -> None:
    """Serve the shop until interrupted, for a look at it."""
    shop = start(port=8080)
    print(f"Halden & Brook at {shop.url}, stop with Ctrl-C")
    try:
        threading.Event().wait()
    except KeyboardInterrupt:
        shop.stop()


if __name__ == "__main__":
    main()
