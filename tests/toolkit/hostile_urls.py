"""Addresses that try to get at what is not public, and the ground to try them on: two servers on this machine.

One of them, at `OPEN`, stands in for the public internet: it may be reached, and redirects to wherever it is told. The
other, at `127.0.0.1` and `::1` on the same port, must see nothing; a single connection to it is a failure. A guard under
test is given `ground.port`, `OPEN_NETWORK` and `resolver(hostile.answers)`, so that nothing but loopback is contacted.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

OPEN = "127.0.0.3"
OPEN_NETWORK = "127.0.0.3/32"
OPEN_HOST = "open.example"

Answers = Mapping[str, Sequence[Sequence[str]]]
"""What a name resolves to, at the first, second, ... lookup; the last answer is given ever after."""


@dataclass(frozen=True, slots=True)
class Hostile:
    """One address; `{port}` in `template` is the port of the ground. `answers` are the names that it needs."""

    template: str
    answers: Answers = field(default_factory=dict[str, Any], hash=False)

    def url(self, port: int) -> str:
        return self.template.replace("{port}", str(port))

    def __str__(self) -> str:
        return self.template.encode("unicode_escape").decode()[:60] or "(empty)"


def _named(host: str, *answers: Sequence[str], path: str = "/") -> Hostile:
    return Hostile(f"http://{host}:{{port}}{path}", {host: answers})


# What `getaddrinfo` itself reads as an address; a stub has to be told.
_SPELLED = {
    "127.1": "127.0.0.1",
    "127.0.1": "127.0.0.1",
    "0": "0.0.0.0",
    "2130706433": "127.0.0.1",
    "0x7f000001": "127.0.0.1",
    "0x7f.1": "127.0.0.1",
    "0x7f.0x0.0x0.0x1": "127.0.0.1",
    "0177.0.0.1": "127.0.0.1",
    "00000177.0.0.1": "127.0.0.1",
    "017700000001": "127.0.0.1",
    "0xa9fea9fe": "169.254.169.254",
    "2852039166": "169.254.169.254",
    "0251.0376.0251.0376": "169.254.169.254",
    "169.16689662": "169.254.169.254",
    "127.0.0.1.": "127.0.0.1",
    "127.0.0.01": "127.0.0.1",
}

LOOPBACK = tuple(
    Hostile(f"http://{host}:{{port}}/")
    for host in (
        "127.0.0.1",
        "127.0.0.2",
        "127.255.255.254",
        "0.0.0.0",
        "[::1]",
        "[::]",
        "[0:0:0:0:0:0:0:1]",
        "[0000:0000:0000:0000:0000:0000:0000:0001]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[::ffff:0:127.0.0.1]",
        "[::127.0.0.1]",
        "[64:ff9b::127.0.0.1]",
        "[64:ff9b::7f00:1]",
        "[64:ff9b:1::7f00:1]",
        "[4000::7f00:1]",
        "[2002:7f00:1::]",
        "[2001:0:7f00:1::]",
        "[2001::80ff:fffe]",
        "[::1%25lo]",
        "[fe80::1]",
        "[fe80::1%25eth0]",
    )
)

SPELLED = tuple(Hostile(f"http://{host}:{{port}}/", {host: [[ip]]}) for host, ip in _SPELLED.items())

METADATA = (
    *(
        Hostile(f"http://{host}:{{port}}/latest/meta-data/")
        for host in (
            "169.254.169.254",
            "[::ffff:169.254.169.254]",
            "[64:ff9b::a9fe:a9fe]",
            "[2002:a9fe:a9fe::]",
            "[fd00:ec2::254]",
            "100.100.100.200",
            "192.0.0.192",
        )
    ),
    _named("metadata.google.internal", ["169.254.169.254"], path="/computeMetadata/v1/"),
    _named("metadata.example", ["169.254.169.254"]),
    _named("169.254.169.254.nip.example", ["169.254.169.254"]),
)

PRIVATE = tuple(
    Hostile(f"http://{host}:{{port}}/")
    for host in (
        "10.0.0.1",
        "172.16.0.1",
        "172.31.255.255",
        "192.168.0.1",
        "100.64.0.1",
        "198.18.0.1",
        "224.0.0.1",
        "255.255.255.255",
        "240.0.0.1",
        "[fd00::1]",
        "[fec0::1]",
        "[ff02::1]",
        "[::ffff:10.0.0.1]",
        "[2002:c0a8:1::]",
    )
)

NAMES = (
    _named("localhost", ["127.0.0.1"]),
    _named("LocalHost", ["127.0.0.1"]),
    _named("localhost.", ["127.0.0.1"]),
    _named("localhost.localdomain", ["127.0.0.1"]),
    _named("ip6-localhost", ["::1"]),
    _named("app.localhost", ["127.0.0.1"]),
    _named("loop.example", ["127.0.0.1"]),
    _named("loop.example.", ["127.0.0.1"]),
    _named("six.example", ["::1"]),
    _named("mapped.example", ["::ffff:127.0.0.1"]),
    _named("zero.example", ["0.0.0.0"]),
    _named("private.example", ["10.0.0.1"]),
    _named("mixed.example", [OPEN, "127.0.0.1"]),
    _named("mixed-last.example", ["127.0.0.1", OPEN]),
    _named("mixed-six.example", [OPEN, "::1"]),
)

UNICODE = tuple(
    Hostile(
        f"http://{host}:{{port}}/", {plain: [["127.0.0.1"]] for plain in (host, "127.0.0.1", "localhost")}
    )
    for host in (
        "①②⑦.⓪.⓪.①",
        "１２７.０.０.１",
        "127。0。0。1",
        "127．0．0．1",
        "127｡0｡0｡1",
        "١٢٧.٠.٠.١",
        "ⓛⓞⓒⓐⓛⓗⓞⓢⓣ",
        "ｌｏｃａｌｈｏｓｔ",
        "loc\u00adalhost",
        "local\u200bhost",
    )
)

AUTHORITY = tuple(
    Hostile(template, {"open.example": [[OPEN]], "127.0.0.1 .open.example": [["127.0.0.1"]]})
    for template in (
        "http://open.example@127.0.0.1:{port}/",
        "http://open.example:80@127.0.0.1:{port}/",
        "http://open.example%40127.0.0.1:{port}/",
        "http://user:word@open.example:{port}/",
        "http://@127.0.0.1:{port}/",
        "http://127.0.0.1:{port}\\@open.example:{port}/",
        "http://127.0.0.1:{port}#@open.example/",
        "http://127.0.0.1:{port}?@open.example/",
        "http://open.example#@127.0.0.1:{port}/",
        "http:\\\\127.0.0.1:{port}\\",
        "http:///127.0.0.1:{port}/",
        "http:127.0.0.1:{port}/",
        "http://127.0.0.1%00.open.example:{port}/",
        "http://127.0.0.1%09:{port}/",
        "http://127.0.0.1\t:{port}/",
        "http://127.0.0.1\r\nHost: open.example:{port}/",
        "http://%31%32%37.0.0.1:{port}/",
        "http://[::1:{port}/",
        "http://[127.0.0.1]:{port}/",
    )
)

SCHEMES = tuple(
    Hostile(template)
    for template in (
        "file:///etc/passwd",
        "file://127.0.0.1/etc/passwd",
        "ftp://127.0.0.1:{port}/",
        "gopher://127.0.0.1:{port}/_GET%20/",
        "dict://127.0.0.1:{port}/info",
        "ldap://127.0.0.1:{port}/",
        "ws://127.0.0.1:{port}/",
        "unix:///var/run/docker.sock",
        "http+unix://%2Fvar%2Frun%2Fdocker.sock/info",
        "data:text/plain,hello",
        "javascript:alert(1)",
        "view-source:http://127.0.0.1:{port}/",
        "jar:http://127.0.0.1:{port}/!/",
        "//127.0.0.1:{port}/",
        "127.0.0.1:{port}/",
        "http:///",
        "",
    )
)

PORTS = tuple(
    Hostile(f"http://{OPEN_HOST}:{port}/", {OPEN_HOST: [[OPEN]]}) for port in (0, 22, 25, 6379, 65536, 99999)
)

LONG = (
    Hostile("http://" + "a" * 300 + ".example:{port}/"),
    Hostile(f"http://{OPEN_HOST}:{{port}}/" + "a" * 10_000, {OPEN_HOST: [[OPEN]]}),
)

HOSTILE: tuple[Hostile, ...] = (
    *LOOPBACK,
    *SPELLED,
    *METADATA,
    *PRIVATE,
    *NAMES,
    *UNICODE,
    *AUTHORITY,
    *SCHEMES,
    *PORTS,
    *LONG,
)
"""Each of them must be refused before anything is sent."""

ELSEWHERE: tuple[Hostile, ...] = tuple(
    hostile
    for hostile in HOSTILE
    if hostile.template.partition(":")[2].startswith(("//", "\\\\"))
    and not hostile.template.startswith("http:///")
)
"""Those that lead elsewhere also in a redirect, where an address without a host would be a relative one."""

REBINDING: tuple[Hostile, ...] = (
    _named("rebind.example", [OPEN], ["127.0.0.1"]),
    _named("rebind-six.example", [OPEN], ["::1"]),
)
"""Names that are public when first asked for, and this machine after that: each lookup has to be the only one."""

REDIRECTS: tuple[int, ...] = (301, 302, 303, 307, 308)


def resolver(answers: Answers | None = None) -> Callable[..., list[Any]]:
    """A stub with the shape of `socket.getaddrinfo`: knows `answers`, `open.example` and literal addresses."""
    known = {host.lower(): turns for host, turns in {OPEN_HOST: [[OPEN]], **(answers or {})}.items()}
    asked: dict[str, int] = {}

    def resolve(host: str, port: int, *rest: Any) -> list[Any]:
        turns = known.get(host.lower())
        if turns is None:
            return _rows([_literal(host)], port)

        turn = asked.get(host, 0)
        asked[host] = turn + 1
        return _rows(turns[min(turn, len(turns) - 1)], port)

    return resolve


def _literal(host: str) -> str:
    for family in (socket.AF_INET, socket.AF_INET6):
        with suppress(OSError, ValueError):
            socket.inet_pton(family, host.partition("%")[0])
            return host

    raise socket.gaierror(socket.EAI_NONAME, f"the stub does not know `{host}`")


def _rows(addresses: Sequence[str], port: int) -> list[Any]:
    return [
        (socket.AF_INET6, socket.SOCK_STREAM, 6, "", (address, port, 0, 0))
        if ":" in address
        else (socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))
        for address in addresses
    ]


class _Server(ThreadingHTTPServer):
    """Keeps each connection it is given, also one that never sends anything."""

    daemon_threads = True

    def __init__(self, host: str, port: int, seen: list[str], targets: Sequence[str] = ()) -> None:
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.seen, self.targets = seen, targets
        super().__init__((host, port), _Handler)

    def verify_request(self, request: Any, client_address: Any) -> bool:
        self.seen.append(f"a connection to {self.server_address[0]!s}")
        return True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up is no error."""


class _Handler(BaseHTTPRequestHandler):
    def answer(self) -> None:
        """`/to/307/5` redirects with that status to the fifth of the targets; all else is a page."""
        assert isinstance(self.server, _Server)
        self.server.seen.append(self.path)
        if asked := re.fullmatch(r"/to/(\d+)/(\d+)", self.path):
            status, place = asked.groups()
            self.send_response(int(status))
            # As raw bytes, the way a careless server sends them; a line end would begin another header.
            target = self.server.targets[int(place)].translate({13: None, 10: None})
            self.send_header("Location", target.encode().decode("latin-1"))
        else:
            self.send_response(200)
            self.send_header("Content-Type", "text/plain")

        self.send_header("Content-Length", "6")
        self.end_headers()
        self.wfile.write(b"secret")

    do_GET = do_POST = do_HEAD = do_PUT = do_DELETE = do_PATCH = do_OPTIONS = answer

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """The output of the tests stays free of requests."""


@dataclass(frozen=True, slots=True)
class Ground:
    """Where hostile addresses are tried: `seen` must stay empty, `asked` is what the open server was asked for."""

    port: int
    seen: list[str]
    asked: list[str]
    targets: list[str]

    @property
    def open_url(self) -> str:
        return f"http://{OPEN_HOST}:{self.port}"

    def redirecting(self, target: str, *, status: int = 302, hops: int = 1) -> str:
        """An address of the open server that leads to `target` after `hops` redirects."""
        for _ in range(hops):
            self.targets.append(target)
            target = f"{self.open_url}/to/{status}/{len(self.targets) - 1}"

        return target


@contextmanager
def ground() -> Generator[Ground]:
    """Both servers, on one free port, for as long as the block runs."""
    seen: list[str] = []
    asked: list[str] = []
    targets: list[str] = []
    with ExitStack() as stack:
        trap = _Server("127.0.0.1", 0, seen)
        port: int = trap.server_address[1]
        servers = [trap, _Server(OPEN, port, asked, targets)]
        with suppress(OSError):  # a machine without IPv6
            servers.append(_Server("::1", port, seen))

        for server in servers:
            thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
            thread.start()
            stack.callback(thread.join)
            stack.callback(server.server_close)
            stack.callback(server.shutdown)

        yield Ground(port=port, seen=seen, asked=asked, targets=targets)
