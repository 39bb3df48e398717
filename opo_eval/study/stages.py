"""The two stages of a run, each skipped where it is finished: training, and evaluating its checkpoints.

    OUT/training/opo_seed0/                  as `opo-eval train` writes it
    OUT/evaluation/opo_seed0/step_000010/    run directories: the samples and grades of a checkpoint and, of a
                                             run's last one, entropy and KL to the start
    OUT/evaluation/start/step_000000/        the same of the checkpoint that all runs begin from

A stage leaves a receipt in its folder: a digest of what it was asked for. A stage whose receipt is there is
finished; any other is done again, which continues it.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import orjson

from opo_eval.errors import OpoEvalError, UsageError
from opo_eval.grading import Grader
from opo_eval.grading.run import grade_run
from opo_eval.problems import load_problems
from opo_eval.problems.tiny_arith import BENCHMARK, N_HELD_OUT, generate_problems
from opo_eval.records import Checkpoint, Problem
from opo_eval.rl.config import TrainConfig
from opo_eval.rl.steps import STEPS, checkpoint_name
from opo_eval.score import ScoreOptions, score_runs
from opo_eval.store import RunDir, write_atomically
from opo_eval.study.jobs import Job
from opo_eval.study.settings import START, Evaluation, RunPlan, Study

Train = Callable[[TrainConfig], object]
_RECEIPT = "finished.json"
_SCORED_AGAINST = "scored against"


@dataclass(frozen=True, kw_only=True)
class CheckpointPlan:
    """A checkpoint and how many samples of it are wanted."""

    checkpoint: Checkpoint
    path: Path
    """Of its run directory."""
    samples: int
    """A problem."""


# --- training ---------------------------------------------------------------------------------------


def training_jobs(study: Study, train: Train | None) -> list[Job]:
    """Of the runs that are not trained yet. train: what trains one; default: `opo_eval.rl.trainer.train`."""
    return [
        Job(plan.name, partial(_train, plan, train or _train_quietly))
        for plan in study.plans
        if not is_trained(plan)
    ]


def is_trained(plan: RunPlan) -> bool:
    """Whether the run with these very settings is finished."""
    return (
        _has_receipt(plan.config.out, _asked_of(plan))
        and checkpoint_path(plan, plan.saved_steps[-1]).is_dir()
    )


def n_steps_taken(plan: RunPlan) -> int:
    """Steps that training.jsonl holds now."""
    path = plan.config.out / STEPS
    # The first line names the schema.
    return max(path.read_bytes().count(b"\n") - 1, 0) if path.exists() else 0


def checkpoint_path(plan: RunPlan, step: int) -> Path:
    """Directory of the checkpoint after a step."""
    return plan.config.out / checkpoint_name(step)


def _train(plan: RunPlan, train: Train) -> None:
    train(plan.config)
    _write_receipt(plan.config.out, _asked_of(plan))


def _train_quietly(config: TrainConfig) -> None:
    from opo_eval.rl.trainer import train

    train(config, quiet=True)


def _asked_of(plan: RunPlan) -> str:
    return _digest(asdict(plan.config))


# --- evaluation -------------------------------------------------------------------------------------


def evaluation_jobs(study: Study, trained: Sequence[RunPlan], n_jobs: int) -> dict[Job, list[str]]:
    """What is not evaluated yet, dealt out to so many jobs: beginning a process takes as long as one.

    Job → names of the runs that it evaluates; see `reason_of`.
    """
    runs = list(not_evaluated(study, trained).items())
    dealt = [runs[i::n_jobs] for i in range(min(n_jobs, len(runs)))]
    return {
        Job(f"evaluation {i + 1}", partial(_evaluate_all, study, part)): [name for name, _ in part]
        for i, part in enumerate(dealt)
    }


def reason_of(run: str, said: str) -> str:
    """Why a run is not evaluated, from what its job said: its own line, or else all of it."""
    own = [line.removeprefix(f"{run}: ") for line in said.splitlines() if line.startswith(f"{run}: ")]
    return own[0] if own else said


def not_evaluated(study: Study, trained: Sequence[RunPlan]) -> dict[str, list[CheckpointPlan]]:
    """The start and the runs whose checkpoints are not all evaluated, by name."""
    runs = {START: [start_plan(study)]}
    runs |= {plan.name: list(checkpoint_plans(study, plan)) for plan in trained}
    return {name: checkpoints for name, checkpoints in runs.items() if not is_evaluated(study, checkpoints)}


def checkpoint_plans(study: Study, plan: RunPlan) -> Iterator[CheckpointPlan]:
    """The checkpoints of a run, in order."""
    for left, step in zip(reversed(range(len(plan.saved_steps))), plan.saved_steps, strict=True):
        yield CheckpointPlan(
            checkpoint=Checkpoint(
                name=f"{plan.name}_step{step}",
                method=plan.arm,
                train_seed=plan.seed,
                step=step,
                path=str(checkpoint_path(plan, step)),
            ),
            path=_evaluations(study) / plan.name / checkpoint_name(step),
            samples=_samples(study.evaluation, left),
        )


def _samples(asked: Evaluation, n_left: int) -> int:
    """Of a checkpoint after which so many are left."""
    if n_left == 0:
        return asked.samples_last
    return asked.samples if n_left < asked.last else asked.samples_before


def start_plan(study: Study) -> CheckpointPlan:
    """The checkpoint that every run begins from."""
    return CheckpointPlan(
        checkpoint=Checkpoint(name=START, step=0, path=study.start),
        path=_evaluations(study) / START / checkpoint_name(0),
        samples=study.evaluation.samples_last,
    )


def is_evaluated(study: Study, checkpoints: Sequence[CheckpointPlan]) -> bool:
    """Whether all of a run's checkpoints have been sampled and graded, and the last scored, as the study
    asks."""
    folder = checkpoints[0].path.parent
    return _has_receipt(folder, _evaluation_asked(study, checkpoints)) and all(
        checkpoint.path.is_dir() for checkpoint in checkpoints
    )


def n_evaluated(study: Study, trained: Sequence[RunPlan]) -> int:
    """Checkpoints of which there are samples, the start among them."""
    plans = [start_plan(study), *(c for plan in trained for c in checkpoint_plans(study, plan))]
    return sum((plan.path / "grades.jsonl").exists() for plan in plans)


def _evaluate_all(study: Study, runs: Sequence[tuple[str, Sequence[CheckpointPlan]]]) -> None:
    """Evaluate run after run; OpoEvalError at the end names those that failed, a line each."""
    failed = []
    config = study.plans[0].config
    with Grader(
        think=config.think, where=config.answer, lenient=False, workers=1, timeout_s=config.timeout
    ) as grader:
        for name, checkpoints in runs:
            try:
                _evaluate(study, checkpoints, grader)
            except OpoEvalError as error:
                failed.append(f"{name}: {' '.join(str(error).split())}")
    if failed:
        raise OpoEvalError("\n".join(failed))


def _evaluate(study: Study, checkpoints: Sequence[CheckpointPlan], grader: Grader) -> None:
    for plan in checkpoints:
        grade_run(_sampled(study, plan), grader, quiet=True)
    _score(study, RunDir(checkpoints[-1].path))
    _write_receipt(checkpoints[0].path.parent, _evaluation_asked(study, checkpoints))


def _sampled(study: Study, plan: CheckpointPlan) -> RunDir:
    from opo_eval.rl.setup import prompt_options
    from opo_eval.samplers import make_sampler, sample_run

    asked, train = study.evaluation, study.plans[0].config
    sampler = make_sampler(
        "hf",
        plan.checkpoint.path or "",
        **prompt_options(train, asked.benchmark),
        temperature=asked.temperature,
        max_tokens=asked.max_tokens,
        base_seed=asked.seed,
        dtype=train.dtype,
        device=train.device,
        batch_size=asked.batch_size,
    )
    problems = evaluation_problems(study)
    return sample_run(
        plan.path, sampler, plan.checkpoint, problems, n=plan.samples, think=train.think, quiet=True
    )


def _score(study: Study, run: RunDir) -> None:
    """Exact entropy, and KL to the checkpoint that all runs begin from."""
    train = study.plans[0].config
    options = ScoreOptions(reference=study.start, dtype=train.dtype, device=train.device)
    for _ in score_runs([run], options, quiet=True):
        pass


def evaluation_problems(study: Study) -> tuple[Problem, ...]:
    """The held-out problems; UsageError where there are not so many."""
    asked = study.evaluation
    at_most = N_HELD_OUT if asked.benchmark == BENCHMARK else None
    if asked.problems and at_most and asked.problems <= at_most:
        return generate_problems(asked.problems)
    problems = load_problems(asked.benchmark)
    if asked.problems and asked.problems > len(problems):
        raise UsageError(
            f"{asked.benchmark} has {at_most or len(problems)} held-out problems: give no more than these as "
            f"problems of the evaluation, not {asked.problems}"
        )
    return problems[: asked.problems]


def _evaluations(study: Study) -> Path:
    return study.out / "evaluation"


def _evaluation_asked(study: Study, checkpoints: Sequence[CheckpointPlan]) -> str:
    """The settings, and which training it is that gave the checkpoints."""
    steps = Path(checkpoints[-1].checkpoint.path or "").parent / STEPS
    trained = hashlib.sha256(steps.read_bytes()).hexdigest() if steps.exists() else None
    asked = [asdict(study.evaluation), study.plans[0].config.think, trained, _SCORED_AGAINST, study.start]
    return _digest([*asked, *map(asdict, checkpoints)])


# --- receipts ---------------------------------------------------------------------------------------


def _digest(asked: object) -> str:
    return hashlib.sha256(orjson.dumps(asked, default=str)).hexdigest()


def _has_receipt(folder: Path, asked: str) -> bool:
    path = folder / _RECEIPT
    try:
        return path.is_file() and orjson.loads(path.read_bytes()) == {"asked": asked}
    except orjson.JSONDecodeError:  # done again, which finds what is there
        return False


def _write_receipt(folder: Path, asked: str) -> None:
    write_atomically(folder / _RECEIPT, orjson.dumps({"asked": asked}))
