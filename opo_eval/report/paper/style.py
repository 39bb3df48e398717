"""How a figure for a paper looks, and how it becomes a file.

Column width is 3.25 in and full width 6.75 in, those of two-column conferences: at that size, which is the
size of the files, all text is from 7 to 8 points. Fonts are embedded as outlines that stay text (Type 42).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from typing import Any

import matplotlib.style
from matplotlib.figure import Figure

from opo_eval.report.figures.style import figure_bytes, figure_style

WIDTHS = {"column": 3.25, "full": 6.75}
"""Name in files → inches."""
FORMATS = ("pdf", "svg", "png")
"""The last one is for looking."""
_STYLE: dict[str, Any] = {
    "font.size": 7,
    "axes.labelsize": 8,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "legend.fontsize": 7,
    "axes.labelpad": 2,
    "xtick.major.pad": 2,
    "ytick.major.pad": 2,
    "pdf.fonttype": 42,
    "savefig.dpi": 200,
}


@contextmanager
def paper_style() -> Iterator[None]:
    """The style of every figure for a paper, whatever the user's own matplotlib settings are."""
    with figure_style(), matplotlib.style.context(_STYLE):
        yield


def figure_files(figure: Figure, stem: str) -> dict[str, bytes]:
    """The figure in every format, by path, the same bytes whenever and wherever it is drawn.

    Its layout is settled first, so that all formats have the same.
    """
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    return {f"{stem}.{suffix}": _bytes(figure, suffix) for suffix in FORMATS}


def _bytes(figure: Figure, file_format: str) -> bytes:
    if file_format != "pdf":
        return figure_bytes(figure, file_format)
    buffer = BytesIO()
    with paper_style():
        metadata = {"CreationDate": None, "Creator": None, "Producer": None}
        figure.savefig(buffer, format="pdf", metadata=metadata)
    return buffer.getvalue()
