"""Whether a checkpoint knows a benchmark by heart: it is given the beginning of each problem and goes on.

Greedy continuations of the first 40, 60 and 80 % of the words of a problem are compared with the rest of it
(partial-prompt completion, arXiv 2507.10532): whether they begin with exactly the rest,
and ROUGE-L. What a model that never saw a benchmark would reach is not 0, since problems are written alike;
a later benchmark of the same kind, which the model cannot have seen, says what that is.
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from opo_eval.errors import UsageError
from opo_eval.metrics.rouge import rouge_l, rouge_tokens
from opo_eval.problems import make_problem
from opo_eval.records import Checkpoint, Interval, Problem, Think
from opo_eval.stats import bootstrap_interval, holm
from opo_eval.stats.independent import mean_difference, share_difference, wilson
from opo_eval.store import RunDir
from opo_eval.sweep import Sweep, run_sweep
from opo_eval.wording import listed

SHARES = (0.4, 0.6, 0.8)
EXACT, ROUGE_L = "exact_match", "rouge_l"
FEWEST_WORDS = 5
"""Of a problem that is asked: shorter ones have hardly a rest."""
MAX_TOKENS = 512
_WORD = re.compile(r"\S+")


@dataclass(frozen=True, kw_only=True)
class ProbeOptions:
    """What is probed and how."""

    checkpoints: Sequence[Checkpoint]
    problem_sets: Sequence[tuple[Problem, ...]]
    shares: Sequence[float] = SHARES
    """Of a problem's words that are given."""
    later: str | None = None
    """Benchmark that the checkpoints cannot have seen; the others are compared with it."""
    out: Path = Path("runs/probe")
    engine: str = "auto"
    settings: Mapping[str, Any]
    """Of the engine; temperature, template and chat template are the probe's own."""
    seed: int = 0
    """Of resamples and permutations."""

    def __post_init__(self) -> None:
        """Raises UsageError for what cannot be probed."""
        for share in self.shares:
            if not 0 < share < 1:
                raise UsageError(
                    f"a share cannot be {share:g}: give some between 0 and 1, such as 0.4 0.6 0.8"
                )
        names = [problems[0].benchmark for problems in self.problem_sets]
        if self.later is not None and self.later not in names:
            raise UsageError(f"{self.later!r} is not among the benchmarks: give one of {listed(names)}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Partial:
    """Problems of a benchmark as far as they are given; what they go on with is in place of their answer."""

    benchmark: str
    share: float
    problems: tuple[Problem, ...]
    n_short: int
    """Left out: of fewer than five words, or whose rest has no letter or digit."""
    n_alike: int
    """Left out: begin like another one, so that nobody could know which is meant."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Completed:
    """How one checkpoint went on with one benchmark, from so much of it."""

    checkpoint: str
    partial: Partial
    exact: tuple[bool, ...]
    """Of each problem: the continuation begins with exactly the rest, white space aside."""
    rouge: tuple[float, ...]
    """ROUGE-L with the rest, of a continuation cut to as many tokens."""
    texts: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeRow:
    """A metric of one checkpoint on one benchmark, from so much of it, against the later benchmark."""

    checkpoint: str
    benchmark: str
    share: float
    metric: str
    n_problems: int
    value: float
    interval: Interval | None
    delta: float | None = None
    """Less the later benchmark's value; None for itself, and without one."""
    delta_interval: Interval | None = None
    p_value: float | None = None
    p_adjusted: float | None = None
    """Holm over all rows that have a p-value."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """What a probe found."""

    completed: tuple[Completed, ...]
    rows: tuple[ProbeRow, ...]
    later: str | None


# --- drawing ----------------------------------------------------------------------------------------


def run_probe(options: ProbeOptions, *, quiet: bool = False) -> Iterator[str | Probe]:
    """Draw what is missing and compare; yields sentences for a person, and the probe at the end."""
    partials = [partial_of(own, share) for own in options.problem_sets for share in options.shares]
    asked = {own.problems[0].benchmark: own for own in partials if own.problems}
    for own in partials:
        yield from _left_out(own)
    completed: list[Completed] = []
    if asked:
        for each in run_sweep(_sweep(options, [own.problems for own in asked.values()]), quiet=quiet):
            if isinstance(each, str):
                yield each
            else:
                settings = each.manifest.settings
                completed.append(complete(each, asked[settings.benchmark]))
    yield probe_of(completed, options.later, np.random.default_rng(options.seed))


def _sweep(options: ProbeOptions, problem_sets: Sequence[tuple[Problem, ...]]) -> Sweep:
    own = {"temperature": 0.0, "template": "plain", "chat": False}
    tokens = options.settings.get("max_tokens") or MAX_TOKENS
    return Sweep(
        checkpoints=options.checkpoints,
        problem_sets=problem_sets,
        n=1,
        out=options.out,
        think=Think.NONE,
        engine=options.engine,
        settings={**options.settings, **own, "max_tokens": tokens},
    )


def _left_out(own: Partial) -> Iterator[str]:
    reasons = {"too short": own.n_short, "begin like another": own.n_alike}
    said = ", ".join(f"{n} {reason}" for reason, n in reasons.items() if n)
    if said:
        asked = f"{len(own.problems)} problems asked"
        yield f"{own.benchmark} from {100 * own.share:g} %: {asked}, left out: {said}"


def partial_of(problems: Sequence[Problem], share: float) -> Partial:
    """The first share of the words of every problem, the rest in place of the answer."""
    cut = [(problem, *split_at(problem.prompt, share)) for problem in problems]
    long = [one for one in cut if len(_WORD.findall(one[0].prompt)) >= FEWEST_WORDS and rouge_tokens(one[2])]
    beginnings = Counter(" ".join(beginning.split()) for _, beginning, _ in long)
    asked = tuple(
        make_problem(
            benchmark=f"{problem.benchmark}_first{100 * share:g}",
            source_id=problem.source_id,
            prompt=beginning,
            answer=rest,
            tags=problem.tags,
        )
        for problem, beginning, rest in long
        if beginnings[" ".join(beginning.split())] == 1
    )
    return Partial(
        benchmark=problems[0].benchmark,
        share=share,
        problems=asked,
        n_short=len(cut) - len(long),
        n_alike=len(long) - len(asked),
    )


def split_at(text: str, share: float) -> tuple[str, str]:
    """The text up to the end of the word that completes the share of its words, and the rest.

    At least one word is on each side, where there are two.
    """
    words = list(_WORD.finditer(text))
    n = min(max(round(share * len(words)), 1), max(len(words) - 1, 1))
    end = words[n - 1].end() if words else 0
    return text[:end], text[end:]


# --- comparing --------------------------------------------------------------------------------------


def complete(run: RunDir, partial: Partial) -> Completed:
    """The first response of a run to each problem, against what the problem goes on with."""
    texts = {sample.problem_id: sample.text for sample in run.samples() if sample.index == 0}
    drawn = [(problem.answer, texts[problem.id]) for problem in partial.problems]
    return Completed(
        checkpoint=run.manifest.settings.checkpoint.name,
        partial=partial,
        exact=tuple(begins_with(text, rest) for rest, text in drawn),
        rouge=tuple(likeness(text, rest) for rest, text in drawn),
        texts=tuple(text for _, text in drawn),
    )


def begins_with(text: str, rest: str) -> bool:
    """Whether the text begins with the rest, white space aside, and its last word does not go on."""
    found, wanted = " ".join(text.split()), " ".join(rest.split())
    return found.startswith(wanted) and not found[len(wanted) :][:1].isalnum()


def likeness(text: str, rest: str) -> float:
    """ROUGE-L of the rest with a text that is cut to as many tokens: what comes after it is no part of it."""
    wanted = rouge_tokens(rest)
    return rouge_l(wanted, rouge_tokens(text)[: len(wanted)])


def probe_of(completed: Sequence[Completed], later: str | None, rng: np.random.Generator) -> Probe:
    """All metrics with their intervals, and against the later benchmark."""
    basis = {(c.checkpoint, c.partial.share): c for c in completed if c.partial.benchmark == later}
    rows = []
    for own in completed:
        other = basis.get((own.checkpoint, own.partial.share))
        other = None if other is own else other
        rows += [_exact_row(own, other), _rouge_row(own, other, rng)]
    return Probe(completed=tuple(completed), rows=tuple(_adjusted(rows)), later=later)


def _exact_row(own: Completed, other: Completed | None) -> ProbeRow:
    hits, n = sum(own.exact), len(own.exact)
    more: dict[str, Any] = {}
    if other:
        against = sum(other.exact), len(other.exact)
        interval, p = share_difference(*against, hits, n)
        more = {"delta": hits / n - against[0] / against[1], "delta_interval": interval, "p_value": p}
    return _row(own, EXACT, hits / n, wilson(hits, n), more)


def _rouge_row(own: Completed, other: Completed | None, rng: np.random.Generator) -> ProbeRow:
    value, more = float(np.mean(own.rouge)), {}
    if other:
        interval, p = mean_difference(other.rouge, own.rouge, rng=rng)
        delta = value - float(np.mean(other.rouge))
        more = {"delta": delta, "delta_interval": interval, "p_value": p}
    varies = len(own.rouge) > 1 and np.ptp(own.rouge) > 0
    interval = bootstrap_interval(own.rouge, np.ones(len(own.rouge)), rng=rng) if varies else None
    return _row(own, ROUGE_L, value, interval, more)


def _row(
    own: Completed, metric: str, value: float, interval: Interval | None, more: Mapping[str, Any]
) -> ProbeRow:
    return ProbeRow(
        checkpoint=own.checkpoint,
        benchmark=own.partial.benchmark,
        share=own.partial.share,
        metric=metric,
        n_problems=len(own.exact),
        value=value,
        interval=interval,
        **more,
    )


def _adjusted(rows: Sequence[ProbeRow]) -> Iterator[ProbeRow]:
    tested = [row.p_value for row in rows if row.p_value is not None]
    adjusted = iter(holm(tested).tolist())
    for row in rows:
        yield row if row.p_value is None else replace(row, p_adjusted=next(adjusted))
