"""Every kind of document is read; what is broken or made to hurt is named and skipped, and nothing hangs."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from agentflow.exceptions import FileUnreadable
from agentflow.toolkit.files import FileSearch
from agentflow.toolkit.files.document import Document
from agentflow.toolkit.files.parsing import Readers
from agentflow.toolkit.files.scope import Scope
from tests.toolkit.documents import MAKERS, docx, hostile, office
from tests.toolkit.encoders import WordEncoder

PARAGRAPHS = ("Ropes (and sails) are kept dry.", "Tar & oakum stand in the yard.", "Lamps are lit at six.")


@pytest.mark.timeout(60)
async def test_a_folder_of_all_kinds_with_hostile_files_is_indexed(tmp_path: Path) -> None:
    """Each of ten kinds is found by what it says, at its exact characters; each hostile file is skipped with its reason."""
    folder = tmp_path / "office"
    folder.mkdir()
    said = office(folder, 2 * len(MAKERS), PARAGRAPHS)
    wanted = hostile(folder)
    files = FileSearch(folder, index=tmp_path / "office.db", embedding=WordEncoder(), fresh_for=3600)
    report = await files.index()
    assert report.added == len(said)
    skipped = {item.path: item.why for item in report.skipped}
    assert skipped.keys() == wanted.keys()
    assert [path for path, why in wanted.items() if not re.search(why, skipped[path])] == []
    for path, own in said.items():
        found = (await files.search(own, 1))[0]
        assert own in found.text
        assert found.source == f"office/{path}"
        assert (await files.text(found.source))[found.start : found.end] == found.text


def test_memory_of_a_reader_is_limited() -> None:
    """A document that needs more memory than a reader may have is given up, where others are read."""
    path = Path(__file__).parent / "fixtures" / "travel.pdf"
    small, large = (next(Readers(seconds=30, memory=m).read_all([path])) for m in (64 * 2**20, 2 * 2**30))
    assert isinstance(small, FileUnreadable)
    assert "more memory" in str(small)
    assert isinstance(large, Document)


def test_links_to_folders_and_to_nowhere_are_named(tmp_path: Path) -> None:
    """A linked folder is not walked, wherever it leads, and a link without a target is told as that."""
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "loop").symlink_to(tmp_path / "docs")
    (tmp_path / "docs" / "out").symlink_to(tmp_path)
    (tmp_path / "docs" / "gone.md").symlink_to(tmp_path / "nothing")
    assert {path: file.why for path, file in Scope(folder=tmp_path / "docs").scan().items()} == {
        "gone.md": "it is a link that leads nowhere",
        "loop": "it is a link to a folder",
        "out": "it is a link that leads out of the folder",
    }


@pytest.fixture
def shut() -> Iterator[Path]:
    """A folder that anybody may enter, with a file and a folder in it that nobody may read."""
    folder = Path(tempfile.mkdtemp(prefix="agentflow-shut-"))
    folder.chmod(0o755)
    (folder / "open.md").write_text("# Open\n\nhello\n")
    (folder / "shut.md").write_text("# Shut\n")
    (folder / "shut.md").chmod(0)
    (folder / "closed").mkdir(mode=0)
    yield folder
    (folder / "closed").chmod(0o755)
    shutil.rmtree(folder)


def test_what_may_not_be_read_is_named(shut: Path) -> None:
    """Files and folders without permission are told as such, and are no reason to stop."""
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)  # root may read all

    try:
        found = Scope(folder=shut).scan()
        read = Readers(seconds=30).read_all([shut / "shut.md", shut / "open.md"])
        first, second = map(str, read)
    finally:
        os.seteuid(user)

    assert {path: file.why for path, file in found.items()} == {
        "open.md": None,
        "shut.md": None,
        "closed": "Permission denied",
    }
    assert first == "Permission denied"
    assert "hello" in second


def test_a_file_that_turns_into_a_pipe_is_not_opened(tmp_path: Path) -> None:
    """Between the look at a folder and the reading a file may become something that never ends."""
    os.mkfifo(tmp_path / "late.txt")
    (read,) = Readers(seconds=30).read_all([tmp_path / "late.txt"])
    assert str(read) == "it is not a regular file"


def test_a_document_with_too_many_parts_is_refused(tmp_path: Path) -> None:
    """A zip archive of tens of thousands of files is no document."""
    import io
    import zipfile

    packed = io.BytesIO(docx("Parts", ["some"]))
    with zipfile.ZipFile(packed, "a") as archive:
        for number in range(20_001):
            archive.writestr(f"{number}", b"")

    (tmp_path / "parts.docx").write_bytes(packed.getvalue())
    (read,) = Readers(seconds=30).read_all([tmp_path / "parts.docx"])
    assert "files; at most 20000 are read" in str(read)
