"""How much memory `opo-eval compare` needs for long responses: reports/speed/streaming.md.

    OMP_NUM_THREADS=1 python benchmarks/studies/streaming.py [--problems 50 500]

Makes two checkpoints of 500 problems × 16 responses of 32,768 tokens, compares them in a process of its
own and watches that process's memory. The responses are sentences of real reasoning (r1_14b_math4_rollouts)
in random order; the problems are those of MATH-500; verdicts and token ids are random. Everything is in a
temporary folder, 6 GB at full size, which is removed at the end.
"""

import gzip
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tyro

from opo_eval.problems import dataset_sha256, load_problems
from opo_eval.records import (
    Checkpoint,
    Finish,
    Grade,
    Problem,
    Reason,
    RunSettings,
    Sample,
    SamplingSettings,
    Think,
    Verdict,
)
from opo_eval.store import RunWriter, find_runs

REPORT = Path("reports/speed/streaming.md")
CHECKPOINTS = ("step_100", "step_200")
N, TOKENS, CHARACTERS = 16, 32_768, 131_072
"""Of a problem; of a response."""
MOST_BYTES = 2 * 2**30
_WATCH_EVERY_S = 0.1


class Cost(NamedTuple):
    """What one comparison took."""

    n_problems: int
    read_bytes: int
    """Of the samples of both, compressed."""
    peak_bytes: int
    """Resident set, at its largest."""
    wall_s: float
    cpu_s: float


@dataclass
class Study:
    """What is made and compared."""

    data: Path = Path(os.environ.get("OPO_EVAL_DATA", "../shared/data"))
    """Folder that holds math500/ and r1_14b_math4_rollouts/."""
    problems: tuple[int, ...] = (50, 500)
    """Sizes to compare, in problems."""

    def __call__(self) -> None:
        """Make, compare, watch and report; fails where the memory is more than is allowed."""
        costs = [self._cost(n_problems) for n_problems in self.problems]
        REPORT.parent.mkdir(parents=True, exist_ok=True)
        REPORT.write_text(_report(costs))
        print(_report(costs))
        if max(cost.peak_bytes for cost in costs) > MOST_BYTES:
            raise SystemExit(f"more than {MOST_BYTES / 2**30:g} GiB of memory")

    def _cost(self, n_problems: int) -> Cost:
        with tempfile.TemporaryDirectory(prefix="opo_eval_streaming_") as folder:
            asked = load_problems("math500", source=self.data)[:n_problems]
            sentences = _sentences(self.data)
            for seed, checkpoint in enumerate(CHECKPOINTS):
                _make(Path(folder) / "runs" / checkpoint, asked, sentences, np.random.default_rng(seed))
            read_bytes = sum(run.samples_path.stat().st_size for run in find_runs(folder))
            peak, wall, cpu = _watched(
                ["compare", f"{folder}/runs", "--name", "streaming", "--out", f"{folder}/reports"]
            )
        return Cost(n_problems, read_bytes, peak, wall, cpu)


def _sentences(data: Path) -> np.ndarray:
    """Pieces of real responses, each with the mark that ends it: object [pieces]."""
    with gzip.open(data / "r1_14b_math4_rollouts" / "generations.jsonl.gz", "rt", encoding="utf-8") as lines:
        responses = [json.loads(line)["response"] for line in lines]
    pieces = (piece for response in responses for piece in response.replace(". ", ".\0 ").split("\0"))
    return np.array(list(dict.fromkeys(pieces)), dtype=object)


def _make(path: Path, problems: tuple[Problem, ...], sentences: np.ndarray, rng: np.random.Generator) -> None:
    """A run directory with graded responses."""
    settings = RunSettings(
        checkpoint=Checkpoint(name=path.name),
        benchmark=problems[0].benchmark,
        dataset_sha256=dataset_sha256(problems),
        think=Think.NONE,
        sampling=SamplingSettings(
            engine="synthetic",
            temperature=1.0,
            top_p=1.0,
            top_k=0,
            max_tokens=TOKENS,
            base_seed=0,
            dtype="none",
        ),
    )
    with RunWriter(path, settings, problems, n_target=N) as writer:
        for problem in problems:
            writer.append_samples(_samples(path.name, problem, sentences, rng))
            writer.append_grades(_grades(problem, rng))


def _samples(
    checkpoint: str, problem: Problem, sentences: np.ndarray, rng: np.random.Generator
) -> Iterator[Sample]:
    n_sentences = 2 * CHARACTERS * len(sentences) // sum(map(len, sentences))
    for index in range(N):
        yield Sample(
            checkpoint=checkpoint,
            problem_id=problem.id,
            index=index,
            text="".join(rng.choice(sentences, n_sentences))[:CHARACTERS],
            token_ids=tuple(rng.integers(150_000, size=TOKENS).tolist()),
            finish=Finish.STOP,
            n_tokens=TOKENS,
        )


def _grades(problem: Problem, rng: np.random.Generator) -> Iterator[Grade]:
    chance = rng.random()
    for index in range(N):
        right = rng.random() < chance
        yield Grade(
            problem_id=problem.id,
            index=index,
            verdict=Verdict.CORRECT if right else Verdict.WRONG,
            extracted=problem.answer if right else str(rng.integers(10)),
            reason=Reason.EQUIVALENT if right else Reason.NOT_EQUIVALENT,
            grader="synthetic",
        )


def _watched(arguments: list[str]) -> tuple[int, float, float]:
    """Peak resident set in bytes, wall-clock and CPU seconds of one opo-eval command."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    process = subprocess.Popen([sys.executable, "-m", "opo_eval", *arguments])
    peak = 0
    while process.poll() is None:
        peak = max(peak, sum(map(_resident_peak, [process.pid, *_children(process.pid)])))
        time.sleep(_WATCH_EVERY_S)
    if process.returncode:
        raise SystemExit(process.returncode)
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    return peak, wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def _children(pid: int) -> list[int]:
    """The workers of a process; what they share with it is counted again for each."""
    try:
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def _resident_peak(pid: int) -> int:
    """The kernel's own record; 0 once the process has ended. `ru_maxrss` would count this process's memory
    as the child's, because the child begins as a copy of it.
    """
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith("VmHWM")), 0)


def _report(costs: list[Cost]) -> str:
    lines = [
        "# Memory: comparing long responses",
        "",
        f"`opo-eval compare` of two checkpoints with {N} responses a problem, each of {TOKENS:,} tokens",
        f"({CHARACTERS:,} characters) with their ids: both tables with all intervals, differences and the",
        "report. The responses are sentences of real reasoning in random order. Memory is the sum of the",
        "peak resident sets of the process and its workers, one for each run that is measured at once, as",
        "the kernel records them.",
        f"No more than {MOST_BYTES / 2**30:g} GiB is allowed.",
        "",
        "| problems | responses | samples on disk, both | peak memory | CPU | wall clock |",
        "| ---: | ---: | ---: | ---: | ---: | ---: |",
        *map(_row, costs),
        "",
        f"Machine: {os.cpu_count()} cores, {platform.system()}; OMP_NUM_THREADS "
        f"{os.environ.get('OMP_NUM_THREADS', 'not set')}; Python {platform.python_version()}, numpy "
        f"{np.__version__}.",
        "",
        "Rebuild: `OMP_NUM_THREADS=1 python benchmarks/studies/streaming.py`.",
        "",
    ]
    return "\n".join(lines)


def _row(cost: Cost) -> str:
    n_responses = cost.n_problems * N * len(CHECKPOINTS)
    return (
        f"| {cost.n_problems} | {n_responses:,} | {cost.read_bytes / 2**30:.2f} GiB | "
        f"{cost.peak_bytes / 2**20:.0f} MiB | {cost.cpu_s:.0f} s | {cost.wall_s:.0f} s |"
    )


if __name__ == "__main__":
    tyro.cli(Study)()
