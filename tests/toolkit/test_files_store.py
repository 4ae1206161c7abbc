"""The index file: what is found in it is what an exact search finds, and it holds vectors of one model only."""

from __future__ import annotations

from pathlib import Path

import apsw
import numpy as np
import pytest
from numpy.typing import NDArray

from agentflow.toolkit.files import FileSearch, Filter, IndexMismatch, VectorStore
from agentflow.toolkit.files.chunking import Chunk
from agentflow.toolkit.files.document import plain
from agentflow.toolkit.files.filters import Condition
from agentflow.toolkit.files.nearest import codes_of, nearest, signs_of
from agentflow.toolkit.files.store import SqliteStore
from agentflow.toolkit.files.vector_store import File
from agentflow.toolkit.files.wording import match_any
from tests.toolkit.encoders import WordEncoder


def random_vectors(count: int, dimension: int, seed: int) -> NDArray[np.float32]:
    """Vectors of length 1 in a few clusters, as those of texts are."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(20, dimension))
    vectors = centres[rng.integers(20, size=count)] + rng.normal(size=(count, dimension))
    unit: NDArray[np.float32] = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    return unit


def put(
    store: SqliteStore, name: str, texts: list[str], vectors: NDArray[np.float32], **metadata: int
) -> None:
    """Put a file with one passage for each of `texts`."""
    starts = np.cumsum([0, *(len(text) + 1 for text in texts)]).tolist()
    chunks = [Chunk(start=s, end=s + len(t)) for s, t in zip(starts, texts, strict=False)]
    file = File(path=name, size=1, changed=0, seen=0, digest=name, metadata=metadata)
    store.put(file, plain("\n".join(texts)), chunks, vectors)


@pytest.fixture
def store(tmp_path: Path) -> SqliteStore:
    made = SqliteStore(tmp_path / "x.db", model="m")
    made.prepare()
    return made


@pytest.mark.parametrize("dimension", [64, 100, 384])
def test_candidates_hold_the_nearest(dimension: int) -> None:
    """Of 6,000 vectors, a sixth is compared exactly, and the ten best of an exact search are found."""
    vectors = random_vectors(6000, dimension, 1)
    codes = codes_of(np.arange(6000, dtype=np.int64), b"".join(signs_of(vectors)))
    rows = dict(enumerate(vector.astype("float16").tobytes() for vector in vectors))
    hits = 0
    for query in random_vectors(30, dimension, 2):
        ids = codes.candidates(query, 10)
        assert len(ids) == 1030
        found = nearest(query, [(id_, rows[id_]) for id_ in ids], 10)
        hits += len(found.keys() & set(np.argsort(-(vectors @ query))[:10].tolist()))

    assert hits >= 0.97 * 300


def test_candidates_are_among_those_asked_for() -> None:
    """A limit to some passages gives the best of these, all of them where they are few."""
    vectors = random_vectors(5000, 64, 3)
    codes = codes_of(np.arange(5000, dtype=np.int64), b"".join(signs_of(vectors)))
    query = random_vectors(1, 64, 4)[0]
    assert codes.candidates(query, 10, np.array([7, 4000, 9000])) == [7, 4000]
    odd = codes.candidates(query, 10, np.arange(1, 5000, 2))
    assert len(odd) == 1012
    assert all(id_ % 2 for id_ in odd)


def test_common_words_score_but_do_not_select() -> None:
    """Words that many passages hold only raise those that have a rare one too; those of no weight are left out."""
    counts = {"the": 900, "boat": 400, "sloop": 30, "mast": 20, "unheard": 0}

    def match(*words: str, rows: int) -> str:
        return match_any(words, counts.__getitem__, total=1000, rows=rows)

    assert match(*counts, rows=2000) == '"mast" OR "sloop" OR "boat"'
    assert match(*counts, rows=100) == '("mast" OR "sloop") AND ("boat" OR "\ue000")'
    assert match("the", rows=100) == '"the"'
    assert match("unheard", rows=100) == ""


def test_scores_by_words_do_not_depend_on_what_selects(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Passages with a rare word have the same score, whether common words select as well or not."""
    texts = [f"boat boat {'sloop' if n % 10 == 0 else 'water'} number{n}" for n in range(200)]
    put(store, "a.txt", texts, random_vectors(200, 64, 5))
    all_words = store.by_words(["boat", "sloop"], 100)
    monkeypatch.setattr("agentflow.toolkit.files.wording.ROWS", 30)
    rare = store.by_words(["boat", "sloop"], 100)
    assert len(rare) == 20
    assert rare == pytest.approx({key: all_words[key] for key in list(all_words)[:20]}, abs=1e-5)


def test_what_is_in_memory_follows_the_file(store: SqliteStore, tmp_path: Path) -> None:
    """Passages that another connection adds, replaces and removes are seen by the next search."""
    other = SqliteStore(tmp_path / "x.db", model="m")
    vectors = random_vectors(4, 64, 6)
    put(store, "a.txt", ["one"], vectors[:1])
    assert list(other.by_vector(vectors[0], 5)) == [1]
    put(store, "b.txt", ["two", "three"], vectors[1:3])
    assert list(other.by_vector(vectors[2], 1)) == [3]
    store.forget(["b.txt"])
    assert list(other.by_vector(vectors[2], 5)) == [1]
    put(store, "c.txt", ["four"], vectors[3:])
    assert list(other.by_vector(vectors[3], 1)) == [4]
    store.prepare(rebuild=True)
    assert other.by_vector(vectors[3], 1) == {}


@pytest.mark.parametrize("rows", [10_000, 5])
def test_a_filter_limits_both_rankings(
    store: SqliteStore, rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Words and vectors are found in fitting files only, as many as were asked for, however few files fit."""
    monkeypatch.setattr("agentflow.toolkit.files.wording.ROWS", rows)
    vectors = random_vectors(300, 64, 7)
    for number in range(30):
        put(store, f"{number}.txt", ["boat"] * 10, vectors[10 * number : 10 * number + 10], part=number % 3)

    only = Filter(conditions=(Condition(name="part", values=(1,)),))
    allowed = {1 + 10 * number + n for number in range(1, 30, 3) for n in range(10)}
    assert set(store.by_words(["boat"], 100, only)) == allowed
    assert set(store.by_vector(vectors[0], 100, only)) == allowed
    nothing = Filter(paths=("none/**",))
    assert (store.by_words(["boat"], 9, nothing), store.by_vector(vectors[0], 9, nothing)) == ({}, {})


def test_vectors_of_another_dimension_are_refused(store: SqliteStore) -> None:
    """The dimension is that of the first vectors; others are refused with what to do, when they are put or looked for."""
    put(store, "a.txt", ["one"], random_vectors(1, 64, 8))
    with pytest.raises(IndexMismatch, match="holds vectors of 64 numbers, and `m` now gives 32") as put_:
        put(store, "b.txt", ["two"], random_vectors(1, 32, 8))

    assert "--rebuild" in put_.value.hint
    with pytest.raises(IndexMismatch):
        store.by_vector(random_vectors(1, 32, 8)[0], 1)

    assert list(store.files()) == ["a.txt"]


async def test_another_model_is_refused_until_the_index_is_made_anew(tmp_path: Path) -> None:
    """An index of one model's vectors is not searched with another's, nor thrown away, unless that is wanted."""
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "a.md").write_text("# Boats\n\nA sloop has one mast.\n")
    options = {"index": tmp_path / "x.db", "fresh_for": 0}
    one = FileSearch(tmp_path / "docs", embedding=WordEncoder(), **options)  # type: ignore[arg-type]
    await one.index()
    other = FileSearch(tmp_path / "docs", embedding=WordEncoder(name="other", dimension=64), **options)  # type: ignore[arg-type]
    for refused in (other.search("mast"), other.index()):
        with pytest.raises(IndexMismatch, match="holds vectors of `words`, and `other` now is to make them"):
            await refused

    assert (await one.search("mast"))[0].source == "docs/a.md"
    assert (await other.index(rebuild=True)).chunks == 1
    assert (await other.search("mast"))[0].source == "docs/a.md"
    with pytest.raises(IndexMismatch):
        await one.search("mast")


async def test_an_index_of_an_earlier_version_is_made_anew(tmp_path: Path) -> None:
    """Tables that were made by a version before are replaced, as all in them can be read again."""
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "a.md").write_text("# Boats\n\nA sloop has one mast.\n")
    db = apsw.Connection(str(tmp_path / "x.db"))
    db.execute("create table settings (name text primary key, value text not null) without rowid")
    db.execute("insert into settings values ('version', '1'), ('model', 'older')")
    db.pragma("application_id", 0x61666669)
    db.close()
    files = FileSearch(tmp_path / "docs", index=tmp_path / "x.db", embedding=WordEncoder())
    assert (await files.search("mast"))[0].source == "docs/a.md"


def test_the_index_file_is_a_vector_store(store: SqliteStore) -> None:
    """What is searched and indexed is the protocol: another store can take the place of SQLite's."""
    held: VectorStore = store
    assert FileSearch(Path(), store=held, index=Path("none")).index_file == Path("none")
