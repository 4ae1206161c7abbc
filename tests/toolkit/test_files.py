"""File search over real folders: what is found, how the index keeps in step, and what it survives."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import apsw
import pytest

from agentflow.context import Context, Operation, OperationKind, Verdict, entered
from agentflow.evidence import Evidence
from agentflow.exceptions import FileUnreadable, MissingExtra, ToolArgumentsInvalid, ToolError, UnknownName
from agentflow.toolkit.files import FileSearch, Progress, index_path
from agentflow.toolkit.files import search as search_module
from tools import files as tools_files

FIXTURES = Path(__file__).parent / "fixtures"
REPOSITORY = Path(__file__).parents[2]
BREAD = "# Bread\n\n## Dough\n\nKnead rye flour and water for ten minutes.\n\n## Oven\n\nBake the loaf at 230 degrees.\n"
BOATS = "# Boats\n\nA sloop has one mast.\n\n## Moorings\n\nTie the boat with two ropes at high tide.\n"
BEES = "# Bees\n\nThe queen lays two thousand eggs a day.\n\n## Honey\n\nHarvest honey in July when the combs are capped.\n"


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "papers"
    for name, text in (("bread.md", BREAD), ("boats.md", BOATS), ("bees.md", BEES)):
        write(place, name, text)

    return place


def told(what: list[str]) -> Progress:
    """Progress that keeps what it is told in `what`."""
    return lambda _done, _total, path: what.append(path)


def search_in(folder: Path, **options: Any) -> FileSearch:
    return FileSearch(folder, index=folder.parent / "index" / "papers.db", fresh_for=0, **options)


async def best(files: FileSearch, query: str) -> Evidence:
    return (await files.search(query))[0]


async def test_every_kind_of_file_is_found_at_its_exact_characters(tmp_path: Path) -> None:
    """The right document of ten kinds comes first, and its passage stands at `start` to `end` of its text."""
    folder = tmp_path / "office"
    write(folder, "bread.md", BREAD)
    write(folder, "notes/garden.txt", "GARDEN\n\nSow spinach in March and water it each evening.\n")
    write(
        folder,
        "staff.csv",
        "name,desk\n" + "".join(f"person {n},{n}\n" for n in range(40)) + "Ottilie,lighthouse\n",
    )
    write(
        folder,
        "clinic.html",
        "<title>Clinic</title><h1>Clinic</h1><p>The dentist is in on <b>Tuesday</b>.</p>",
    )
    write(folder, "mail.eml", "From: a@example.org\nSubject: Chimney\n\nThe chimney sweep comes on 12 May.\n")
    for fixture in FIXTURES.iterdir():
        shutil.copy(fixture, folder)

    files = search_in(folder, trust="trusted")
    expected = {
        "how hot must the oven be for a loaf": ("office/bread.md", "Oven, characters 72-101"),
        "when to sow spinach": ("office/notes/garden.txt", "characters 8-"),
        "Ottilie lighthouse desk": ("office/staff.csv", "rows 1 to 42, columns name, desk, characters 0-"),
        "which day is the dentist there": ("office/clinic.html", "characters 10-"),
        "when does the chimney sweep come": ("office/mail.eml", "characters 0-"),
        "what if I send receipts too late": ("office/travel.pdf", "Receipts, page 3, characters "),
        "R&D laboratory solvents": ("office/buying.docx", "Special cases, characters "),
        "how many pieces of spokeshave are in stock": ("office/prices.xlsx", "Stock, characters "),
        "sawmill by the river": ("office/plans.pptx", "Next year, slide 2, characters "),
        "lanterns and accordions": ("office/songs.epub", "Work songs > Evening, characters "),
    }
    for query, (source, place) in expected.items():
        found = await best(files, query)
        assert (found.source, found.trust) == (source, "trusted")
        assert place in found.place
        assert (await files.text(source))[found.start : found.end] == found.text


async def test_what_is_found_names_its_document(folder: Path) -> None:
    """Evidence has the document's title, its tool and a time, and better results come first."""
    found = await search_in(folder).search("when to harvest honey")
    assert (found[0].title, found[0].tool, found[0].at[-6:]) == ("Bees", "file_search", "+00:00")
    scores = [item.score or 0 for item in found]
    assert scores == sorted(scores, reverse=True)


async def test_only_what_changed_is_read_again(folder: Path) -> None:
    """A second look reads nothing; then only the new and the changed file are read, and the deleted one is gone."""
    read: list[str] = []
    files = search_in(folder, progress=told(read))
    assert (await files.index()).added == 3
    assert (await files.index()).unchanged == 3
    assert read == ["bees.md", "boats.md", "bread.md"]

    write(folder, "bread.md", BREAD.replace("230 degrees", "190 degrees"))
    write(folder, "birds.md", "# Birds\n\nSwifts sleep in the air.\n")
    (folder / "bees.md").unlink()
    assert "190 degrees" in (await best(files, "at which heat to bake the loaf")).text
    assert read[3:] == ["birds.md", "bread.md"]
    assert files.report is not None
    assert (files.report.added, files.report.changed, files.report.removed) == (1, 1, 1)
    assert all(item.source != "papers/bees.md" for item in await files.search("when to harvest honey"))


async def test_a_new_time_stamp_alone_changes_nothing(folder: Path) -> None:
    """A file that was only touched has the same content, so it is not read again."""
    files = search_in(folder)
    await files.index()
    os.utime(folder / "bread.md", ns=(1, 1))
    read: list[str] = []
    report = await files.index(told(read))
    assert (report.unchanged, read) == (3, [])


async def test_a_moved_file_is_found_at_its_new_place(folder: Path) -> None:
    """Moving a file keeps its passages: it is added there and removed here."""
    files = search_in(folder)
    await files.index()
    (folder / "old").mkdir()
    (folder / "bees.md").rename(folder / "old" / "bees.md")
    report = await files.index()
    assert (report.added, report.removed, report.chunks) == (1, 1, 6)
    assert (await best(files, "harvest honey")).source == "papers/old/bees.md"


async def test_an_edit_within_the_same_moment_is_noticed(folder: Path) -> None:
    """A file that changed again with the same size and time stamp as when it was indexed is found to have changed."""
    files = search_in(folder)
    await files.index()
    path = folder / "bread.md"
    now = time.time_ns()
    os.utime(path, ns=(now, now))
    await files.index()
    write(folder, "bread.md", BREAD.replace("230", "190"))
    os.utime(path, ns=(now, now))
    assert "190 degrees" in (await best(files, "how hot is the oven")).text


async def test_what_cannot_be_read_is_named_and_the_rest_found(folder: Path) -> None:
    """A broken PDF, an empty file, a link to outside and an unknown kind are skipped with a reason each."""
    (folder / "broken.pdf").write_bytes(b"%PDF-1.4\n1 0 obj\n<<broken")
    (folder / "picture.jpg").write_bytes(b"\xff\xd8")
    write(folder, "empty.md", " \n")
    (folder / "secret.md").symlink_to(write(folder.parent, "secret.md", "# Secret\n\nThe word is xyzzy.\n"))
    write(folder, ".hidden.md", "# Hidden\n")
    report = await search_in(folder).index()
    assert report.added == 3
    assert {item.path: item.why for item in report.skipped} == {
        "broken.pdf": "Invalid PDF: PdfiumLibraryInternalError: FormatError",
        "empty.md": "it holds no text",
        "picture.jpg": "`.jpg` files are not read",
        "secret.md": "it is a link that leads out of the folder",
    }


async def test_what_was_skipped_is_tried_again_only_when_asked(folder: Path) -> None:
    """A broken file is remembered as such and costs nothing the next time, unless it is to be tried again."""
    (folder / "broken.docx").write_bytes(b"PK\x03\x04 no")
    read: list[str] = []
    files = search_in(folder, progress=told(read))
    await files.index()
    assert (await files.index()).skipped[0].path == "broken.docx"
    assert read.count("broken.docx") == 1
    await files.index(retry_skipped=True)
    assert read.count("broken.docx") == 2


async def test_searches_at_once_index_once_and_agree(folder: Path) -> None:
    """Twenty searches that come at the same time wait for one indexing and find the same."""
    read: list[str] = []
    files = search_in(folder, progress=told(read))
    found = await asyncio.gather(*(files.search("two ropes at high tide") for _ in range(20)))
    assert len(read) == 3
    assert {(results[0].source, results[0].start) for results in found} == {("papers/boats.md", 45)}


def test_one_search_serves_several_event_loops(folder: Path) -> None:
    """A tool lives as long as its module: it works in each event loop that the process has after another."""
    files = search_in(folder)
    sources = [asyncio.run(best(files, "how many eggs")).source for _ in range(2)]
    assert sources == ["papers/bees.md"] * 2


async def test_an_indexing_that_breaks_off_leaves_whole_files(folder: Path) -> None:
    """What was finished before the break stays; the next run reads only the rest."""

    def stop_at_third(done: int, total: int, what: str) -> None:
        if done == 3:
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        await search_in(folder).index(stop_at_third)

    read: list[str] = []
    report = await search_in(folder).index(told(read))
    assert (report.added, report.unchanged, read) == (1, 2, ["bread.md"])


async def test_a_killed_process_leaves_whole_files(folder: Path) -> None:
    """A process that ends without any clean-up while it indexes loses only the file that it was at."""
    index = folder.parent / "index" / "papers.db"
    program = (
        "import asyncio, os, sys; from pathlib import Path; from agentflow.toolkit.files import FileSearch\n"
        "stop = lambda done, total, what: os._exit(9) if done == 2 else None\n"
        "asyncio.run(FileSearch(Path(sys.argv[1]), index=Path(sys.argv[2])).index(stop))"
    )
    killed = await asyncio.to_thread(
        subprocess.run, [sys.executable, "-c", program, str(folder), str(index)], cwd=REPOSITORY, check=False
    )
    assert killed.returncode == 9
    report = await search_in(folder).index()
    assert (report.added, report.unchanged, report.chunks) == (2, 1, 6)


async def test_a_cancelled_search_can_be_tried_again(folder: Path) -> None:
    """Cancelling the first search stops its indexing, and the next search goes on from there."""
    begun = asyncio.Event()

    def begin(_done: int, _total: int, _what: str) -> None:
        begun.set()

    files = search_in(folder, progress=begin)
    task = asyncio.create_task(files.search("eggs"))
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert (await best(files, "how many eggs")).source == "papers/bees.md"


async def test_a_second_indexer_waits_for_the_first(folder: Path) -> None:
    """While another process holds the right to index, a search waits, and then finds what it came for."""
    files = search_in(folder)
    await files.index()
    other = apsw.Connection(f"{files.index_file}.lock")
    other.execute("begin exclusive")
    write(folder, "birds.md", "# Birds\n\nSwifts sleep in the air.\n")
    task = asyncio.create_task(best(files, "where do swifts sleep"))
    await asyncio.sleep(0.2)
    assert not task.done()
    other.close()
    assert (await task).source == "papers/birds.md"


@pytest.mark.parametrize("keep", [0, 4096])
async def test_a_damaged_index_is_made_anew(folder: Path, keep: int) -> None:
    """An index that is overwritten, wholly or but for its first page, is put aside and rebuilt, and that is said."""
    files = search_in(folder)
    await files.index()
    files.close()
    data = files.index_file.read_bytes()
    files.index_file.write_bytes(data[:keep] + b"\x13" * (len(data) - keep))
    said: list[str] = []
    again = search_in(folder, progress=told(said))
    assert (await best(again, "how many eggs")).source == "papers/bees.md"
    assert said == ["`papers.db` was damaged: indexing all files again", "bees.md", "boats.md", "bread.md"]


async def test_damage_while_in_use_is_mended(folder: Path) -> None:
    """A search that meets damage in a file that was sound when it was opened rebuilds it and answers."""
    files = search_in(folder)
    await files.index()
    db = apsw.Connection(str(files.index_file))
    db.execute("update words_data set block = x'00112233'")
    db.close()
    files.close()
    assert (await best(files, "how many eggs")).source == "papers/bees.md"


async def test_a_deleted_index_is_made_anew(folder: Path) -> None:
    """Deleting the index file is a way to start afresh, also while a process has it open."""
    files = search_in(folder)
    await files.index()
    for path in files.index_file.parent.iterdir():
        path.unlink()

    assert (await best(files, "how many eggs")).source == "papers/bees.md"
    assert files.index_file.exists()


async def test_an_index_made_with_other_settings_is_made_anew(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Passages of another size cannot be mixed: all files are read again, and that is said."""
    await search_in(folder).index()
    monkeypatch.setattr(search_module, "_SIZE", 500)
    said: list[str] = []
    report = await search_in(folder).index(told(said))
    assert said[0] == "`papers.db` was made with other settings: indexing all files again"
    assert (report.added, report.chunks) == (3, 6)


async def test_a_database_of_something_else_is_left_alone(folder: Path) -> None:
    """An index path that names another program's database is refused, and the database keeps its rows."""
    other = folder.parent / "customers.db"
    db = apsw.Connection(str(other))
    db.execute("create table customers (name); insert into customers values ('Ada')")
    db.close()
    with pytest.raises(ToolError, match=r"customers\.db` is a database of something else"):
        await FileSearch(folder, index=other).search("eggs")

    assert apsw.Connection(str(other)).execute("select name from customers").fetchall() == [("Ada",)]


HOSTILE = (
    '"',
    "NEAR(",
    "*",
    "bread AND",
    "a OR b NOT (",
    "text:bread",
    "^bread",
    "{x} + y",
    "'; drop table",
    "🐝",
    "\0",
    "-",
    "ß" * 5000,
)


async def test_no_query_breaks_the_search(folder: Path) -> None:
    """Operators, quotes, emoji and very long words are words to look for and nothing more."""
    files = search_in(folder)
    for query in HOSTILE:
        assert len(await files.search(query)) == 5

    assert (await best(files, '"NEAR( honey* ^ -')).source == "papers/bees.md"


async def test_results_can_be_limited_to_some_files(folder: Path) -> None:
    """`path_contains` is looked for in the source, without regard to case, and may fit none."""
    files = search_in(folder)
    assert {item.source for item in await files.search("honey", path_contains="BOATS")} == {"papers/boats.md"}
    assert await files.search("honey", path_contains="nowhere") == []


async def test_the_same_passage_is_given_once_but_each_version_of_a_rule(tmp_path: Path) -> None:
    """Copies of a passage are one result; the same words with another number are another result."""
    rule = "Anyone who finds a lost umbrella hands it in at the front desk within {} days and gets a stamp."
    folder = tmp_path / "rules"
    write(folder, "a.md", f"# Found things\n\n{rule.format(14)}\n")
    write(folder, "b.md", f"# Found things (copy)\n\n{rule.format(14).upper()}\n")
    write(folder, "c.md", f"# Found things of 2023\n\n{rule.format(30)}\n")
    found = await search_in(folder).search("lost umbrella at the front desk")
    assert {item.source for item in found} in ({"rules/a.md", "rules/c.md"}, {"rules/b.md", "rules/c.md"})


async def test_wrong_questions_are_refused_with_a_hint(folder: Path) -> None:
    """An empty query, a number of results out of bounds and an unknown source each say what to do."""
    files = search_in(folder)
    with pytest.raises(ToolArgumentsInvalid, match="`query` is empty"):
        await files.search("  ")

    with pytest.raises(ToolArgumentsInvalid, match="`max_results` is 0"):
        await files.search("eggs", 0)

    with pytest.raises(UnknownName) as unknown:
        await files.text("papers/beas.md")

    assert unknown.value.hint == "did you mean `papers/bees.md`, `papers/bread.md`, `papers/boats.md`?"


async def test_a_folder_without_documents_is_an_error_that_says_so(tmp_path: Path) -> None:
    """Missing, empty, and full of unreadable files: each is told, with what to do."""
    with pytest.raises(FileUnreadable, match=r"gone` does not exist"):
        await search_in(tmp_path / "gone").search("eggs")

    (tmp_path / "empty").mkdir()
    with pytest.raises(ToolError, match=r"empty` holds no document") as empty:
        await search_in(tmp_path / "empty").search("eggs")

    assert ".pdf" in empty.value.hint
    (tmp_path / "empty" / "x.pdf").write_bytes(b"no")
    with pytest.raises(ToolError, match=r"could be read: `x\.pdf`: Invalid PDF"):
        await search_in(tmp_path / "empty").search("eggs")


async def test_an_index_outlives_a_folder_that_is_gone_for_a_while(folder: Path) -> None:
    """A folder that turns up empty is an error and no reason to forget what was indexed."""
    files = search_in(folder)
    await files.index()
    away = folder.parent / "away"
    shutil.move(folder, away)
    write(folder, "photo.jpg", "")
    with pytest.raises(ToolError, match="holds no document"):
        await files.search("eggs")

    shutil.rmtree(folder)
    shutil.move(away, folder)
    assert (await files.index()).unchanged == 3


async def test_a_missing_package_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without an optional package the error names it and the command that installs it."""

    def find(name: str) -> str | None:
        return None if name == "apsw" else name

    monkeypatch.setattr(search_module, "find_spec", find)
    with pytest.raises(MissingExtra, match="`apsw` is not installed"):
        await search_in(folder).search("eggs")


def test_the_index_of_a_folder_has_a_place_in_the_project(tmp_path: Path) -> None:
    """Folders inside of a project are told apart by their path, others by a digest of it."""
    assert index_path(tmp_path, tmp_path / "a" / "docs") == tmp_path / "traces" / "index" / "a-docs.db"
    outside = {index_path(tmp_path / "project", tmp_path / name / "docs").name for name in ("a", "b")}
    assert len(outside) == 2
    assert all(name.startswith("docs-") for name in outside)


class Recorded:
    """Keeps what a step records."""

    mark = ""

    def __init__(self) -> None:
        self.operations: list[tuple[Operation, Any]] = []
        self.told: list[str] = []

    async def begin(
        self, kind: OperationKind, name: str, request: Any, attributes: Mapping[str, Any], **_: Any
    ) -> Operation:
        operation = Operation(id=str(len(self.operations)), kind=kind, name=name, attributes=dict(attributes))
        self.operations.append((operation, request))
        return operation

    async def finish(self, operation: Operation, error: BaseException | None) -> None:
        assert error is None

    async def ask(self, tool: str, arguments: Mapping[str, Any], prompt: str) -> Verdict:
        raise NotImplementedError

    def refuse_unchecked(self, tool: Any) -> None: ...

    def refusal(self, tool: Any) -> str:
        return ""

    def saw(self, tool: Any) -> None: ...

    def count_seen(self) -> None: ...

    def has_read(self, taint: Any) -> bool:
        return False

    def is_bounded(self) -> bool:
        return False

    def key(self) -> str:
        return "r:s"

    def delta(self, text: str) -> None:
        self.told.append(text)

    def artifact(self, name: str, data: bytes, media_type: str) -> str:
        raise NotImplementedError

    def on_close(self, close: Callable[[], Awaitable[None]]) -> None:
        raise NotImplementedError

    def shared(self, key: str, make: Callable[[], Any]) -> Any:
        raise NotImplementedError

    async def events(self) -> list[Any]:
        return []

    def output(self, step: str) -> Any:
        raise NotImplementedError


def in_a_run(recorder: Recorded, root: Path) -> Any:
    return entered(
        Context(run_id="r", step="s", attempt=1, input=None, model="", root=root, recorder=recorder)
    )


async def test_a_search_is_recorded_with_its_embedding(folder: Path) -> None:
    """Inside of a run each search is a retrieval, with its query and results, and holds the query's embedding."""
    recorder = Recorded()
    with in_a_run(recorder, folder):
        found = await search_in(folder).search("how many eggs", max_results=2)

    (retrieval, asked), (embeddings, text) = recorder.operations
    assert (retrieval.kind, retrieval.name, asked) == ("retrieval", "papers", {"query": "how many eggs"})
    assert (retrieval.attributes, retrieval.result) == ({"top_k": 2}, found)
    assert (embeddings.kind, text) == ("embeddings", {"input": "how many eggs"})
    assert embeddings.attributes == {"dimension": 384}


async def test_the_projects_tool_shows_its_first_indexing(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The tool returns trusted passages of the project's folder and tells those who watch what it reads."""
    monkeypatch.setattr(
        tools_files, "_search", search_in(folder, trust="trusted", progress=tools_files.show_progress)
    )
    monkeypatch.setattr(tools_files, "_shown", time.monotonic() - 60)
    recorder = Recorded()
    with in_a_run(recorder, folder):
        found = await tools_files.file_search.invoke({"query": "how many eggs"})

    assert (found[0].source, found[0].trust) == ("papers/bees.md", "trusted")
    assert recorder.told[0] == "indexing 1/3 bees.md\n"


def test_the_projects_tool_states_its_policy() -> None:
    """File search reads private, trusted documents and reaches nothing outside."""
    offered = tools_files.file_search
    assert (offered.name, offered.effect, offered.returns) == ("file_search", "read", "trusted")
    assert (offered.private, offered.outside, offered.timeout) == (True, False, 120)
    assert set(offered.parameters["properties"]) == {"query", "max_results"}
