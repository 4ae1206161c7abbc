"""What a page may send: each request that could change something is refused, asked about, or let go, before it leaves."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from contextvars import copy_context
from typing import TYPE_CHECKING, Any, Literal

from agentflow.context import Operation, Outcome, current, effect
from agentflow.exceptions import AddressRefused, CallRefused, EffectInDoubt, NetworkUnavailable, ToolError
from agentflow.toolkit.browser.gate import READING, Gate
from agentflow.toolkit.browser.outgoing import Outgoing, Upload, outgoing
from agentflow.toolkit.browser.reach import Place, place_of
from agentflow.toolkit.browser.settling import Action, is_page

if TYPE_CHECKING:
    from playwright.async_api import BrowserContext, Request, Response, Route, WebSocketRoute

Writes = Literal["refuse", "ask", "allow"]
SENT_AS = "browser_send"
MOST_NOTES = 20
LONGEST_TOLD = 600  # characters of what is sent that an error holds
# What an action waits for beside pages, and how long: a page may keep asking for ever.
_AWAITED = frozenset({"document", "fetch", "xhr", "script"})
_UNSENT = re.compile(
    r"ERR_(CONNECTION_REFUSED|NAME_NOT_RESOLVED|TUNNEL_CONNECTION_FAILED|PROXY_CONNECTION_FAILED|BLOCKED_BY\w*)"
)
_NO_ONE = 'nobody can be asked here: call it within a run, or make the session with `writes="allow"`'


class Traffic:
    """The requests of one session's pages.

    `refuse` lets nothing leave that could change something. `ask` has a person asked about exactly what is sent, records it
    as an effect of the run that is not repeated, and refuses where nobody can be asked. `allow` lets it go: whoever made the
    session answers for it.
    """

    def __init__(self, gate: Gate, writes: Writes) -> None:
        self.writes: Writes = writes
        self.uploads: dict[str, Upload] = {}
        self.asked = ""  # the address of the last navigation within the present action
        self.status = 0
        self.vetoed = ""
        self.notes: list[str] = []  # what was refused while nothing was done, for the next who looks
        self._gate = gate
        self._approved: tuple[Place, list[str]] | None = None
        self._action: Action | None = None
        self._turn = asyncio.Lock()

    async def attach(self, context: BrowserContext) -> None:
        """Stand between the pages of `context` and the network."""
        await context.route("**/*", self._route)
        await context.route_web_socket("**/*", self._socket)
        context.on("request", self._begun)
        context.on("response", self._answered)
        context.on("requestfinished", self._ended)
        context.on("requestfailed", self._failed)

    def begin(self, what: str, *, may_send: bool) -> Action:
        """An action begins, of whoever calls this: what pages send is asked and recorded on their behalf."""
        self.asked = self.vetoed = ""
        self._action = Action(what, may_send, copy_context())
        return self._action

    def approve(self, values: Sequence[str], url: str) -> None:
        """A person has approved that a form with just these values is sent to the host of `url`, once."""
        self._approved = place_of(url), sorted(map(_plain, filter(None, values)))

    async def end(self) -> None:
        """The action is over: what is still held back is not sent."""
        action, self._action = self._action, None
        left = tuple(action.deciding) if action else ()
        for task in left:
            task.cancel()

        await asyncio.gather(*left, return_exceptions=True)

    def note(self, note: str) -> None:
        """Keep what happened by itself, for the next who looks."""
        if note not in self.notes and len(self.notes) < MOST_NOTES:
            self.notes.append(note)

    def refusal(self) -> ToolError | None:
        """Why the navigation of the present action did not get where it should."""
        if self.vetoed:
            return AddressRefused(
                f"the page tried to send data (`{self.vetoed}`), and this {'session' if self.writes == 'refuse' else 'action'} only reads",
                hint="use a tool that may submit forms",
            )

        known = self._gate.trouble(self.asked) if self.status in (0, 403, 502) else None
        return type(known)(str(known), hint=known.hint) if known else None

    async def _route(self, route: Route) -> None:
        from playwright.async_api import Error

        request = route.request
        moves = request.is_navigation_request()
        with suppress(Error):  # the page may be closed while the request waits here
            if not _ordinary(request.url, moves=moves):
                await route.abort("blockedbyclient")
            elif request.method in READING and not self._is_guarded(request):
                await route.continue_()
            else:
                await self._held(route)

    def _is_guarded(self, request: Request) -> bool:
        action = self._action
        if action is None or not action.is_guarded:
            return False

        return request.is_navigation_request() or request.resource_type in ("fetch", "xhr")

    async def _held(self, route: Route) -> None:
        """A request that could change something: nothing of it has left yet."""
        request, action = route.request, self._action
        kind = request.headers.get("content-type", "")
        sent = outgoing(request.method, request.url, kind, request.post_data_buffer or b"", self.uploads)
        if self.writes != "allow" and (self.writes == "refuse" or action is None or not action.may_send):
            self._veto(request, sent)
            # "aborted" leaves the page as it is, where other reasons replace it by an error page.
            await route.abort("aborted")
        elif action is None:
            await self._forwarded(route, sent)
        else:
            deed = self._consented(route.abort, lambda: self._forwarded(route, sent), sent, action)
            self._decide(action, deed)

    def _veto(self, request: Request, sent: Outgoing) -> None:
        name = f"{sent.method} {sent.url}"
        if is_page(request):
            self.vetoed = name
        else:
            self.note(f"not sent, as no action asked for it: {name}")

    def _decide(self, action: Action, deed: Awaitable[None]) -> None:
        async def decide() -> None:
            await deed

        task = asyncio.create_task(decide(), context=action.variables.copy())
        action.deciding.add(task)
        task.add_done_callback(action.deciding.discard)
        action.moved.set()

    async def _consented(
        self,
        give_up: Callable[[str], Awaitable[None]],
        go: Callable[[], Awaitable[dict[str, Any]]],
        sent: Outgoing,
        action: Action,
    ) -> None:
        """Send what a person approved; what keeps it from being sent ends the action."""
        from playwright.async_api import Error

        try:
            async with self._turn:
                if self.writes == "allow" or self._covers(sent):
                    await go()
                else:
                    await self._ask(sent, action)
                    await _recorded(sent, go)
        except BaseException as error:
            with suppress(Error):
                await give_up("aborted")

            if not isinstance(error, Exception):
                raise

            action.errors.append(error)

    async def _ask(self, sent: Outgoing, action: Action) -> None:
        context = current()
        if context is None:
            content = json.dumps(sent.content, ensure_ascii=False)[:LONGEST_TOLD]
            raise AddressRefused(
                f"`{sent.method} {sent.url}` was not sent, as a person has to approve it: {content}",
                hint=_NO_ONE,
            )

        action.has_asked = True
        with action.paused():
            verdict = await context.ask(
                SENT_AS,
                sent.shown(),
                prompt=f"Send this to `{sent.url}`? The browser would, to {action.what}.",
            )

        if not verdict.approved:
            comment = f": {verdict.comment}" if verdict.comment else ""
            raise CallRefused(f"a person refused to send `{sent.method} {sent.url}`{comment}")

    def _covers(self, sent: Outgoing) -> bool:
        """Whether a person approved each value that is sent, and no approved one is missing; once."""
        approved, self._approved = self._approved, None
        return approved == (place_of(sent.url), sorted(map(_plain, sent.values())))

    async def _forwarded(self, route: Route, sent: Outgoing) -> dict[str, Any]:
        request = route.request
        with self._gate.expecting(sent.method, sent.url):
            await route.continue_()
            response = await request.response()

        if response is None:
            return self._unanswered(request)

        known = self._gate.trouble(sent.url) if response.status in (403, 502) else None
        if known is not None:
            raise type(known)(str(known), hint=known.hint)

        repeated = _repeated(request)
        if repeated:
            raise ToolError(f"`{sent.url}` handed what was sent on to `{repeated}`")

        return {"status": response.status, "url": response.url}

    def _unanswered(self, request: Request) -> dict[str, Any]:
        """No answer came: either it was not sent, or the page went on without waiting, or nobody knows."""
        reason = request.failure or ""
        if _UNSENT.search(reason):
            raise NetworkUnavailable(f"`{request.url}` was not sent: {reason}")

        if "ERR_ABORTED" in reason:
            return {"status": 0, "url": request.url}

        raise EffectInDoubt(f"it is not known whether `{request.method} {request.url}` arrived: {reason}")

    async def _socket(self, socket: WebSocketRoute) -> None:
        try:
            self._gate.reach.check(place_of(socket.url))
        except AddressRefused as error:
            await socket.close(code=1008, reason=str(error)[:120])
            return

        # A socket can write without a request that could be vetoed.
        if self.writes == "refuse":
            await socket.close(code=1008, reason="this session only reads")
            return

        self._gate.expect_socket(socket.url)
        server = socket.connect_to_server()

        if self.writes == "ask":
            socket.on_message(lambda message: self._message(server, socket.url, message))

    def _message(self, server: WebSocketRoute, url: str, message: str | bytes) -> None:
        """What a page says over a socket is asked about like what it posts; what nobody asked for is dropped."""
        body = message.encode() if isinstance(message, str) else message
        sent, action = outgoing("SEND", url, "text/plain", body), self._action
        if action is None or not action.may_send:
            self.note(f"not sent, as no action asked for it: SEND {url}")
            return

        async def dropped(_: str) -> None:
            pass

        async def go() -> dict[str, Any]:
            server.send(message)
            return {"url": url}

        self._decide(action, self._consented(dropped, go, sent, action))

    def _begun(self, request: Request) -> None:
        if self._action is None:
            return

        if request.resource_type in _AWAITED:
            self._action.loading.add(request)

        # One that could change something is about to be held back, of whatever type it is.
        if request.resource_type in _AWAITED or request.method not in READING:
            self._action.moved.set()

    def _ended(self, request: Request) -> None:
        if self._action is not None:
            self._action.loading.discard(request)
            self._action.moved.set()

    def _answered(self, response: Response) -> None:
        if is_page(response.request):
            self.asked, self.status = response.url, response.status
            if self._action is not None:
                self._action.is_guarded = False  # what the next page loads is its own

    def _failed(self, request: Request) -> None:
        self._ended(request)
        if is_page(request):
            self.asked, self.status = request.url, 0


async def _recorded(sent: Outgoing, go: Callable[[], Awaitable[dict[str, Any]]]) -> None:
    """Send as an effect of the run that is not repeated."""

    async def work(record: Operation) -> None:
        record.result = await go()

    def restore(outcome: Outcome) -> None:
        known: Any = outcome.result.data if outcome.result is not None else None
        status = f", and answered with the status {known['status']}" if known and known.get("status") else ""
        raise ToolError(
            f"`{sent.method} {sent.url}` with this content was sent before{status}: it is not sent again",
            hint="open a page that shows what came of it",
        )

    await effect(
        "tool",
        SENT_AS,
        work,
        restore,
        request=sent.shown(),
        once=True,
        effect="write",
        returns="untrusted",
    )


def _plain(value: str) -> str:
    """A value as it is compared: forms send the ends of lines in their own way."""
    return value.replace("\r\n", "\n")


def _repeated(request: Request) -> str:
    """Where a redirect had the browser send the same again: the statuses 307 and 308 do."""
    later = request.redirected_to
    if later is None or later.method in READING or request.method in READING:
        return ""

    return later.url


def _ordinary(url: str, *, moves: bool) -> bool:
    return url.startswith(("http://", "https://")) or (not moves and url.startswith(("data:", "blob:")))
