"""A Matplotlib backend that keeps each figure as a PNG: at `show()`, and those still open when a program ends."""

from __future__ import annotations

import io
import sys
from typing import Any

from matplotlib._pylab_helpers import Gcf
from matplotlib.backend_bases import FigureManagerBase
from matplotlib.backends.backend_agg import FigureCanvasAgg

MOST = 100
"""How many figures are kept at most; how many a program may show is said elsewhere, and is less."""

shown: list[bytes] = []


class FigureCanvas(FigureCanvasAgg):
    manager_class: Any = FigureManagerBase


FigureManager = FigureManagerBase


def show(*_: Any, **__: Any) -> None:
    """Keep all open figures, and close them: the next plot begins a new one."""
    for manager in Gcf.get_all_fig_managers():
        if len(shown) >= MOST:
            raise RuntimeError(f"a program may show {MOST} figures")

        data = io.BytesIO()
        manager.canvas.figure.savefig(data, format="png", dpi=120)
        shown.append(data.getvalue())
        Gcf.destroy(manager)


def taken() -> list[bytes]:
    """What was shown since the last time, open figures included; nothing where no plot was made."""
    if "matplotlib.pyplot" in sys.modules:
        show()

    figures = list(shown)
    shown.clear()
    return figures
