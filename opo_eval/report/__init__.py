"""Reports drawn from finished tables; nothing here computes a metric or a statistic.

The names are loaded on first use, so that a table on the terminal does not load matplotlib.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from opo_eval.report.axes import draw_differences as draw_differences
    from opo_eval.report.axes import draw_over_steps as draw_over_steps
    from opo_eval.report.axes import draw_pass_at_k as draw_pass_at_k
    from opo_eval.report.axes import draw_training as draw_training
    from opo_eval.report.render import write_report as write_report
    from opo_eval.report.terminal import terminal_table as terminal_table
    from opo_eval.report.terminal import verdict_sentence as verdict_sentence

_HOMES = {
    "draw_differences": "opo_eval.report.axes",
    "draw_over_steps": "opo_eval.report.axes",
    "draw_pass_at_k": "opo_eval.report.axes",
    "draw_training": "opo_eval.report.axes",
    "write_report": "opo_eval.report.render",
    "terminal_table": "opo_eval.report.terminal",
    "verdict_sentence": "opo_eval.report.terminal",
}

__all__ = [*_HOMES]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'opo_eval.report' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
