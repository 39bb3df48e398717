"""Finding the answer, and math-verify in killable workers."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from opo_eval.grading.extract import ANSWER_PLACES as ANSWER_PLACES
    from opo_eval.grading.extract import extract_answer as extract_answer
    from opo_eval.grading.grader import Grader as Grader
    from opo_eval.grading.grader import Outcome as Outcome
    from opo_eval.grading.grader import grade_answers as grade_answers

_HOMES = {
    "ANSWER_PLACES": "extract",
    "extract_answer": "extract",
    "Grader": "grader",
    "Outcome": "grader",
    "grade_answers": "grader",
}
__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    # Loaded on first use: a worker process imports this package and needs none of it.
    if name in _HOMES:
        return getattr(import_module(f"opo_eval.grading.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'opo_eval.grading' has no attribute {name!r}")
