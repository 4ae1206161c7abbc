"""Named stores: what their settings may say, what belongs to them, and searches over several."""

from __future__ import annotations

import asyncio
import tomllib
from pathlib import Path
from typing import Any

import pytest

from agentflow.exceptions import ProjectError, ToolArgumentsInvalid, UnknownName
from agentflow.toolkit.files import EndpointEncoder, FileSearch, Rule, Stores, StoreSettings, stores_of
from agentflow.toolkit.files.stores import store_settings
from tests.toolkit.encoders import WordEncoder

ARCHIVE = {
    "contracts/2022/rent.md": "# Rent\n\nThe rent of the yard is paid in March.\n",
    "contracts/2024/rent.md": "# Rent\n\nThe rent of the yard is paid in April, and the rent of the quay in May.\n",
    "contracts/drafts/rent.md": "# Rent\n\nThe rent may be paid in June.\n",
    "letters/harbour.txt": "HARBOUR\n\nThe harbour master asks for the rent.\n",
    "letters/photo.jpg": "",
}
RULES = (
    Rule(glob="contracts/**", give={"department": "legal", "tags": ["paper", "money"]}),
    Rule(glob="contracts/**", pattern=r"contracts/(?P<year>\d{4})/.*", numbers=("year",)),
)


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    for name, text in ARCHIVE.items():
        path = tmp_path / "archive" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    return tmp_path / "archive"


def search_in(folder: Path, **options: Any) -> FileSearch:
    options = {"embedding": WordEncoder(), "index": folder.parent / "archive.db", "fresh_for": 0, **options}
    return FileSearch(folder, **options)


async def sources(files: FileSearch, where: dict[str, Any] | None = None, **options: Any) -> list[str]:
    found = await files.search("when is the rent paid", 20, where=where, **options)
    return [item.source.removeprefix("archive/") for item in found]


async def test_only_files_that_belong_to_a_store_are_in_it(archive: Path) -> None:
    """What is not included, or is excluded, is neither found nor named as skipped; what is taken out later is forgotten."""
    files = search_in(archive, include=["contracts/**", "*.txt"], exclude=["drafts"])
    assert set(await sources(files)) == {
        "contracts/2022/rent.md",
        "contracts/2024/rent.md",
        "letters/harbour.txt",
    }
    assert files.report is not None
    assert files.report.skipped == ()
    narrower = search_in(archive, include=["contracts/2024/*"])
    assert await sources(narrower) == ["contracts/2024/rent.md"]
    assert narrower.report is not None
    assert narrower.report.removed == 2


async def test_a_search_is_limited_by_metadata(archive: Path) -> None:
    """Rules give metadata by path, and every file has a kind, name, size and day; wrong conditions are told."""
    files = search_in(archive, rules=RULES)
    assert set(await sources(files, {"department": "legal", "year": {"least": 2023}})) == {
        "contracts/2024/rent.md"
    }
    assert set(await sources(files, {"tags": "money", "path": ["**/drafts/*"]})) == {
        "contracts/drafts/rent.md"
    }
    assert await sources(files, {"kind": "txt", "modified": {"least": "2020-01-01"}}) == [
        "letters/harbour.txt"
    ]
    assert await sources(files, {"year": [2022, 2023]}) == ["contracts/2022/rent.md"]
    assert await sources(files, {"year": {"least": 3000}}) == []
    assert await sources(files, {"year": {"least": 2000}}, path_contains="2022") == ["contracts/2022/rent.md"]
    with pytest.raises(UnknownName, match="no attribute `departmnt`"):
        await sources(files, {"departmnt": "legal"})

    with pytest.raises(ToolArgumentsInvalid, match="`year` is compared with '2024'"):
        await sources(files, {"year": "2024"})


async def test_other_rules_change_metadata_without_reading_anything(archive: Path) -> None:
    """Metadata follow their rules at the next look; no file is read or embedded again for that."""
    assert await sources(search_in(archive, rules=RULES), {"year": 2022}) == ["contracts/2022/rent.md"]
    read: list[str] = []

    def tell(_done: int, _total: int, path: str) -> None:
        read.append(path)

    other = search_in(archive, rules=[Rule(give={"year": 1999})], progress=tell)
    assert len(await sources(other, {"year": 1999})) == 4
    assert read == ["letters/photo.jpg"]  # which was told as skipped, and not opened


async def test_of_equal_files_the_one_that_fits_is_cited(archive: Path) -> None:
    """Two files with the same content share their passages, and the filter says which of them is meant."""
    (archive / "contracts" / "2020").mkdir()
    (archive / "contracts" / "2020" / "copy.md").write_text(ARCHIVE["contracts/2024/rent.md"])
    files = search_in(archive, rules=RULES)
    for year, name in ((2020, "copy"), (2024, "rent")):
        assert await sources(files, {"year": year}) == [f"contracts/{year}/{name}.md"]


async def test_a_file_gives_no_more_passages_than_it_may(archive: Path) -> None:
    """With `per_file` one long file does not crowd out others; by file, passages stand together in their order."""
    said = [f"## Rent {n}\n\nThe rent of house {n} is paid on day {n}.\n" for n in range(12)]
    (archive / "houses.md").write_text("# Houses\n\n" + "\n".join(said))
    files = search_in(archive)
    assert (await sources(files)).count("houses.md") == 12
    one_each = await sources(files, per_file=1)
    assert len(one_each) == len(set(one_each)) == 5
    matches = await files.search_files("rent of house 3 paid", 2, per_file=3)
    assert (len(matches), matches[0].source, len(matches[0].passages)) == (2, "archive/houses.md", 3)
    starts = [item.start or 0 for item in matches[0].passages]
    assert starts == sorted(starts)
    assert matches[0].score == max(item.score or 0 for item in matches[0].passages) >= matches[1].score


async def test_a_file_that_has_all_the_best_passages_leaves_room_for_others(archive: Path) -> None:
    """With `per_file`, also what comes after many passages of one file is given."""
    said = "".join(f"## Rent {n}\n\nWhen is the rent paid, when is rent {n} paid.\n\n" for n in range(92))
    (archive / "houses.md").write_text(f"# Houses\n\n{said}")
    found = await sources(search_in(archive), per_file=1)
    assert found[0] == "houses.md"
    assert len(found) > 2


async def test_the_weight_shifts_from_words_to_meaning(archive: Path) -> None:
    """Weight 0 scores nothing without a common word, weight 1 only what is near; the store's own may be overruled."""
    (archive / "quay.md").write_text("# Quay\n\nquay quay quay\n")
    (archive / "rents.md").write_text(
        "# Rents\n\nThe quay has rents, lamps, ropes, boats, bees and a master.\n"
    )
    by_words = [item.score for item in await search_in(archive, weight=0.0).search("quay", 20)]
    files = search_in(archive, weight=1.0)
    assert by_words == [item.score for item in await files.search("quay", 20, weight=0.0)]
    assert sum(bool(score) for score in by_words) <= 3
    near = await files.search("quay", 20)
    assert (near[0].source, near[0].score) == ("archive/quay.md", 1.0)
    assert [item.score for item in near] != by_words
    with pytest.raises(ToolArgumentsInvalid, match=r"`weight` is 1\.5"):
        await files.search("quay", weight=1.5)

    with pytest.raises(ToolArgumentsInvalid, match="`per_file` is 0"):
        await files.search("quay", per_file=0)


async def test_a_citation_opens_its_place(archive: Path) -> None:
    """What evidence names is opened with what stands around it; without an end, up to the end of its passage."""
    files = search_in(archive)
    found = (await files.search("quay in May"))[0]
    assert found.start is not None
    place = await files.open(found.source, found.start, found.end, around=8)
    assert (place.text, place.before, place.after) == (found.text, "# Rent\n\n", "\n")
    assert (place.title, place.page, place.file) == ("Rent", None, archive / "contracts/2024/rent.md")
    rest = await files.open(found.source, found.start + 4)
    assert rest.text == found.text[4:]
    for start, end in ((-1, None), (5000, None), (4, 4), (4, 5000)):
        with pytest.raises(Exception, match="characters, and none from"):
            await files.open(found.source, start, end)


async def test_a_citation_of_a_pdf_knows_its_page(tmp_path: Path) -> None:
    """The page is that of the place itself, also where its passage began on the page before."""
    (tmp_path / "docs").mkdir()
    fixture = Path(__file__).parent / "fixtures" / "travel.pdf"
    (tmp_path / "docs" / "travel.pdf").write_bytes(fixture.read_bytes())
    files = search_in(tmp_path / "docs")
    text = await files.text("docs/travel.pdf")
    for word, page in (("Travelling", 1), ("Hotels", 2), ("Photograph", 3)):
        assert (await files.open("docs/travel.pdf", text.index(word))).page == page


async def test_a_watched_folder_is_indexed_when_it_changes(archive: Path) -> None:
    """Each change of a file of the store brings a report; other files bring none."""
    files = search_in(archive, include=["*.md"])
    reports = files.watch()
    assert (await anext(reports)).added == 3
    following = asyncio.ensure_future(anext(reports))
    # Until the watcher listens, a change may go unseen: it is made again until one is noticed.
    for number in range(100):
        (archive / "notes.txt").write_text(str(number))
        (archive / "boats.md").write_text(f"# Boats\n\nThere are {number} boats.\n")
        done, _ = await asyncio.wait([following], timeout=0.3)
        if done:
            break

    assert following.result().added == 1
    assert set(await files.files()) == {*(path for path in ARCHIVE if path.endswith(".md")), "boats.md"}
    await reports.aclose()


async def test_several_stores_are_searched_as_one(tmp_path: Path) -> None:
    """The best passages of all stores come first whichever store they are in; stores can be named."""
    for name, said in (
        ("bees", "The queen lays eggs."),
        ("boats", "A sloop has one mast."),
        ("bread", "Knead it."),
    ):
        (tmp_path / name).mkdir()
        (tmp_path / name / "about.md").write_text(f"# {name}\n\n{said}\n")

    made = {
        name: StoreSettings(name=name, folder=tmp_path / name, embedding=WordEncoder())
        for name in ("bees", "boats", "bread")
    }
    stores = Stores(searches={name: settings.search(tmp_path) for name, settings in made.items()})
    found = await stores.search("a sloop has how many masts", 3)
    assert found[0].source == "boats/about.md"
    assert len(found) == 3
    others = await stores.search("a sloop has how many masts", stores=["bees", "bread"])
    assert {item.source for item in others} == {"bees/about.md", "bread/about.md"}
    assert (await stores.search("eggs", stores=["bees"]))[0].source == "bees/about.md"
    assert await stores.search("eggs", where={"path": "none/*"}) == []
    assert sorted(path.name for path in (tmp_path / "traces" / "index").glob("*.db")) == [
        "bees.db",
        "boats.db",
        "bread.db",
    ]
    with pytest.raises(UnknownName, match="no store `beas`"):
        await stores.search("eggs", stores=["beas", "boats"])

    with pytest.raises(ToolArgumentsInvalid, match="there is no store to search"):
        await Stores().search("eggs")


SETTINGS = """
[stores.archive]
folder = "archive"
include = ["*.md"]
exclude = "drafts/"
weight = 0.3
trust = "trusted"
seconds = 5
embedding = { url = "http://localhost:11434/v1", model = "nomic-embed-text", key = "SHELF_KEY", dimension = 64 }

[[stores.archive.metadata]]
glob = "contracts/**"
give = { department = "legal", since = 2020-01-01, tags = ["a", "b"] }

[[stores.archive.metadata]]
pattern = '(?P<year>\\d{4})/.*'
numbers = ["year"]

[stores.other]
folder = "/srv/other"
"""


def test_settings_of_a_project_make_stores(tmp_path: Path) -> None:
    """Everything that a store can be told is read from its table."""
    settings = tomllib.loads(SETTINGS)
    known = store_settings(settings, tmp_path)
    archive = known["archive"]
    assert (archive.folder, archive.include, archive.exclude) == (
        tmp_path / "archive",
        ("*.md",),
        ("drafts/",),
    )
    assert (archive.weight, archive.trust, archive.seconds) == (0.3, "trusted", 5.0)
    given = {"department": "legal", "since": "2020-01-01", "tags": ["a", "b"]}
    assert archive.rules[0].metadata("contracts/x.md") == given
    assert archive.rules[1].metadata("2024/x.md") == {"year": 2024}
    assert isinstance(archive.embedding, EndpointEncoder)
    assert archive.embedding.name == "nomic-embed-text/64"
    assert known["other"] == StoreSettings(name="other", folder=Path("/srv/other"))
    assert list(stores_of(settings, tmp_path)) == ["archive", "other"]
    assert list(stores_of({}, tmp_path)) == []


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("stores = 3", r"`\[tool.agentflow.stores\]` is no table"),
        ("[stores]\nx = 3", r"`\[tool.agentflow.stores.x\]` is no table"),
        ("[stores.x]", "stores.x]` has no `folder`"),
        ("[stores.x]\nfolder = 'd'\nfoldr = 'e'", "stores.x]` has an unknown setting `foldr`"),
        ("[stores.x]\nfolder = 3", "has the `folder` 3"),
        ("[stores.x]\nfolder = 'd'\nweight = 2", "has the `weight` 2"),
        ("[stores.x]\nfolder = 'd'\nweight = true", "has the `weight` True"),
        ("[stores.x]\nfolder = 'd'\ntrust = 'much'", "has the `trust` `much`"),
        ("[stores.x]\nfolder = 'd'\ninclude = [1]", r"has the `include` \[1\]"),
        ("[stores.'a/b']\nfolder = 'd'", "stores.a/b]` has a name that cannot be one of a file"),
        ("[stores.x]\nfolder = 'd'\nmetadata = {}", "has a `metadata` that is no list"),
        (
            "[stores.x]\nfolder = 'd'\n[[stores.x.metadata]]\npattern = '('",
            r"metadata\[0\]\]` has a `pattern` that is no",
        ),
        (
            "[stores.x]\nfolder = 'd'\n[[stores.x.metadata]]\nnumbers = ['y']",
            "has no group `y` in its `pattern`",
        ),
        (
            "[stores.x]\nfolder = 'd'\n[[stores.x.metadata]]\ngive = {a = {}}",
            r"give.a\]` is wrong: {} is no value",
        ),
        ("[stores.x]\nfolder = 'd'\nembedding = {url = 'http://x'}", r"stores.x.embedding\]` has no `model`"),
        ("[stores.x]\nfolder = 'd'\nembedding = {url = 'x', model = 'm'}", "`x` is no address"),
    ],
)
def test_settings_that_mean_nothing_are_told_with_their_place(tmp_path: Path, text: str, says: str) -> None:
    """What is wrong with a store's table is said with the table, the setting and how to write it."""
    with pytest.raises(ProjectError, match=says) as wrong:
        store_settings(tomllib.loads(text), tmp_path)

    assert wrong.value.hint
