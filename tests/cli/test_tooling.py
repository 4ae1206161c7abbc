"""`agentflow tools`: what there is, and one call of it by hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.conftest import Launcher

SHOP = '''
from pathlib import Path
from typing import Literal

from agentflow import Evidence, Rate, Secret, ToolError, tool
from agentflow.context import current


@tool(effect="read", returns="trusted", private=True, timeout=5, retries=2, rate=Rate(10, per=60))
async def price(article: str, currency: Literal["EUR", "GBP"] = "EUR", count: int = 1) -> dict[str, float]:
    """The price of an article.

    Without tax.
    """
    return {currency: 2.5 * count}


@tool(effect="write", outside=True)
async def order(article: str) -> str:
    """Order an article."""
    context = current()
    (context.root / "ordered").write_text(article)
    return f"ordered {article}"


@tool(effect="write", needs_approval=True)
async def pay(amount: int) -> str:
    """Pay."""
    return f"paid {amount}"


@tool
async def fails(why: str) -> str:
    """Fail."""
    raise ToolError(f"{why} with {Secret('KEY').reveal()}", hint="try it later")


def made(name: str):
    @tool(name=name)
    async def one(x: int) -> int:
        """One of several."""
        return x + 1
    return one


several = [made("plus"), made("more")]
_hidden = made("hidden")
'''


@pytest.fixture
def shop(project: Path) -> Path:
    """The project with tools."""
    (project / "tools").mkdir()
    (project / "tools" / "shop.py").write_text(SHOP, encoding="utf-8")
    return project


@pytest.mark.usefixtures("shop")
def test_tools_are_listed_with_labels_and_limits(launch: Launcher) -> None:
    called = launch("tools")
    lines = [line.split() for line in called.out.splitlines()]
    assert called.code == 0
    assert [line[0] for line in lines[1:-1]] == ["price", "order", "pay", "fails", "plus", "more"]
    assert "read, trusted, private" in called.out
    assert "timeout 5, retries 2, rate 10 in 60 s" in called.out
    assert "write, untrusted, asks" in called.out


@pytest.mark.usefixtures("shop")
def test_tools_are_listed_as_json_with_their_schema(launch: Launcher) -> None:
    for words in (("tools", "--json"), ("tools", "list", "--json")):
        document = launch(*words).json
        known = {one["name"]: one for one in document["tools"]}
        assert document["errors"] == []
        assert known["price"]["labels"] == {
            "effect": "read",
            "returns": "trusted",
            "private": True,
            "outside": False,
            "needs_approval": False,
        }
        assert known["price"]["limits"] == {"timeout": 5, "retries": 2, "rate": "10 in 60 s"}
        assert known["price"]["parameters"]["required"] == ["article"]
        assert known["price"]["module"] == "tools.shop"


@pytest.mark.usefixtures("shop")
def test_one_tool_is_shown_with_all_that_it_takes(launch: Launcher) -> None:
    out = launch("tools", "list", "price").out
    assert "Without tax." in out
    assert "'EUR' or 'GBP'" in out
    assert "default 1" in out
    called = launch("tools", "list", "prise")
    assert (called.code, "did you mean `price`?" in called.err) == (2, True)


@pytest.mark.usefixtures("shop")
def test_a_tool_is_called_by_hand(launch: Launcher) -> None:
    called = launch("tools", "call", "price", "article=17", "count=3", "--json")
    assert called.code == 0
    assert called.json == {"tool": "price", "status": "done", "result": {"EUR": 7.5}, "error": None}


@pytest.mark.usefixtures("shop")
def test_arguments_come_from_a_file_too_and_words_go_before_it(launch: Launcher, shop: Path) -> None:
    (shop / "given.json").write_text('{"article": "tent", "currency": "GBP", "count": 2}')
    called = launch("tools", "call", "price", "--input", "given.json", "count=4", "--json")
    assert called.json["result"] == {"GBP": 10.0}
    (shop / "given.json").write_text("[1]")
    assert "is no JSON object" in launch("tools", "call", "price", "--input", "given.json").err


@pytest.mark.usefixtures("shop")
def test_arguments_that_do_not_fit_are_told_before_anything_is_done(launch: Launcher) -> None:
    called = launch("tools", "call", "price", "artikel=tent")
    assert called.code in (1, 2)
    assert "`article`: Field required" in called.err
    assert "`price` takes `article`, `currency`, `count`" in called.err


@pytest.mark.parametrize("name", ["order", "pay"])
def test_a_write_is_asked_about_and_not_made_where_nobody_answers(
    launch: Launcher, shop: Path, name: str
) -> None:
    words = ("article=tent",) if name == "order" else ("amount=5",)
    called = launch("tools", "call", name, *words, "--no-input")
    assert (called.code, "add `--yes`" in called.err) == (2, True)
    assert not (shop / "ordered").exists()
    called = launch("tools", "call", name, *words, "--yes", "--json")
    assert (called.code, called.json["status"]) == (0, "done")
    assert (shop / "ordered").exists() == (name == "order")


def test_a_call_that_fails_says_why_without_the_secret(
    launch: Launcher, shop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "`KEY` is not set" in launch("tools", "call", "fails", "why=so").err
    monkeypatch.setenv("KEY", "sesame-open-42")
    called = launch("tools", "call", "fails", "why=so")
    assert called.code == 1
    assert "so with [secret KEY]" in called.err
    assert "try it later" in called.err
    assert "sesame-open-42" not in called.out + called.err
    assert "sesame" not in launch("tools", "call", "fails", "why=so", "--json").out
    # Nothing of a trial is kept.
    assert not (shop / "traces").exists()


@pytest.mark.usefixtures("shop")
def test_two_tools_of_one_name_are_told_apart_by_their_module(launch: Launcher, shop: Path) -> None:
    (shop / "tools" / "other.py").write_text(SHOP, encoding="utf-8")
    called = launch("tools", "call", "price", "article=x")
    assert called.code == 2
    assert "`other.price` or `shop.price`" in called.err
    assert launch("tools", "call", "shop.price", "article=x", "--json").json["result"] == {"EUR": 2.5}


@pytest.mark.usefixtures("shop")
def test_a_module_that_cannot_be_loaded_hides_no_other(launch: Launcher, shop: Path) -> None:
    (shop / "tools" / "broken.py").write_text("import nothing_of_this_name", encoding="utf-8")
    called = launch("tools")
    assert called.code == 1
    assert "price" in called.out
    assert "nothing_of_this_name" in called.err
    document = launch("tools", "--json").json
    assert len(document["tools"]) == 6
    assert "nothing_of_this_name" in document["errors"][0]["message"]


@pytest.mark.usefixtures("project")
def test_a_project_without_tools_says_what_a_tool_is(launch: Launcher) -> None:
    called = launch("tools")
    assert called.code == 0
    assert "a function with `@tool`" in called.out
