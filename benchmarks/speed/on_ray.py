"""Races two replicas on a local Ray against one process, and two plain processes, on the very same requests.

Every contestant is `opo-eval sample` with transformers on the CPU, and all have to draw the same responses,
but for near ties.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import tyro
from _tables import machine, markdown_table, write_report
from sampling import BATCH, Contestant, Results, middle, ours, spread, taking_turns, write_problems

ONE = "one process"
"""What the others are compared with."""
HF = ("--device", "cpu", "--batch-size", str(BATCH))
MOST_DIFFERENT = 1e-3
TIMES = {"whole process": "wall_s", "sampling only": "loop_s"}
HEADER = ("contestant", *TIMES, "tokens a second", "times as fast", "peak memory")


def contestants(problems: Path, n: int, copies: int) -> Mapping[str, Contestant]:
    """One process with a thread and with a thread a copy, and both ways to have copies."""
    alone = ours(problems, n, ("--engine", "hf", *HF))
    apart = ("--engine", "hf", "--data-parallel", str(copies), *HF)
    on_ray = ("--engine", "ray", "--replica-engine", "hf", "--replicas", str(copies), *HF)
    return {
        ONE: _with_threads(alone, 1),
        f"{ONE}, {copies} threads": _with_threads(alone, copies),
        f"--data-parallel {copies}": _with_threads(ours(problems, n, apart), 1),
        f"--engine ray --replicas {copies}": _with_threads(ours(problems, n, on_ray), 1),
    }


def _with_threads(contestant: Contestant, n: int) -> Contestant:
    return replace(contestant, environment={"OMP_NUM_THREADS": str(n)})


def differences(results: Results) -> str:
    """How many responses of each contestant are not one process's; more than a few refuse the race.

    Transformers rounds a batch of other responses in another way, so that a token at a near tie may differ.
    """
    one = results[ONE][1]
    found = {name: sum(drawn[key] != one[key] for key in one) for name, (_, drawn) in results.items()}
    for name, n_different in found.items():
        if n_different > MOST_DIFFERENT * len(one):
            raise SystemExit(f"{name} drew {n_different} of {len(one)} responses otherwise than {ONE}")
    said = [f"{n} by `{name}`" for name, n in found.items() if n]
    return (
        f"other tokens than one process: {', '.join(said)}" if said else "all drew the same, token for token"
    )


def row(name: str, results: Results, n_tokens: int) -> tuple[str, ...]:
    """A contestant's medians, least and most."""
    costs = results[name][0]
    times = (spread([getattr(cost, field) for cost in costs], "s") for field in TIMES.values())
    pace = n_tokens / middle(costs, "loop_s")
    faster = middle(results[ONE][0], "loop_s") / middle(costs, "loop_s")
    memory = spread([cost.peak_bytes / 1e6 for cost in costs], "MB")
    return f"`{name}`" if name.startswith("--") else name, *times, f"{pace:,.0f}", f"{faster:.2f}", memory


@dataclass
class Race:
    """How much is drawn how often."""

    repeats: int = 3
    problems: int = 500
    n: int = 32
    """Samples a problem."""
    replicas: int = 2
    report: bool = True
    """Write the report; else it is only said that the race can be run."""

    def __call__(self) -> None:
        """Race and report, whoever wins."""
        with TemporaryDirectory() as name:
            problems = Path(name) / "sums.jsonl"
            write_problems(problems, self.problems)
            results = taking_turns(contestants(problems, self.n, self.replicas), self.repeats)
        alike = differences(results)
        if self.report:
            self._report(results, alike)

    def _report(self, results: Results, alike: str) -> None:
        drawn = results[ONE][1]
        n_tokens = sum(map(len, drawn.values()))
        blocks = [
            "# Speed: sampling on Ray",
            f"{len(drawn):,} responses ({self.problems} problems × {self.n}), {n_tokens:,} tokens, drawn by "
            f"the shipped tiny checkpoint with transformers, batches of {BATCH}, on {os.cpu_count()} cores; "
            f"{alike}. Wall-clock seconds, medians of "
            f"{self.repeats} runs (least to most), every run a command of its own, in alternating order. "
            "*Whole process* goes from launch to end and has the start of a Ray and of its processes in it; "
            "*sampling only*, by which tokens a second and *times as fast* are counted, goes from the first "
            "prompt to the last response written and has the loading of all replicas but the first in it. "
            "Threads: one for each process, unless the name says otherwise.",
            markdown_table(HEADER, [row(name, results, n_tokens) for name in results]),
            "Ray itself works on the same cores here (its server, the node's manager, an agent). What it is "
            "for is elsewhere: other machines, and replicas that may die.",
            machine(["torch", "transformers", "ray"]),
        ]
        write_report("on_ray", blocks, f"--repeats {self.repeats} --problems {self.problems} --n {self.n}")


if __name__ == "__main__":
    tyro.cli(Race, description=__doc__)()
