"""What cannot be made of a definition: each is told at its place, and the rest is made all the same."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from agentflow.exceptions import DefinitionError, Problem, ProjectError
from agentflow.places import Places

CODE = "AF161"
S = TypeVar("S")


class Telling:
    """The problems of one workflow and of those inside of it; `path` leads to it, such as `handle/`."""

    def __init__(self, places: Places, path: str = "") -> None:
        self.places, self.path = places, path
        self.problems: list[Problem] = []

    def tried(self, make: Callable[[], S], instead: S, name: str, *part: str | int) -> S:
        """What `make` gives, or `instead` where that goes wrong, which is told of what is named, at the place of a part."""
        try:
            return make()
        except DefinitionError as error:
            self.problems += error.problems
        except ProjectError as error:
            self.say(error, name, *part)

        return instead

    def say(self, error: ProjectError, name: str, *part: str | int, code: str = CODE) -> None:
        """Tell an error of what is named, at the place of a part."""
        where = name + self.places.said(*part)
        self.problems.append(Problem(code=code, what=str(error), where=where, hint=error.hint))

    def step(self, id_: str) -> str:
        """A step as problems name it."""
        return f"step `{self.path}{id_}`"
