"""Computer use of OpenAI's models: the SDK's computer tool over a screen of the run, every action of it recorded."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol, TypeVar, cast, runtime_checkable

from agents import AsyncComputer, ComputerTool
from agents.tool import ComputerToolSafetyCheckData

from agentflow.context import Operation, Outcome, current
from agentflow.exceptions import ModelCannot, RunRejected, ToolError
from agentflow.models.calls import STOPS, Calls, jsonable
from agentflow.models.catalog import ModelRef
from agentflow.tools import Call, Tool, made

T = TypeVar("T")
Button = Literal["left", "right", "wheel", "back", "forward"]
Within = Callable[[Coroutine[Any, Any, Any]], Awaitable[Any]]


class Screen(Protocol):
    """What is seen and done on a screen; coordinates are pixels, a screenshot is a PNG."""

    @property
    def dimensions(self) -> tuple[int, int]: ...

    async def screenshot(self) -> bytes: ...


@runtime_checkable
class HasScreen(Protocol):
    """A tool that gives an agent a screen instead of a function."""

    @property
    def screen(self) -> Callable[[], Screen]: ...


def refuse_model(tool: Tool[..., Any], ref: ModelRef) -> None:
    """Raise `ModelCannot` for a model that has no way to use a computer: only the Responses API has one."""
    if ref.provider in ("openai", "scripted"):
        return

    how = "speaks Chat Completions" if ref.provider == "chat" else "cannot see"
    raise ModelCannot(
        f"`{tool.name}` needs a model that uses computers over the Responses API, and `{ref.name}` {how}",
        hint="take a model such as `openai/computer-use-preview`, or give the agent the tools of `browser_tools(...)`",
    )


def computer_tool(
    tool: Tool[..., Any], calls: Calls, within: Callable[[], Within]
) -> ComputerTool[AsyncComputer]:
    """The SDK's tool for `tool`, which has a screen. `within` gives the way to work under the agent that is active."""
    computer = _Computer(tool, cast("HasScreen", tool).screen, calls, within)
    return ComputerTool(computer=computer, on_safety_check=computer.acknowledged)


class _Computer(AsyncComputer):
    """Each action is a recorded call of the tool; one that fails leaves the screen to tell, as the SDK has no words for it."""

    def __init__(
        self, tool: Tool[..., Any], screen: Callable[[], Screen], calls: Calls, within: Callable[[], Within]
    ) -> None:
        self._tool = tool
        self._screen = screen
        self._calls = calls
        self._within = within

    @property
    def environment(self) -> Literal["browser"]:
        return "browser"

    @property
    def dimensions(self) -> tuple[int, int]:
        return self._screen().dimensions

    async def screenshot(self) -> str:
        async def work(record: Operation) -> str:
            image = await self._screen().screenshot()
            record.result = _kept(image)
            return base64.b64encode(image).decode()

        return await self._stopping(self._within()(self._made({"action": "screenshot"}, work, _read)))

    async def click(self, x: int, y: int, button: Button, *, keys: list[str] | None = None) -> None:
        await self._do("click", x=x, y=y, button=button, keys=keys)

    async def double_click(self, x: int, y: int, *, keys: list[str] | None = None) -> None:
        await self._do("double_click", x=x, y=y, keys=keys)

    async def scroll(
        self, x: int, y: int, scroll_x: int, scroll_y: int, *, keys: list[str] | None = None
    ) -> None:
        await self._do("scroll", x=x, y=y, scroll_x=scroll_x, scroll_y=scroll_y, keys=keys)

    async def type(self, text: str) -> None:
        await self._do("type", text=text)

    async def wait(self) -> None:
        await self._do("wait")

    async def move(self, x: int, y: int, *, keys: list[str] | None = None) -> None:
        await self._do("move", x=x, y=y, keys=keys)

    async def keypress(self, keys: list[str]) -> None:
        await self._do("keypress", keys=keys)

    async def drag(self, path: list[tuple[int, int]], *, keys: list[str] | None = None) -> None:
        await self._do("drag", path=path, keys=keys)

    async def acknowledged(self, data: ComputerToolSafetyCheckData) -> bool:
        """Whether a person says that the run may go on although the model's safety check reported something."""
        check = data.safety_check
        asked = {"check": check.code, "message": check.message, "actions": _actions(data)}
        await self._stopping(self._within()(self._asked(asked)))
        return True

    async def _asked(self, asked: dict[str, Any]) -> None:
        context = current()
        if context is None:
            raise RunRejected(
                f"a safety check of the model stopped it: {asked['message'] or asked['check']}",
                hint="within a run a person is asked",
            )

        what = f"The model's safety check reported `{asked['check']}`: {asked['message']} Go on?"
        verdict = await context.ask(self._tool.name, asked, prompt=what)
        if not verdict.approved:
            comment = f": {verdict.comment}" if verdict.comment else ""
            raise RunRejected(f"a person did not acknowledge the safety check `{asked['check']}`{comment}")

    async def _do(self, action: str, **arguments: Any) -> None:
        given = {name: value for name, value in arguments.items() if value is not None}

        async def work(_: Operation) -> None:
            await getattr(self._screen(), action)(**given)

        async def attempt() -> None:
            try:
                await self._made({"action": action, **given}, work, lambda _: None)
            except ToolError as error:
                if isinstance(error, STOPS):
                    raise

        await self._stopping(self._within()(attempt()))

    async def _made(
        self,
        arguments: dict[str, Any],
        work: Callable[[Operation], Awaitable[T]],
        restore: Callable[[Outcome], T],
    ) -> T:
        return await made(Call(tool=self._tool, arguments=arguments), work, restore)

    async def _stopping(self, work: Awaitable[T]) -> T:
        """What ends the step is remembered: the SDK passes on its own words for it instead."""
        try:
            return await work
        except Exception as error:  # noqa: BLE001 - whatever it is, the SDK would say it in other words
            raise self._calls.stopping(error) from None


def _kept(image: bytes) -> dict[str, str]:
    """Keep a picture beside the run, named after its content, and say where."""
    digest = hashlib.sha256(image).hexdigest()
    context = current()
    name = f"screenshot-{digest[:12]}.png"
    path = context.artifact(name, image, "image/png") if context is not None else ""
    return {"path": path, "digest": f"sha256:{digest}"}


def _read(outcome: Outcome) -> str:
    """The picture that was kept: the model is shown again what it saw."""
    known: Any = outcome.result.data if outcome.result is not None else {}
    path = Path(known.get("path", ""))
    image = path.read_bytes() if path.is_file() else b""
    if f"sha256:{hashlib.sha256(image).hexdigest()}" != known.get("digest"):
        raise ToolError(
            f"the screenshot `{path}` of an earlier attempt is gone or was changed", hint="start the run anew"
        )

    return base64.b64encode(image).decode()


def _actions(data: ComputerToolSafetyCheckData) -> list[Any]:
    call = data.tool_call
    actions: Sequence[Any] = call.actions or ([call.action] if call.action is not None else [])
    return [jsonable(action.model_dump(exclude_none=True)) for action in actions]


def by_digest(items: Any) -> Any:
    """Items of a conversation as they are recorded: a picture in them by its digest."""
    match items:
        case list():
            return [by_digest(item) for item in items]
        case dict():
            known = cast("dict[str, Any]", items)
            return {key: by_digest(value) for key, value in known.items()}
        case str() if items.startswith("data:image/"):
            return f"image sha256:{hashlib.sha256(items.partition(',')[2].encode()).hexdigest()}"
        case _:
            return items
