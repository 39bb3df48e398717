"""Tables and comparisons by hand: every number in a report test is one that the test wrote down."""

from collections.abc import Mapping, Sequence
from typing import Any

from opo_eval.compare import ComparedRuns
from opo_eval.over_steps import StepCurve, StepPoint
from opo_eval.records import (
    Better,
    Comparison,
    Finish,
    Interval,
    MetricRow,
    MetricTable,
    ProblemStatistics,
    SampleOutcomes,
    Unit,
    Verdict,
)
from opo_eval.report.token_metrics import TokenMetric, token_metric
from opo_eval.stats import PROBLEMS_LIKE_THESE

Bounds = tuple[float, float, float] | tuple[float]
"""(value, low, high), or (value,) without an interval."""

BAND = f"{PROBLEMS_LIKE_THESE}, all steps at once"

GRADED = {"samples": 32, "correct": 20, "wrong": 7, "no_answer": 3, "timed_out": 1, "grader_error": 1}


def interval(low: float, high: float, kind: str = PROBLEMS_LIKE_THESE) -> Interval:
    """A 95 % interval."""
    return Interval(low=low, high=high, level=0.95, kind=kind)


def kind_of(metric: str) -> dict[str, Any]:
    """Unit and direction of the metrics that tests use."""
    if metric in ("tokens", "characters"):
        return {"unit": Unit(metric), "better": Better.NEITHER}
    if token := token_metric(metric):
        unit = Unit.LOG_RATIO if token.quantity.startswith("kl_k") else Unit.NATS
        return {"unit": unit, "better": Better.NEITHER}
    lower = metric.startswith(("self_bleu", "rep_", "no_answer"))
    unit = Unit.PERCENT if metric.startswith("self_bleu") else Unit.SHARE
    return {"unit": unit, "better": Better.LOWER if lower else Better.HIGHER}


def family_of(metric: str) -> str:
    """The entry of `METRICS` behind the metrics that tests use."""
    if metric.startswith(("pass@", "pass^")):
        return f"{metric[:5]}k"
    if token := token_metric(metric):
        estimate = token.quantity.startswith("kl_k")
        return "kl_estimates" if estimate else token.quantity.removeprefix("reverse_")
    return "repetition" if metric.startswith("rep_") else metric


def outcomes(n_problems: int = 4, n: int = 8) -> SampleOutcomes:
    """n samples a problem; of problem i the first i are wrong and long, the others correct."""
    cells = [(problem, index) for problem in range(n_problems) for index in range(n)]
    wrong = [index < problem for problem, index in cells]
    return SampleOutcomes(
        problem=tuple(problem for problem, _ in cells),
        index=tuple(index for _, index in cells),
        verdict=tuple(Verdict.WRONG if bad else Verdict.CORRECT for bad in wrong),
        finish=tuple(Finish.LENGTH if bad else Finish.STOP for bad in wrong),
        characters=tuple(
            400 + index if bad else 100 + index for (_, index), bad in zip(cells, wrong, strict=True)
        ),
        tokens=tuple(
            100 + index if bad else 25 + index for (_, index), bad in zip(cells, wrong, strict=True)
        ),
    )


def row(metric: str, bounds: Bounds, **fields: Any) -> MetricRow:
    """A row over all of 4 problems with 8 samples each."""
    defaults: dict[str, Any] = {
        "checkpoint": "early",
        "benchmark": "sums",
        "subset": "all",
        "family": family_of(metric),
        "interval": interval(*bounds[1:]) if len(bounds) == 3 else None,
        "n_problems": 4,
        "n_samples": 32,
        "n_problems_left_out": 0,
        "n_samples_left_out": 0,
        "signature": f"{metric}|n:8",
    }
    return MetricRow(metric=metric, value=bounds[0], **(kind_of(metric) | defaults | fields))


def table(
    checkpoint: str = "early",
    values: Mapping[str, Bounds] | None = None,
    *,
    benchmark: str = "sums",
    rows: Sequence[MetricRow] = (),
    **fields: Any,
) -> MetricTable:
    """A table of these values over all problems, and of further rows."""
    found = values if values is not None else {"pass@1": (0.5, 0.4, 0.6)}
    named = {"checkpoint": checkpoint, "benchmark": benchmark}
    defaults: dict[str, Any] = {
        "n": 8,
        "problem_ids": ("p0", "p1", "p2", "p3"),
        "rows": (*(row(metric, bounds, **named) for metric, bounds in found.items()), *rows),
        "statistics": tuple(statistics(metric, bounds[0]) for metric, bounds in found.items()),
        "outcomes": outcomes(),
        "counts": {"problems": 4, **GRADED},
    }
    return MetricTable(**(named | defaults | fields))


def statistics(metric: str, value: float, **fields: Any) -> ProblemStatistics:
    """The same value on each of 4 problems."""
    defaults: dict[str, Any] = {
        "numerators": (value,) * 4,
        "denominators": (1.0,) * 4,
        "n_samples": (8,) * 4,
        "n_samples_left_out": (0,) * 4,
    }
    return ProblemStatistics(metric=metric, **(defaults | fields))


SCORER = "exact|policy:early@11111111|reference:start@22222222|dtype:float32|vocab:96|prompt:sampled"
PARTS = ("", "correct", "wrong", "forking", *(f"tenth_{tenth}" for tenth in range(1, 11)))


def token_values(
    entropy: float = 0.5, kl: float | None = 0.02, *, temperature: str = "1", half: float | None = 0.1
) -> dict[str, Bounds]:
    """All numbers of token statistics; of tenth i and wrong responses i times and twice the whole's.

    kl: None without a reference. half: half of the intervals' width, as a share of the value; None for none.
    """
    times = {"wrong": 2.0, "forking": 3.0} | {f"tenth_{i}": float(i) for i in range(1, 11)}
    found = {
        TokenMetric(quantity, part, temperature).name: value * times.get(part, 1.0)
        for quantity, value in {"entropy": entropy, "kl": kl, "log_perplexity": entropy}.items()
        if value is not None
        for part in PARTS
    }
    if kl is not None:
        others = {"reverse_kl": 2 * kl, "kl_k1": 0.9 * kl, "kl_k2": 3 * kl, "kl_k3": 1.1 * kl}
        found |= {TokenMetric(name, "", temperature).name: value for name, value in others.items()}
    if half is None:
        return {name: (value,) for name, value in found.items()}
    return {
        name: (value, value * (1 - half), value * (1 + half)) if value else (value,)
        for name, value in found.items()
    }


def scored_table(
    checkpoint: str = "early",
    values: Mapping[str, Bounds] | None = None,
    *,
    scorer: str | None = None,
    n_scored: int = 32,
    **fields: Any,
) -> MetricTable:
    """pass@1 and token statistics (default: `token_values()`) of which so many of 32 samples are scored."""
    found = {"pass@1": (0.5, 0.4, 0.6), **(token_values() if values is None else values)}
    named = {"checkpoint": checkpoint, "benchmark": fields.get("benchmark", "sums")}
    by = f"scorer:[{scorer or SCORER.replace('early', checkpoint)}]|T:1|top_p:1|top_k:0|max_tokens:64"
    signed = {name: {"signature": f"{family_of(name)}|n:8|{by}"} for name in found if token_metric(name)}
    defaults: dict[str, Any] = {
        "rows": [row(name, bounds, **named, **signed.get(name, {})) for name, bounds in found.items()],
        "statistics": tuple(statistics(name, bounds[0]) for name, bounds in found.items()),
        "counts": {"problems": 4, **GRADED, "scored": n_scored},
    }
    return table(checkpoint, {}, **(defaults | fields))


def p_of(bounds: Bounds) -> float | None:
    """A p-value that agrees with the interval."""
    if len(bounds) == 1:
        return None
    return 0.4 if bounds[1] <= 0 <= bounds[2] else 0.004


def comparison(metric: str, bounds: Bounds, **fields: Any) -> Comparison:
    """`late` minus `early`; bounds are the delta and its interval."""
    defaults: dict[str, Any] = {
        "benchmark": "sums",
        "a": "early",
        "b": "late",
        "value_a": 0.5,
        "value_b": 0.5 + bounds[0],
        "interval": interval(*bounds[1:]) if len(bounds) == 3 else None,
        "p_value": p_of(bounds),
        "p_adjusted": p_of(bounds),
        "mde80": 0.08,
        "problems_needed": 40,
        "n_problems": 4,
        "signature": f"{metric}|n:8",
    }
    return Comparison(metric=metric, delta=bounds[0], **(kind_of(metric) | defaults | fields))


def compared(
    tables: Sequence[MetricTable], comparisons: Sequence[Comparison] = (), **fields: Any
) -> ComparedRuns:
    """What a report is drawn from, without run directories unless they are given."""
    defaults: dict[str, Any] = {"runs": (), "notes": ()}
    return ComparedRuns(tables=tuple(tables), comparisons=tuple(comparisons), **(defaults | fields))


def step_curve(
    series: str = "opo_seed0", metric: str = "pass@1", steps: Sequence[int] = (0, 20, 40), **fields: Any
) -> StepCurve:
    """Up by a tenth a step from the reference at step 0, with intervals and bands around it."""
    reference = row(metric, (0.3, 0.2, 0.4), checkpoint="early")
    points = [
        StepPoint(
            step=step,
            checkpoint=f"{series}_step{step}" if step else "early",
            value=0.3 + 0.1 * i,
            interval=interval(0.2 + 0.1 * i, 0.4 + 0.1 * i),
            delta=0.1 * i if step else None,
            difference=interval(0.1 * i - 0.05, 0.1 * i + 0.05) if step else None,
            band=interval(0.1 * i - 0.08, 0.1 * i + 0.08, BAND) if step else None,
        )
        for i, step in enumerate(steps)
    ]
    defaults: dict[str, Any] = {"benchmark": "sums", "reference": reference, "n_problems": 4}
    return StepCurve(series=series, metric=metric, points=tuple(points), **(defaults | fields))


def curve(checkpoint: str, values: Sequence[float], **fields: Any) -> MetricTable:
    """pass@1, pass@2, ... with an interval of 5 points to either side."""
    rows = {f"pass@{k}": (v, max(v - 0.05, 0), min(v + 0.05, 1)) for k, v in enumerate(values, start=1)}
    return table(checkpoint, rows, **({"n": len(values)} | fields))
