"""A study from beginning to end: train, evaluate, compare, write; the same call continues."""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from opo_eval.compare import ComparedRuns, CompareOptions, compare_runs
from opo_eval.errors import OpoEvalError
from opo_eval.measure import MeasureOptions
from opo_eval.processors import at_once
from opo_eval.progress import Progress
from opo_eval.report.folder import refuse_other_folder, replace_report
from opo_eval.report.render import report_files
from opo_eval.report.training_files import page_files
from opo_eval.rl.steps import read_steps
from opo_eval.store import RunDir
from opo_eval.study.jobs import Job, run_jobs
from opo_eval.study.page import study_page
from opo_eval.study.results import Results
from opo_eval.study.settings import START, RunPlan, Study
from opo_eval.study.stages import (
    Train,
    checkpoint_plans,
    evaluation_jobs,
    evaluation_problems,
    is_trained,
    n_evaluated,
    n_steps_taken,
    not_evaluated,
    reason_of,
    start_plan,
    training_jobs,
)
from opo_eval.study.tables import evaluate
from opo_eval.wording import counted, some_of


def run_study(
    study: Study, *, workers: int | None = None, quiet: bool = False, train: Train | None = None
) -> Path:
    """Train every arm with every seed, evaluate all checkpoints, and write the report; returns its folder.

    workers: runs at once, each a process with one thread; default: one a processor, and one alone on a GPU,
    whose memory they would share. train: what trains one run; default: `opo_eval.rl.trainer.train`. What is
    finished is skipped. A run that fails is named and the others go on; after the report of the others
    OpoEvalError is raised.
    """
    refuse_other_folder(study.report)
    evaluation_problems(study)  # before hours of training
    n_runs = at_once(workers or _fitting(study), len(study.plans))
    failed = _train(study, n_runs, quiet, train)
    trained = [plan for plan in study.plans if is_trained(plan)]
    if not trained:
        raise OpoEvalError(f"no run of the study {study.name} could be trained: {_spell(failed)}")
    failed |= _evaluate(study, trained, n_runs, quiet)
    done = [plan for plan in trained if plan.name not in failed]
    if START in failed or not done:
        # Without the start there is nothing to compare the arms with.
        raise OpoEvalError(f"nothing of the study {study.name} could be evaluated: {_spell(failed)}")
    write_study(study, done, failed, workers=workers, quiet=quiet)
    if failed:
        raise OpoEvalError(
            f"{counted(len(failed), 'run')} of {len(study.plans)} failed ({_spell(failed)}); the report in "
            f"{study.report} is of the others: give the same command again to continue"
        )
    return study.report


def _fitting(study: Study) -> int | None:
    """Runs that fit onto the device together; None: as many as there are processors."""
    from opo_eval.samplers.checkpoints import chosen_device  # seconds, for torch

    return None if chosen_device(study.plans[0].config.device) == "cpu" else 1


def write_study(
    study: Study,
    trained: Sequence[RunPlan],
    failed: dict[str, str],
    *,
    workers: int | None = None,
    quiet: bool = False,
) -> None:
    """Measure what has been evaluated and write the report; an earlier one is replaced."""
    results = Results(
        study=study,
        trained=tuple(trained),
        steps={plan.name: tuple(read_steps(plan.config.out)) for plan in trained},
        evaluated=evaluate(study, trained, workers=workers, quiet=quiet),
        failed=failed,
    )
    compared = None if results.is_of_methods else _compare(study, trained, workers, quiet)
    files = page_files(study_page(results, compared))
    if compared:
        files = {**report_files(compared, name=study.name), **files}
    replace_report(study.report, files, {"name": study.name, "study": _settings(study)})


def _settings(study: Study) -> dict[str, Any]:
    """As the study's file has them."""
    return {
        "seeds": study.seeds,
        "train": study.train,
        "evaluation": study.evaluation,
        "arms": {arm: {"label": study.labels[arm], **own} for arm, own in study.arms.items()},
    }


def _compare(study: Study, trained: Sequence[RunPlan], workers: int | None, quiet: bool) -> ComparedRuns:
    """The start with each run's last checkpoint."""
    last = [list(checkpoint_plans(study, plan))[-1].path for plan in trained]
    runs = [RunDir(path) for path in (start_plan(study).path, *last)]
    options = MeasureOptions(n=study.evaluation.samples, tokenize=study.evaluation.tokenize)
    return compare_runs(runs, options, CompareOptions(baseline=START), workers=workers, quiet=quiet)


# --- stages -----------------------------------------------------------------------------------------


def _train(study: Study, workers: int, quiet: bool, train: Train | None) -> dict[str, str]:
    """Why which runs are not trained."""
    plans = {plan.name: plan for plan in study.plans}
    jobs = training_jobs(study, train)
    waited_for = [plans[job.name] for job in jobs]
    return _run(
        jobs,
        workers,
        what=f"training {counted(len(jobs), 'run')}",
        total=sum(plan.config.steps for plan in waited_for),
        unit="steps",
        n_done=lambda: sum(map(n_steps_taken, waited_for)),
        quiet=quiet,
    )


def _evaluate(study: Study, trained: Sequence[RunPlan], workers: int, quiet: bool) -> dict[str, str]:
    """Why which runs, or the start, are not evaluated."""
    jobs = evaluation_jobs(study, trained, workers)
    said = _run(
        list(jobs),
        workers,
        what="evaluating",
        total=1 + sum(len(plan.saved_steps) for plan in trained),
        unit="checkpoints",
        n_done=lambda: n_evaluated(study, trained),
        quiet=quiet,
    )
    told = {run: said.get(job.name, "") for job, runs in jobs.items() for run in runs}
    return {run: reason_of(run, told[run]) for run in not_evaluated(study, trained)}


def _run(
    jobs: Sequence[Job],
    workers: int,
    *,
    what: str,
    total: int,
    unit: str,
    n_done: Callable[[], int],
    quiet: bool,
) -> dict[str, str]:
    """Run the jobs and show how far they are; what was done before this call is not counted."""
    before = n_done()
    with Progress(what, total - before, unit=unit, quiet=quiet or not jobs) as progress:

        def watch() -> None:
            if new := n_done() - before - progress.done:
                progress.advance(new)

        failed = run_jobs(jobs, workers=workers, watch=watch)
    for name, reason in failed.items():
        print(f"{name} failed: {'; '.join(reason.splitlines())}", file=sys.stderr, flush=True)
    return failed


def _spell(failed: dict[str, str]) -> str:
    return some_of([f"{name}: {reason}" for name, reason in failed.items()])
