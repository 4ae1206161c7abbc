"""Policies for tasks in which the right thing is found and clicked."""

from __future__ import annotations

import asyncio
import re

from tests.miniwob.desk import Desk, Policy, said


def quoted(goal: str) -> list[str]:
    return re.findall(r'"([^"]*)"', goal)


async def named_button(desk: Desk) -> None:
    found = quoted(desk.goal) or re.findall(r"button ([A-Z]+)", desk.goal)
    await desk.push(found[0]) if found else await desk.click(desk.one("button"))


async def sequence(desk: Desk) -> None:
    await desk.push("ONE")
    wait = re.search(r"wait (\d+) second", desk.goal)
    # The task wants the time kept to within a sixth; what the click itself took counts.
    await asyncio.sleep(int(wait[1]) - 0.2 if wait else 0)
    await desk.push("TWO")


def _minutes(text: str) -> int:
    hours, minutes = re.findall(r"\d+", text)
    return int(hours) * 60 + int(minutes)


async def book(desk: Desk) -> None:
    """Choose among offers, each a duration and then a button with a price."""
    durations = [_minutes(said(node)) for node in desk.every() if re.fullmatch(r"\d+h \d+m", said(node))]
    buttons = [node for node in desk.every("button") if "$" in said(node)]
    prices = [int(said(node).rpartition("$")[2]) for node in buttons]
    keys = prices if re.search("cheap|expensive|price|cost", desk.goal) else durations
    choose = max if re.search("longest|expensive|most|highest", desk.goal) else min
    await desk.click(buttons[keys.index(choose(keys))])


async def collapsible(desk: Desk) -> None:
    await desk.click(desk.one("tab"))
    await desk.push("Submit")


async def words_in_sections(desk: Desk) -> None:
    """Open one section or tab after another until the words stand there."""
    words = quoted(desk.goal)[0]
    for number in range(len(desk.every("tab"))):
        if await _clicked(desk, words):
            return

        tab = desk.one("tab", number=number)
        link = next((child for child in tab.walk() if child.role == "link"), tab)
        await desk.click(link)
        await _opened(desk)

    await _clicked(desk, words)


async def _opened(desk: Desk) -> None:
    """Look until nothing moves."""
    before = None
    while before != desk.root:
        before = desk.root
        await desk.look()


async def _clicked(desk: Desk, words: str) -> bool:
    texts = [node for node in desk.every() if node.text and words in node.text.split()]
    for node in texts:
        await desk.click(node, words)
        return True

    return False


async def link(desk: Desk) -> None:
    assert await _clicked(desk, quoted(desk.goal)[0])


async def close_dialog(desk: Desk) -> None:
    name = quoted(desk.goal)[0]
    await desk.push("Close" if name == "x" else name)


async def menu(desk: Desk) -> None:
    *above, last = desk.goal.removeprefix("Select ").split(">")
    for name in above:
        await desk.do("hover", ref=(await desk.until("menuitem", name)).ref)

    await desk.click(await desk.until("menuitem", last))


async def menu_behind_button(desk: Desk) -> None:
    item = quoted(desk.goal)[-1]
    await desk.push("Menu")
    await desk.look()
    for node in desk.every("menuitem"):
        if desk.every("menuitem", item):
            break

        await desk.do("hover", ref=node.ref)
        # What is in it shows only after a while, and in most there is nothing.
        for _ in range(8):
            if not desk.every("menuitem", item):
                await asyncio.sleep(0.1)
                await desk.look()

    await desk.click(desk.one("menuitem", item))


async def tab(desk: Desk) -> None:
    found = re.search(r"Tab #\d+", desk.goal)
    assert found
    await desk.click(desk.one("link", found[0]))


async def greatest(desk: Desk) -> None:
    await desk.click(desk.one("generic", str(max(desk.numbers()))))
    await desk.push("Submit")


async def focus(desk: Desk) -> None:
    found = re.search(r"(\d+)(st|nd|rd|th)", desk.goal)
    await desk.click(desk.one("textbox", number=int(found[1]) - 1 if found else 0))


async def generate(desk: Desk) -> None:
    found = re.search(r"(greater|less) than (-?\d+)|(odd|even)", desk.goal)
    assert found
    for _ in range(100):
        await desk.push("Generate")
        number = desk.numbers()[0]
        if found[3]:
            fits = number % 2 == (found[3] == "odd")
        else:
            fits = number > int(found[2]) if found[1] == "greater" else number < int(found[2])

        if fits:
            return await desk.push("Submit")

    raise AssertionError("no number fits")


async def tree(desk: Desk) -> None:
    """Open whatever was not yet opened, until the name is there."""
    name = quoted(desk.goal)[0]
    opened = set[str]()
    while not desk.every("generic", name):
        node = next(node for node in desk.every("generic") if node.text and node.text not in opened)
        opened.add(node.text)
        await desk.click(node)
        await _opened(desk)

    await desk.click(next(node for node in desk.every("generic") if node.text == name))


async def phone_book(desk: Desk) -> None:
    found = re.search(
        r"Find (\w+) in the contact book and click on their (phone number|email|address)", desk.goal
    )
    assert found
    while not desk.every("heading", found[1]):
        await desk.click(desk.one("link", ">"))

    label = {"phone number": "Phone:", "email": "Email:", "address": "Address:"}[found[2]]
    row = next(n for n in desk.every("generic") if any(c.text == label for c in n.children))
    await desk.click(next(c for c in row.children if c.ref))


async def odd_or_even(desk: Desk) -> None:
    rows = [n for n in desk.every("generic") if len([c for c in n.children if c.role == "button"]) == 2]
    for row in rows:
        number = next(int(c.text) for c in row.children if c.text)
        name = "Odd" if number % 2 else "Even"
        await desk.click(next(c for c in row.children if c.role == "button" and said(c) == name))

    await desk.push("Submit")


async def agreement(desk: Desk) -> None:
    """The name and the buttons can be used only once the text was read to its end."""
    found = quoted(desk.goal)
    if not found:
        await desk.push("Cancel")
        return

    await desk.do("scroll", ref=desk.one("textbox").ref, down=100_000)
    await desk.fill(desk.one("textbox", "Name"), found[0])
    await desk.push(found[1])


async def stock(desk: Desk) -> None:
    found = re.search(r"less than \$(\d+\.\d+)", desk.goal)
    assert found
    async with asyncio.timeout(60):
        while (price := _price(desk)) is None or price >= float(found[1]):
            await desk.look()

    await desk.push("Buy")


def _price(desk: Desk) -> float | None:
    texts = [node.inner_text() for node in desk.every("generic")]
    shown = next(match for text in texts if (match := re.match(r"Stock price:(?: \$([\d.]+))?", text)))
    return float(shown[1]) if shown[1] else None


async def search_engine(desk: Desk) -> None:
    found = re.search(r"the (\d+)(st|nd|rd|th) search result", desk.goal)
    assert found
    await desk.fill(desk.one("textbox"), quoted(desk.goal)[0])
    await desk.push("Search")
    page, place = divmod(int(found[1]) - 1, 3)
    for _ in range(page):
        await desk.click(desk.one("link", ">"))

    links = [n for n in desk.every("link") if not re.fullmatch(r"[\d<>]+", said(n))]
    await desk.click(links[place])


async def order(desk: Desk) -> None:
    """Dishes are rows with a name, pictures that say what is in them, and a minus and a plus."""
    rows = [node for node in desk.every("generic") if node.children and node.children[-1].text == "- +"]
    found = re.search(r"Order (\d+) items that are (.*)", desk.goal)
    if found:
        fitting = [row for row in rows if any(n.role == "img" and n.name == found[2] for n in row.walk())]
        wanted = [fitting[0]] * int(found[1])
    else:
        names = desk.goal.partition(": ")[2].split(", ")
        wanted = [next(row for row in rows if name in row.inner_text()) for name in names]

    for row in wanted:
        now = next(node for node in desk.every("generic") if node.ref == row.ref)
        await desk.click(now.children[-1], "+")

    await desk.click(desk.every("button")[-1])


CLICKING: dict[str, Policy] = {
    "button-delay": sequence,
    "buy-ticket": book,
    "click-button": named_button,
    "click-button-sequence": sequence,
    "click-collapsible": collapsible,
    "click-collapsible-nodelay": collapsible,
    "click-collapsible-2": words_in_sections,
    "click-collapsible-2-nodelay": words_in_sections,
    "click-dialog": close_dialog,
    "click-dialog-2": close_dialog,
    "click-link": link,
    "click-menu": menu,
    "click-menu-2": menu_behind_button,
    "click-tab": tab,
    "click-tab-2": words_in_sections,
    "click-tab-2-easy": words_in_sections,
    "click-tab-2-medium": words_in_sections,
    "click-tab-2-hard": words_in_sections,
    "click-test": named_button,
    "click-test-2": named_button,
    "click-test-transfer": named_button,
    "find-greatest": greatest,
    "focus-text": focus,
    "focus-text-2": focus,
    "generate-number": generate,
    "navigate-tree": tree,
    "odd-or-even": odd_or_even,
    "order-food": order,
    "phone-book": phone_book,
    "search-engine": search_engine,
    "sign-agreement": agreement,
    "stock-market": stock,
    "unicode-test": named_button,
}
