"""A sweep: every checkpoint of a short training run, sampled with vLLM and compared with where it began.

    python benchmarks/studies/sweep.py

About three minutes on two processors. Training and samples go to runs/sweep/, the report to reports/sweep/.
"""

import sys
from pathlib import Path

from opo_eval.cli import run
from opo_eval.tiny import checkpoint_path

ROOT = Path(__file__).resolve().parents[2]
RUNS, REPORTS = ROOT / "runs" / "sweep", ROOT / "reports"
START = str(checkpoint_path("late"))
SEEDS = (0, 1)


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
        "--out", str(RUNS / "evaluation"), "--reports", str(REPORTS), "--name", "sweep",
    ]  # fmt: skip


def main() -> None:
    """Train the seeds, then evaluate; what is there is not done again."""
    for words in [*map(train, SEEDS), evaluate()]:
        print("opo-eval", *words, flush=True)
        if status := run(words):
            sys.exit(status)


if __name__ == "__main__":
    main()
