"""Finding the answer, and math-verify in killable workers."""

from importlib import import_module
from typing import Any

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
