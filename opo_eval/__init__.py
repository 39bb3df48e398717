"""opo_eval: what a reasoning checkpoint became under RL, in numbers that hold.

The public names are loaded on first use, so that importing the package loads neither torch nor vllm
nor matplotlib nor pandas.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from opo_eval import grading as grading
    from opo_eval import importers as importers
    from opo_eval import metrics as metrics
    from opo_eval import problems as problems
    from opo_eval import records as records
    from opo_eval import report as report
    from opo_eval import rewards as rewards
    from opo_eval import samplers as samplers
    from opo_eval import stats as stats
    from opo_eval import store as store
    from opo_eval.dataframes import MeasuredFrame as MeasuredFrame
    from opo_eval.dataframes import differences_frame as differences_frame
    from opo_eval.dataframes import measure_frame as measure_frame
    from opo_eval.dataframes import metrics_frame as metrics_frame
    from opo_eval.dataframes import training_frame as training_frame
    from opo_eval.grading import grade_answers as grade_answers
    from opo_eval.measure import MeasureOptions as MeasureOptions
    from opo_eval.measure import measure_run as measure_run
    from opo_eval.problems import load_problems as load_problems
    from opo_eval.store import RunDir as RunDir

    __version__: str

_HOMES = {
    "MeasureOptions": "opo_eval.measure",
    "MeasuredFrame": "opo_eval.dataframes",
    "RunDir": "opo_eval.store",
    "differences_frame": "opo_eval.dataframes",
    "grade_answers": "opo_eval.grading",
    "load_problems": "opo_eval.problems",
    "measure_frame": "opo_eval.dataframes",
    "measure_run": "opo_eval.measure",
    "metrics_frame": "opo_eval.dataframes",
    "training_frame": "opo_eval.dataframes",
}
_MODULES = (
    "grading", "importers", "metrics", "problems", "records", "report", "rewards", "samplers", "stats",
    "store",
)  # fmt: skip

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
