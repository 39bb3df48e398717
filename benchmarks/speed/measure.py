"""What `opo-eval measure` costs on 7,000 graded responses, start-up included."""

import os
import resource
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from _tables import DATA, duration, machine, markdown_table, repeats_from_command_line, write_report

FOLDER = "rg_llama3b_rl_ckpts"
MOST_S = 3.0
"""Wall-clock seconds that are allowed on an idle machine."""


def opo_eval(*arguments: str) -> tuple[float, float]:
    """(Wall-clock, CPU) seconds of one command."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run([sys.executable, "-m", "opo_eval", *arguments], stdout=subprocess.DEVNULL, check=True)
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def make_runs(out: Path) -> None:
    """The responses as run directories with strict verdicts."""
    source = DATA / FOLDER
    columns = ["checkpoint=checkpoint", "benchmark=benchmark", "index=sample"]
    joined = ["--problems", str(source / "problems.jsonl"), "--think", "tagged", "--out", str(out)]
    opo_eval("import", str(source / "generations.jsonl.gz"), "--map", *columns, *joined)
    opo_eval("grade", str(out), "--answer", "answer-tag", "--strict-only", "--quiet")


def measured(commands: dict[str, Sequence[str]], repeats: int) -> dict[str, tuple[float, float]]:
    """Median (wall-clock, CPU) seconds of each command, the commands taking turns."""
    seen: dict[str, list[tuple[float, float]]] = {name: [] for name in commands}
    for _ in range(repeats):
        for name, arguments in commands.items():
            seen[name].append(opo_eval(*arguments))
    return {name: (median(w for w, _ in t), median(c for _, c in t)) for name, t in seen.items()}


def main() -> None:
    """Measure and write the report."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    repeats = repeats_from_command_line(__doc__ or "", default=7)
    with TemporaryDirectory() as folder:
        make_runs(Path(folder))
        commands = {"opo-eval measure --help": ["measure", "--help"], "opo-eval measure": ["measure", folder]}
        seconds = measured(commands, repeats)
    rows = [(name, duration(wall), duration(cpu)) for name, (wall, cpu) in seconds.items()]
    write_report(
        "measure",
        [
            "# Speed: measuring 7,000 responses",
            f"The four runs of {FOLDER} (two checkpoints, 70 problems, 50 responses each), strict verdicts: "
            "all metrics with their intervals, from the files to the table on the terminal. Whole processes, "
            f"medians of {repeats} runs. On an idle machine {MOST_S:g} s of wall-clock time are allowed.",
            markdown_table(["command", "wall clock", "CPU"], rows),
            machine(["numpy", "orjson"]),
        ],
    )


if __name__ == "__main__":
    main()
