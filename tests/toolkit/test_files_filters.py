"""Which files a search is limited to: patterns for paths, and conditions on what is known of a file."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from agentflow.exceptions import ToolArgumentsInvalid, UnknownName
from agentflow.toolkit.files import Condition, Filter
from agentflow.toolkit.files.filters import Metadata, filter_from, filter_of_words
from agentflow.toolkit.files.globs import matches


@pytest.mark.parametrize(
    ("pattern", "fitting", "others"),
    [
        ("*.pdf", ("a.pdf", "x/y/a.pdf", ".pdf"), ("a.pdf.md", "a.PDF")),
        ("hr/*.md", ("hr/a.md",), ("hr/x/a.md", "x/hr/a.md")),
        ("hr/**", ("hr/a.md", "hr/x/a.md"), ("hra/a.md", "x/hr/a.md")),
        ("hr/", ("hr/a.md", "x/hr/a.md"), ("hr.md",)),
        ("**/drafts/*.md", ("drafts/a.md", "x/y/drafts/a.md"), ("drafts/x/a.md",)),
        ("a/**/b/**/c", ("a/b/c", "a/x/b/y/z/c"), ("a/c", "a/b/c/d")),
        ("r[0-9].md", ("r1.md",), ("rx.md", "r12.md")),
        ("r[!0-9].md", ("rx.md",), ("r1.md",)),
        ("./a?.md", ("ab.md",), ("x/ab.md", "a.md", "a/.md")),
        ("**", ("a", "x/a"), ()),
        ("a+(b).md", ("a+(b).md",), ("aab.md",)),
    ],
)
def test_patterns_fit_whole_paths(pattern: str, fitting: tuple[str, ...], others: tuple[str, ...]) -> None:
    """Stars stay inside of a folder, two of them cross any number, and a bare name is looked for at any depth."""
    assert [path for path in fitting if not matches(path, [pattern])] == []
    assert [path for path in others if matches(path, [pattern])] == []


@pytest.mark.timeout(5)
def test_no_pattern_takes_long() -> None:
    """Patterns may come from a model: many stars take no more than the product of both lengths."""
    assert not matches("/".join(["a" * 50] * 40), ["/".join(["**", "*a*a*a*a*a*a*a*b"] * 40)])


FILES: dict[str, Metadata] = {
    "hr/leave.md": {"kind": "md", "year": 2024, "public": True, "tags": ["time", "people"]},
    "hr/pay.pdf": {"kind": "pdf", "year": 2022, "public": False, "signed": "2022-05-01"},
    "it/vpn.md": {"kind": "md", "year": 2020.5, "code": "007"},
}


def fitting(filter_: Filter) -> set[str]:
    filter_.check(FILES.values())
    return {
        path.partition("/")[2].partition(".")[0] for path, known in FILES.items() if filter_.fits(path, known)
    }


@pytest.mark.parametrize(
    ("words", "files"),
    [
        (["kind=md"], {"leave", "vpn"}),
        (["kind=md,pdf", "year>=2021"], {"leave", "pay"}),
        (["year>=2020", "year<=2022"], {"pay", "vpn"}),
        (["year=2024"], {"leave"}),
        (["public=true"], {"leave"}),
        (["tags=people"], {"leave"}),
        (["signed>=2022-01-01", "signed<=2022-12-31"], {"pay"}),
        (['code="007"'], {"vpn"}),
        (["path=hr/**"], {"leave", "pay"}),
        (["path=*.pdf,it/**"], {"pay", "vpn"}),
        (["kind=md", "path=hr/**", "year>=2025"], set[str]()),
    ],
)
def test_words_of_the_command_line_are_conditions(words: list[str], files: set[str]) -> None:
    """Equal, one of several, at least, at most, and paths: all of them must hold."""
    assert fitting(filter_of_words(words)) == files


@pytest.mark.parametrize(
    ("where", "files"),
    [
        ({"kind": "md"}, {"leave", "vpn"}),
        ({"kind": ["md", "pdf"], "year": {"least": 2022, "most": 2024}}, {"leave", "pay"}),
        ({"year": {"most": 2021}}, {"vpn"}),
        ({"signed": date(2022, 5, 1)}, {"pay"}),
        ({"path": ["hr/*.pdf"]}, {"pay"}),
        ({}, {"leave", "pay", "vpn"}),
    ],
)
def test_json_data_is_a_filter(where: dict[str, Any], files: set[str]) -> None:
    """A tool's argument says the same as data."""
    assert fitting(filter_from(where)) == files


@pytest.mark.parametrize(
    "where", [{"year": {"from": 1}}, {"year": []}, {"year": None}, {"year": [{}]}, {"year": {}}]
)
def test_data_that_is_no_condition_is_refused(where: dict[str, Any]) -> None:
    """Unknown bounds, empty lists and things inside of things are errors, not filters that fit nothing."""
    with pytest.raises(ToolArgumentsInvalid):
        filter_from(where)


@pytest.mark.parametrize("word", ["kind", "=md", "kind=", "kind>3", "path"])
def test_words_that_are_no_condition_are_refused(word: str) -> None:
    """What cannot be read as a condition says how one is written."""
    with pytest.raises(ToolArgumentsInvalid, match="is no condition") as refused:
        filter_of_words([word])

    assert "name>=value" in refused.value.hint


def test_a_condition_that_can_never_hold_is_told() -> None:
    """A misspelled attribute, or a text where there are numbers, is an error with what is known."""
    with pytest.raises(UnknownName, match="no attribute `yeer`") as unknown:
        fitting(filter_of_words(["yeer=2024"]))

    assert unknown.value.nearest == ["year"]
    with pytest.raises(ToolArgumentsInvalid, match="`year` is compared with 'new'") as wrong:
        fitting(filter_of_words(["year=new"]))

    assert wrong.value.hint.endswith("it is a number")


def test_true_is_no_number() -> None:
    """Python takes True for 1; a filter does not."""
    assert not Condition(name="n", values=(1,)).holds({"n": True})
    assert not Condition(name="n", least=0).holds({"n": True})
    assert Condition(name="n", values=(2,)).holds({"n": 2.0})
