"""A sandbox for Python programs that a model wrote: an interpreter of its own, in a process of its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from time import perf_counter
from types import MappingProxyType
from typing import Any, Literal, TypeVar, get_args

from agentflow.context import current
from agentflow.exceptions import CodeFailed, ToolError
from agentflow.toolkit.sandbox.bubblewrap import Bubblewrap
from agentflow.toolkit.sandbox.engine import Engine, LimitHit, Limits, Program, Session
from agentflow.toolkit.sandbox.monty import MontyEngine
from agentflow.toolkit.sandbox.mounts import PACKAGES
from agentflow.toolkit.sandbox.probe import probe
from agentflow.toolkit.sandbox.result import CodeResult, result_of, tame

EngineName = Literal["auto", "monty", "bwrap"]
F = TypeVar("F", bound=Callable[..., Any])
_NOTHING: Mapping[str, Any] = MappingProxyType({})
_MEGABYTES = {"monty": 256, "bwrap": 1024}
_KEPT = "Variables and files are kept for the next programs of the run, until one hits a limit or the run is taken up again."
_FRESH = "Each program begins anew: nothing of earlier ones is there."
_LOST = "; the variables and files that earlier programs left are gone"


class Sandbox:
    """Runs programs within limits, on one of two engines, never as a bare process of this machine.

    `engine`: `monty` is an interpreter of its own for a part of Python, there on every system; `bwrap` is CPython with
    `packages` in Linux namespaces; `auto` takes `bwrap` where a trial shows that it works. Limits: `seconds` for each
    program; `megabytes` of memory (256, with `bwrap` 1024) and `disk` megabytes of files for all programs of a session;
    `output` characters printed, and as many given back; `files` left at a time; `threads`.

    In a run, programs share one session where the sandbox `keeps` it: each sees variables and files of the earlier ones.
    """

    def __init__(
        self,
        *,
        engine: EngineName = "auto",
        keeps: bool = True,
        seconds: float = 10,
        megabytes: int | None = None,
        disk: int = 32,
        output: int = 64_000,
        files: int = 20,
        threads: int = 32,
        packages: tuple[str, ...] = PACKAGES,
    ) -> None:
        self._asked: EngineName = engine
        self._packages = packages
        self._keeps = keeps
        self._engine: Engine | None = None
        self._limits: Callable[[str], Limits] = lambda name: Limits(
            seconds=seconds,
            megabytes=megabytes or _MEGABYTES[name],
            disk=disk,
            output=output,
            files=files,
            threads=threads,
        )

    @property
    def engine(self) -> Engine:
        """The engine that runs the programs, chosen when it is first asked for."""
        if self._engine is None:
            self._engine = _chosen(self._asked, self._packages)

        return self._engine

    @property
    def reason(self) -> str:
        """Why it is this engine."""
        return probe().reason if self._asked == "auto" else f"`{self._asked}` was asked for"

    @property
    def limits(self) -> Limits:
        return self._limits(self.engine.name)

    @property
    def description(self) -> str:
        """What a program finds here, for the description of a tool."""
        limits = self.limits
        return (
            "The last line must be an expression: its value is the result, as JSON, at most "
            f"{limits.output:,} characters long.\n{self.engine.describe(limits)}\n{_KEPT if self._keeps else _FRESH}"
        )

    async def run(
        self, code: str, *, data: Mapping[str, Any] = _NOTHING, files: Mapping[str, str | bytes] = _NOTHING
    ) -> CodeResult:
        """Run `code` with the values of `data` as variables, and `files` (name to content) in its work folder.

        Raises `CodeFailed` with the last lines of the traceback, or naming the limit that was hit.
        """
        context = current()
        if context is None or not self._keeps:
            async with self.session() as session:
                return await session.run(code, data=data, files=files)

        def make() -> SandboxSession:
            session = SandboxSession(self)
            context.on_close(session.close)
            return session

        return await context.shared(f"sandbox:{id(self)}", make).run(code, data=data, files=files)

    @asynccontextmanager
    async def session(self) -> AsyncGenerator[SandboxSession, None]:
        """Programs run in this session see what its earlier ones left."""
        session = SandboxSession(self)
        try:
            yield session
        finally:
            await session.close()


class SandboxSession:
    """Programs one after another, each seeing variables and files of the earlier ones, until one hits a limit."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox
        self._turn = asyncio.Lock()
        self._session: Session | None = None
        self._programs = 0

    async def run(
        self, code: str, *, data: Mapping[str, Any] = _NOTHING, files: Mapping[str, str | bytes] = _NOTHING
    ) -> CodeResult:
        """Run `code` when those before it have ended; see `Sandbox.run`."""
        program = Program(code=code, data=data, files={name: _bytes(text) for name, text in files.items()})
        async with self._turn:
            # The trial of an engine waits for a process.
            await asyncio.to_thread(lambda: self._sandbox.engine)
            session = self._current()
            self._programs += 1
            begin = perf_counter()
            try:
                ran = await session.run(program)
            except LimitHit as error:
                raise CodeFailed(
                    f"{tame(str(error))}{_LOST if self._programs > 1 else ''}", hint=error.hint
                ) from None
            except CodeFailed as error:
                raise CodeFailed(tame(str(error)), hint=error.hint) from None

            return result_of(
                ran,
                seconds=perf_counter() - begin,
                engine=self._sandbox.engine.name,
                programs=self._programs,
            )

    async def close(self) -> None:
        """End the interpreter; a later program begins anew."""
        if self._session is not None:
            await self._session.close()

    def _current(self) -> Session:
        if self._session is None or self._session.is_over:
            self._session = self._sandbox.engine.session(self._sandbox.limits)
            self._programs = 0

        return self._session


def _bytes(content: str | bytes) -> bytes:
    return content.encode(errors="backslashreplace") if isinstance(content, str) else content


def described(purpose: str, sandbox: Sandbox) -> Callable[[F], F]:
    """Give a function the docstring of a tool that runs programs: its purpose, and what `sandbox` has and has not."""

    def write(function: F) -> F:
        function.__doc__ = f"{purpose}\n\n{sandbox.description}"
        return function

    return write


def _chosen(name: EngineName, packages: tuple[str, ...]) -> Engine:
    if name not in get_args(EngineName):
        raise ToolError(f"there is no sandbox `{name}`", hint="there are `auto`, `monty` and `bwrap`")

    if name == "monty":
        return MontyEngine()

    found = probe()
    if found.works:
        return Bubblewrap(path=found.path, packages=packages)

    if name == "bwrap":
        raise ToolError(
            f"the sandbox `bwrap` does not work here: {found.reason}",
            hint="use `monty`, or `auto`, which takes `monty` where it must",
        )

    return MontyEngine()
