"""opo_eval: what a reasoning checkpoint became under RL, in numbers that hold.

The public names are loaded on first use, so that importing the package loads neither torch nor vllm
nor matplotlib nor pandas.
"""

from importlib import import_module
from typing import Any

_HOMES = {
    "RunDir": "opo_eval.store",
    "load_problems": "opo_eval.problems",
    "grade_answers": "opo_eval.grading",
}
_MODULES = ("grading", "importers", "metrics", "problems", "records", "report", "samplers", "stats", "store")

__all__ = ["__version__", *_HOMES, *_MODULES]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version  # itself a tenth of a bare start

        return version("opo-eval")
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    if name in _MODULES:
        return import_module(f"opo_eval.{name}")
    raise AttributeError(f"module 'opo_eval' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
