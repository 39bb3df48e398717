"""The public names as a typed program uses them: `make check` finds a type that is not what it should be."""

from pathlib import Path
from typing import assert_type

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import opo_eval
from opo_eval.grading import Outcome
from opo_eval.records import MetricTable, Problem
from opo_eval.report import draw_pass_at_k
from opo_eval.rewards import trl_reward


def numbers(frame: pd.DataFrame, folder: Path) -> None:
    """Never called: it is here to be checked."""
    measured = opo_eval.measure_frame(frame, problem="question", score="correct", tags=["level"])
    assert_type(measured, opo_eval.MeasuredFrame)
    assert_type(measured.tables, tuple[MetricTable, ...])
    assert_type(measured.metrics, pd.DataFrame)
    assert_type(measured.differences("sft", family=["pass@k"]), pd.DataFrame)
    opo_eval.measure_frame(frame, correct="correct")  # pyright: ignore[reportCallIssue]
    opo_eval.measure_frame(frame, score=1)  # pyright: ignore[reportArgumentType]
    table = opo_eval.measure_run(opo_eval.RunDir(folder), opo_eval.MeasureOptions(n=4))
    assert_type(table, MetricTable)
    assert_type(opo_eval.metrics_frame([table]), pd.DataFrame)
    assert_type(opo_eval.training_frame(folder), pd.DataFrame)
    assert_type(opo_eval.load_problems("math500"), tuple[Problem, ...])
    assert_type(opo_eval.__version__, str)
    opo_eval.no_such_name  # pyright: ignore[reportAttributeAccessIssue]  # noqa: B018


def test_what_is_typed_works() -> None:
    outcomes = opo_eval.grade_answers(["4"], ["\\boxed{4}"])
    assert_type(outcomes, list[Outcome])
    assert_type(trl_reward(["2+2"], ["\\boxed{4}"], answer=["4"]), list[float | None])
    frame = pd.DataFrame({"problem": ["1+1", "1+1", "2+2", "2+2"], "ok": [1, 0, 0, 0]})
    measured = opo_eval.measure_frame(frame, score="ok", metrics=["pass@k"])
    axes: Axes = Figure().add_subplot()
    assert_type(draw_pass_at_k(axes, measured.metrics), Axes)
    assert [str(outcome.verdict) for outcome in outcomes] == ["correct"]
