"""A sweep: every checkpoint of a short training run, sampled with vLLM and compared with where it began.

    python benchmarks/studies/sweep.py

About four minutes on two processors. Training and samples go to runs/sweep/, the report, but for its largest
files, which hold every problem and every sample, to reports/sweep/.
"""

import os
import sys
from pathlib import Path

from opo_eval.cli import run
from opo_eval.tiny import checkpoint_path

ROOT = Path(__file__).resolve().parents[2]
# Relative, so that the report names no folder of this machine.
RUNS, REPORTS = Path("runs/sweep"), Path("reports")
START = os.path.relpath(checkpoint_path("late"), ROOT)
SEEDS = (0, 1)
LARGE = ("metrics.json", "metrics.csv", "per_problem.csv", "samples.csv")


def train(seed: int) -> list[str]:
    """Words of the command that trains a seed, or continues it."""
    return [
        "train", "--model", START, "--problems", "tiny-arith", "--benchmarks", "tiny-arith",
        "--think", "none", "--method", "opo", "--seed", str(seed), "--steps", "60", "--save-every", "10",
        "--problems-per-step", "32", "--group-size", "8", "--max-tokens", "64", "--learning-rate", "3e-4",
        "--out", str(RUNS / f"opo_seed{seed}"),
    ]  # fmt: skip


def evaluate() -> list[str]:
    """Words of the command that samples all checkpoints and compares them."""
    runs = [str(RUNS / f"opo_seed{seed}") for seed in SEEDS]
    return [
        "eval", *runs, "--reference", START, "--benchmark", "tiny-arith", "-n", "16", "--think", "none",
        "--max-tokens", "64", "--engine", "vllm", "--tokenize", "char",
        "--out", str(RUNS / "evaluation"), "--reports", str(REPORTS), "--name", "sweep", "--page-mb", "0",
    ]  # fmt: skip


def main() -> None:
    """Train the seeds, then evaluate; what is there is not done again."""
    os.chdir(ROOT)
    for words in [*map(train, SEEDS), evaluate()]:
        print("opo-eval", *words, flush=True)
        if status := run(words):
            sys.exit(status)
    for name in LARGE:
        (REPORTS / "sweep" / name).unlink()


if __name__ == "__main__":
    main()
