"""What the names in a definition stand for: types, steps and tools of the project's own packages, never other code."""

from __future__ import annotations

import inspect
import re
from dataclasses import dataclass
from importlib import import_module
from pkgutil import iter_modules
from types import ModuleType
from typing import Any, get_args

from agentflow.exceptions import AgentflowError, ProjectError, UnknownName
from agentflow.steps.function import FunctionStep
from agentflow.steps.naming import tools_in
from agentflow.tools import Tool
from agentflow.typeref import resolve_type

# Tools that no name in a module leads to: those that were made of a document.
_ORIGIN = re.compile(r"openapi:[^#]+#")
_MODULE = re.compile(r"([A-Za-z_][\w.]*):[A-Za-z_]")
# Modules of agentflow whose types a file may name; others do something when they are imported, or hold ways out.
_OURS = ("agentflow", "agentflow.evidence", "agentflow.claims.finding", "agentflow.steps.approval")
# Steps of agentflow itself that a file may name.
_OUR_STEPS = tuple(f"agentflow.steps.claims:{verb}_claims" for verb in ("check", "require", "annotate"))
# Modules whose types any file may name.
_KNOWN = (
    "builtins", "collections", "datetime", "decimal", "enum", "fractions", "pathlib", "pydantic", "typing", "uuid",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Names:
    """The names that a definition may use; each raises `ProjectError` for what it may not, or what is not there."""

    packages: tuple[str, ...]

    def type(self, text: str) -> Any:
        """A type; it is imported when it is read, so only modules that are known to do no harm by that may be named."""
        for module in _MODULE.findall(text):
            root = module.partition(".")[0]
            if root not in (*self.packages, *_KNOWN) and module not in _OURS:
                raise ProjectError(
                    f"the type `{text}` is of `{module}`, which a file may not name",
                    hint=f"use types of {', '.join(f'`{p}`' for p in self.packages)}, agentflow, or plain ones",
                )

        found = resolve_type(text)
        if _holds_routine(found):
            raise ProjectError(f"`{text}` is no type", hint="name a class, or one of the plain types")

        return found

    def step(self, name: str) -> FunctionStep[Any, Any]:
        found = self._registered(name)
        if not isinstance(found, FunctionStep):
            raise ProjectError(f"`{name}` is no step", hint="make it one with `@step`")

        return found

    def tools(self, name: str) -> list[Tool[..., Any]]:
        """The tool `module:name`, the tools of such a list, or the one of that origin, such as `openapi:Shop#listOrders`."""
        if _ORIGIN.match(name):
            return [self._of_origin(name)]

        found = tools_in(self._registered(name))
        if not found:
            raise ProjectError(f"`{name}` is no tool", hint="make it one with `@tool`")

        return found

    def _of_origin(self, origin: str) -> Tool[..., Any]:
        package = self.packages[-1]
        names = [m.name for m in iter_modules(import_module(package).__path__) if not m.name.startswith("_")]
        values = [v for n in names for v in vars(_imported(f"{package}.{n}", f"{package}.{n}")).values()]
        known = {tool.origin: tool for value in values for tool in tools_in(value)}
        if origin not in known:
            raise UnknownName(f"tool in `{package}`", origin, [name for name in known if _ORIGIN.match(name)])

        return known[origin]

    def _registered(self, name: str) -> Any:
        module, _, attribute = name.partition(":")
        is_known = name in _OUR_STEPS or module.split(".")[0] in self.packages
        if not is_known or not attribute:
            raise ProjectError(
                f"`{name}` cannot be used in a file",
                hint=f"name a step or tool as `module:name` in {' or '.join(f'`{p}`' for p in self.packages)}",
            )

        loaded = _imported(module, name)
        if not hasattr(loaded, attribute):
            raise UnknownName(f"`{module}` name", attribute, dir(loaded))

        return getattr(loaded, attribute)


def _imported(module: str, name: str) -> ModuleType:
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        raise ProjectError(f"`{name}` cannot be found: {error}") from None
    except AgentflowError:
        raise
    except Exception as error:  # whatever a module does when it is imported
        what = f"{type(error).__name__}: {error}"
        raise ProjectError(f"`{module}` cannot be imported: {what}") from error


def _holds_routine(type_: Any) -> bool:
    """Whether something that is called, and no type, is named: what reads values of a type would call it."""
    return inspect.isroutine(type_) or inspect.ismodule(type_) or any(map(_holds_routine, get_args(type_)))
