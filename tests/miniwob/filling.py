"""Policies for tasks in which something is filled in and sent."""

from __future__ import annotations

import calendar
import re

from agentflow.toolkit.browser.snapshot import Node
from tests.miniwob.clicking import book, quoted
from tests.miniwob.desk import Desk, Policy, said


def _listed(goal: str) -> list[str]:
    """The things that are named between `Select` and the rest of the sentence."""
    found = re.search(r"Select (.*?)(?: from the (?:scroll )?list)? and click Submit", goal)
    assert found
    return [] if found[1] == "nothing" else found[1].split(", ")


async def checkboxes(desk: Desk) -> None:
    for name in _listed(desk.goal):
        await desk.do("check", ref=desk.one("checkbox", name).ref)

    await desk.push("Submit")


async def option(desk: Desk) -> None:
    await desk.do("check", ref=desk.one("radio", _listed(desk.goal)[0]).ref)
    await desk.push("Submit")


async def choose_list(desk: Desk) -> None:
    await desk.do("select", ref=desk.one("combobox").ref, value=_listed(desk.goal)[0])
    await desk.push("Submit")


async def scroll_list(desk: Desk) -> None:
    await desk.do("select", ref=desk.one("listbox").ref, value=_listed(desk.goal))
    await desk.push("Submit")


async def date(desk: Desk) -> None:
    await desk.click(desk.one("textbox"))
    await pick_date(desk)
    await desk.push("Submit")


async def pick_date(desk: Desk) -> None:
    """In a calendar that shows a month: the arrows are called Prev and Next, and each day is a link."""
    found = re.search(r"(\d\d)/(\d\d)/(\d{4})", desk.goal)
    assert found
    wanted = int(found[3]) * 12 + int(found[1]) - 1
    while (shown := _month(desk)) != wanted:
        await desk.click(desk.one(name="Prev" if shown > wanted else "Next"))

    await desk.click(desk.one("link", str(int(found[2]))))


MONTHS = [*calendar.month_name][1:]


def _month(desk: Desk) -> int:
    pattern = re.compile(rf"({'|'.join(MONTHS)}) (\d{{4}})")
    found = next(match for node in desk.every("generic") if (match := pattern.fullmatch(node.inner_text())))
    return int(found[2]) * 12 + MONTHS.index(found[1])


async def text(desk: Desk) -> None:
    value = quoted(desk.goal)[0]
    value = (
        value.upper() if "upper case" in desk.goal else value.lower() if "lower case" in desk.goal else value
    )
    for box in desk.every("textbox"):
        await desk.fill(box, value)

    await desk.push("Submit")


async def enter_date(desk: Desk) -> None:
    found = re.search(r"(\d\d)/(\d\d)/(\d{4})", desk.goal)
    assert found
    await desk.fill(desk.one("textbox"), f"{found[3]}-{found[1]}-{found[2]}")
    await desk.push("Submit")


async def enter_time(desk: Desk) -> None:
    found = re.search(r"(\d+):(\d\d) (AM|PM)", desk.goal)
    assert found
    hour = int(found[1]) % 12 + (12 if found[3] == "PM" else 0)
    await desk.fill(desk.one("textbox"), f"{hour:02}:{found[2]}")
    await desk.push("Submit")


async def word(desk: Desk) -> None:
    found = re.search(r"(\d+)(st|nd|rd|th)", desk.goal)
    assert found
    words = desk.one("paragraph").text.split()
    await desk.fill(desk.one("textbox"), re.sub(r"[.,]", "", words[int(found[1]) - 1]))
    await desk.push("Submit")


async def copy(desk: Desk) -> None:
    """A page as text does not show the spaces at the end of a field."""
    full = [box for box in desk.every("textbox") if box.text]
    empty = next(box for box in desk.every("textbox") if not box.text)
    found = re.search(r"(\d+)(st|nd|rd|th) text area", desk.goal)
    held = await desk.do("read_field", ref=full[int(found[1]) - 1 if found else 0].ref)
    await desk.fill(empty, held)
    await desk.push("Submit")


async def last_word(desk: Desk) -> None:
    boxes = desk.every("textbox")
    await desk.fill(boxes[-1], re.sub(r"[.,]", "", boxes[0].text.split()[-1]))
    await desk.push("Submit")


async def scroll_to_end(desk: Desk) -> None:
    down = 100_000 if "bottom" in desk.goal else -100_000
    await desk.do("scroll", ref=desk.one("textbox").ref, down=down)
    await desk.push("Submit")


async def login(desk: Desk) -> None:
    for box, value in zip(desk.every("textbox"), quoted(desk.goal), strict=True):
        await _filled(desk, box, value)

    await desk.click(desk.every("button")[-1])


async def _filled(desk: Desk, box: Node, value: str) -> None:
    """Fill a field; something may pop up over the page, which is sent away first."""
    await desk.fill(box, value)
    await desk.look()
    for node in desk.every("button", "Cancel") + desk.every("button", "Close"):
        await desk.click(node)
        break

    if box.ref in {n.ref for n in desk.every("textbox")} and desk.one("textbox").ref:
        now = next(n for n in desk.every("textbox") if n.ref == box.ref)
        if now.text != value:
            await desk.fill(now, value)


async def movies(desk: Desk) -> None:
    found = re.search(r"for (.*) movies directed by (.*) from year (\d+)", desk.goal)
    assert found
    values = {"genre": found[1], "director": found[2], "year": found[3]}
    nodes = desk.every()
    for number, box in enumerate(nodes):
        if box.role == "textbox":
            before = [
                n
                for n in nodes[:number]
                if n.role in ("generic", "rowheader", "paragraph", "cell") and said(n)
            ]
            label = next(
                k for n in reversed(before) for k in values if k in said(n).casefold() and len(said(n)) < 25
            )
            await desk.fill(box, values[label])

    last = [n for n in nodes if said(n) in ("Search", "Submit") and (n.role == "button" or not n.children)]
    await desk.click(last[-1])


async def digits(desk: Desk) -> None:
    """The seven rows of a digit, as on a display of four columns."""
    rows = DIGITS[int(quoted(desk.goal)[0])]
    boxes = desk.every("checkbox")
    for box, mark in zip(boxes, "".join(rows), strict=True):
        if mark == "#":
            await desk.do("check", ref=box.ref)

    await desk.push("Submit")


# As the picture beside the boxes shows them.
DIGITS = [
    [".##.", "#..#", "#..#", "#..#", "#..#", "#..#", ".##."],
    ["..#.", ".##.", "..#.", "..#.", "..#.", "..#.", "..#."],
    [".##.", "#..#", "#..#", "..#.", ".#..", "#...", "####"],
    [".##.", "#..#", "...#", ".##.", "...#", "#..#", ".##."],
    ["#...", "#.#.", "#.#.", "####", "..#.", "..#.", "..#."],
    ["####", "#...", "#...", "###.", "...#", "#..#", ".##."],
    [".##.", "#..#", "#...", "###.", "#..#", "#..#", ".##."],
    ["####", "#..#", "...#", "..#.", "..#.", ".#..", ".#.."],
    [".##.", "#..#", "#..#", ".##.", "#..#", "#..#", ".##."],
    [".##.", "#..#", "#..#", ".###", "...#", "#..#", ".##."],
]


async def read_table(desk: Desk) -> None:
    cells = [said(n) for n in desk.every("cell")]
    table = dict(zip(cells[::2], cells[1::2], strict=True))
    found = re.search(r"value of (.*) into", desk.goal)
    if found:
        await desk.fill(desk.one("textbox"), table[found[1]])
    else:
        for group in [
            n for n in desk.every("generic") if [c.role for c in n.children] == ["generic", "textbox"]
        ]:
            await desk.fill(group.children[1], table[group.children[0].text.rstrip(":")])

    await desk.push("Submit")


async def algebra(desk: Desk) -> None:
    line = next(n.text for n in desk.every("generic") if re.search(r"x.*=.*\d", n.text))
    found = re.fullmatch(r"(\d+|x) ([+-]) (\d+|x) = (-?\d+)", line)
    assert found, line
    left, sign, right, total = found.groups()
    if left == "x":
        x = int(total) - int(right) if sign == "+" else int(total) + int(right)
    else:
        x = int(total) - int(left) if sign == "+" else int(left) - int(total)

    await desk.fill(desk.one("textbox"), str(x))
    await desk.push("Submit")


async def arithmetic(desk: Desk) -> None:
    line = next(n.text for n in desk.every("generic") if re.search(r"\d .* \d+ =", n.text))
    left, sign, right = re.findall(r"\d+|[+x-]", line)[:3]
    a, b = int(left), int(right)
    await desk.fill(desk.one("textbox"), str({"+": a + b, "-": a - b, "x": a * b}[sign]))
    await desk.push("Submit")


async def guess(desk: Desk) -> None:
    low, high = 0, 9
    while low <= high:
        number = (low + high) // 2
        await desk.fill(desk.one("spinbutton"), str(number))
        await desk.push("Submit")
        texts = " ".join(n.text for n in desk.every("generic"))
        if "higher" in texts:
            low = number + 1
        elif "lower" in texts:
            high = number - 1
        else:
            return


async def spinner(desk: Desk) -> None:
    found = re.search(r"Select (-?\d+)", desk.goal)
    assert found
    await desk.fill(desk.one("spinbutton"), found[1])
    await desk.push("Submit")


async def slid(desk: Desk, target: int, shown: int) -> None:
    await desk.press(
        *(["ArrowRight"] * (target - shown) if target > shown else ["ArrowLeft"] * (shown - target))
    )


async def sliders(desk: Desk) -> None:
    """Sliders have no names; they are reached by the key Tab, in their order, and moved by arrows."""
    wanted = [int(n) for n in re.findall(r"-?\d+", desk.goal)]
    for number, target in enumerate(wanted):
        await desk.press("Tab")
        await slid(desk, target, desk.numbers()[number])

    await desk.push("Submit")


async def form_sequence(desk: Desk) -> None:
    found = re.search(r"Select (-?\d+) with the slider, click the (\d)", desk.goal)
    assert found
    await desk.press("Tab")
    await slid(desk, int(found[1]), desk.numbers()[0])
    await desk.do("check", ref=desk.one("checkbox", number=int(found[2]) - 1).ref)
    await desk.push("Submit")


async def form_sequence_2(desk: Desk) -> None:
    found = re.search(r'Check the (\d)\w+ radio button and enter the number "(.*)" into the (\d)', desk.goal)
    assert found
    await desk.do("check", ref=desk.one("radio", number=int(found[1]) - 1).ref)
    await desk.fill(desk.one("textbox", number=int(found[3]) - 1), found[2])
    await desk.push("Submit")


async def form_sequence_3(desk: Desk) -> None:
    found = re.search(r"Choose (.*) from the dropdown", desk.goal)
    assert found
    await desk.do("select", ref=desk.one("combobox").ref, value=found[1])
    await desk.push(quoted(desk.goal)[0])


async def suggested(desk: Desk, box: Node, begin: str, end: str = "") -> None:
    """Type, and take what is suggested and ends so; suggestions are a list below all else."""
    await desk.do("fill", ref=box.ref, text=begin, keys=True)
    await desk.until("listitem")
    await desk.click(
        next(n for n in desk.every("listitem") if said(n).startswith(begin) and said(n).endswith(end))
    )


async def autocomplete(desk: Desk) -> None:
    ends = dict(re.findall(r'(starts|ends) with "(.*?)"', desk.goal))
    await suggested(desk, desk.one("textbox"), ends["starts"], ends.get("ends", ""))
    await desk.push("Submit")


async def flight(desk: Desk) -> None:
    found = re.search(r"from: (.*) to: (.*) on ", desk.goal)
    assert found
    for label, place in (("From:", found[1]), ("To:", found[2])):
        await desk.do("fill", ref=desk.one("textbox", label).ref, text=place, keys=True)
        await desk.until("listitem")
        await desk.click(next(n for n in desk.every("listitem") if place in said(n)))

    await desk.click(desk.every("textbox")[2])
    await pick_date(desk)
    await desk.push("Search")
    await book(desk)


async def transform(desk: Desk) -> None:
    letters = [n.text for n in desk.every("generic") if n.text]
    await desk.fill(desk.one("textbox"), "".join(letters))
    await desk.push("Submit")


async def terminal(desk: Desk) -> None:
    """List the files, and delete the one that the goal describes."""
    found = re.search(r"extension \.(\w+)", desk.goal)
    await desk.click(desk.one("textbox"))
    await desk.press("l", "s", "Enter")
    await desk.until("generic", "user$ ls")
    lines = [node.text for node in desk.every("generic") if node.text]
    files = lines[lines.index("user$ ls") + 1].split()
    name = next(f for f in files if (f.endswith(f".{found[1]}") if found else "." not in f))
    await desk.press("r", "m", "Space", *name, "Enter")


async def colour(desk: Desk) -> None:
    found = re.search(r"Select (\w+) with", desk.goal)
    assert found
    await desk.fill(desk.one("textbox"), COLOURS[found[1]])
    await desk.push("Submit")


# As CSS has them.
COLOURS = {
    "aqua": "00FFFF",
    "black": "000000",
    "blue": "0000FF",
    "gold": "FFD700",
    "gray": "808080",
    "green": "008000",
    "lime": "00FF00",
    "magenta": "FF00FF",
    "maroon": "800000",
    "navy": "000080",
    "olive": "808000",
    "orange": "FFA500",
    "pink": "FFC0CB",
    "purple": "800080",
    "red": "FF0000",
    "silver": "C0C0C0",
    "teal": "008080",
    "white": "FFFFFF",
    "yellow": "FFFF00",
}


FILLING: dict[str, Policy] = {
    "book-flight": flight,
    "book-flight-nodelay": flight,
    "choose-date": date,
    "choose-date-easy": date,
    "choose-date-medium": date,
    "choose-date-nodelay": date,
    "choose-list": choose_list,
    "click-checkboxes": checkboxes,
    "click-checkboxes-large": checkboxes,
    "click-checkboxes-transfer": checkboxes,
    "click-option": option,
    "click-scroll-list": scroll_list,
    "copy-paste": copy,
    "copy-paste-2": copy,
    "enter-date": enter_date,
    "enter-password": text,
    "enter-text": text,
    "enter-text-2": text,
    "enter-text-dynamic": text,
    "enter-time": enter_time,
    "find-word": word,
    "form-sequence": form_sequence,
    "form-sequence-2": form_sequence_2,
    "form-sequence-3": form_sequence_3,
    "guess-number": guess,
    "login-user": login,
    "login-user-popup": login,
    "multi-layouts": movies,
    "multi-orderings": movies,
    "number-checkboxes": digits,
    "read-table": read_table,
    "read-table-2": read_table,
    "scroll-text": last_word,
    "scroll-text-2": scroll_to_end,
    "simple-algebra": algebra,
    "simple-arithmetic": arithmetic,
    "terminal": terminal,
    "text-transform": transform,
    "use-autocomplete": autocomplete,
    "use-autocomplete-nodelay": autocomplete,
    "use-colorwheel": colour,
    "use-slider": sliders,
    "use-slider-2": sliders,
    "use-spinner": spinner,
}
