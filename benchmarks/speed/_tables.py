"""What the speed scripts share: real data, interleaved timing, a Markdown report with the machine in it."""

import argparse
import gzip
import json
import os
import platform
import time
from collections.abc import Callable, Iterable, Sequence
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

REPOSITORY = Path(__file__).resolve().parents[2]
DATA = Path(os.environ.get("OPO_EVAL_DATA", REPOSITORY.parent / "shared" / "data"))


class Timing(NamedTuple):
    """CPU seconds of one contestant, and what it returned."""

    seconds: float
    result: Any


def repeats_from_command_line(description: str, default: int) -> int:
    """Number of repeats asked for with `--repeats`."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--repeats", type=int, default=default, help="of which the median is reported")
    return parser.parse_args().repeats


def generations(folder: str) -> list[dict]:
    """Rows of a folder of real generations."""
    with gzip.open(DATA / folder / "generations.jsonl.gz", "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def race(contestants: dict[str, Callable[[], Any]], repeats: int) -> dict[str, Timing]:
    """Median CPU seconds of each, all in this process and taking turns.

    CPU time, because on a busy machine the clock runs on while a long contestant waits for its turn, and
    a short one is done before it has to.
    """
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    results: dict[str, Any] = {}
    for _ in range(repeats):
        for name, run in contestants.items():
            results.pop(name, None)  # or the memory of the last result would have to be found anew
            start = time.process_time()
            results[name] = run()
            seconds[name].append(time.process_time() - start)
    return {name: Timing(median(seconds[name]), results[name]) for name in contestants}


def duration(seconds: float) -> str:
    """Seconds with three significant digits."""
    return f"{seconds:.3g} s" if seconds >= 1 else f"{1000 * seconds:.3g} ms"


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Cells as a Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def machine(packages: Sequence[str]) -> str:
    """Processor, cores, threads and versions, as one sentence."""
    versions = ", ".join(f"{name} {version(name)}" for name in packages)
    threads = os.environ.get("OMP_NUM_THREADS", "not set")
    return (
        f"Machine: {_processor()}, {os.cpu_count()} cores, {platform.system()}; OMP_NUM_THREADS {threads}; "
        f"Python {platform.python_version()}, {versions}."
    )


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def write_report(name: str, blocks: Sequence[str], arguments: str = "") -> None:
    """Write `reports/speed/NAME.md` and print it.

    arguments: what the script was given, for the line that says how to rebuild the report.
    """
    command = " ".join(filter(None, [f"OMP_NUM_THREADS=1 python benchmarks/speed/{name}.py", arguments]))
    text = "\n\n".join([*blocks, f"Rebuild: `{command}`."]) + "\n"
    path = REPOSITORY / "reports" / "speed" / f"{name}.md"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    print(text)
