"""`index`: stores are added, kept in step, listed, searched, opened and removed, for people and as JSON."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from agentflow.cli.settings import with_store, without_store
from agentflow.exceptions import ProjectError
from tests.cli.conftest import Launcher
from tests.toolkit.encoders import WordEncoder

BEES = "# Bees\n\nThe queen lays two thousand eggs a day.\n"
BOATS = "# Boats\n\nA sloop has one mast.\n"


class Embeddings(BaseHTTPRequestHandler):
    """Answers as an embedding server does, so that no model has to be loaded."""

    asked = threading.Event()
    go_on = threading.Event()

    def do_POST(self) -> None:
        texts = json.loads(self.rfile.read(int(self.headers["content-length"])))["input"]
        if any("slowly" in text for text in texts):
            self.asked.set()
            self.go_on.wait(20)

        rows = [{"index": n, "embedding": row.tolist()} for n, row in enumerate(WordEncoder().embed(texts))]
        body = json.dumps({"data": rows}).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None: ...  # noqa: A002


@pytest.fixture
def url() -> Iterator[str]:
    """The address of an embedding server on this machine."""
    Embeddings.asked.clear()
    Embeddings.go_on.clear()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Embeddings)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/v1"
    Embeddings.go_on.set()
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def shelf(project: Path, url: str) -> Path:
    """A project with the stores `bees` and `boats`, whose vectors come from the server."""
    text = "[tool.agentflow]\n"
    for name, said in (("bees", BEES), ("boats", BOATS)):
        (project / name).mkdir()
        (project / name / f"{name}.md").write_text(said)
        text += f'\n[tool.agentflow.stores.{name}]\nfolder = "{name}"\nembedding = {{url = "{url}", model = "m"}}\n'

    (project / "pyproject.toml").write_text(text)
    return project


def test_all_stores_are_indexed_and_listed(shelf: Path, launch: Launcher) -> None:
    """Without a name all stores are brought in step; each is listed with what is in it, and so are its files."""
    (shelf / "bees" / "broken.pdf").write_bytes(b"%PDF no")
    first = launch("index", "add", "--json").json
    assert first["interrupted"] is False
    assert [(store["store"], store["added"], store["chunks"]) for store in first["stores"]] == [
        ("bees", 1, 1),
        ("boats", 1, 1),
    ]
    assert first["stores"][0]["skipped"][0]["path"] == "broken.pdf"
    again = launch("index", "add", "bees")
    assert again.code == 0
    assert "bees: 1 unchanged, 1 skipped; 1 passage in" in again.out
    assert "skipped broken.pdf: Invalid PDF" in again.out
    rows = {row["store"]: row for row in launch("index", "list", "--json").json["stores"]}
    assert (rows["bees"]["folder"], rows["bees"]["files"], rows["bees"]["skipped"]) == ("bees", 1, 1)
    assert rows["boats"]["passages"] == 1
    assert rows["boats"]["bytes"] > 0
    shown = launch("index", "list").out.split()
    assert shown[:6] == ["store", "folder", "files", "skipped", "passages", "size"]
    files = launch("index", "list", "bees", "--json").json["files"]
    assert [(file["path"], file["kind"], file["why_skipped"] is None) for file in files] == [
        ("bees.md", "md", True),
        ("broken.pdf", "pdf", False),
    ]
    assert "skipped: Invalid PDF" in launch("index", "list", "bees").out


def test_a_store_that_cannot_be_indexed_stops_no_other(shelf: Path, launch: Launcher) -> None:
    """Of several stores one without its folder is told, and the others are indexed; alone it is an error."""
    (shelf / "bees").rename(shelf / "gone")
    both = launch("index", "add", "--json")
    assert (both.code, [store["store"] for store in both.json["stores"]]) == (1, ["boats"])
    assert "bees` does not exist" in both.json["errors"]["bees"]["message"]
    told = launch("index", "add")
    assert "boats: 1 unchanged" in told.out
    assert "bees` does not exist" in told.err
    assert launch("index", "add", "bees", "--json").json["error"]["kind"] == "FileUnreadable"


def test_an_index_that_cannot_be_used_hides_no_other(shelf: Path, launch: Launcher) -> None:
    """A store whose index was made with another model is listed with what is wrong, and the others as they are."""
    launch("index", "add")
    text = (shelf / "pyproject.toml").read_text()
    (shelf / "pyproject.toml").write_text(text.replace('model = "m"', 'model = "n"', 1))
    rows = {row["store"]: row for row in launch("index", "list", "--json").json["stores"]}
    assert "holds vectors of `m`, and `n` now is to make them" in rows["bees"]["error"]
    assert (rows["boats"]["error"], rows["boats"]["passages"]) == ("", 1)
    assert "bees: the index" in launch("index", "list").out
    assert launch("index", "add", "bees", "--rebuild", "--json").json["stores"][0]["chunks"] == 1


def test_a_store_is_added_with_its_folder(shelf: Path, launch: Launcher) -> None:
    """A new store is written to pyproject.toml as it was given, beside what is there, and another of its name is refused."""
    before = (shelf / "pyproject.toml").read_text()
    (shelf / "empty").mkdir()
    refused = launch("index", "add", "notes", "empty", "--include", "*.md", "--exclude", "drafts/")
    assert (refused.code, "holds no document" in refused.err) == (1, True)
    added = (
        before.rstrip()
        + '\n\n[tool.agentflow.stores.notes]\nfolder = "empty"\ninclude = ["*.md"]\nexclude = ["drafts/"]\n'
    )
    assert (shelf / "pyproject.toml").read_text() == added
    assert "there is a store `notes` already" in launch("index", "add", "notes", "empty").err
    assert "there is no folder `nowhere`" in launch("index", "add", "more", "nowhere").err
    assert "name that cannot be one of a file" in launch("index", "add", "a b", "empty").err
    assert "are for a new store" in launch("index", "add", "bees", "--include", "*").err
    assert "there is no store `beas`" in launch("index", "add", "beas").err
    assert (shelf / "pyproject.toml").read_text() == added


def test_what_is_found_can_be_opened(shelf: Path, launch: Launcher) -> None:
    """A search gives passages of all stores or some, which open at their place with what stands around it."""
    found = launch("index", "search", "how many eggs", "--limit", "1", "--json").json["passages"][0]
    assert (found["source"], found["text"]) == ("bees/bees.md", "The queen lays two thousand eggs a day.")
    place = launch(
        "index", "open", found["source"], "--at", str(found["start"]), "--to", str(found["end"]), "--json"
    )
    assert (place.json["text"], place.json["before"]) == (found["text"], "# Bees\n\n")
    shown = launch("index", "open", "bees/bees.md", "--at", "12", "--around", "4").out
    assert "bees/bees.md, characters 12-47" in shown
    assert "The queen lays" in shown
    assert (
        launch("index", "search", "eggs", "--store", "boats", "--json").json["passages"][0]["source"]
        == "boats/boats.md"
    )
    assert launch("index", "search", "eggs", "--where", "kind=pdf,txt").out == "nothing was found\n"
    by_file = launch("index", "search", "eggs", "--by-file", "--where", "path=bees*", "--json").json["files"]
    assert [(file["source"], len(file["passages"])) for file in by_file] == [("bees/bees.md", 1)]
    people = launch("index", "search", "eggs", "--limit", "2").out
    assert people.startswith("[1] bees/bees.md characters 8-47 · 1.00\n    The queen lays")
    assert "[1] bees/bees.md Bees, 1 passage" in launch("index", "search", "eggs", "--by-file").out


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("search", "eggs", "--where", "kin=md"), "there is no attribute `kin`"),
        (("search", "eggs", "--where", "kind"), "`kind` is no condition"),
        (("search", "eggs", "--weight", "7"), "`weight` is 7.0"),
        (("search", " "), "the `query` is empty"),
        (("search", "eggs", "--store", "beas"), "there is no store `beas`"),
        (("open", "bees/bee.md"), "there is no file `bees/bee.md`"),
        (("open", "bees/bees.md", "--at", "999"), "has 48 characters"),
        (("open", "bees/bees.md", "--around", "-1"), "`--around` is -1"),
        (("list", "beas"), "there is no store `beas`"),
        (("remove", "beas", "--yes"), "there is no store `beas`"),
        (("remove", "bees"), "the store `bees` would be removed"),
    ],
)
def test_wrong_calls_are_told(shelf: Path, launch: Launcher, arguments: tuple[str, ...], says: str) -> None:
    """What cannot be done says why and what to do, as JSON too."""
    called = launch("index", *arguments, "--json")
    assert called.code in (1, 2)
    assert says in called.json["error"]["message"]
    assert called.json["error"]["hint"]


def test_a_store_is_removed_with_its_settings_alone(shelf: Path, launch: Launcher) -> None:
    """Its index and its tables go; other stores, comments and the documents stay."""
    text = (shelf / "pyproject.toml").read_text()
    text += '\n[[tool.agentflow.stores.bees.metadata]]\ngive = {a = 1}\n\n# kept\n[tool.other]\nx = [\n  "[a]",\n]\n'
    (shelf / "pyproject.toml").write_text(text)
    launch("index", "add")
    assert launch("index", "remove", "bees", "--yes", "--json").json["store"] == "bees"
    kept = (shelf / "pyproject.toml").read_text()
    assert "bees" not in kept
    assert '[tool.agentflow.stores.boats]\nfolder = "boats"' in kept
    assert kept.endswith('[tool.other]\nx = [\n  "[a]",\n]\n')
    assert (shelf / "bees" / "bees.md").read_text() == BEES
    assert [path.name for path in (shelf / "traces" / "index").glob("*.db")] == ["boats.db"]


def test_a_project_without_stores_says_how_to_add_one(project: Path, launch: Launcher) -> None:
    """No store is no fault of a list, but nothing can be searched."""
    assert launch("index", "list").out == "no stores yet: `agentflow index add NAME FOLDER`\n"
    assert launch("index", "list", "--json").json == {"stores": []}
    for arguments in (("add",), ("search", "eggs")):
        assert "agentflow index add NAME FOLDER" in launch("index", *arguments).err


def test_stopping_keeps_what_is_finished(shelf: Path) -> None:
    """Ctrl-C ends the indexing at once; files that were finished are in the index, and it can go on."""
    for name in ("a", "z"):
        (shelf / "bees" / f"{name}.md").write_text(
            f"# {name}\n\nSaid {'slowly' if name == 'z' else 'quickly'}.\n"
        )

    program = [sys.executable, "-m", "agentflow", "index", "add", "bees", "--json"]
    process = subprocess.Popen(program, cwd=shelf, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert Embeddings.asked.wait(60)
    process.send_signal(signal.SIGINT)
    Embeddings.go_on.set()
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    assert json.loads(out) == {"stores": [], "errors": {}, "interrupted": True}
    listed = subprocess.run(
        [*program[:4], "list", "bees", "--json"], cwd=shelf, capture_output=True, check=True
    )
    paths = [file["path"] for file in json.loads(listed.stdout)["files"]]
    assert paths[:2] == ["a.md", "bees.md"]


def test_watching_indexes_what_changes_until_it_is_stopped(shelf: Path) -> None:
    """With `--watch` each change is told in a line, and Ctrl-C is the way to end it."""
    program = [sys.executable, "-m", "agentflow", "index", "add", "bees", "--watch"]
    environ = {**os.environ, "PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen(program, cwd=shelf, env=environ, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline().startswith("bees: 1 added")
    told = threading.Event()
    lines: list[str] = []

    def listen() -> None:
        assert process.stdout is not None
        lines.append(process.stdout.readline())
        told.set()

    thread = threading.Thread(target=listen)
    thread.start()
    for number in range(100):
        (shelf / "bees" / "honey.md").write_text(f"# Honey\n\nThere are {number} jars.\n")
        if told.wait(0.5):
            break

    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    thread.join()
    assert lines[0].startswith("bees: 1 added, 1 unchanged; 2 passages")
    assert process.returncode == 0


@pytest.mark.parametrize(
    "text",
    [
        "",
        "# only this\n",
        '[project]\nname = "x"\n\n[tool.agentflow]\njournal = "memory:"  # fast\n',
        '[tool.agentflow.stores.other]\nfolder = "other"\n\n[[tool.z]]\ny = "[tool.agentflow.stores.docs]"\n',
    ],
)
def test_settings_are_written_and_taken_out_without_a_trace(tmp_path: Path, text: str) -> None:
    """A store that is added and removed again leaves the file as it was, whatever else is in it."""
    file = tmp_path / "pyproject.toml"
    file.write_text(text)
    file.write_text(with_store(file, "docs", {"folder": 'a "quoted" ö\\ name'}))
    assert without_store(file, "docs").strip() == text.strip()


@pytest.mark.parametrize(
    "text",
    [
        '[tool.agentflow]\nstores = { docs = { folder = "docs" } }\n',
        '[tool]\nagentflow.stores.docs.folder = "docs"\n',
        '[tool.agentflow.stores.docs]\nfolder = "docs"\n\n[tool.z]\ny = """\n[tool.agentflow.stores.docs]\n"""\n',
        '[tool.agentflow.stores]\ndocs = { folder = "docs" }\nmore = { folder = "more" }\n',
    ],
)
def test_settings_in_another_form_are_left_to_a_person(tmp_path: Path, text: str) -> None:
    """What cannot be taken out for sure is not touched, and it is said where it stands."""
    file = tmp_path / "pyproject.toml"
    file.write_text(text)
    with pytest.raises(ProjectError, match="not taken out by itself") as refused:
        without_store(file, "docs")

    assert "[tool.agentflow.stores.docs]" in refused.value.hint
    with pytest.raises(ProjectError, match="there is a store `docs` already"):
        with_store(file, "docs", {"folder": "x"})
