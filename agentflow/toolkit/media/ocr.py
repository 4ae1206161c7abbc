"""Text in pictures, read on this machine with weights that a package brings; nothing is downloaded."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agentflow.evidence import Evidence
from agentflow.exceptions import FileUnreadable, MissingExtra, ToolError
from agentflow.toolkit.media.folder import Folder

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_FORMATS = ("PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF")
_THREADS = "EngineConfig.onnxruntime.intra_op_num_threads"
# Given by name: a file that is not there would be fetched.
_WEIGHTS = {
    "Det.model_path": "PP-OCRv6_det_small.onnx",
    "Rec.model_path": "PP-OCRv6_rec_small.onnx",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A line of text in a picture. `box` is left, top, right and bottom in pixels; `confidence` goes from 0 to 1."""

    text: str
    box: tuple[int, int, int, int]
    confidence: float


class Ocr:
    """Reads upright text in pictures: Latin, Chinese and Japanese letters, printed better than written by hand.

    Files come from the folder `files` only, at most `max_bytes` each, with at most `max_pixels`; lines that are less sure
    than `confidence` are left out.
    """

    def __init__(
        self,
        files: Folder | Path | str,
        *,
        confidence: float = 0.5,
        max_bytes: int = 50_000_000,
        max_pixels: int = 40_000_000,
    ) -> None:
        self._files = files if isinstance(files, Folder) else Folder(files)
        self._confidence, self._max_bytes, self._max_pixels = confidence, max_bytes, max_pixels

    async def read_image(self, path: str) -> list[Evidence]:
        """Read the text in a picture, line by line from the top, each with its place in pixels."""
        lines = await asyncio.to_thread(self._read, path)
        found: list[Evidence] = []
        begun = 0
        for n, line in enumerate(lines, 1):
            left, top, right, bottom = line.box
            found.append(
                Evidence(
                    text=line.text,
                    source=path,
                    place=f"line {n}, at {left},{top} to {right},{bottom}",
                    start=begun,
                    end=begun + len(line.text),
                    score=line.confidence,
                )
            )
            begun += len(line.text) + 1

        return found

    def _read(self, path: str) -> list[Line]:
        return self.lines(self._files.read(path, max_bytes=self._max_bytes), path)

    def lines(self, data: bytes, name: str = "the picture") -> list[Line]:
        """The lines in the picture that `data` holds, such as a page of a scan, from the top. Blocks.

        Raises `FileUnreadable` for what is no picture or has too many pixels.
        """
        engine = _engine()
        pixels = _pixels(data, name, self._max_pixels)
        # One at a time: the engine keeps what it is at in itself.
        with _reading:
            found = engine(pixels, text_score=self._confidence)

        if found.txts is None or found.boxes is None:
            return []

        return [
            Line(text=text, box=_box(corners), confidence=round(float(score), 4))
            for text, corners, score in zip(found.txts, found.boxes, found.scores, strict=True)
            if text.strip()
        ]


_reading = threading.Lock()
_loading = threading.Lock()


def _engine() -> Any:
    """The one engine of this process, loaded at the first call."""
    with _loading:
        return _loaded()


@cache
def _loaded() -> Any:
    for module, package in (("rapidocr", "rapidocr"), ("onnxruntime", "onnxruntime"), ("PIL", "pillow")):
        if find_spec(module) is None:
            raise MissingExtra("ocr", package)

    import onnxruntime

    rapidocr = import_module("rapidocr")  # by name, as it has no types
    onnxruntime.disable_telemetry_events()  # nothing of ours phones home
    weights = Path(str(rapidocr.__file__)).parent / "models"
    if lacking := [name for name in _WEIGHTS.values() if not (weights / name).is_file()]:
        raise ToolError(
            f"this version of `rapidocr` brings no `{lacking[0]}`",
            hint="install the one that agentflow names: `pip install 'agentflow[ocr]'`",
        )

    paths = {key: str(weights / name) for key, name in _WEIGHTS.items()}
    # Its model for lines that stand on their head turned 2 of 40 upright ones around.
    settings = {"Global.log_level": "error", "Global.use_cls": False, _THREADS: 1}
    return rapidocr.RapidOCR(params={**settings, **paths})


def _pixels(data: bytes, name: str, most: int) -> NDArray[np.uint8]:
    """Blue, green and red of each pixel, turned as the camera was held; what is transparent is white."""
    import numpy as np
    from PIL import Image, ImageOps, UnidentifiedImageError

    # The second is only raised where warnings are errors.
    bombs = Image.DecompressionBombError, Image.DecompressionBombWarning
    try:
        with Image.open(BytesIO(data), formats=_FORMATS) as image:
            # Known before a pixel is unpacked: a small file may stand for a huge picture.
            if image.width * image.height > most:
                raise FileUnreadable(
                    f"`{name}` has {image.width} x {image.height} pixels",
                    hint=f"give a picture of at most {most / 1e6:g} million pixels",
                )

            turned = ImageOps.exif_transpose(image).convert("RGBA")
            plain = Image.new("RGBA", turned.size, "white")
            plain.alpha_composite(turned)
            return np.ascontiguousarray(np.asarray(plain.convert("RGB"))[:, :, ::-1])
    except UnidentifiedImageError:
        raise FileUnreadable(f"`{name}` is no picture", hint=f"give {', '.join(_FORMATS)}") from None
    except (OSError, ValueError, SyntaxError, EOFError, *bombs) as error:
        raise FileUnreadable(f"`{name}` cannot be read as a picture: {error}") from None


def _box(corners: Any) -> tuple[int, int, int, int]:
    """The upright frame around four corners, which may stand askew."""
    (left, top), (right, bottom) = corners.min(axis=0), corners.max(axis=0)
    return round(float(left)), round(float(top)), round(float(right)), round(float(bottom))
