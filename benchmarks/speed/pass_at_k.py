"""Every pass@k of 500 problems with 256 samples each: one call against human-eval's estimator in a loop."""

import numpy as np
from _tables import duration, machine, markdown_table, race, repeats_from_command_line, write_report

from opo_eval.metrics.passk import pass_at_k_curve

SIZES = [(30, 16), (500, 16), (500, 256)]


def estimator(n: int, c: int, k: int) -> float:
    """pass@k as human-eval computes it for one problem and one k (Chen et al., 2021, figure 3)."""
    if n - c < k:
        return 1.0
    return 1.0 - np.prod(1.0 - k / np.arange(n - c + 1, n + 1))


def loop(n: int, correct: list[int]) -> np.ndarray:
    """One call for every problem and k, as human-eval's users do."""
    return np.array([[estimator(n, c, k) for k in range(1, n + 1)] for c in correct])


def compare(n_problems: int, n: int, repeats: int) -> tuple[object, ...]:
    """One row of the report."""
    correct = np.random.default_rng(0).integers(n + 1, size=n_problems)
    counts = correct.tolist()
    timings = race(
        {"loop": lambda: loop(n, counts), "curve": lambda: pass_at_k_curve(np.full(n_problems, n), correct)},
        repeats,
    )
    slow, fast = timings["loop"], timings["curve"]
    difference = np.abs(slow.result - fast.result).max()
    return (
        n_problems,
        n,
        duration(slow.seconds),
        duration(fast.seconds),
        f"{slow.seconds / fast.seconds:.0f}×",
        f"{difference:.1e}",
    )


def main() -> None:
    """Measure every size and write the report."""
    repeats = repeats_from_command_line(__doc__ or "", default=15)
    header = ["problems", "samples each", "human-eval's estimator", "opo_eval", "ratio", "largest difference"]
    rows = [compare(n_problems, n, repeats) for n_problems, n in SIZES]
    write_report(
        "pass_at_k",
        [
            "# Speed: pass@k for every k from 1 to n",
            "human-eval's estimator is called once for each problem and k; `pass_at_k_curve` once for all. "
            f"Times are CPU seconds, medians of {repeats} repeats, both in one process and taking turns.",
            markdown_table(header, rows),
            machine(["numpy"]),
        ],
    )


if __name__ == "__main__":
    main()
