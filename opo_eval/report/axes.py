"""The report's figures, drawn into Axes that are there: of a notebook, or beside a user's own panels.

    figure, (left, right) = plt.subplots(1, 2)
    draw_pass_at_k(left, measured.metrics).legend()
    tested = measured.differences("sft").dropna(subset="p_adjusted")
    draw_differences(right, tested[tested.unit == "share"])

Each function takes a frame, whose rows the user may have chosen: those of `opo_eval.measure_frame`, or what
pandas reads from the CSV files of a report. It draws, names the axes, gives each curve an entry for a legend
and returns the Axes. Fonts, sizes and grids are the user's, and no setting of matplotlib is changed.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from matplotlib.axes import Axes

from opo_eval.errors import InputError
from opo_eval.over_steps import StepCurve, StepPoint
from opo_eval.records import Comparison, MetricRow, Unit
from opo_eval.report.data import DIFFERENCE_COLUMNS, METRIC_COLUMNS, interval_of, records_of
from opo_eval.report.figures.curves import curve_of, draw_curves
from opo_eval.report.figures.differences import draw_panel, panels_of
from opo_eval.report.figures.over_steps import draw_values, metric_title, name_steps
from opo_eval.report.figures.style import CURVES, POINTS
from opo_eval.report.training_data import QUANTITIES, Curve
from opo_eval.report.training_panels import draw_curves as draw_training_curves
from opo_eval.report.training_panels import styles_of
from opo_eval.report.values import VALUE_UNITS
from opo_eval.report.views import ALL
from opo_eval.tabular import require_columns
from opo_eval.wording import listed, some_of

if TYPE_CHECKING:
    import pandas as pd

_NAME = "the frame"
_RUN = "training_run"
_VALUE = ("value", "low", "high", "level", "kind")


def draw_pass_at_k(axes: Axes, metrics: "pd.DataFrame") -> Axes:
    """pass@k over k, a curve a checkpoint, shaded where all of it lies at once with 95 % confidence.

    Where a curve has no such band, the interval of each k is shaded. metrics: rows of metrics.csv, of one
    benchmark; those of other metrics and of subsets are not looked at. Raises InputError for a frame that
    lacks a column or a pass@k, or holds several benchmarks or more than eight checkpoints.
    """
    cells = _cells(metrics, METRIC_COLUMNS)
    rows = [row for row in records_of(MetricRow, cells) if row.subset == ALL]
    _require_one("benchmark", [row.benchmark for row in rows])
    by_name = {name: curve_of(r for r in rows if r.checkpoint == name) for name in _names(rows)}
    curves = [(_shown(name), curve) for name, curve in by_name.items() if curve]
    _require_room(curves, "pass@k")
    draw_curves(axes, curves)
    return axes


def _names(rows: Sequence[MetricRow]) -> list[str]:
    return list(dict.fromkeys(row.checkpoint for row in rows))


def draw_differences(axes: Axes, differences: "pd.DataFrame") -> Axes:
    """Differences from the baseline: lines over problems like these, bars over these problems, p beside them.

    Filled markers are told apart from 0. differences: rows of differences.csv, of one benchmark, one baseline
    and one unit, each of which is drawn, all with a p-value that is adjusted for the family or none. Raises
    InputError for a frame that lacks a column or rows, or holds several of these or more than eight
    checkpoints that are compared.
    """
    rows = records_of(Comparison, _cells(differences, DIFFERENCE_COLUMNS))
    for column in ("benchmark", "a", "unit"):
        _require_one(column, [getattr(row, column) for row in rows])
    others = list(dict.fromkeys(row.b for row in rows))
    _require_room(others, "a difference")
    if len({row.p_adjusted is None for row in rows if row.p_value is not None}) > 1:
        raise InputError(
            f"{_NAME} holds p-values that are adjusted for the family beside others that are not, and one "
            "Axes does not tell them apart: choose, as with frame.dropna(subset='p_adjusted')"
        )
    ((unit, marks),) = panels_of(rows, others).items()
    draw_panel(axes, unit, marks)
    _name(axes, dict(zip(others, ({**look, "linestyle": ""} for look in POINTS), strict=False)))
    return axes


def draw_over_steps(
    axes: Axes, metrics: "pd.DataFrame", metric: str, *, unit: Unit | str | None = None
) -> Axes:
    """A metric over training steps, a curve a training run, each point's interval shaded.

    metrics: rows of metrics.csv with the step of each checkpoint in a column `step`, or rows of a report's
    over_steps.csv; a column `training_run` tells several runs apart. unit: of the metric, for a frame without
    a column of units. Raises InputError for a frame that lacks a column or the metric, or holds several
    benchmarks or more than eight training runs.
    """
    rows = [
        row
        for row in _cells(metrics, ("benchmark", "metric", "step", *_VALUE))
        if row["metric"] == metric and row.get("subset", ALL) == ALL
    ]
    _require_one("benchmark", [row["benchmark"] for row in rows])
    runs = _by_run(rows, metric)
    shown_in = _unit(unit or rows[0].get("unit"), metric)
    curves = [_step_curve(name, its) for name, its in runs.items()]
    drawn = list(zip(runs, CURVES, strict=False))
    draw_values(axes, shown_in, curves, drawn)
    axes.set_ylabel(metric_title(metric, VALUE_UNITS[shown_in]))
    name_steps(axes)
    _name(axes, dict(drawn))
    return axes


def _unit(name: Unit | str | None, metric: str) -> Unit:
    if name not in list(Unit):
        found = f"the unit {name!r}" if name else "no column 'unit'"
        raise InputError(f"{_NAME} has {found}: name that of {metric} with unit=, among {listed(Unit)}")
    return Unit(name)


def _step_curve(name: str, rows: Sequence[Mapping[str, Any]]) -> StepCurve:
    points = [
        StepPoint(
            step=int(row["step"]),
            checkpoint=str(row.get("checkpoint")),
            value=float(row["value"]),
            interval=interval_of(row, "low", "high"),
        )
        for row in rows
    ]
    first = rows[0]
    return StepCurve(
        benchmark=str(first["benchmark"]),
        series=name,
        metric=first["metric"],
        reference=None,
        points=tuple(points),
        n_problems=first.get("n_problems", 0),
    )


def draw_training(axes: Axes, steps: "pd.DataFrame", quantity: str) -> Axes:
    """What training logged of a quantity over its steps, a curve a training run.

    steps: as `opo_eval.training_frame` gives them; quantity: one of their columns, such as `entropy`,
    `kl_start` or `reward`. Raises InputError for a frame that lacks it, has nothing in it, or holds more than
    eight training runs.
    """
    rows = [row for row in _cells(steps, ("step", quantity)) if row[quantity] is not None]
    runs = _by_run(rows, quantity)
    curves = [_curve(name, quantity, its) for name, its in runs.items()]
    draw_training_curves(axes, curves, quantity)
    axes.set_ylabel(QUANTITIES.get(quantity, quantity))
    name_steps(axes)
    _name(axes, styles_of(list(runs)))
    return axes


def _curve(name: str, quantity: str, rows: Sequence[Mapping[str, Any]]) -> Curve:
    return Curve(
        arm=name,
        quantity=quantity,
        steps=tuple(float(row["step"]) for row in rows),
        means=tuple(float(row[quantity]) for row in rows),
        intervals=(None,) * len(rows),
        n_seeds=1,
        block=1,
    )


# --- frames and legends -----------------------------------------------------------------------------


def _cells(frame: "pd.DataFrame", columns: Sequence[str]) -> list[dict[str, Any]]:
    """Its rows by column; None in a cell that is empty."""
    require_columns(frame.columns, columns, _NAME)
    return frame.astype(object).where(frame.notna(), None).to_dict("records")


def _by_run(rows: Sequence[Mapping[str, Any]], name: str) -> dict[str, list[Mapping[str, Any]]]:
    """The rows of each training run in the order of its steps, at each of which it has one."""
    found: dict[str, list[Mapping[str, Any]]] = {}
    for row in sorted(rows, key=lambda row: row["step"]):
        run = found.setdefault(str(row.get(_RUN, "run")), [])
        if run and run[-1]["step"] == row["step"]:
            raise InputError(
                f"{_NAME} has several rows of {name} at step {row['step']}: tell training runs apart in a "
                f"column {_RUN!r}, and keep one row a step"
            )
        run.append(row)
    _require_room(found, name)
    return found


def _require_one(column: str, values: Sequence[Any]) -> None:
    found = list(dict.fromkeys(map(str, values)))
    if len(found) > 1:
        raise InputError(
            f"{_NAME} holds several in its column {column!r} ({some_of(found)}), and one Axes shows one: "
            f"choose, as with frame[frame[{column!r}] == {found[0]!r}]"
        )


def _require_room(drawn: Sequence[Any] | Mapping[str, Any], what: str) -> None:
    if not drawn:
        raise InputError(f"{_NAME} has no row with {what}: there is nothing to draw")
    if len(drawn) > len(CURVES):
        raise InputError(
            f"{_NAME} would give {len(drawn)} curves or markers, and {len(CURVES)} can be told apart: "
            "choose some"
        )


def _name(axes: Axes, styles: Mapping[str, Mapping[str, Any]]) -> None:
    """Entries for a legend, which nothing that is drawn has by itself."""
    for name, style in styles.items():
        axes.plot([], [], label=_shown(name), **style)


def _shown(name: str) -> str:
    """A name as it is: no formula, and not hidden, as matplotlib takes dollars and a first underscore."""
    return f" {name}".replace("$", r"\$") if name.startswith("_") else name.replace("$", r"\$")
