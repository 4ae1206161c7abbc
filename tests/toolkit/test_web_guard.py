"""The guard of all that goes out: no hostile address reaches a server, and what comes in stays within its limits."""

from __future__ import annotations

import gzip
import os
from contextlib import suppress
from typing import Any

import pytest

from agentflow.exceptions import AddressRefused, FileUnreadable, NetworkUnavailable, ProjectError
from agentflow.toolkit import guard
from agentflow.toolkit.guard import Guard
from tests.toolkit.hostile_urls import (
    ELSEWHERE,
    HOSTILE,
    OPEN,
    OPEN_HOST,
    OPEN_NETWORK,
    REBINDING,
    REDIRECTS,
    Answers,
    Ground,
    Hostile,
    resolver,
)
from tests.toolkit.sites import Reply, Site


def guarding(field: Ground, answers: Answers | None = None, **settings: Any) -> Guard:
    usual: dict[str, Any] = {"networks": (OPEN_NETWORK,), "resolver": resolver(answers)}
    return Guard(ports=(field.port,), **(usual | settings))


async def fetched(guarded: Guard, url: str, *, method: str = "GET", redirects: int = 5) -> bytes:
    await guard.load()
    async with guarded.client(timeout=5) as client:
        request = guard.request(client, method, url)
        async with guarded.follow(client, request, redirects=redirects) as response:
            return await guard.receive(response, max_bytes=1_000)


def test_corpus_is_as_large_as_it_should_be() -> None:
    """There are enough hostile addresses, and no two of them are the same."""
    assert len({hostile.template for hostile in HOSTILE}) == len(HOSTILE) >= 100


async def test_the_ground_would_see_what_gets_through(field: Ground) -> None:
    """Both servers answer whom they may answer: an empty list of visits means something."""
    allowing = guarding(field, networks=("127.0.0.0/8", "::1/128"))

    assert await fetched(allowing, f"http://127.0.0.1:{field.port}/") == b"secret"
    assert field.seen == ["a connection to 127.0.0.1", "/"]
    assert await fetched(allowing, field.redirecting(f"http://127.0.0.1:{field.port}/x")) == b"secret"
    assert (field.seen[-1], len(field.asked)) == ("/x", 2)
    assert await fetched(guarding(field), f"{field.open_url}/y") == b"secret"
    assert field.asked[-1] == "/y"


@pytest.mark.parametrize("hostile", HOSTILE, ids=str)
async def test_no_hostile_address_reaches_a_server(field: Ground, hostile: Hostile) -> None:
    """However an address that is not public is written, it is refused, and nothing is sent to anyone."""
    with pytest.raises(AddressRefused):
        await fetched(guarding(field, hostile.answers), hostile.url(field.port))

    assert (field.seen, field.asked) == ([], [])


@pytest.mark.parametrize("hostile", ELSEWHERE, ids=str)
async def test_no_redirect_leads_to_a_hostile_address(field: Ground, hostile: Hostile) -> None:
    """A redirect is checked like the first address, also the last of several."""
    guarded = guarding(field, hostile.answers)
    for hops, status in enumerate(REDIRECTS[:4], start=1):
        field.asked.clear()
        with pytest.raises(AddressRefused):
            await fetched(guarded, field.redirecting(hostile.url(field.port), status=status, hops=hops))

        assert len(field.asked) == 2 * hops

    assert field.seen == []


@pytest.mark.parametrize("hostile", [h for h in HOSTILE if h not in ELSEWHERE], ids=str)
async def test_relative_redirect_stays_where_it_was(field: Ground, hostile: Hostile) -> None:
    """What is no whole address leads, in a redirect, to nobody else than the server that sent it."""
    with suppress(AddressRefused):
        await fetched(guarding(field, hostile.answers), field.redirecting(hostile.url(field.port)))

    assert field.seen == []
    assert field.asked


@pytest.mark.parametrize("hostile", REBINDING, ids=str)
async def test_name_that_changes_its_address(field: Ground, hostile: Hostile) -> None:
    """The address that was checked is the one that is connected to; the next request is checked anew."""
    guarded = guarding(field, hostile.answers)

    assert await fetched(guarded, hostile.url(field.port)) == b"secret"
    with pytest.raises(AddressRefused):
        await fetched(guarded, hostile.url(field.port))

    assert (field.seen, len(field.asked)) == ([], 2)


async def test_every_way_to_send_is_guarded(field: Ground) -> None:
    """The client itself refuses, whatever is called on it, and follows no redirect by itself."""
    guarded = guarding(field)
    async with guarded.client(timeout=5) as client:
        for method in ("GET", "POST", "PUT", "DELETE", "HEAD"):
            with pytest.raises(Exception, match="not permitted"):
                await client.request(method, f"http://127.0.0.1:{field.port}/")

        with pytest.raises(Exception, match="not permitted"):
            await client.get(field.redirecting(f"http://127.0.0.1:{field.port}/"), follow_redirects=True)

        assert (await client.get(field.redirecting(f"{field.open_url}/there"))).status_code == 302

    assert field.seen == []


async def test_hosts_are_an_allow_list(field: Ground) -> None:
    """With `hosts` only those names are reached, and those below them where a star says so."""
    answers: Answers = {host: [[OPEN]] for host in ("a.example", "b.a.example", "evila.example", "b.example")}
    for hosts, reached in (
        (("a.example",), {"a.example"}),
        (("*.a.example",), {"b.a.example"}),
        (("A.example.", "b.example"), {"a.example", "b.example"}),
        (None, set(answers)),
    ):
        guarded = guarding(field, answers, hosts=hosts)
        for host in answers:
            url = f"http://{host}:{field.port}/"
            if host in reached:
                assert await fetched(guarded, url) == b"secret"
            else:
                with pytest.raises(AddressRefused, match="allowed_hosts"):
                    await fetched(guarded, url)

    with pytest.raises(AddressRefused):
        await fetched(
            guarding(field, hosts=(OPEN_HOST,)), field.redirecting(f"http://b.example:{field.port}/")
        )


async def test_host_that_is_allowed_must_still_be_public(field: Ground) -> None:
    """A name on the list that resolves to this machine is refused; only `networks` opens that."""
    guarded = guarding(field, {"loop.example": [["127.0.0.1"]]}, hosts=("loop.example",))
    with pytest.raises(AddressRefused, match="Loopback"):
        await fetched(guarded, f"http://loop.example:{field.port}/")

    assert field.seen == []


@pytest.mark.parametrize(
    "settings",
    [
        {"hosts": ()},
        {"hosts": ("*",)},
        {"hosts": ("a.*.example",)},
        {"networks": ("10.0.0.1/8",)},
        {"networks": ("all",)},
        {"networks": ("64:ff9b::/96",)},
        {"ports": ()},
        {"ports": (0,)},
    ],
    ids=str,
)
def test_settings_that_cannot_be(settings: dict[str, Any]) -> None:
    """A guard whose settings would mean something else than they say is an error."""
    with pytest.raises(ProjectError):
        Guard(**settings).check("http://open.example/")


async def test_addresses_are_checked_for_those_who_connect_themselves(field: Ground) -> None:
    """`check` and `addresses` hold a proxy, or another client, to the same rules."""
    guarded = guarding(field, {"mixed.example": [[OPEN, "127.0.0.1"]], "loop.example": [["127.0.0.1"]]})
    guarded.check(f"{field.open_url}/x")

    assert await guarded.addresses(OPEN_HOST, field.port) == [OPEN]
    for host in ("mixed.example", "loop.example", "127.0.0.1", "::1", "2130706433", "a@open.example", "a/b"):
        with pytest.raises((AddressRefused, NetworkUnavailable)):
            await guarded.addresses(host, field.port)

    for host, port in ((OPEN_HOST, 22), ("nowhere.example", 22), (f"{OPEN_HOST}:{field.port}/", 22)):
        with pytest.raises(AddressRefused):
            await guarded.addresses(host, port)

    with pytest.raises(NetworkUnavailable):
        await guarded.addresses("nowhere.example", field.port)

    # What is no name must not move the port out of sight either.
    usual = Guard(networks=(OPEN_NETWORK,), resolver=resolver())
    for host in (f"{OPEN_HOST}/", f"{OPEN_HOST}?", f"{OPEN_HOST}#"):
        with pytest.raises(AddressRefused):
            await usual.addresses(host, 22)

    with pytest.raises(AddressRefused):
        guarded.check("file:///etc/passwd")


async def test_credentials_are_not_carried_to_another_host(field: Ground) -> None:
    """A redirect to another host drops the headers that hold a key; one within the host keeps them."""
    guarded = guarding(field, {"other.example": [[OPEN]]}, credentials=("X-Own-Key",))
    keys = {"Authorization": "Bearer s", "X-API-Key": "s", "X-Own-Key": "s", "Accept": "text/plain"}
    await guard.load()
    for host, kept in (("other.example", 0), (OPEN_HOST, 3)):
        async with guarded.client(timeout=5, headers={"X-Subscription-Token": "s"}) as client:
            url = field.redirecting(f"http://{host}:{field.port}/")
            request = guard.request(client, "GET", url, headers=keys)
            async with guarded.follow(client, request) as response:
                sent = response.request.headers

        assert sum(name in sent for name in ("authorization", "x-api-key", "x-own-key")) == kept
        assert sent["accept"] == "text/plain"
        assert ("x-subscription-token" in sent) == bool(kept)


async def test_redirects_are_counted(field: Ground) -> None:
    """One more than allowed is refused; none allowed means that a redirect is an error."""
    guarded = guarding(field)
    for redirects in (0, 1, 3):
        url = field.redirecting(f"{field.open_url}/end", hops=redirects)
        assert await fetched(guarded, url, redirects=redirects) == b"secret"
        with pytest.raises(AddressRefused, match=f"more than {redirects} times"):
            await fetched(guarded, field.redirecting(url), redirects=redirects)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        ("", None),
        ("soon", None),
        ("-5", None),
        ("1e9", None),
        ("٣", None),
        ("0", 0),
        (" 120 ", 120),
        ("9" * 400, 86_400),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0),
        ("Wed, 21 Oct 2099 07:28:00 GMT", 86_400),
    ],
)
def test_time_to_wait_is_read(value: str | None, seconds: float | None) -> None:
    """`Retry-After` is a number of seconds or a date; nonsense says nothing, and a day is the most."""
    assert guard.retry_after(value) == seconds


def endless() -> bytes:
    """A beginning of a gzip stream, and a block of nothing that can follow any number of times."""
    return b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03" + b"\x00\x00\x00\xff\xff" * 400_000


@pytest.mark.parametrize(
    ("body", "read"),
    [
        (gzip.compress(b"x" * 1000), b"x" * 1000),
        (gzip.compress(b"x" * 1001), None),
        (gzip.compress(os.urandom(400).hex().encode())[:-20], None),
        (gzip.compress(b"text") + b"more" * 500_000, b"text"),
        (endless(), None),
        (b"", b""),
    ],
    ids=["fits", "one more", "cut", "and more", "endless", "empty"],
)
async def test_body_is_read_within_its_limit(site: Site, body: bytes, read: bytes | None) -> None:
    """What is decompressed counts, and so does what comes in without ever becoming anything."""
    site.replies["/"] = Reply(body, headers={"Content-Encoding": "gzip"})
    guarded = Guard(ports=(site.port,), networks=("127.0.0.1/32",))
    if read is None:
        with pytest.raises(FileUnreadable):
            await fetched(guarded, site.url)
    else:
        assert await fetched(guarded, site.url) == read
