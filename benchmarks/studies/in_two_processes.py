"""OPO's arm of the miniature study in two processes under torchrun, beside one: reports/in_two_processes/.

    python benchmarks/studies/in_two_processes.py [--seeds 0 1] [--workers 2]

Trains the arm of miniature.toml with every seed both ways, evaluates all checkpoints alike, and writes how
far the two go together, step by step, what they come to, and what a step takes. What is finished is skipped.
"""

import signal
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from math import nan
from pathlib import Path
from statistics import fmean

import orjson
import tyro
from miniature import SETTINGS
from published_page import flow, grid

from opo_eval.compare import CompareOptions, compare_runs
from opo_eval.errors import OpoEvalError
from opo_eval.measure import MeasureOptions
from opo_eval.records import Comparison, TrainingStep
from opo_eval.report.data import csv_table
from opo_eval.report.folder import replace_report
from opo_eval.rl.config import TrainConfig
from opo_eval.rl.steps import read_steps
from opo_eval.store import RunDir
from opo_eval.study import run_study
from opo_eval.study.settings import RunPlan, Study, read_toml
from opo_eval.study.stages import checkpoint_plans

ONE, TWO = "one_process", "two_processes"
REPORT = Path("reports/in_two_processes")
COMMAND = "python benchmarks/studies/in_two_processes.py"
METRICS = ("pass@1", "pass@4", "pass@16", "self_bleu", "entropy", "kl")
SAME = ("n_tokens", "reward", "length", "truncated", "groups_equal")
"""Of a step: they are equal where the responses are, as good as never otherwise."""
CLOSE = ("entropy", "kl_start", "gradient_norm")


@dataclass(frozen=True, kw_only=True)
class Pair:
    """The two runs of a seed."""

    seed: int
    one: tuple[TrainingStep, ...]
    two: tuple[TrainingStep, ...]

    def n_alike(self) -> int:
        """Steps from the first on whose responses are the same."""
        pairs = list(zip(self.one, self.two, strict=True))
        differing = (i for i, (a, b) in enumerate(pairs) if not _same_responses(a, b))
        return next(differing, len(pairs))

    def largest(self, name: str, n: int | None = None) -> float:
        """Largest relative difference of a number over those steps, or the first n; NaN where all are 0."""
        pairs = [(getattr(a, name), getattr(b, name)) for a, b in zip(self.one, self.two, strict=True)]
        measured = [(a, b) for a, b in pairs[: n or self.n_alike()] if a]
        return max((abs(b - a) / abs(a) for a, b in measured), default=nan)


def _same_responses(a: TrainingStep, b: TrainingStep) -> bool:
    return all(getattr(a, name) == getattr(b, name) for name in SAME)


def study_of(seeds: Sequence[int]) -> Study:
    """The arm twice, and nothing of it otherwise."""
    settings = read_toml(SETTINGS)
    opo = settings["arms"]["opo"]
    labels = {ONE: "one process", TWO: "two processes"}
    return Study.from_mapping(
        {
            **settings,
            "name": "in_two_processes",
            "title": "OPO in one process and in two",
            "out": "runs/in_two_processes",
            "report": "runs/in_two_processes/report",
            "rebuild": COMMAND,
            "seeds": list(seeds or settings["seeds"]),
            "arms": {arm: {**opo, "label": label} for arm, label in labels.items()},
        }
    )


def train_as_told(config: TrainConfig) -> None:
    """In the number of processes that the run's folder says."""
    if not config.out.name.startswith(TWO):
        from opo_eval.rl.trainer import train

        train(config, quiet=True)
        return
    config.out.mkdir(parents=True, exist_ok=True)
    path = config.out / "run.toml"
    path.write_text(toml_of(config))
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    with subprocess.Popen([*torchrun, "-m", "opo_eval", "train", str(path), "--quiet"]) as process:
        signal.signal(signal.SIGTERM, lambda *_: process.terminate())
        if process.wait():
            raise OpoEvalError(f"torchrun ended with status {process.returncode}: see what it said above")


def toml_of(config: TrainConfig) -> str:
    """The settings as `opo-eval train` reads them."""
    given = {name: value for name, value in asdict(config).items() if value is not None}
    return "\n".join(f"{name} = {orjson.dumps(value, default=str).decode()}" for name, value in given.items())


# --- page -------------------------------------------------------------------------------------------


def page(study: Study, pairs: Sequence[Pair], rows: Iterable[Comparison]) -> str:
    """What the two ways have in common and what they take."""
    train = study.plans[0].config
    return "\n\n".join(
        [
            "# OPO's arm of the miniature study in two processes",
            flow(
                f"""`torchrun --nproc-per-node 2 -m opo_eval train` (FSDP2 over gloo, on a CPU) beside one
                process: {train.steps} steps of {train.problems_per_step} problems × {train.group_size}
                responses from the shipped tiny model, {len(pairs)} seeds. Both draw with the same seeds for
                each response. Rounding differs: each process fills its batches with other responses, and
                gradients are added in another order."""
            ),
            "## Step by step",
            flow(
                f"""Alike: steps from the first on in which {", ".join(SAME)} of the rollout are exactly
                equal. After them a near tie was drawn otherwise, and the two are different runs of the same
                training. The columns after that: the relative difference of the gradient's norm at the first
                step, and the largest relative differences over the steps alike, which grow from step to step
                as weights that differ by a rounding are trained on."""
            ),
            _step_table(pairs, train.steps),
            "## After the last step",
            flow(
                f"""Arms over {len(pairs)} training seeds, {study.evaluation.problems} held-out problems, and
                95 % intervals of the difference, two processes less one, over training seeds and problems
                like these. Shares are from 0 to 1. The tests are adjusted together (Holm)."""
            ),
            grid(
                ("metric", "one process", "two processes", "difference", "p", "adjusted p"), map(_row, rows)
            ),
            "## What a step takes",
            flow(
                """Means over steps and seeds, in seconds. One process has one thread, and another run
                beside it on the two cores; two processes have one thread each, and the machine had other
                work. The columns do not race: they say where the time of each goes."""
            ),
            _time_table(pairs),
            f"Again: `{COMMAND}`\n",
        ]
    )


def _step_table(pairs: Sequence[Pair], n_steps: int) -> str:
    lines = [
        (
            str(pair.seed),
            f"{pair.n_alike()} of {n_steps}",
            f"{pair.largest('gradient_norm', 1):.1e}",
            *(f"{pair.largest(name):.1e}" for name in CLOSE),
            f"{pair.one[-1].reward:.3f}",
            f"{pair.two[-1].reward:.3f}",
        )
        for pair in pairs
    ]
    return grid(
        ("seed", "steps alike", "first gradient_norm", *CLOSE, "last reward, one", "last reward, two"), lines
    )


def _row(row: Comparison) -> tuple[str, ...]:
    interval = f" [{row.interval.low:+.4f}, {row.interval.high:+.4f}]" if row.interval else ""
    tests = [f"{p:.2g}" if p is not None else "" for p in (row.p_value, row.p_adjusted)]
    return (row.metric, f"{row.value_a:.4f}", f"{row.value_b:.4f}", f"{row.delta:+.4f}{interval}", *tests)


def _time_table(pairs: Sequence[Pair]) -> str:
    phases = list(pairs[0].one[0].seconds)
    lines = [
        (phase, *(f"{fmean(_seconds(pairs, way, phase)):.3f}" for way in ("one", "two"))) for phase in phases
    ]
    return grid(("phase", "one process", "two processes"), lines)


def _seconds(pairs: Sequence[Pair], way: str, phase: str) -> list[float]:
    return [step.seconds.get(phase, 0.0) for pair in pairs for step in getattr(pair, way)]


# --- all of it --------------------------------------------------------------------------------------


def pairs_of(study: Study) -> list[Pair]:
    """The steps of both runs of every seed."""
    plans = {(plan.arm, plan.seed): plan.config.out for plan in study.plans}
    read = {key: tuple(read_steps(path)) for key, path in plans.items()}
    return [Pair(seed=seed, one=read[ONE, seed], two=read[TWO, seed]) for seed in study.seeds]


def between_arms(study: Study) -> list[Comparison]:
    """Two processes less one, of the last checkpoints."""
    runs = [RunDir(_last(study, plan)) for arm in (ONE, TWO) for plan in study.plans_of(arm)]
    options = MeasureOptions(n=study.evaluation.samples, tokenize=study.evaluation.tokenize)
    compared = compare_runs(runs, options, CompareOptions(family=METRICS))
    return [row for row in compared.arm_comparisons if row.metric in METRICS]


def _last(study: Study, plan: RunPlan) -> Path:
    return list(checkpoint_plans(study, plan))[-1].path


def steps_csv(pairs: Sequence[Pair]) -> bytes:
    """Both runs of every seed, a line a step."""
    names = ("step", *SAME, *CLOSE)
    rows = (
        {"seed": pair.seed, "processes": processes, **{name: getattr(step, name) for name in names}}
        for pair in pairs
        for processes, steps in ((1, pair.one), (2, pair.two))
        for step in steps
    )
    return csv_table(("seed", "processes", *names), rows)


@dataclass
class InTwoProcesses:
    """How much of it is run."""

    seeds: tuple[int, ...] = ()
    """Training seeds; default: those of miniature.toml."""
    workers: int | None = None
    """Runs at once; default: one a processor."""

    def __call__(self) -> None:
        """Run what is missing and write the report."""
        study = study_of(self.seeds)
        run_study(study, workers=self.workers, train=train_as_told)
        pairs = pairs_of(study)
        files = {
            "README.md": page(study, pairs, between_arms(study)).encode(),
            "steps.csv": steps_csv(pairs),
        }
        replace_report(REPORT, files, {"name": study.name, "seeds": study.seeds})


if __name__ == "__main__":
    try:
        tyro.cli(InTwoProcesses)()
    except OpoEvalError as error:
        sys.exit(f"{error}")
