"""The training runs behind compared checkpoints: their recorded steps, and what scorers say of their samples.

A training run is known by the paths of its checkpoints (`opo_eval.lineage`); its steps are read from the
`training.jsonl` in its folder, where that is still there. Seeds of one arm become a mean with an interval.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from opo_eval.errors import StoreError
from opo_eval.lineage import Series, is_start, series_over_steps, step_folder
from opo_eval.records import MetricRow, RunSettings, TrainingStep
from opo_eval.report.paper.data import Followed, PaperData, Source
from opo_eval.report.token_metrics import ENTROPY, KL, TokenMetric, shared_temperature
from opo_eval.report.training_data import Curve, Point
from opo_eval.report.training_data import Path as CheckpointPath
from opo_eval.report.views import BenchmarkView, benchmark_views, rows_of
from opo_eval.rl.steps import STEPS, read_steps
from opo_eval.wording import some_of

if TYPE_CHECKING:
    from opo_eval.compare import ComparedRuns

_BLOCKS = 30
"""Points of a curve: one rollout's reward varies more than methods differ, so steps are averaged."""
_OF_TRAINING = ("reward", "kl_start", "entropy")
_OF_SAMPLES = {"kl_start": KL, "entropy": ENTROPY}
"""Quantity → the metric that a scorer gives."""
_PASS_AT_1 = "pass@1"
_NAMED_AT_MOST = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class _Run:
    """A training run of which checkpoints are compared."""

    series: Series
    label: str
    """Of its arm where it is one of several seeds, its own otherwise; fit to print."""
    steps: tuple[TrainingStep, ...] = ()
    """None where its records are not at hand."""
    starts: tuple[str, ...] = ()
    """Compared checkpoints that it began from."""

    @property
    def checkpoints(self) -> dict[int, str]:
        """By step, what it began from as step 0."""
        own = dict(zip(self.series.steps, self.series.checkpoints, strict=True))
        return {0: self.starts[0], **own} if self.starts else own


def paper_data(compared: "ComparedRuns") -> PaperData:
    """What there is to draw of training: from its records, and for each benchmark beside its pass@1."""
    views = benchmark_views(compared)
    runs, lacking = _training_runs(compared, views[0])
    training = Followed(source=Source.ROLLOUTS, curves=tuple(_curves(runs)), lacking=tuple(lacking))
    return PaperData(
        training=training, held_out={view.benchmark: _held_out(view, runs, training) for view in views}
    )


def _held_out(view: BenchmarkView, runs: Sequence[_Run], training: Followed) -> Followed:
    """From scored samples where there are any, else from the records of training."""
    temperature = shared_temperature(view.tables, KL)
    if temperature is not None:
        return _from_samples(view, runs, temperature)
    return replace(training, paths=tuple(_paths(runs, _points_of_training(view, runs))))


# --- which training runs ----------------------------------------------------------------------------


def _training_runs(compared: "ComparedRuns", view: BenchmarkView) -> tuple[list[_Run], list[str]]:
    """Every training run, in the order of its first checkpoint, and why some are without records."""
    settings = {s.checkpoint.name: s for s in (run.manifest.settings for run in compared.runs)}
    runs: list[_Run] = []
    without: dict[str, list[str]] = defaultdict(list)
    for series in _all_series(settings):
        steps, reason = _recorded(series, settings)
        starts = tuple(name for name, own in settings.items() if _began_from(series, own))
        label = _label(series, compared, view)
        runs.append(_Run(series=series, label=label, steps=steps, starts=starts))
        if reason:
            without[reason].append(_own_label(series, view))
    return runs, [f"{some_of(names, _NAMED_AT_MOST)}: {reason}." for reason, names in without.items()]


def _all_series(settings: Mapping[str, RunSettings]) -> list[Series]:
    """Those of one checkpoint as well, which have its name."""
    checkpoints = {name: own.checkpoint for name, own in settings.items()}
    several, _ = series_over_steps(checkpoints.values())
    member = {name: series for series in several for name in series.checkpoints}
    found: dict[str, Series] = {}
    for name, checkpoint in checkpoints.items():
        if name in member:
            found[member[name].name] = member[name]
        elif checkpoint.step:
            alone = Series(name=name, steps=(checkpoint.step,), checkpoints=(name,), start=checkpoint.start)
            found[name] = alone
    return list(found.values())


def _began_from(series: Series, settings: RunSettings) -> bool:
    if settings.checkpoint.name in series.checkpoints:
        return False
    digest = settings.sampling.model_sha256 if settings.sampling else None
    return is_start(series, settings.checkpoint, digest)


def _label(series: Series, compared: "ComparedRuns", view: BenchmarkView) -> str:
    for arm in compared.arms:
        if set(arm.checkpoints) & set(series.checkpoints):
            return view.arms[arm.name]
    return _own_label(series, view)


def _own_label(series: Series, view: BenchmarkView) -> str:
    return view.runs.get(series.name) or view.checkpoints[series.checkpoints[0]]


def _recorded(
    series: Series, settings: Mapping[str, RunSettings]
) -> tuple[tuple[TrainingStep, ...], str | None]:
    """The steps of a run's training, or why there are none."""
    checkpoint = settings[series.checkpoints[-1]].checkpoint
    folder = step_folder(checkpoint.path) if checkpoint.path else None
    if folder is None or not (folder.run / STEPS).is_file():
        return (), f"the records of its training ({STEPS}) are not where its checkpoint lay"
    try:
        steps = tuple(read_steps(folder.run))
    except StoreError:
        return (), f"the records of its training ({STEPS}) cannot be read"
    other_seed = checkpoint.train_seed not in (None, steps[0].train_seed)
    if other_seed or steps[-1].step < series.steps[-1]:
        return (), f"the {STEPS} where its checkpoint lay is of another training run"
    return steps, None


def _by_label(runs: Sequence[_Run]) -> dict[str, list[_Run]]:
    found: dict[str, list[_Run]] = defaultdict(list)
    for run in runs:
        found[run.label].append(run)
    return found


# --- from the records of training -------------------------------------------------------------------


def _curves(runs: Sequence[_Run]) -> Iterator[Curve]:
    from opo_eval.study.series import curve

    recorded = [run for run in runs if run.steps]
    block = max(1, max((len(run.steps) for run in recorded), default=0) // _BLOCKS)
    for label, own in _by_label(recorded).items():
        for quantity in _OF_TRAINING:
            seeds = {i: run.steps for i, run in enumerate(own)}
            if found := curve(label, quantity, seeds, block=block):
                yield found


def _points_of_training(view: BenchmarkView, runs: Sequence[_Run]) -> dict[str, tuple[Point, ...]]:
    """Series → its checkpoints, with the KL of the rollout that each drew."""
    from opo_eval.study.series import points

    tables = {table.checkpoint: rows_of(table) for table in view.tables}
    found = {}
    for run in (run for run in runs if run.steps):
        rows = {step: tables.get(name, {}).get(_PASS_AT_1) for step, name in run.checkpoints.items()}
        found[run.series.name] = points(run.steps, {step: row.value for step, row in rows.items() if row})
    return found


def _paths(runs: Sequence[_Run], points: Mapping[str, tuple[Point, ...]]) -> Iterator[CheckpointPath]:
    """Of every arm or run that has a checkpoint beyond the one that it began from."""
    from opo_eval.study.series import path

    for label, own in _by_label(runs).items():
        known = [points[run.series.name] for run in own if run.series.name in points]
        known = [run for run in known if any(point.step for point in run)]
        if known:
            yield path(label, known)


# --- from scored samples ----------------------------------------------------------------------------


def _from_samples(view: BenchmarkView, runs: Sequence[_Run], temperature: str) -> Followed:
    tables = {table.checkpoint: rows_of(table) for table in view.tables}
    points = {run.series.name: tuple(_scored_points(run, tables, temperature)) for run in runs}
    followed = [run for run in runs if len(run.series.steps) > 1]
    return Followed(
        source=Source.SAMPLES,
        temperature=temperature,
        curves=tuple(_scored_curves(followed, tables, temperature)),
        paths=(*_paths(runs, points), *_alone(view, runs, temperature)),
        lacking=tuple(_not_scored(view, temperature)),
    )


def _name(quantity: str, temperature: str) -> str:
    """Of the metric."""
    return TokenMetric(quantity, temperature=temperature).name


def _scored_points(
    run: _Run, tables: Mapping[str, Mapping[str, MetricRow]], temperature: str
) -> Iterator[Point]:
    for step, name in run.checkpoints.items():
        own = tables.get(name, {})
        kl, share = own.get(_name(KL, temperature)), own.get(_PASS_AT_1)
        if kl and share:
            yield Point(step=step, kl=kl.value, pass_at_1=share.value)


def _alone(view: BenchmarkView, runs: Sequence[_Run], temperature: str) -> Iterator[CheckpointPath]:
    """Checkpoints that are of no training run known here, each a point."""
    known = {name for run in runs for name in run.checkpoints.values()}
    for table in (table for table in view.tables if table.checkpoint not in known):
        kl, share = (rows_of(table).get(name) for name in (_name(KL, temperature), _PASS_AT_1))
        if kl and share:
            point = Point(step=0, kl=kl.value, pass_at_1=share.value)
            name = view.checkpoints[table.checkpoint]
            yield CheckpointPath(arm=name, runs=((point,),), means=(point,))


def _scored_curves(
    runs: Sequence[_Run], tables: Mapping[str, Mapping[str, MetricRow]], temperature: str
) -> Iterator[Curve]:
    for label, own in _by_label(runs).items():
        for quantity, metric in _OF_SAMPLES.items():
            found = [_metric_by_step(run, tables, _name(metric, temperature)) for run in own]
            shared = sorted(set.intersection(*map(set, found)))
            if len(shared) > 1:
                yield _scored_curve(label, quantity, shared, found)


def _metric_by_step(
    run: _Run, tables: Mapping[str, Mapping[str, MetricRow]], metric: str
) -> dict[int, MetricRow]:
    rows = {step: tables.get(name, {}).get(metric) for step, name in run.checkpoints.items()}
    return {step: row for step, row in rows.items() if row}


def _scored_curve(
    label: str, quantity: str, steps: Sequence[int], seeds: Sequence[Mapping[int, MetricRow]]
) -> Curve:
    """Of several seeds the mean and its interval over them, of one its own with that over problems."""
    from opo_eval.study.series import mean_interval

    values = [[rows[step].value for rows in seeds] for step in steps]
    alone = [seeds[0][step].interval for step in steps]
    return Curve(
        arm=label,
        quantity=quantity,
        steps=tuple(map(float, steps)),
        means=tuple(sum(own) / len(own) for own in values),
        intervals=tuple(map(mean_interval, values) if len(seeds) > 1 else alone),
        n_seeds=len(seeds),
        block=1,
    )


def _not_scored(view: BenchmarkView, temperature: str) -> Iterator[str]:
    without = [
        view.checkpoints[table.checkpoint]
        for table in view.tables
        if _name(KL, temperature) not in rows_of(table)
    ]
    if without:
        names = some_of(without, _NAMED_AT_MOST)
        yield f"{names}: no KL, since not scored beside a reference (`opo-eval score`)."
