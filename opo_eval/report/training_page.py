"""The page of a study of training methods: claim by claim, then every number, then how it was made."""

from collections import Counter
from collections.abc import Collection, Iterator, Sequence

from opo_eval.family import ALPHA
from opo_eval.report.grid import Grid
from opo_eval.report.markdown import bullets, escape, heading, paragraph, table
from opo_eval.report.tables import arm_differences, metric_grids
from opo_eval.report.training_data import JudgedExperiment, Ruling, StudyPage
from opo_eval.report.training_tables import (
    claims_grid,
    contrast_grids,
    diversity_grid,
    lifts_grid,
    pass_at_k_grid,
    settings_grid,
    trained_grid,
)
from opo_eval.report.verdicts import pairs_of, verdict
from opo_eval.wording import counted

_RULE = (
    f"A claim held where its test tells the difference apart in the direction claimed (p < {ALPHA:g}, "
    "adjusted by Holm over the claims of the experiment), did not hold where the test tells it apart in the "
    "other direction, and cannot be told where the test tells nothing apart. A claim of similar has a margin "
    "in the place of 0, and its p-value is that of the margin. Brackets hold 95 % intervals: of the last "
    "checkpoints over training seeds and problems like these, of training rollouts over training seeds. "
    "Detectable: the true difference that a single test at 5 % finds with 80 % power, given the spread seen."
)
_ONE_SEED = (
    "One training seed an arm: what follows speaks of these runs, not of the methods that trained them. "
    "Another seed may turn any of it round, so no claim of the paper is judged here."
)
_LIFTS = (
    "Before methods are worth comparing, training has to work: pass@1 has to rise and pass@{k} must not be "
    "paid for it. The start is one checkpoint, the same for all runs, so the intervals are over the arm's "
    "training seeds and the problems, paired with the start's."
)
_LAST = (
    "The last checkpoint of each run is what everything on this page is judged by. The paper's tables are "
    "means over the last five checkpoints of one run; the same mean over each run here, beside it, with "
    "intervals over training seeds and problems:"
)
_CONTRASTS = (
    "Pairs of arms that differ in one respect. p-values are adjusted by Holm over all rows of this section."
)
_REPORT = (
    "Every metric of every arm, and every difference between the arms that this study compares. The pairs "
    "were chosen before the numbers; the tests that claims rest on are on [the study's page](README.md), "
    "adjusted. Here nothing is: one in 20 of these errs where there is no difference. Brackets hold 95 % "
    "intervals over training seeds and problems like these, those of the start over problems alone. What "
    "each metric is, with its signature: [definitions.md](definitions.md)."
)


# --- the page ---------------------------------------------------------------------------------------


def readme(page: StudyPage, drawn: Collection[str], missing: Sequence[str]) -> str:
    """README.md. drawn: names of the figures that there are; missing: a sentence for each that is not."""
    blocks = [heading(1, page.name), paragraph(_scope(page))]
    blocks += [heading(2, "What it comes to"), bullets(list(_summary(page)))]
    if page.is_of_methods:
        blocks += _claims(page, drawn)
    blocks += _over_the_start(page)
    blocks += _held_out(page, drawn)
    blocks += _training(page, drawn)
    blocks += _isolated(page)
    blocks += [heading(2, "How it was set up"), table(settings_grid(page))]
    blocks += [heading(2, "Limits"), bullets([*page.notes, *missing])]
    blocks += [heading(2, "Files"), _files(page)]
    if page.rebuild:
        blocks += [f"Rebuild: `{page.rebuild}`."]
    return "\n\n".join(blocks) + "\n"


def difference_figure(experiment: JudgedExperiment) -> str:
    """Name of the figure of an experiment's differences on the held-out problems."""
    return f"differences_{experiment.key}"


def _scope(page: StudyPage) -> str:
    arms = ", ".join(f"{arm.arm} ({counted(arm.n_seeds, 'seed')})" for arm in page.trained)
    what = f"Training runs from one starting checkpoint, by arm: {arms}."
    return what if page.is_of_methods else f"{_ONE_SEED} {what}"


def _summary(page: StudyPage) -> Iterator[str]:
    if not page.is_of_methods:
        yield from (
            verdict(rows, page.view.checkpoints, page.view) for rows in pairs_of(page.view.comparisons)
        )
    enough = [lift.arm for lift in page.lifts if lift.meets]
    if page.lifts:
        least, above = 100 * page.lift_bounds.pass_at_1, 100 * page.lift_bounds.pass_at_k
        last = page.lifts[0].pass_at_k.metric
        yield (
            f"pass@1 rises by {least:g} points or more over the start, with the lower bound of {last} above "
            f"{above:g} points, in {len(enough)} of {counted(len(page.lifts), 'arm')}"
            f"{': ' + ', '.join(enough) if enough else ''}."
        )
    for experiment in page.experiments:
        yield _count(experiment)


def _count(experiment: JudgedExperiment) -> str:
    counts = Counter(claim.ruling for claim in experiment.claims)
    parts = [f"{counts[ruling]} {_WORDS[ruling]}" for ruling in Ruling]
    named = []
    for ruling in (Ruling.HELD, Ruling.DID_NOT_HOLD):
        texts = [claim.text for claim in experiment.claims if claim.ruling is ruling]
        if texts:
            named.append(f"{_NAMED[ruling]}: {'; '.join(texts)}.")
    return " ".join([f"{experiment.title}: of {len(experiment.claims)} claims {', '.join(parts)}.", *named])


_WORDS = {
    Ruling.HELD: "held",
    Ruling.DID_NOT_HOLD: "did not hold",
    Ruling.OPEN: "cannot be told",
}
_NAMED = {Ruling.HELD: "Held", Ruling.DID_NOT_HOLD: "Did not hold, but the reverse did"}


def _claims(page: StudyPage, drawn: Collection[str]) -> Iterator[str]:
    yield heading(2, "Claim by claim")
    yield paragraph(_RULE)
    for experiment in page.experiments:
        yield heading(3, experiment.title)
        if experiment.note:
            yield paragraph(experiment.note)
        yield table(claims_grid(experiment))
        yield from _shown([difference_figure(experiment)], drawn)


def _over_the_start(page: StudyPage) -> Iterator[str]:
    if page.lifts:
        yield heading(2, "Over the start")
        yield paragraph(_LIFTS.format(k=page.lifts[0].pass_at_k.metric.partition("@")[2]))
        yield table(lifts_grid(page.lifts, page.lift_bounds))


def _held_out(page: StudyPage, drawn: Collection[str]) -> Iterator[str]:
    view = page.view
    names = [view.checkpoints[found.checkpoint] for found in view.tables]
    yield heading(2, "On held-out problems")
    yield paragraph(f"pass@k on {view.label}, as the paper's Tables 1 and 2:")
    yield table(pass_at_k_grid(view.tables, names))
    yield from _shown(["pass_at_k"], drawn)
    yield paragraph(
        "Diversity, as its Tables 3 and 4 (lower is more diverse; rep_5_per_sequence has its weighting):"
    )
    yield table(diversity_grid(view.tables, names))
    yield from _shown(["diversity_and_accuracy"], drawn)
    if page.last_mean:
        yield paragraph(_LAST)
        own = [found.checkpoint for found in page.last_mean]
        yield table(_side_by_side(pass_at_k_grid(page.last_mean, own), diversity_grid(page.last_mean, own)))


def _side_by_side(left: Grid, right: Grid) -> Grid:
    rows = (a + b[1:] for a, b in zip(left.rows, right.rows, strict=True))
    return Grid(left.columns + right.columns[1:], tuple(rows))


def _training(page: StudyPage, drawn: Collection[str]) -> Iterator[str]:
    yield heading(2, "In training")
    yield paragraph(
        "Means over the last third of the steps, on the training rollouts. KL to the start and entropy are "
        "exact, over the whole vocabulary, in nats a token, of the policy that drew the responses. In the "
        "figures a checkpoint has the KL of the rollout that it drew, the last one that of the last rollout "
        "measured. Equal groups: the share of problems whose responses all earn the same, and so teach "
        "nothing. Clipped: the share of all steps whose gradient was longer than the clip, and so lost its "
        "length."
    )
    yield table(trained_grid(page.trained))
    yield from _shown([figure.name for figure in page.figures], drawn)


def _isolated(page: StudyPage) -> Iterator[str]:
    if not page.contrasts:
        return
    yield heading(2, "What isolates what")
    yield paragraph(_CONTRASTS)
    for contrast, (title, grid) in zip(page.contrasts, contrast_grids(page.contrasts), strict=True):
        yield heading(3, title)
        if contrast.note:
            yield paragraph(contrast.note)
        yield table(grid)


def _files(page: StudyPage) -> str:
    said = "figures/: every figure as PNG and SVG; those over training steps with their numbers as CSV."
    if not page.is_of_methods:
        return (
            f"{said} [report.md](report.md): the comparison of the last checkpoints, with every metric. For "
            "programs: runs.csv (the last checkpoint of every run), training.csv (every step)."
        )
    return (
        f"{said} [report.md](report.md): every metric of every arm and every difference. For programs: "
        "metrics.csv (arms), arms.csv (differences between arms), lifts.csv (over the start), claims.csv, "
        "runs.csv (the last checkpoint of every run), training.csv (every step). Shares are from 0 to 1."
    )


def _shown(names: Sequence[str], drawn: Collection[str]) -> Iterator[str]:
    for name in names:
        if name in drawn:
            yield f"![{escape(name.replace('_', ' '))}](figures/{name}.png)"


# --- report.md --------------------------------------------------------------------------------------


def report(page: StudyPage) -> str:
    """report.md."""
    blocks = [heading(1, f"{page.name}: all numbers"), _REPORT, heading(2, "Arms")]
    blocks += [*map(table, metric_grids(page.view)), heading(2, "Differences")]
    for pair in arm_differences(page.view):
        blocks += [heading(3, f"{pair.name} minus {pair.baseline}"), table(pair.others)]
        if pair.missing:
            blocks += [paragraph(f"Undefined on one of the two sides: {', '.join(pair.missing)}.")]
    return "\n\n".join(blocks) + "\n"
