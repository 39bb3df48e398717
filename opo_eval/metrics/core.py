"""What a metric is, and how the samples of each problem become a table of numbers.

A metric gives, for each problem, a pair (numerator, denominator); its value is Σ numerator /
Σ denominator. pass@k and Self-BLEU give (x, 1): every problem weighs the same. Rep-n gives (duplicate
n-grams, n-grams): every n-gram weighs the same. One interval and one paired test then serve every
metric, and the weighting is visible in the metric.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from opo_eval.errors import InputError, UsageError
from opo_eval.metrics.ngrams import Documents, Ngrams, encode
from opo_eval.metrics.tokenizers import Tokenizer, get_tokenizer
from opo_eval.records import Better, Grade, GradedSample, Group, Think, Unit, Verdict
from opo_eval.think import after_think


class Spread(NamedTuple):
    """How a problem's numerator and denominator vary from one draw of its samples to the next."""

    numerator: float
    """Variance."""
    covariance: float
    """Of numerator and denominator."""
    denominator: float
    """Variance."""
    degrees_of_freedom: int
    """Of the estimates: samples they were made from, less one."""


class Value(NamedTuple):
    """A metric on one problem; a denominator of 0 says that it is undefined there."""

    numerator: float
    denominator: float = 1.0
    n_left_out: int = 0
    """Samples of the problem on which the metric is undefined."""
    spread: Spread | None = None
    """None where it cannot be estimated: with one sample, for pass@n of n samples, and for metrics that
    compare samples with one another (Self-BLEU, Distinct-n, majority and the like)."""


UNDEFINED = Value(0.0, 0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricSettings:
    """All that a number depends on beside the samples; signatures state it."""

    n: int
    """Samples a problem that are compared."""
    tokenize: str | Tokenizer = "13a"
    max_order: int = 4
    smooth: str = "exp"
    references: str = "others"
    rep_order: int = 5
    think: Think = Think.TAGGED
    think_section: bool = True
    """Whether texts are taken with their think section."""
    grader: str = ""
    """Signature of the grader whose verdicts are used."""
    scorer: str = ""
    """Signature of the scorer whose token statistics are used."""
    sampling: str = ""
    """How the samples were drawn, as every signature ends with."""

    def __post_init__(self) -> None:
        if self.n < 1:
            raise UsageError(f"n must be at least 1 sample a problem, not {self.n}")

    @property
    def tokenizer_name(self) -> str:
        """The tokenizer as a signature names it."""
        return self.tokenize if isinstance(self.tokenize, str) else self.tokenize.__qualname__


class ProblemSamples:
    """The samples of one problem, with what several metrics share worked out once."""

    def __init__(self, group: Group, settings: MetricSettings) -> None:
        if len(group.samples) < settings.n:
            raise InputError(
                f"problem {group.problem.source_id} has {len(group.samples)} samples of {group.checkpoint}, "
                f"fewer than n = {settings.n}: sample it again or choose a smaller n"
            )
        self.group, self.settings = group, settings

    @property
    def every(self) -> tuple[GradedSample, ...]:
        """All samples, for estimators that are unbiased at any number of them."""
        return self.group.samples

    @property
    def compared(self) -> tuple[GradedSample, ...]:
        """The n samples of lowest index, for what depends on how many there are."""
        return self.group.samples[: self.settings.n]

    @cached_property
    def texts(self) -> list[str]:
        """Text of the compared responses, all of it or what follows the think section."""
        return [self._text(graded.sample.text) for graded in self.compared]

    @cached_property
    def documents(self) -> Documents:
        """Tokens of the compared responses, each tokenized once; one without text has none."""
        return encode(map(get_tokenizer(self.settings.tokenize), self.texts))

    @cached_property
    def ngrams(self) -> Ngrams:
        """Their n-grams."""
        return Ngrams(self.documents)

    def _text(self, response: str) -> str:
        if self.settings.think_section:
            return response
        return after_think(response, self.settings.think) or ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """One family of numbers: `measure` gives them by name for one problem."""

    measure: Callable[[ProblemSamples], Mapping[str, Value]]
    signature: Callable[[MetricSettings], str]
    unit: Unit
    better: Better
    needs_grades: bool = False
    needs_text: bool = False
    """Whether it looks at the responses themselves, beside what was said of them."""
    needs_scores: bool = False
    """Whether it takes token statistics, which only scored runs have."""
    is_curve: bool = False
    """Whether its numbers are the points of one curve, as pass@1, pass@2, ... are."""


def grade_of(graded: GradedSample) -> Grade:
    """The grade of a sample that `measure` has made sure is graded."""
    assert graded.grade is not None
    return graded.grade


def is_correct(graded: GradedSample) -> bool:
    """Whether the strict verdict is CORRECT; whatever could not be graded counts as not correct."""
    return grade_of(graded).verdict is Verdict.CORRECT


def share(flags: Iterable[bool | None]) -> Value:
    """A share of samples, averaged over problems; None is a sample on which it is not known."""
    flags = list(flags)
    known = np.array([flag for flag in flags if flag is not None], dtype=np.float64)
    n_left_out = len(flags) - len(known)
    if not len(known):
        return Value(0.0, 0.0, n_left_out)
    spread = (
        Spread(float(known.var(ddof=1)) / len(known), 0.0, 0.0, len(known) - 1) if len(known) > 1 else None
    )
    return Value(float(known.mean()), 1.0, n_left_out, spread)


def sums(numerators: ArrayLike, denominators: ArrayLike | None = None, n_left_out: int = 0) -> Value:
    """Σ numerators / Σ denominators of a problem's samples, [n] each; denominators: default 1 each.

    Sums over n independent samples vary by n times what one sample does.
    """
    num = np.asarray(numerators, dtype=np.float64)
    den = np.ones_like(num) if denominators is None else np.asarray(denominators, dtype=np.float64)
    spread = None
    if len(num) > 1:
        (of_num, of_both), (_, of_den) = (len(num) * np.cov(num, den)).tolist()
        spread = Spread(of_num, of_both, of_den, len(num) - 1)
    return Value(float(num.sum()), float(den.sum()), n_left_out, spread)


def of_correct(
    estimate: Callable[[NDArray[np.int64], NDArray[np.int64]], NDArray[np.float64]], n: int, c: int
) -> list[Value]:
    """Values that depend on the number of correct samples only, such as the points of a curve over k.

    estimate: (n, c), [1] each, to the values that n samples allow, [1, values]: fewer samples may allow
    fewer, those of the smallest k. Its variance is the delete-one jackknife's (Efron and Stein 1981): of n
    samples c can be left out with one result and n - c with the other. A value that n - 1 samples do not
    allow has none.
    """
    values = estimate(np.array([n]), np.array([c]))[0]
    variances = _jackknife_variances(estimate, n, c)
    known = [Spread(variance, 0.0, 0.0, n - 1) for variance in variances.tolist()[: len(values)]]
    spreads = known + [None] * (len(values) - len(known))
    return [Value(value, 1.0, 0, spread) for value, spread in zip(values.tolist(), spreads, strict=True)]


def _jackknife_variances(
    estimate: Callable[[NDArray[np.int64], NDArray[np.int64]], NDArray[np.float64]], n: int, c: int
) -> NDArray[np.float64]:
    """(n - 1) / n times the sum of squared deviations of the n delete-one values from their mean."""
    if n < 2:
        return np.empty(0)
    # Where all samples are alike both are the same one, and the variance is 0.
    one_correct_less, one_wrong_less = max(c - 1, 0), min(c, n - 1)
    without = estimate(np.array([n - 1, n - 1]), np.array([one_correct_less, one_wrong_less]))
    return (n - 1) / n * c * (n - c) / n * (without[1] - without[0]) ** 2


def text_signature(settings: MetricSettings) -> str:
    """The part of a signature that says which tokens of which text were looked at."""
    return f"n:{settings.n}|tok:{settings.tokenizer_name}|{_section(settings)}"


def section_signature(settings: MetricSettings) -> str:
    """The part of a signature that says which text was looked at, where it is not tokenized."""
    return f"n:{settings.n}|{_section(settings)}"


def _section(settings: MetricSettings) -> str:
    return "think:in" if settings.think_section else f"think:out({settings.think})"


def grade_signature(settings: MetricSettings) -> str:
    """The part of a signature that says whose verdicts were counted."""
    return f"grader:[{settings.grader}]"


def graded_signature(name: str) -> Callable[[MetricSettings], str]:
    """The signature of a metric that counts the verdicts on n samples and nothing else."""
    return lambda settings: f"{name}|n:{settings.n}|{grade_signature(settings)}"
