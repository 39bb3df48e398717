"""Shares of samples that ended in some way: correct, without an answer, not graded, truncated."""

from collections.abc import Callable, Mapping

from opo_eval.metrics.core import (
    Metric,
    MetricSettings,
    ProblemSamples,
    Value,
    grade_of,
    grade_signature,
    is_correct,
    share,
)
from opo_eval.records import Better, Finish, Unit, Verdict

UNGRADABLE = frozenset({Verdict.TIMED_OUT, Verdict.GRADER_ERROR})


def mean_at_n(samples: ProblemSamples) -> Mapping[str, Value]:
    """Share of correct samples, `mean@n`; every problem weighs the same."""
    return {f"mean@{samples.settings.n}": share(map(is_correct, samples.compared))}


def lenient_mean_at_n(samples: ProblemSamples) -> Mapping[str, Value]:
    """The same by the lenient verdict; absent where the grader gave none."""
    verdicts = [grade_of(graded).lenient_verdict for graded in samples.compared]
    if all(verdict is None for verdict in verdicts):
        return {}
    flags = (None if verdict is None else verdict is Verdict.CORRECT for verdict in verdicts)
    return {f"lenient_mean@{samples.settings.n}": share(flags)}


def no_answer(samples: ProblemSamples) -> Mapping[str, Value]:
    """Share of samples that commit to no answer."""
    return {"no_answer": share(grade_of(g).verdict is Verdict.NO_ANSWER for g in samples.compared)}


def ungraded(samples: ProblemSamples) -> Mapping[str, Value]:
    """Share of samples on which the grader met its limit or an error; they count as not correct."""
    return {"ungraded": share(grade_of(g).verdict in UNGRADABLE for g in samples.compared)}


def truncated(samples: ProblemSamples) -> Mapping[str, Value]:
    """Share of samples that ended at the token limit, of those whose end is known."""
    finishes = [graded.sample.finish for graded in samples.compared]
    return {"truncated": share(None if f is None else f is Finish.LENGTH for f in finishes)}


def _graded(name: str) -> Callable[[MetricSettings], str]:
    return lambda settings: f"{name}|n:{settings.n}|{grade_signature(settings)}"


MEAN = Metric(
    measure=mean_at_n, signature=_graded("mean"), unit=Unit.SHARE, better=Better.HIGHER, needs_grades=True
)
LENIENT_MEAN = Metric(
    measure=lenient_mean_at_n,
    signature=_graded("lenient_mean|whole response"),
    unit=Unit.SHARE,
    better=Better.HIGHER,
    needs_grades=True,
)
NO_ANSWER = Metric(
    measure=no_answer, signature=_graded("no_answer"), unit=Unit.SHARE, better=Better.LOWER, needs_grades=True
)
UNGRADED = Metric(
    measure=ungraded, signature=_graded("ungraded"), unit=Unit.SHARE, better=Better.LOWER, needs_grades=True
)
TRUNCATED = Metric(
    measure=truncated,
    signature=lambda settings: f"truncated|n:{settings.n}|finish:length",
    unit=Unit.SHARE,
    better=Better.NEITHER,
)
