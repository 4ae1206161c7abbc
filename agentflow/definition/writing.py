"""A workflow as the text of a file, which loads as the same."""

from __future__ import annotations

import re
from typing import Any

import yaml

from agentflow.definition.reading import PLAIN
from agentflow.exceptions import ProjectError
from agentflow.spec import WorkflowSpec, steps_in, to_data

WIDTH = 100
_STR = "tag:yaml.org,2002:str"


class _Dumper(yaml.SafeDumper):
    """Texts of several lines as blocks, as a person writes them; in quotes what YAML 1.1 or 1.2 would read as no text."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 - a text that stands twice is written twice
        return True


def _text(dumper: yaml.SafeDumper, value: str) -> Any:
    # What cannot be seen, such as other line breaks, is kept only by escapes.
    is_plain = all(line.isprintable() for line in value.split("\n"))
    style = ("|" if "\n" in value else None) if is_plain else '"'
    return dumper.represent_scalar(_STR, value, style=style)


_Dumper.add_representer(str, _text)
for _tag, _look, _ in PLAIN:
    _Dumper.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(f"^(?:{_look})$"), None)


def yaml_of(spec: WorkflowSpec) -> str:
    """The definition as YAML that loads as the same spec; raises `ProjectError` where a function has no name to load it by."""
    if nameless := [place for place, step in steps_in(spec) if "<locals>" in step.call]:
        raise ProjectError(
            f"step `{nameless[0]}` is made of a function inside of another, which a file cannot name",
            hint="define it at the top of its module",
        )

    return yaml.dump(to_data(spec), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=WIDTH)
