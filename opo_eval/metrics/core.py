"""What a metric is, and how the samples of each problem become a table of numbers.

A metric gives, for each problem, a pair (numerator, denominator); its value is Σ numerator /
Σ denominator. pass@k and Self-BLEU give (x, 1): every problem weighs the same. Rep-n gives (duplicate
n-grams, n-grams): every n-gram weighs the same. One interval and one paired test then serve every
metric, and the weighting is visible in the metric.
"""

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from opo_eval.errors import InputError, UsageError
from opo_eval.metrics.tokenizers import Tokenizer, get_tokenizer
from opo_eval.records import Better, Grade, GradedSample, Group, Think, Unit, Verdict
from opo_eval.think import after_think


class Value(NamedTuple):
    """A metric on one problem; a denominator of 0 says that it is undefined there."""

    numerator: float
    denominator: float = 1.0
    n_left_out: int = 0
    """Samples of the problem on which the metric is undefined."""


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
    def token_lists(self) -> list[Sequence[Hashable]]:
        """Tokens of the compared responses, each tokenized once; one without text has none."""
        return list(map(get_tokenizer(self.settings.tokenize), self.texts))

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
    known = [flag for flag in flags if flag is not None]
    if not known:
        return Value(0.0, 0.0, len(flags))
    return Value(sum(known) / len(known), 1.0, len(flags) - len(known))


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
