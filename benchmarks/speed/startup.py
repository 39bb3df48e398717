"""What `import opo_eval` and `opo-eval --help` cost beyond a bare interpreter."""

import os
import resource
import subprocess
import sys
import time
from collections.abc import Sequence
from statistics import median

from _tables import duration, machine, markdown_table, repeats_from_command_line, write_report

COMMANDS = {
    "bare interpreter": ["-c", "pass"],
    "import opo_eval": ["-c", "import opo_eval"],
    "opo-eval --help": ["-m", "opo_eval", "--help"],
    "opo-eval eval --help": ["-m", "opo_eval", "eval", "--help"],
}
MOST = {"import opo_eval": 0.15, "opo-eval --help": 0.5}
"""Seconds beyond a bare interpreter that are allowed."""


def run_once(arguments: Sequence[str]) -> tuple[float, float]:
    """(Wall-clock, CPU) seconds of one process."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run([sys.executable, *arguments], stdout=subprocess.DEVNULL, check=True)
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def measure(repeats: int) -> dict[str, tuple[float, float]]:
    """Median (wall-clock, CPU) seconds of each command, the commands taking turns."""
    seen: dict[str, list[tuple[float, float]]] = {name: [] for name in COMMANDS}
    for _ in range(repeats + 1):
        for name, arguments in COMMANDS.items():
            seen[name].append(run_once(arguments))
    # The first round compiles what is not compiled yet.
    return {name: (median(w for w, _ in t[1:]), median(c for _, c in t[1:])) for name, t in seen.items()}


def main() -> None:
    """Measure and write the report."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    repeats = repeats_from_command_line(__doc__ or "", default=15)
    seconds = measure(repeats)
    bare = seconds["bare interpreter"][0]
    rows = [
        (name, duration(wall), duration(cpu), duration(max(wall - bare, 0)), MOST.get(name, ""))
        for name, (wall, cpu) in seconds.items()
    ]
    header = ["command", "wall clock", "CPU", "beyond a bare interpreter", "allowed (s)"]
    write_report(
        "startup",
        [
            "# Speed: start-up",
            f"Whole processes, medians of {repeats} runs, the commands taking turns.",
            markdown_table(header, rows),
            machine(["tyro"]),
        ],
    )


if __name__ == "__main__":
    main()
