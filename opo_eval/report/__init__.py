"""Reports drawn from finished tables; nothing here computes a metric or a statistic.

The names are loaded on first use, so that a table on the terminal does not load matplotlib.
"""

from importlib import import_module
from typing import Any

_HOMES = {
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
