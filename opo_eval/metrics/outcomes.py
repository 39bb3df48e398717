"""Shares of samples that ended in some way: correct, without an answer, not graded, truncated."""

from collections.abc import Mapping

from opo_eval.metrics.core import (
    Metric,
    ProblemSamples,
    Value,
    grade_of,
    graded_signature,
    is_correct,
    share,
)
from opo_eval.records import Better, Finish, Unit, Verdict

UNGRADABLE = frozenset({Verdict.TIMED_OUT, Verdict.GRADER_ERROR})


def mean_at_n(samples: ProblemSamples) -> Mapping[str, Value]:
    """`mean@n`: the share of n responses that are correct by the strict verdict.

    Every problem weighs the same. Samples that could not be graded count as not correct; nothing is left out.
    """
    return {f"mean@{samples.settings.n}": share(map(is_correct, samples.compared))}


def lenient_mean_at_n(samples: ProblemSamples) -> Mapping[str, Value]:
    """`lenient_mean@n`: the share of n responses that are correct by the lenient verdict.

    That verdict looks at the whole response. Every problem weighs the same. Samples without a lenient verdict
    are left out; where the grader gave none the number is absent.
    """
    verdicts = [grade_of(graded).lenient_verdict for graded in samples.compared]
    if all(verdict is None for verdict in verdicts):
        return {}
    flags = (None if verdict is None else verdict is Verdict.CORRECT for verdict in verdicts)
    return {f"lenient_mean@{samples.settings.n}": share(flags)}


def no_answer(samples: ProblemSamples) -> Mapping[str, Value]:
    """The share of n responses that commit to no answer; every problem weighs the same."""
    return {"no_answer": share(grade_of(g).verdict is Verdict.NO_ANSWER for g in samples.compared)}


def ungraded(samples: ProblemSamples) -> Mapping[str, Value]:
    """The share of n responses on which the grader met its limit or an error; they count as not correct.

    Every problem weighs the same.
    """
    return {"ungraded": share(grade_of(g).verdict in UNGRADABLE for g in samples.compared)}


def truncated(samples: ProblemSamples) -> Mapping[str, Value]:
    """The share of n responses that ended at the token limit; every problem weighs the same.

    Responses whose end is not known are left out.
    """
    finishes = [graded.sample.finish for graded in samples.compared]
    return {"truncated": share(None if f is None else f is Finish.LENGTH for f in finishes)}


MEAN = Metric(
    measure=mean_at_n,
    signature=graded_signature("mean"),
    unit=Unit.SHARE,
    better=Better.HIGHER,
    needs_grades=True,
)
LENIENT_MEAN = Metric(
    measure=lenient_mean_at_n,
    signature=graded_signature("lenient_mean|whole response"),
    unit=Unit.SHARE,
    better=Better.HIGHER,
    needs_grades=True,
)
NO_ANSWER = Metric(
    measure=no_answer,
    signature=graded_signature("no_answer"),
    unit=Unit.SHARE,
    better=Better.LOWER,
    needs_grades=True,
)
UNGRADED = Metric(
    measure=ungraded,
    signature=graded_signature("ungraded"),
    unit=Unit.SHARE,
    better=Better.LOWER,
    needs_grades=True,
)
TRUNCATED = Metric(
    measure=truncated,
    signature=lambda settings: f"truncated|n:{settings.n}|finish:length",
    unit=Unit.SHARE,
    better=Better.NEITHER,
)
