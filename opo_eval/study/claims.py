"""The paper's claims (arXiv 2505.23585), each with the pair of arms and the number that it is judged by.

A claim is about a difference, in one direction: it held where the test tells the difference apart from 0 in
that direction, did not hold where it is told apart in the other, and cannot be told where it is not told
apart. A claim of "similar or higher" has a margin in the place of 0: what is told apart from the margin on
the right side is not lower by more than it. p-values are adjusted over the claims of an experiment.

An experiment is judged where the study has arms of these names.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from opo_eval.family import ALPHA, adjust
from opo_eval.records import Better, Comparison, Unit
from opo_eval.report.training_data import (
    Contrast,
    JudgedClaim,
    JudgedExperiment,
    Point,
    Ruling,
)
from opo_eval.study.series import (
    Measure,
    Runs,
    Window,
    first_third,
    kl_at,
    last_third,
    pass_at_1_at,
    welch,
)

REP_5 = "rep_5_per_sequence"
"""The paper's weighting: every response weighs the same."""
KS = (1, 2, 4, 8, 16)
SIMILAR_REWARD = 0.02
"""Rewards that differ by less are called similar."""
SIMILAR_ENTROPY = 0.1
"""Entropies that differ by less than this share are called similar."""


@dataclass(frozen=True, kw_only=True)
class ArmResults:
    """What the claims about an arm are judged by."""

    label: str
    runs: Runs
    paths: Sequence[tuple[Point, ...]]
    problems_per_step: int


@dataclass(frozen=True, kw_only=True)
class Pair:
    """Two arms and their differences on the held-out problems, by metric."""

    a: ArmResults
    b: ArmResults
    metrics: Mapping[str, Comparison]


@dataclass(frozen=True, slots=True)
class Found:
    """A difference that a claim is about, or the reason why there is none."""

    row: Comparison | None
    """Its p-value is that of "the difference is `null`"."""
    null: float = 0.0
    reason: str = ""


Find = Callable[[Pair], Found]


@dataclass(frozen=True, slots=True)
class Claim:
    """Something that the paper says of `b` against `a`."""

    source: str
    text: str
    find: Find
    sign: int = 1
    """1: the difference is said to lie above the null, -1: below it."""


@dataclass(frozen=True, slots=True)
class Experiment:
    """One of the paper's comparisons."""

    key: str
    title: str
    a: str
    b: str
    """Names of arms."""
    claims: tuple[Claim, ...]


# --- numbers ----------------------------------------------------------------------------------------


def held_out(metric: str) -> Find:
    """A metric of the last checkpoints on the held-out problems."""

    def find(pair: Pair) -> Found:
        row = pair.metrics.get(metric)
        return Found(row, reason="" if row else f"{metric} is undefined in one of the arms")

    return find


def in_training(
    quantity: str, window: Window = last_third, *, null: Callable[[float], float] = lambda value: 0.0
) -> Find:
    """A quantity of the training rollouts, averaged over a window of each run's steps.

    null: from the value of `a` to the difference that the claim is tested against.
    """

    def find(pair: Pair) -> Found:
        sides = [[window(steps, quantity) for steps in arm.runs.values()] for arm in (pair.a, pair.b)]
        values = [[value for value in side if value is not None] for side in sides]
        if min(map(len, values)) < 2:
            return Found(None, reason=f"{quantity} was not measured in two runs of each arm")
        measure = _in_training(quantity, window, pair.b)
        return _over_seeds(measure, pair, values, null(sum(values[0]) / len(values[0])))

    return find


def _in_training(quantity: str, window: Window, arm: ArmResults) -> Measure:
    third = "first third" if window is first_third else "last third"
    steps = next(iter(arm.runs.values()))
    return Measure(
        name=f"{quantity}, {third} of the steps",
        unit=Unit.SHARE if quantity == "reward" else Unit.NATS,
        better=Better.LOWER if quantity == "kl_start" else Better.HIGHER,
        where="training rollouts",
        n_problems=arm.problems_per_step * -(-len(steps) // 3),
        signature=f"{quantity}|mean over the steps|{third}",
    )


def kl_at_equal_pass_at_1(pair: Pair) -> Found:
    """KL to the start where each run first reaches the highest pass@1 that all runs of both arms reach."""
    return _at_equal(pair, lambda point: point.pass_at_1, kl_at, "kl_start where pass@1 is", Unit.NATS)


def pass_at_1_at_equal_kl(pair: Pair) -> Found:
    """pass@1 where each run first reaches the highest KL to the start that all runs of both arms reach."""
    return _at_equal(pair, lambda point: point.kl, pass_at_1_at, "pass@1 where kl_start is", Unit.SHARE)


def _at_equal(
    pair: Pair,
    reads: Callable[[Point], float],
    at: Callable[[Sequence[Point], float], float | None],
    name: str,
    unit: Unit,
) -> Found:
    sides = [arm.paths for arm in (pair.a, pair.b)]
    if min(map(len, sides)) < 2 or not all(run for side in sides for run in side):
        return Found(None, reason="it takes checkpoints of two runs of each arm")
    level = min(max(map(reads, run)) for side in sides for run in side)
    found = [[at(run, level) for run in side] for side in sides]
    values = [[value for value in side if value is not None] for side in found]
    if values != found:
        return Found(None, reason="a run never rises above where it began")
    measure = Measure(
        name=f"{name} {100 * level:.1f} %" if unit is Unit.NATS else f"{name} {level:.4f}",
        unit=unit,
        better=Better.LOWER if unit is Unit.NATS else Better.HIGHER,
        where="checkpoints",
        n_problems=max((row.n_problems for row in pair.metrics.values()), default=0),
        signature=f"{name} ...|first crossing, between checkpoints in proportion",
    )
    return _over_seeds(measure, pair, values, 0.0)


def _over_seeds(measure: Measure, pair: Pair, values: Sequence[Sequence[float]], null: float) -> Found:
    row = welch(measure, (pair.a.label, values[0]), (pair.b.label, values[1]), null=null)
    return Found(row, null)


# --- the claims -------------------------------------------------------------------------------------


def _pass_at_k(table: str) -> tuple[Claim, ...]:
    return tuple(Claim(table, f"pass@{k} is higher", held_out(f"pass@{k}")) for k in KS)


def _diversity(table: str) -> tuple[Claim, ...]:
    return (
        Claim(table, "Rep-5 is lower", held_out(REP_5), sign=-1),
        Claim(table, "Self-BLEU is lower", held_out("self_bleu"), sign=-1),
    )


_TOWARDS_THE_START = (
    Claim("Figure 1", "KL to the start is lower", in_training("kl_start"), sign=-1),
    Claim("Figure 1", "entropy is higher, although loose GRPO has an entropy bonus", in_training("entropy")),
)

EXPERIMENTS = (
    Experiment(
        "on_policy",
        "Exact on-policy against loose GRPO, at equal rollouts (Tables 1 and 3, Figure 1)",
        "grpo_loose",
        "grpo",
        (
            *_pass_at_k("Table 1"),
            *_diversity("Table 3"),
            *_TOWARDS_THE_START,
            Claim(
                "Figure 1",
                f"early, loose GRPO's reward is similar or higher (exact on-policy is not ahead by "
                f"{100 * SIMILAR_REWARD:g} points)",
                in_training("reward", first_third, null=lambda value: SIMILAR_REWARD),
                sign=-1,
            ),
        ),
    ),
    Experiment(
        "equal_updates",
        "Exact on-policy against loose GRPO, at equal updates (Tables 1 and 3, Figure 1)",
        "grpo_loose_half",
        "grpo",
        (*_pass_at_k("Table 1"), *_diversity("Table 3"), *_TOWARDS_THE_START),
    ),
    Experiment(
        "opo",
        "OPO against GRPO, both exact on-policy (Tables 2 and 4, Figure 2)",
        "grpo",
        "opo",
        (
            *_pass_at_k("Table 2"),
            *_diversity("Table 4"),
            Claim("Figure 2", "KL to the start is lower", in_training("kl_start"), sign=-1),
            Claim("Figure 2", "at equal pass@1, KL to the start is lower", kl_at_equal_pass_at_1, sign=-1),
            Claim("Figure 2", "at equal KL to the start, pass@1 is higher", pass_at_1_at_equal_kl),
            Claim(
                "Figure 2",
                f"entropy is similar or higher (not lower by {100 * SIMILAR_ENTROPY:g} % of GRPO's)",
                in_training("entropy", null=lambda value: -SIMILAR_ENTROPY * value),
            ),
        ),
    ),
    Experiment(
        "reinforce_pp",
        "OPO's baseline over the batch against Reinforce++ (Appendix B, Figure 3)",
        "reinforce_pp",
        "opo_batch",
        (
            Claim("Figure 3", "training reward is higher", in_training("reward")),
            Claim("Figure 3", "entropy is higher", in_training("entropy")),
        ),
    ),
)
"""The paper's comparisons. Its Appendix B has OPO's length-weighted baseline over the whole batch."""

CONTRASTS = (
    ("division by the standard deviation, and 1/|y|", "dr_grpo", "grpo"),
    ("length weighting", "dr_grpo", "opo"),
    ("length weighting, the own response left out of both baselines", "rloo", "opo_loo"),
    ("the own response in a length-weighted baseline, a bias", "opo_loo", "opo"),
    # A difference of methods it is not: see `opo_eval.study.words`.
    (
        "a factor of (G - 1) / G, which AdamW takes out: how far rounding alone carries runs apart",
        "rloo",
        "dr_grpo",
    ),
    ("one baseline a batch in place of one a problem", "opo", "opo_batch"),
)
"""What a pair of arms differs in, and the pair: `b` has it, `a` has not."""
CONTRAST_METRICS = ("pass@1", "pass@16", "self_bleu", REP_5)


# --- judging ----------------------------------------------------------------------------------------


def judge(experiment: Experiment, pair: Pair) -> JudgedExperiment:
    """Every claim of an experiment with its numbers, its p-value adjusted over the experiment (Holm 1979)."""
    found = [claim.find(pair) for claim in experiment.claims]
    rows = iter(_adjusted([one.row for one in found if one.row]))
    claims = (
        _judged(claim, replace(one, row=next(rows)) if one.row else one)
        for claim, one in zip(experiment.claims, found, strict=True)
    )
    return JudgedExperiment(
        key=experiment.key,
        title=experiment.title,
        a=pair.a.label,
        b=pair.b.label,
        claims=tuple(claims),
    )


def _judged(claim: Claim, found: Found) -> JudgedClaim:
    return JudgedClaim(
        source=claim.source,
        text=claim.text,
        row=found.row,
        ruling=_rule(found.row, claim.sign, found.null),
        reason=found.reason,
    )


def _adjusted(rows: Sequence[Comparison]) -> list[Comparison]:
    return adjust(rows, [row.metric for row in rows])


def _rule(row: Comparison | None, sign: int, null: float) -> Ruling:
    if row is None or row.p_adjusted is None or row.p_adjusted >= ALPHA:
        return Ruling.OPEN
    return Ruling.HELD if sign * (row.delta - null) > 0 else Ruling.DID_NOT_HOLD


def contrast(what: str, pair: Pair) -> Contrast:
    """What a pair that differs in one respect comes to; p-values are not adjusted yet."""
    rows = [pair.metrics[name] for name in CONTRAST_METRICS if name in pair.metrics]
    trained = [in_training(quantity)(pair).row for quantity in ("kl_start", "entropy")]
    return Contrast(what=what, a=pair.a.label, b=pair.b.label, rows=(*rows, *(row for row in trained if row)))


def adjusted(contrasts: Sequence[Contrast]) -> tuple[Contrast, ...]:
    """The contrasts with p-values adjusted over all of them."""
    rows = iter(_adjusted([row for one in contrasts for row in one.rows]))
    return tuple(replace(one, rows=tuple(next(rows) for _ in one.rows)) for one in contrasts)
