"""`report.md` of a study of gradients: what holds of OPO's assumption, what baselines do to the variance."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from opo_eval.records import Interval, Unit
from opo_eval.report.grid import UNDEFINED, Grid, grid_of
from opo_eval.report.markdown import bullets, escape, heading, paragraph, table
from opo_eval.report.names import one_line
from opo_eval.report.values import NOT_DISTINGUISHABLE, digits, interval_label, number, with_interval
from opo_eval.wording import counted

if TYPE_CHECKING:
    from opo_eval.variance import BaselineVariance, Estimate, VarianceStudy

_ASSUMED = 1.0
"""The exponent that makes ‖∇ log π‖² proportional to length."""
_ROUNDING = 1e-9


def variance_markdown(name: str, study: "VarianceStudy", figures: Sequence[tuple[str, str]]) -> str:
    """The whole report as GitHub-flavoured Markdown; figures: (title, path) each."""
    pictures = {path: f"![{escape(title)}]({path})" for title, path in figures}
    norm, forest = pictures.values()
    blocks = [heading(1, one_line(name, 100)), bullets(variance_sentences(study)), paragraph(_opening(study))]
    blocks += [
        heading(2, "Gradients and lengths"),
        norm,
        table(_fit_grid(study)),
        bullets([*_about_fit(study)]),
    ]
    blocks += [
        heading(2, "Baselines as constants"),
        table(_constants_grid(study)),
        paragraph(_ABOUT_CONSTANTS),
    ]
    blocks += [heading(2, "Variance under each baseline"), forest, table(_variance_grid(study))]
    blocks += [bullets([*_about_variance(study)])]
    blocks += [heading(2, "How it was measured"), bullets([*_signature(study)])]
    return "\n\n".join(blocks) + "\n"


# --- what is said first -----------------------------------------------------------------------------


def variance_sentences(study: "VarianceStudy") -> list[str]:
    """What holds and what does not, one plain sentence each: for the report and for a terminal."""
    said = [_exponent_sentence(study), _correct_sentence(study), *_ratio_sentences(study)]
    return [sentence for sentence in (*said, _own_sentence(study), _left_out(study)) if sentence]


def _left_out(study: "VarianceStudy") -> str:
    if not study.n_unscorable:
        return ""
    problems = counted(study.n_problems_left_out, "problem")
    return (
        f"{counted(study.n_unscorable, 'sample')} could not be graded and earned no reward, as in training: "
        f"left out, and with them {problems} of which too few others remain."
    )


def _exponent_sentence(study: "VarianceStudy") -> str:
    found = study.fit.exponent
    if found is None:
        return "How gradients grow with length cannot be said: all responses are of one length."
    said = f"‖∇ log π‖² grows as length to the power {_plain(found)}: {_exponent_reading(found)}"
    if within := study.fit.exponent_within:
        said += (
            "; within problems, which is where the baseline weighs responses, to the power "
            f"{_plain(within)}: {_exponent_reading(within)}"
        )
    return f"{said}."


def _exponent_reading(found: "Estimate") -> str:
    side = _side(found, _ASSUMED)
    if side is None:
        return f"{NOT_DISTINGUISHABLE} from the 1 that OPO assumes"
    return f"longer responses weigh {'more' if side > 0 else 'less'} than OPO assumes (1)"


def _correct_sentence(study: "VarianceStudy") -> str:
    factor, optimal, length = (
        study.fit.correct_factor,
        study.constants.optimal_less_mean,
        study.constants.length_less_mean,
    )
    if factor is None or optimal is None or length is None:
        return "No problem has both correct and other samples, so no baseline is better than another."
    side = _side(factor, 1.0)
    size = NOT_DISTINGUISHABLE if side is None else "larger" if side > 0 else "smaller"
    return (
        f"At equal length, a correct response to a problem has {_plain(factor)} times the ‖∇ log π‖² of "
        f"another one ({size}): the optimal constant baseline differs from the mean reward by "
        f"{_points(optimal)} points, the length-weighted mean by {_points(length)}."
    )


def _ratio_sentences(study: "VarianceStudy") -> Iterator[str]:
    none = next((own.to_none for own in study.baselines if own.baseline.name == "rloo"), None)
    for what, ratio, against, more in (
        (
            "Length weighting (opo_loo)",
            study.ratios.get(("opo_loo", "rloo")),
            "the leave-one-out mean (rloo)",
            "",
        ),
        (
            "The optimal weighting, by ‖∇ log π‖² itself,",
            study.ratios.get(("optimal_held_out", "mean_held_out")),
            "the plain mean, both of held-out samples",
            "; no constant baseline can do much better",
        ),
        ("The leave-one-out mean (rloo)", none, "no baseline at all", ""),
    ):
        if ratio is not None:
            yield f"{what} changes the variance by {_change(ratio)} against {against}: {_word(ratio)}{more}."


def _word(ratio: "Estimate") -> str:
    side = _side(ratio, 1.0)
    return NOT_DISTINGUISHABLE if side is None else "higher" if side > 0 else "lower"


def _own_sentence(study: "VarianceStudy") -> str:
    """What baselines that hold the response's own reward do to the gradient itself."""
    said = [
        f"{own.baseline.name} {_plain(own.length)} times as long, at a cosine of {_plain(own.cosine)}"
        for own in study.baselines
        if not own.baseline.unbiased and own.length and own.cosine
    ]
    if not said:
        return ""
    return (
        "With the own response in the baseline, what the estimate expects is not the gradient: "
        f"{'; '.join(said)}."
    )


def _opening(study: "VarianceStudy") -> str:
    label = interval_label(_intervals(study))
    brackets = (
        f"Brackets hold intervals of {label}: where the number would lie with other problems of this kind, "
        "each sampled anew."
        if label
        else "No number has an interval: that takes two problems or more."
    )
    return (
        f"{one_line(study.checkpoint)} on {one_line(study.benchmark)}: "
        f"{counted(len(study.problems), 'problem')}, {study.n} samples each, in groups of "
        f"{study.group_size}. {study.n_mixed} of the problems have correct samples and others; the rest have "
        f"variance only without a baseline. {brackets}"
    )


def _intervals(study: "VarianceStudy") -> Iterator[Interval | None]:
    yield study.fit.exponent.interval if study.fit.exponent else None
    yield from (own.to_none.interval for own in study.baselines if own.to_none)


# --- tables -----------------------------------------------------------------------------------------


def _fit_grid(study: "VarianceStudy") -> Grid:
    fit = study.fit
    rows = (
        ("exponent: slope of log ‖∇ log π‖² on log length (OPO assumes 1)", fit.exponent),
        ("the same within problems, each with an intercept of its own", fit.exponent_within),
        ("R² of the fit over all samples", fit.r_squared),
        ("Pearson correlation of length and ‖∇ log π‖²", fit.correlation),
        ("the same of their logarithms", fit.correlation_logs),
        ("the same of their logarithms, within problems", fit.correlation_within),
        ("correct responses against others, at equal length within problems (times)", fit.correct_factor),
    )
    return grid_of(("what", "value"), ((what, shown(found)) for what, found in rows))


def _about_fit(study: "VarianceStudy") -> Iterator[str]:
    zero = (
        f"{counted(study.fit.n_zero, 'sample')} whose gradient is exactly 0, which has no logarithm, in the "
        "correlation of the plain values only"
        if study.fit.n_zero
        else "no gradient is exactly 0"
    )
    yield f"All {study.fit.n_samples:,} samples are in the fit and in the figure, none is dropped: {zero}."
    yield (
        "The exponent is 2α where ‖∇ log π‖ grows as length to the power α. It is of the geometric mean of "
        "‖∇ log π‖² at a length; the figure shows the arithmetic mean beside it, on which the optimal "
        "baseline rests."
    )


def _constants_grid(study: "VarianceStudy") -> Grid:
    constants = study.constants
    rows = (
        ("mean reward", constants.mean),
        ("length-weighted mean less mean", constants.length_less_mean),
        ("optimum b* less mean", constants.optimal_less_mean),
    )
    return grid_of(
        ("mean over problems with both rewards", "points of 100"),
        ((what, shown(found, Unit.SHARE)) for what, found in rows),
    )


_ABOUT_CONSTANTS = (
    "Each is the one constant that a problem's rewards would be compared with, from all of its samples; the "
    "optimum is b* = E[‖∇ log π‖² r] / E[‖∇ log π‖²] (arXiv 2505.23585, Eq. 9). Length weighting helps where "
    "it moves the mean towards the optimum."
)


def _variance_grid(study: "VarianceStudy") -> Grid:
    columns = (
        "baseline",
        "is",
        "× none, rescaled",
        "× rloo, rescaled",
        "× rloo, as it is",
        "length",
        "cosine",
    )
    return grid_of(columns, map(_variance_row, study.baselines))


def _variance_row(own: "BaselineVariance") -> tuple[str, ...]:
    times = (own.to_none_rescaled, own.to_rloo_rescaled, own.to_rloo, own.length, own.cosine)
    return (own.baseline.name, own.baseline.meaning, *map(shown, times))


def _about_variance(study: "VarianceStudy") -> Iterator[str]:
    yield (
        "Variance: trace of the covariance of a group's gradient estimate, ĝ = (1/G) Σ A_i ∇ log π(y_i|x) "
        "with log-probabilities summed over tokens, for a fixed problem; summed over the problems, so that "
        "those of long gradients weigh most. Estimated without bias as E‖ĝ‖² − ‖E ĝ‖² from pairs of disjoint "
        f"groups of a problem's samples ({study.options.n_orders} random orders of each)."
    )
    yield (
        "Length and cosine: of the expected estimate E ĝ against the true gradient, which rloo expects; over "
        "the problems' gradients side by side. Unbiased baselines have 1 and 1 by construction. Those that "
        "hold the own response's reward (dr_grpo, opo) shrink the expected gradient as well as its variance, "
        "the group mean by exactly (G − 1)/G."
    )
    yield (
        "Rescaled: the variance divided by the square of what E ĝ has along the true gradient, so that "
        "estimates are compared that expect the same progress."
    )
    if any(own.baseline.estimator is None for own in study.baselines):
        yield (
            f"Held-out: the baseline is one number from the {study.n - 2 * study.group_size} or more samples "
            "outside the groups that are compared. It shows what a weighting does once the noise of a "
            "baseline from few responses is gone; no training run has it for nothing."
        )
    else:
        yield (
            f"There are no held-out baselines: groups of {study.group_size} leave none of {study.n} samples "
            "over. Take a larger n or smaller groups."
        )


def _signature(study: "VarianceStudy") -> Iterator[str]:
    error = study.gradient_error
    yield f"gradients: {study.gradients}" + (
        f"; the projection adds a relative standard error of at most {100 * error:.2g} % to each ‖∇ log π‖²"
        if error
        else ""
    )
    verdicts = ", ".join(
        f"{count} {name.replace('_', ' ')}" for name, count in study.verdicts.items() if count
    )
    yield (
        "rewards: 1 for correct, 0 for every other strict verdict, none for timed out and grader error "
        f"({verdicts}); grader: {study.grader}"
    )
    yield f"seed {study.options.seed} of the orders of samples and of the resamples of problems"


# --- numbers ----------------------------------------------------------------------------------------


def shown(found: "Estimate | None", unit: Unit = Unit.RATIO) -> str:
    """`1.63 [1.39, 1.87]`; what is the same whatever the problems needs neither brackets nor digits."""
    if found is None:
        return UNDEFINED
    if found.interval and found.interval.high - found.interval.low < _ROUNDING:
        return f"{found.value:.4g}"
    return with_interval(found.value, found.interval, unit)


def _plain(found: "Estimate") -> str:
    """`1.63 (95 %: 1.39 to 1.87)`; the number alone where the interval shows no other."""
    interval = found.interval
    if interval is None or interval.high - interval.low < _ROUNDING:
        return shown(found)
    places = digits(interval, Unit.RATIO)
    value, low, high = (number(x, Unit.RATIO, places) for x in (found.value, interval.low, interval.high))
    return value if low == high else f"{value} ({100 * interval.level:g} %: {low} to {high})"


def _change(ratio: "Estimate") -> str:
    """`+3.0 % (+0.9 to +5.1)`"""
    value, low, high = _less_one(ratio)
    return f"{value} %" + (f" ({low} to {high})" if ratio.interval else "")


def _points(found: "Estimate") -> str:
    interval = found.interval
    places = digits(interval, Unit.SHARE)
    value = number(found.value, Unit.SHARE, places, signed=True)
    if interval is None:
        return value
    low, high = (number(x, Unit.SHARE, places, signed=True) for x in (interval.low, interval.high))
    return f"{value} ({low} to {high})"


def _less_one(ratio: "Estimate") -> tuple[str, str, str]:
    moved = ratio.interval and replace(
        ratio.interval, low=ratio.interval.low - 1, high=ratio.interval.high - 1
    )
    places = digits(moved, Unit.SHARE)
    ends = (ratio.value - 1, moved.low, moved.high) if moved else (ratio.value - 1,) * 3
    value, low, high = (number(x, Unit.SHARE, places, signed=True) for x in ends)
    return value, low, high


def _side(found: "Estimate", of: float) -> int | None:
    """1 where the interval lies above, -1 where it lies below; None where it does neither, or is absent."""
    if found.interval is None or found.interval.low <= of <= found.interval.high:
        return None
    return 1 if found.interval.low > of else -1
