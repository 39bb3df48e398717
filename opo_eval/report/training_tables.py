"""The tables of a study's page, as grids of plain text."""

from collections.abc import Iterator, Sequence

from opo_eval.records import Comparison, Interval, MetricTable, Unit
from opo_eval.report.grid import NONE, Grid, without_empty_columns
from opo_eval.report.training_data import (
    Contrast,
    JudgedClaim,
    JudgedExperiment,
    Lift,
    LiftBounds,
    StudyPage,
    TrainedArm,
)
from opo_eval.report.values import (
    DIFFERENCE_UNITS,
    VALUE_UNITS,
    detectable,
    difference_with_interval,
    number,
    p_text,
    reading,
    sides,
    with_interval,
)
from opo_eval.report.views import is_diversity, is_power_of_two, k_of, rows_of

REP_PER_SEQUENCE = "rep_5_per_sequence"
_TRAINING_UNITS = {
    "reward": Unit.SHARE,
    "kl_start": Unit.NATS,
    "entropy": Unit.NATS,
    "length": Unit.TOKENS,
    "groups_equal": Unit.SHARE,
}
_TRAINING_NAMES = {
    "reward": "reward (%)",
    "kl_start": "KL to the start",
    "entropy": "entropy",
    "length": "tokens",
    "groups_equal": "equal groups (%)",
}


def settings_grid(page: StudyPage) -> Grid:
    """The paper's settings beside these."""
    return Grid(("", "in the paper", "here"), page.settings)


def lifts_grid(lifts: Sequence[Lift], bounds: LiftBounds) -> Grid:
    """What each arm has over the start, and whether that is enough."""
    least, above = 100 * bounds.pass_at_1, 100 * bounds.pass_at_k
    last = lifts[0].pass_at_k.metric
    rows = (
        (
            lift.arm,
            str(lift.n_seeds),
            difference_with_interval(lift.pass_at_1),
            difference_with_interval(lift.pass_at_k),
            "yes" if lift.meets else "no",
        )
        for lift in lifts
    )
    names = ("pass@1 over the start (points)", f"{last} over the start (points)")
    asked = f"pass@1 by {least:g} or more, lower bound of {last} above {above:g}"
    return Grid(("arm", "seeds", *names, asked), tuple(rows))


# --- claims -----------------------------------------------------------------------------------------


def claims_grid(experiment: JudgedExperiment) -> Grid:
    """One row a claim, with the numbers that it was judged by."""
    columns = ("claim", "paper", *_columns(experiment.a, experiment.b), "ruling")
    rows = tuple(
        (claim.text, claim.source, *_claim_cells(claim), claim.ruling.value) for claim in experiment.claims
    )
    return Grid(columns, rows)


def _claim_cells(claim: JudgedClaim) -> tuple[str, ...]:
    return (claim.reason, *[NONE] * 6) if claim.row is None else _cells(claim.row)


def contrast_grids(contrasts: Sequence[Contrast]) -> Iterator[tuple[str, Grid]]:
    """(title, grid) for each pair of arms that differ in one respect."""
    for contrast in contrasts:
        rows = tuple((*_cells(row), reading(row)) for row in contrast.rows)
        grid = Grid((*_columns(contrast.a, contrast.b), "reading"), rows)
        yield f"{contrast.b} minus {contrast.a}: {contrast.what}", without_empty_columns(grid)


def _columns(a: str, b: str) -> tuple[str, ...]:
    return ("number", a, b, "difference", "p", "adjusted p", "detectable")


def _cells(row: Comparison) -> tuple[str, ...]:
    named = f"{row.metric} ({DIFFERENCE_UNITS[row.unit]})"
    ps = (p_text(row.p_value), p_text(row.p_adjusted))
    return (named, *sides(row), difference_with_interval(row), *ps, detectable(row))


# --- values -----------------------------------------------------------------------------------------


def pass_at_k_grid(tables: Sequence[MetricTable], names: Sequence[str]) -> Grid:
    """One row an arm, one column a power of two."""
    metrics = [name for name in rows_of(tables[0]) if (k := k_of(name)) and is_power_of_two(k)]
    return _values_grid(tables, names, metrics)


def diversity_grid(tables: Sequence[MetricTable], names: Sequence[str]) -> Grid:
    """Self-BLEU and Rep-n, the latter weighting every response alike, and response lengths."""
    found = rows_of(tables[0])
    kept = [name for name in found if is_diversity(name) or name in (REP_PER_SEQUENCE, "tokens")]
    return _values_grid(tables, names, kept)


def _values_grid(tables: Sequence[MetricTable], names: Sequence[str], metrics: Sequence[str]) -> Grid:
    units = {name: rows_of(tables[0])[name].unit for name in metrics}
    columns = [f"{name} ({VALUE_UNITS[units[name]]})" for name in metrics]
    rows = []
    for table, name in zip(tables, names, strict=True):
        own = rows_of(table)
        cells = (
            with_interval(own[m].value, own[m].interval, own[m].unit) if m in own else NONE for m in metrics
        )
        rows.append((name, *cells))
    return Grid(("", *columns), tuple(rows))


def trained_grid(trained: Sequence[TrainedArm]) -> Grid:
    """How the runs went: rollouts, updates, and the last third of the steps."""
    quantities = [name for name in _TRAINING_UNITS if any(name in arm.last_third for arm in trained)]
    own = ("arm", "seeds", "rollouts", "updates", "clipped (%)")
    rows = tuple((*_own_cells(arm), *_training_cells(arm, quantities)) for arm in trained)
    return without_empty_columns(Grid((*own, *(_TRAINING_NAMES[name] for name in quantities)), rows))


def _own_cells(arm: TrainedArm) -> tuple[str, ...]:
    clipped = NONE if arm.clipped is None else number(arm.clipped, Unit.SHARE, 1)
    return (arm.arm, str(arm.n_seeds), str(arm.steps), str(arm.updates), clipped)


def _training_cells(arm: TrainedArm, quantities: Sequence[str]) -> Iterator[str]:
    for name in quantities:
        yield _training_cell(name, *arm.last_third[name]) if name in arm.last_third else NONE


def _training_cell(quantity: str, value: float, interval: Interval | None) -> str:
    return with_interval(value, interval, _TRAINING_UNITS[quantity])
