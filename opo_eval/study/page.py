"""From finished runs to the page: which arms, figures and pairs it has, and the numbers of each."""

from collections.abc import Iterator
from dataclasses import replace

from opo_eval.compare import ComparedRuns
from opo_eval.records import Comparison, MetricTable
from opo_eval.report.training_data import (
    QUANTITIES,
    Contrast,
    Curve,
    FigureOf,
    JudgedExperiment,
    Lift,
    LiftBounds,
    Path,
    Run,
    StudyPage,
    TrainedArm,
)
from opo_eval.report.views import BenchmarkView, benchmark_views, k_of
from opo_eval.study import series, tables
from opo_eval.study.claims import (
    CONTRASTS,
    EXPERIMENTS,
    KS,
    REP_5,
    adjusted,
    contrast,
    judge,
)
from opo_eval.study.results import Results
from opo_eval.study.settings import START
from opo_eval.study.words import clip_note, limits, settings_rows

BLOCKS = 30
"""Points of a curve: one rollout's reward varies more than the methods differ, so steps are averaged."""
_OVER_STEPS = ("reward", "kl_start", "entropy")
_FEW_ARMS = 4


def study_page(results: Results, compared: ComparedRuns | None = None) -> StudyPage:
    """The page of what is finished. compared: of runs with one seed an arm, the start with each of them."""
    study = results.study
    return StudyPage(
        name=study.title,
        is_of_methods=results.is_of_methods,
        trained=tuple(_trained(results, arm) for arm in results.arms),
        settings=tuple(settings_rows(study, results.is_of_methods)),
        view=benchmark_views(compared)[0] if compared else _arms_view(results),
        last_mean=tuple(_last_means(results)) if results.is_of_methods else (),
        lifts=tuple(_lifts(results)) if results.is_of_methods else (),
        lift_bounds=LiftBounds(pass_at_1=study.evaluation.lift, pass_at_k=-study.evaluation.loss),
        experiments=tuple(_experiments(results)),
        contrasts=adjusted(list(_contrasts(results))),
        curves=tuple(_curves(results)),
        paths=tuple(_paths(results)),
        figures=tuple(_figures(results)),
        pass_at_k_arms=(START, *(results.label(arm) for arm in _PASS_AT_K if arm in results.arms)),
        runs=tuple(_runs(results)),
        notes=(*limits(study, _clipped(results), results.is_of_methods), *_unfinished(results)),
        rebuild=study.rebuild,
    )


# --- held-out problems ------------------------------------------------------------------------------


def _arms_view(results: Results) -> BenchmarkView:
    """The start and the arms, and the differences of all pairs."""
    metrics = _metrics(results)
    found = [tables.start_table(START, results.evaluated.start, metrics)]
    found += [tables.arm_table(*results.last_of(arm), metrics) for arm in results.arms]
    names = {table.checkpoint: table.checkpoint for table in found}
    rows = [row for pair in results.pairs.values() for row in pair.metrics.values() if row.metric in metrics]
    return BenchmarkView(
        benchmark=found[0].benchmark,
        label=found[0].benchmark,
        checkpoints=names,
        tables=tuple(found),
        comparisons=(),
        arm_comparisons=tuple(rows),
        arms=names,
        source_ids={},
    )


def _metrics(results: Results) -> list[str]:
    """All, but pass@k beyond the k that the paper has."""
    rows = (row for row in results.evaluated.start.rows if row.subset == "all")
    return [row.metric for row in rows if (k_of(row.metric) or 1) <= results.study.evaluation.samples]


def _last_means(results: Results) -> Iterator[MetricTable]:
    kept = [*(f"pass@{k}" for k in KS), "self_bleu", REP_5]
    for arm in results.arms:
        means = list(results.evaluated.last_mean[arm].values())
        yield tables.arm_table(results.label(arm), means, kept)


def _lifts(results: Results) -> Iterator[Lift]:
    largest = f"pass@{results.study.evaluation.samples}"
    for arm in results.arms:
        rows = tables.over_start(results.evaluated.start, results.last_of(arm))
        yield _lift(results, arm, rows["pass@1"], rows[largest])


def _lift(results: Results, arm: str, first: Comparison, last: Comparison) -> Lift:
    asked = results.study.evaluation
    low = last.interval.low if last.interval else last.delta
    return Lift(
        arm=results.label(arm),
        n_seeds=len(results.runs_of(arm)),
        pass_at_1=first,
        pass_at_k=last,
        meets=first.delta >= asked.lift and low > -asked.loss,
    )


# --- pairs of arms ----------------------------------------------------------------------------------


def _experiments(results: Results) -> Iterator[JudgedExperiment]:
    for one in EXPERIMENTS:
        if (one.a, one.b) in results.pairs:
            yield replace(judge(one, results.pairs[one.a, one.b]), note=_clip_note(results, one.a, one.b))


def _contrasts(results: Results) -> Iterator[Contrast]:
    for what, a, b in CONTRASTS:
        if (a, b) in results.pairs:
            yield replace(contrast(what, results.pairs[a, b]), note=_clip_note(results, a, b))


def _clip_note(results: Results, a: str, b: str) -> str:
    return clip_note(*((results.label(arm), results.clipped(arm)) for arm in (a, b)))


def _clipped(results: Results) -> dict[str, float]:
    """Arm in print → share of its steps whose gradient was clipped; those that have a clip."""
    shares = {results.label(arm): results.clipped(arm) for arm in results.arms}
    return {label: share for label, share in shares.items() if share is not None}


# --- training ---------------------------------------------------------------------------------------


def _trained(results: Results, arm: str) -> TrainedArm:
    runs = results.runs_of(arm)
    last = {}
    for quantity in QUANTITIES:
        values = [series.last_third(steps, quantity) for steps in runs.values()]
        known = [value for value in values if value is not None]
        if len(known) == len(values):
            last[quantity] = (sum(known) / len(known), series.mean_interval(known))
    first = next(iter(runs.values()))
    return TrainedArm(
        arm=results.label(arm),
        n_seeds=len(runs),
        steps=first[-1].step,
        updates=first[-1].n_updates,
        clipped=results.clipped(arm),
        last_third=last,
    )


def _curves(results: Results) -> Iterator[Curve]:
    block = max(1, max(map(len, results.steps.values())) // BLOCKS)
    for arm in results.arms:
        for quantity in QUANTITIES:
            if curve := series.curve(results.label(arm), quantity, results.runs_of(arm), block=block):
                yield curve


def _paths(results: Results) -> Iterator[Path]:
    for arm in results.arms:
        yield series.path(results.label(arm), results.points_of(arm))


def _runs(results: Results) -> Iterator[Run]:
    for plan in results.trained:
        yield Run(
            arm=results.label(plan.arm),
            seed=plan.seed,
            steps=results.steps[plan.name],
            last=results.evaluated.last[plan.arm][plan.seed],
        )


def _unfinished(results: Results) -> Iterator[str]:
    for name, reason in results.failed.items():
        yield f"The run {name} is not finished and is left out: {reason}."
    for arm in results.study.arms:
        n_seeds = len(results.runs_of(arm))
        if arm not in results.arms:
            yield f"{results.label(arm)} has {n_seeds} of {len(results.study.seeds)} seeds and is left out."


# --- figures ----------------------------------------------------------------------------------------

_PASS_AT_K = ("grpo_loose", "grpo_loose_half", "grpo", "opo")
_ISOLATING = ("grpo", "dr_grpo", "rloo", "opo", "opo_loo")
_FIGURES = (
    FigureOf(
        name="on_policy",
        title="Exact on-policy and loose GRPO (Figure 1)",
        arms=("grpo_loose", "grpo_loose_half", "grpo"),
        quantities=_OVER_STEPS,
    ),
    FigureOf(name="opo_kl", title="OPO and GRPO (Figure 2, left)", arms=("grpo", "opo")),
    FigureOf(name="opo", title="OPO and GRPO (Figure 2)", arms=("grpo", "opo"), quantities=_OVER_STEPS),
    FigureOf(
        name="reinforce_pp",
        title="OPO over the batch and Reinforce++ (Figure 3)",
        arms=("reinforce_pp", "opo_batch"),
        quantities=_OVER_STEPS,
    ),
    FigureOf(name="isolating", title="Arms that isolate", arms=_ISOLATING, quantities=_OVER_STEPS),
    FigureOf(name="isolating_kl", title="Arms that isolate", arms=_ISOLATING),
    FigureOf(
        name="lengths",
        title="Lengths and groups that teach nothing",
        arms=_ISOLATING,
        quantities=("length", "groups_equal"),
    ),
)


def _figures(results: Results) -> Iterator[FigureOf]:
    """The paper's figures; of few arms, all of them in one of each kind."""
    arms = tuple(results.label(arm) for arm in results.arms)
    if len(arms) <= _FEW_ARMS:
        yield FigureOf(name="training", title="Over training", arms=arms, quantities=_OVER_STEPS)
        yield FigureOf(name="kl", title="KL against pass@1", arms=arms)
        yield replace(_FIGURES[-1], arms=arms)
        return
    for figure in _FIGURES:
        present = tuple(results.label(arm) for arm in figure.arms if arm in results.arms)
        if len(present) > 1:
            yield replace(figure, arms=present)
