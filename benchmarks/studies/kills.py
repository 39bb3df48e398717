"""Sampling runs killed at random moments and continued by the same command: reports/kills/.

    OMP_NUM_THREADS=1 python benchmarks/studies/kills.py [--engine vllm|server|hf|all] [--kills 25]

Every launch is a process of `opo-eval sample` in a group of its own, and every kill is SIGKILL to that group.
A run directory takes several kills in a row before a launch is let through to the end; what is then in it is
compared with what an uninterrupted run drew. Fails where a sample is missing, there twice or different.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import asdict, dataclass
from functools import partial
from itertools import count
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any, Literal, NamedTuple

import numpy as np
import tyro

from opo_eval.records import Sample
from opo_eval.report.grid import grid_of
from opo_eval.report.markdown import table as markdown_table
from opo_eval.store import RunDir, TornTailWarning, run_path
from opo_eval.tiny import checkpoint_path

REPORT, TRIALS = Path("reports/kills"), "trials.json"
CHECKPOINT, BENCHMARK = checkpoint_path("late"), "tiny-arith"
STARTING, SAMPLING, COMPLETE = "start-up", "sampling", "complete"
"""When a kill struck: before the launch had added a sample; after it had; with no sample missing any more."""
WAYS = {"time": 1.0, "file": 1.2}
"""In what moments are drawn → largest share."""
TORN = "the last write was cut off"
_SERVER_START_S, _LOOK_EVERY_S = 300, 0.001


class Moment(NamedTuple):
    """When to kill."""

    share: float
    of: str
    """`time`: of the uninterrupted run's wall time; `file`: of what the samples' file still has to grow, 1 or
    more being the instant after the last sample."""


@dataclass(frozen=True, kw_only=True)
class Kill:
    """A launch that was killed."""

    of: str
    seconds: float
    """From the launch."""
    before: int
    """Samples in the run directory at the launch."""
    after: int
    """The same at the kill."""
    phase: str


@dataclass(frozen=True, kw_only=True)
class Trial:
    """A run directory that was killed several times, then finished."""

    engine: str
    kills: tuple[Kill, ...]
    samples: int
    """Asked for."""
    missing: int
    duplicates: int
    different: int
    """Samples that the uninterrupted run does not have so, any field of the record counted."""
    torn: int
    """Incomplete last writes that a later launch repaired."""

    @property
    def is_sound(self) -> bool:
        """Whether the kills left no trace."""
        return not (self.missing or self.duplicates or self.different)


class Whole(NamedTuple):
    """An uninterrupted run."""

    seconds: float
    samples: dict[tuple[str, int], Sample]
    n_bytes: int
    """Of the samples' file."""


Command = Callable[[Path], Sequence[str]]
"""Folder of run directories → words of the command that samples into it."""


# --- launches ---------------------------------------------------------------------------------------


def sample_command(n: int, words: Sequence[str], out: Path) -> list[str]:
    """`opo-eval sample` of the tiny checkpoint with n samples a problem and an engine's words."""
    command = [sys.executable, "-m", "opo_eval", "sample", str(CHECKPOINT), "--benchmark", BENCHMARK]
    return [*command, "-n", str(n), "--think", "none", "--out", str(out), "--quiet", *words]


@contextmanager
def launched(command: Command, out: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The command's process, in a group of its own; what it says goes to `out`/log."""
    out.mkdir(parents=True, exist_ok=True)
    with (out / "log").open("ab") as log:
        process = subprocess.Popen(
            command(out),
            stdout=log,
            stderr=log,
            env={"VLLM_CPU_KVCACHE_SPACE": "1", **os.environ},
            start_new_session=True,
        )
        try:
            yield process
        finally:
            kill_group(process)


def kill_group(process: subprocess.Popen[bytes]) -> None:
    """End a process that leads a group, and all in the group."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def finish(command: Command, out: Path) -> float:
    """Let the command run to its end: wall-clock seconds. Ends the study where the command fails."""
    started = time.monotonic()
    with launched(command, out) as process:
        status = process.wait()
    if status:
        raise SystemExit(f"the command ended with status {status}:\n{said(out)[-2000:]}")
    return time.monotonic() - started


def kill_at(moment: Moment, command: Command, out: Path, whole: Whole) -> Kill | None:
    """Launch and kill; None where the launch had ended before the moment came."""
    before, started = n_samples(out), time.monotonic()
    due = _due(moment, out, whole)
    with launched(command, out) as process:
        while process.poll() is None and not due():
            time.sleep(_LOOK_EVERY_S)
        ended, seconds = process.poll() is not None, time.monotonic() - started
    after = n_samples(out)
    if ended:
        return None
    phase = phase_of(before, after, len(whole.samples))
    return Kill(of=moment.of, seconds=round(seconds, 3), before=before, after=after, phase=phase)


def _due(moment: Moment, out: Path, whole: Whole) -> Callable[[], bool]:
    if moment.of == "time":
        end = time.monotonic() + moment.share * whole.seconds
        return lambda: time.monotonic() >= end
    there = _n_bytes(out)
    size = there + min(1, moment.share) * (whole.n_bytes - there)
    return lambda: _n_bytes(out) >= size


def phase_of(before: int, after: int, asked: int) -> str:
    """By the numbers of samples at launch and kill."""
    if after == asked:
        return COMPLETE
    return STARTING if after == before else SAMPLING


# --- what a run directory holds ---------------------------------------------------------------------


def run_folder(out: Path) -> Path:
    """Where `opo-eval sample --out` puts the run."""
    return run_path(out, CHECKPOINT.name, BENCHMARK)


def samples_in(out: Path) -> list[Sample]:
    """In the order of writing, as they are, so that what is there twice is there twice."""
    with suppress_torn_tails():
        return list(RunDir(run_folder(out)).samples()) if _has_run(out) else []


def n_samples(out: Path) -> int:
    """Number of samples written whole."""
    return len(samples_in(out))


def suppress_torn_tails() -> AbstractContextManager[Any]:
    """The next launch repairs them, says so, and is counted."""
    return warnings.catch_warnings(action="ignore", category=TornTailWarning)


def _has_run(out: Path) -> bool:
    return (run_folder(out) / "manifest.json").is_file()


def _n_bytes(out: Path) -> int:
    path = run_folder(out) / "samples.jsonl.zst"
    return path.stat().st_size if path.exists() else 0


def said(out: Path) -> str:
    """All that the launches wrote to their outputs."""
    return (out / "log").read_text(encoding="utf-8", errors="replace")


# --- trials -----------------------------------------------------------------------------------------


def uninterrupted(command: Command, out: Path) -> Whole:
    """Sample without a kill."""
    seconds = finish(command, out)
    samples = {(sample.problem_id, sample.index): sample for sample in samples_in(out)}
    return Whole(seconds, samples, _n_bytes(out))


def moments(rng: np.random.Generator) -> Iterator[Moment]:
    """Without end: uniform in time and in what is written, by turns, so that every phase is hit."""
    while True:
        yield from (Moment(rng.uniform(0, most), of) for of, most in WAYS.items())


def trial(
    engine: str, command: Command, out: Path, whole: Whole, when: Iterator[Moment], kills: int
) -> Trial:
    """Kill so many launches of a command, fewer where no sample is missing before; finish and compare."""
    hit: list[Kill] = []
    while len(hit) < kills and n_samples(out) < len(whole.samples):
        killed = kill_at(next(when), command, out, whole)
        hit += [killed] if killed else []
    finish(command, out)
    return Trial(
        engine=engine,
        kills=tuple(hit),
        samples=len(whole.samples),
        **flaws(samples_in(out), whole.samples),
        torn=said(out).count(TORN),
    )


def flaws(found: Sequence[Sample], expected: Mapping[tuple[str, int], Sample]) -> dict[str, int]:
    """In how many samples a run differs from what is expected: missing, duplicates, different."""
    by_key = {(sample.problem_id, sample.index): sample for sample in found}
    return {
        "missing": len(expected.keys() - by_key.keys()),
        "duplicates": len(found) - len(by_key),
        "different": sum(expected.get(key) != sample for key, sample in by_key.items()),
    }


# --- engines ----------------------------------------------------------------------------------------


def engine_words(name: str, folder: Path) -> AbstractContextManager[Sequence[str]]:
    """Words of the command line that choose an engine, with what it needs running meanwhile."""
    words = ["--engine", name]
    if name != "server":
        return nullcontext(words)
    return _serving(words, folder)


@contextmanager
def _serving(words: Sequence[str], folder: Path) -> Iterator[Sequence[str]]:
    with vllm_server(folder) as address:
        yield [*words, "--endpoint", address]


@contextmanager
def vllm_server(folder: Path) -> Iterator[str]:
    """Address of vLLM's own server with the tiny checkpoint; it is ended by its process group."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", str(CHECKPOINT)]
    command += ["--host", "127.0.0.1", "--port", str(port), "--dtype", "float32", "--enforce-eager"]
    with launched(lambda _: command, folder) as process:
        _await_health(process, port, folder)
        yield f"http://127.0.0.1:{port}/v1"


def _await_health(process: subprocess.Popen[bytes], port: int, folder: Path) -> None:
    deadline = time.monotonic() + _SERVER_START_S
    while process.poll() is None and time.monotonic() < deadline:
        with suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5):
            return
        time.sleep(0.5)
    raise SystemExit(f"the vLLM server did not start:\n{said(folder)[-2000:]}")


# --- the report -------------------------------------------------------------------------------------


def readme(trials: Sequence[Trial]) -> str:
    """The page."""
    engines = list(dict.fromkeys(trial.engine for trial in trials))
    kills = sum(len(trial.kills) for trial in trials)
    asked = sorted({trial.samples for trial in trials})
    blocks = [
        "# What a kill at a random moment costs",
        f"`opo-eval sample` on the shipped tiny checkpoint, killed {kills} times with SIGKILL and continued "
        "by the same command. A run directory takes several kills in a row before a launch is let through to "
        f"the end. Each run asks for {' or '.join(f'{n:,}' for n in asked)} samples.",
        _table(KILL_COLUMNS, [kill_row(engine, trials) for engine in engines]),
        f"*{STARTING}*: the launch had not added a sample yet. *{SAMPLING}*: it had, and some were still "
        f"missing. *{COMPLETE}*: none was missing any more. *Of them on disk*: whole samples at a kill, "
        "least, median and most.",
        "What the finished runs hold, against the samples of an uninterrupted run; *different* counts "
        "samples of which any field is not the same: text, token ids, finish, seed, length.",
        _table(OUTCOME_COLUMNS, [outcome_row(engine, trials) for engine in engines]),
        "*Torn tails*: last writes that were found incomplete and cut off by a later launch. A sample is "
        "appended in one write, which a kill hardly ever divides; `tests/test_frames.py` cuts the last write "
        "at every byte instead.",
        "Moments are drawn by turns uniformly over the wall time of the uninterrupted run and uniformly over "
        "what the file of samples still has to grow, with a sixth of the latter at its end. A launch that "
        "ends before its moment is no kill. A run in which no sample is missing is not killed again. Every "
        f"kill is in `{TRIALS}`.",
        "Rebuild: `OMP_NUM_THREADS=1 python benchmarks/studies/kills.py`.",
    ]
    return "\n\n".join(blocks) + "\n"


KILL_COLUMNS = ("engine", "trials", "kills", STARTING, SAMPLING, COMPLETE, "samples", "of them on disk")
OUTCOME_COLUMNS = ("engine", "complete", "missing", "duplicates", "different", "torn tails")


def kill_row(engine: str, trials: Sequence[Trial]) -> tuple[str, ...]:
    """When an engine's launches were killed."""
    own = [trial for trial in trials if trial.engine == engine]
    kills = [kill for trial in own for kill in trial.kills]
    phases = Counter(kill.phase for kill in kills)
    there = [kill.after for kill in kills]
    spread = f"{min(there):,}, {median(there):,.0f}, {max(there):,}"
    numbers = (len(own), len(kills), *(phases[phase] for phase in (STARTING, SAMPLING, COMPLETE)))
    return engine, *map(str, numbers), f"{own[0].samples:,}", spread


def outcome_row(engine: str, trials: Sequence[Trial]) -> tuple[str, ...]:
    """What an engine's runs hold in the end."""
    own = [trial for trial in trials if trial.engine == engine]
    counts = (sum(getattr(trial, name) for trial in own) for name in ("missing", "duplicates", "different"))
    complete = sum(trial.missing == 0 for trial in own)
    return engine, f"{complete} of {len(own)}", *map(str, counts), str(sum(trial.torn for trial in own))


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return markdown_table(grid_of(columns, rows))


def json_text(trials: Sequence[Trial]) -> str:
    """A line a trial."""
    return "[\n" + ",\n".join(json.dumps(asdict(trial)) for trial in trials) + "\n]\n"


def read_trials(text: str) -> list[Trial]:
    """What `json_text` wrote."""
    rows = json.loads(text)
    return [Trial(**{**row, "kills": tuple(Kill(**kill) for kill in row["kills"])}) for row in rows]


# --- the study --------------------------------------------------------------------------------------


@dataclass
class Study:
    """Which engine is killed how often."""

    engine: Literal["vllm", "server", "hf", "all"] = "all"
    """all: vllm and server; the figures of an engine that is not asked for are kept."""
    kills: int = 25
    """Of each engine."""
    most: int = 5
    """Of each run directory."""
    n: int = 64
    """Samples a problem."""
    seed: int = 0
    """Of the moments."""

    def __call__(self) -> None:
        """Kill, finish, compare and report; fails where a kill left a trace."""
        engines = ("vllm", "server") if self.engine == "all" else (self.engine,)
        old = REPORT / TRIALS
        kept = read_trials(old.read_text()) if old.exists() else []
        trials = [trial for trial in kept if trial.engine not in engines]
        trials += [trial for engine in engines for trial in self.killed(engine)]
        trials.sort(key=lambda trial: trial.engine, reverse=True)
        REPORT.mkdir(parents=True, exist_ok=True)
        old.write_text(json_text(trials), encoding="utf-8")
        (REPORT / "README.md").write_text(readme(trials), encoding="utf-8")
        print(readme(trials))
        if not all(trial.is_sound for trial in trials):
            raise SystemExit("a kill left a trace")

    def killed(self, engine: str) -> list[Trial]:
        """An engine's trials."""
        found: list[Trial] = []
        with TemporaryDirectory() as folder, engine_words(engine, Path(folder) / "server") as words:
            command = partial(sample_command, self.n, words)
            whole = uninterrupted(command, Path(folder) / "whole")
            when, outs = (
                moments(np.random.default_rng(self.seed)),
                map(Path(folder).joinpath, map(str, count())),
            )
            while left := self.kills - sum(len(trial.kills) for trial in found):
                found.append(trial(engine, command, next(outs), whole, when, min(left, self.most)))
                print(found[-1], file=sys.stderr, flush=True)
        return [trial for trial in found if trial.kills]


if __name__ == "__main__":
    tyro.cli(Study)()
