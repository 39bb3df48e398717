"""How large `report.html` is, and how soon it answers: 500 problems, two checkpoints, 16 samples each.

The texts are real responses of DeepSeek-R1-Distill-Qwen-14B with their words exchanged for others of the same
length, differently for every problem: no two are equal, and what samples of one problem have in common, which
is what a block's compression lives on, stays. In a second, worse case the words are exchanged differently for
every sample, so that samples of a problem share no phrases, only numbers and formulas.
"""

import argparse
import bz2
import os
import random
import re
import string
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from statistics import mean, median
from tempfile import TemporaryDirectory
from time import perf_counter

from _tables import duration, generations, machine, markdown_table, write_report
from playwright.sync_api import Browser, sync_playwright

from opo_eval.compare import ComparedRuns
from opo_eval.differences import compare_tables
from opo_eval.metrics import METRICS
from opo_eval.metrics.core import MetricSettings
from opo_eval.metrics.table import measure_groups
from opo_eval.problems import dataset_sha256, make_problem
from opo_eval.records import (
    Checkpoint,
    Finish,
    Grade,
    Problem,
    Reason,
    RunSettings,
    Sample,
    Think,
    Verdict,
)
from opo_eval.report.page import MOST_BYTES, page_html
from opo_eval.report.views import benchmark_views
from opo_eval.store import RunDir, RunWriter

CHROMIUM = os.environ.get("OPO_EVAL_CHROMIUM", "/usr/bin/chromium")
N_PROBLEMS, N_SAMPLES, CHECKPOINTS = 500, 16, ("before", "after")
N_CHARACTERS = 12_000
"""Of a response on average: 4,000 tokens at about three characters each."""
MOST_S = 2.0
GRADER = "shares of the benchmark script"
_WORD = re.compile(r"(?<![\\A-Za-z])[A-Za-z]{2,}")


# --- texts ------------------------------------------------------------------------------------------


class Rewriter:
    """Exchanges the words of a text for others of the same length and case."""

    def __init__(self, texts: Sequence[str]) -> None:
        words = {word for text in texts for word in _WORD.findall(text)}
        self._alike: dict[tuple[int, bool], list[str]] = defaultdict(list)
        for word in sorted(words):
            self._alike[len(word), word[0] in string.ascii_uppercase].append(word)

    def drawn(self, generator: random.Random) -> Callable[[str], str]:
        """One such exchange, a permutation of the words of each length."""
        exchanged: dict[str, str] = {}
        for words in self._alike.values():
            exchanged |= zip(words, generator.sample(words, len(words)), strict=True)
        return lambda text: _WORD.sub(lambda match: exchanged[match[0]], text)


def real_responses() -> list[list[str]]:
    """Those of each of four problems, the shortest left out so that the mean length is as stated."""
    by_problem: dict[str, list[str]] = defaultdict(list)
    for row in generations("r1_14b_math4_rollouts"):
        by_problem[row["problem_id"]].append(row["response"])
    return [_long_enough(sorted(texts, key=len)) for texts in by_problem.values()]


def _long_enough(texts: list[str]) -> list[str]:
    start = 0
    while mean(map(len, texts[start:])) < N_CHARACTERS:
        start += 1
    return texts[start:]


def texts_by_problem(n_problems: int, *, alike: bool) -> Iterator[list[str]]:
    """For each problem the texts of both checkpoints, one after the other."""
    real = real_responses()
    rewriter = Rewriter([text for texts in real for text in texts])
    generator = random.Random(0)
    n = N_SAMPLES * len(CHECKPOINTS)
    for place in range(n_problems):
        own = real[place % len(real)]
        chosen = generator.sample(own, n) if len(own) >= n else generator.choices(own, k=n)
        exchanges = [rewriter.drawn(generator) for _ in range(1 if alike else n)]
        yield [exchanges[i % len(exchanges)](text) for i, text in enumerate(chosen)]


def ratio(blocks: Sequence[Sequence[str]]) -> float:
    """How many times as long texts are as their compressed blocks."""
    texts = ["\n".join(block).encode() for block in blocks]
    return sum(map(len, texts)) / sum(len(bz2.compress(text)) for text in texts)


def real_ratios(n_block: int) -> tuple[float, float]:
    """Of blocks of real responses to one problem, and of single responses."""
    real = real_responses()
    blocks = [texts[i : i + n_block] for texts in real for i in range(0, len(texts) - n_block, n_block)]
    return ratio(blocks), ratio([[text] for texts in real for text in texts[::8]])


# --- runs and the page ------------------------------------------------------------------------------


def write_runs(folder: Path, n_problems: int, *, alike: bool) -> list[RunDir]:
    """A run a checkpoint, with verdicts."""
    problems = [_problem(place) for place in range(n_problems)]
    paths = [folder / name / "reasoning" for name in CHECKPOINTS]
    writers = [RunWriter(path, _settings(path.parent.name, problems), problems) for path in paths]
    generator = random.Random(1)
    for problem, texts in zip(problems, texts_by_problem(n_problems, alike=alike), strict=True):
        hardness = generator.random()
        for number, writer in enumerate(writers):
            own = texts[number * N_SAMPLES : (number + 1) * N_SAMPLES]
            writer.append_samples(
                _sample(problem, i, text, CHECKPOINTS[number]) for i, text in enumerate(own)
            )
            writer.append_grades(_grade(problem, i, generator.random() > hardness) for i in range(N_SAMPLES))
    for writer in writers:
        writer.close()
    return [RunDir(path) for path in paths]


def _problem(place: int) -> Problem:
    return make_problem(
        benchmark="reasoning",
        source_id=f"problem_{place}",
        prompt=f"Find the remainder of ${place + 2}^{{{place + 5}}}$ divided by $\\frac{{{place}!}}{{2}}$.",
        answer=str(place),
        tags={"level": str(1 + place % 5)},
    )


def _settings(checkpoint: str, problems: Sequence[Problem]) -> RunSettings:
    return RunSettings(
        checkpoint=Checkpoint(name=checkpoint),
        benchmark="reasoning",
        dataset_sha256=dataset_sha256(problems),
        think=Think.PREFILLED,
    )


def _sample(problem: Problem, index: int, text: str, checkpoint: str) -> Sample:
    return Sample(
        checkpoint=checkpoint, problem_id=problem.id, index=index, text=text, seed=index, finish=Finish.STOP
    )


def _grade(problem: Problem, index: int, right: bool) -> Grade:
    return Grade(
        problem_id=problem.id,
        index=index,
        verdict=Verdict.CORRECT if right else Verdict.WRONG,
        extracted=problem.answer if right else str(index),
        reason=Reason.EQUAL_INTEGER if right else Reason.DIFFERENT_INTEGER,
        grader=GRADER,
    )


def compared(runs: Sequence[RunDir]) -> ComparedRuns:
    """Only pass@k is measured, which takes no time on this much text."""
    settings = MetricSettings(n=N_SAMPLES, grader=GRADER)
    tables = [measure_groups(run.groups(GRADER), settings, {"pass@k": METRICS["pass@k"]}) for run in runs]
    return ComparedRuns(
        runs=tuple(runs), tables=tuple(tables), comparisons=tuple(compare_tables(*tables)), notes=()
    )


# --- the browser ------------------------------------------------------------------------------------


def first_uses(browser: Browser, page: Path) -> dict[str, float]:
    """Seconds from opening the file to each of the first things that a reader may do."""
    context = browser.new_context(viewport={"width": 1400, "height": 1000})
    tab = context.new_page()
    start = perf_counter()
    tab.goto(page.as_uri(), wait_until="commit")
    tab.wait_for_selector("#b0-headline")
    seconds = {"report on show": perf_counter() - start}
    tab.click("#to-samples")
    tab.wait_for_selector(".row")
    seconds["first click answered: problems listed"] = perf_counter() - start
    tab.select_option("[data-state=flip]", "either")
    tab.wait_for_selector(".row .badge")
    seconds["filtered to flips"] = perf_counter() - start
    tab.click(".row >> nth=0")
    tab.wait_for_function("document.querySelector('#text-ib')?.textContent.length > 100")
    seconds["a flip opened, both texts on show"] = perf_counter() - start
    tab.wait_for_load_state("load")
    seconds["whole file read"] = perf_counter() - start
    context.close()
    return seconds


def opened(page: Path, repeats: int) -> dict[str, float]:
    """Medians, each time in a new browser."""
    runs = []
    with sync_playwright() as playwright:
        for _ in range(repeats):
            browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
            runs.append(first_uses(browser, page))
            browser.close()
    return {name: median(run[name] for run in runs) for name in runs[0]}


# --- the report -------------------------------------------------------------------------------------


def measured(n_problems: int, repeats: int, *, alike: bool) -> dict[str, str]:
    """A column of the report."""
    with TemporaryDirectory() as folder:
        runs = write_runs(Path(folder), n_problems, alike=alike)
        found = compared(runs)
        start = perf_counter()
        data = page_html(found, benchmark_views(found), [], name="speed", quiet=True)
        built = perf_counter() - start
        page = Path(folder) / "report.html"
        page.write_bytes(data)
        seconds = opened(page, repeats)
    blocks = list(texts_by_problem(min(n_problems, 24), alike=alike))
    lengths = [len(text) for block in blocks for text in block]
    return {
        "mean characters a response": f"{mean(lengths):,.0f}",
        "text ÷ compressed block": f"{ratio(blocks):.2f}",
        "page": f"{len(data) / 1e6:.1f} MB",
        "problems without texts": str(data.count(b'"blocks":null')),
        "time to build": duration(built),
        **{name: duration(own) for name, own in seconds.items()},
    }


def main() -> None:
    """Measure and write the report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--problems", type=int, default=N_PROBLEMS)
    parser.add_argument("--repeats", type=int, default=5, help="of which the median is reported")
    given = parser.parse_args()
    columns = {
        "as alike as real ones": measured(given.problems, given.repeats, alike=True),
        "words of their own": measured(given.problems, given.repeats, alike=False),
    }
    n_block = N_SAMPLES * len(CHECKPOINTS)
    in_blocks, alone = real_ratios(n_block)
    rows = [(name, *(column[name] for column in columns.values())) for name in next(iter(columns.values()))]
    write_report(
        "page",
        [
            "# Speed: the page with the samples",
            f"{given.problems} problems, {len(CHECKPOINTS)} checkpoints, {N_SAMPLES} samples each: "
            f"{given.problems * n_block:,} texts, all different. They are real responses "
            "(r1_14b_math4_rollouts) with their words exchanged for others of the same length: once for each "
            "problem, so that its samples are as alike as real ones, and once for each sample, so that they "
            "share no phrases. As they are, blocks of "
            f"{n_block} real responses to one problem are compressed to 1/{in_blocks:.2f} of their length, "
            f"single ones to 1/{alone:.2f}.",
            f"Allowed: {MOST_BYTES / 1e6:g} MB, and {MOST_S:g} s to the first click on an idle machine. "
            f"Seconds are from opening the file in a new headless browser, medians of {given.repeats}.",
            markdown_table(["samples of a problem have", *columns], rows),
            machine(["playwright"]),
        ],
    )


if __name__ == "__main__":
    main()
