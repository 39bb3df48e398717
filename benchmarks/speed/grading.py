"""Grading of whole responses: math-verify in a loop against ours on two workers."""

import argparse
import logging
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from _tables import duration, generations, machine, markdown_table, write_report
from math_verify import parse, verify

from opo_eval.grading import Grader, Outcome
from opo_eval.grading.pool import GradingPool, Job
from opo_eval.records import Reason, Verdict

WORKERS = 2
LENIENT_AT_LEAST = 1.5
BY_MATH_VERIFY = {Reason.EQUIVALENT, Reason.NOT_EQUIVALENT, Reason.PARTS_DIFFER, Reason.UNPARSED_ANSWER}


class DataSet(NamedTuple):
    """Real responses, how they are graded, and how much faster strict has to be."""

    folder: str
    think: str
    where: str
    strict_at_least: float


DATA_SETS = (
    DataSet("rg_llama3b_rl_ckpts", "tagged", "answer-tag", 15.0),
    DataSet("soren_math500_20x16_prm", "none", "boxed", 4.0),
)


class Serial(NamedTuple):
    """math-verify's verdict on each row (None: its own limit ended a call), and wall-clock seconds."""

    accepted: list[bool | None]
    seconds: float


class Ours(NamedTuple):
    """Our outcome of each row, and wall-clock seconds from cold to ready and from ready to done."""

    outcomes: list[Outcome]
    start_seconds: float
    seconds: float


class LimitsMet(logging.Handler):
    """Counts the calls that math-verify's own limit ended, which it only logs."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.n = 0

    def emit(self, record: logging.LogRecord) -> None:
        """Count a line about a time-out."""
        self.n += record.getMessage().startswith("Timeout during")


@contextmanager
def limits_met() -> Iterator[LimitsMet]:
    """The counter, listening."""
    handler, logger = LimitsMet(), logging.getLogger("math_verify")
    logger.addHandler(handler)
    yield handler
    logger.removeHandler(handler)


def run_serial(rows: list[dict]) -> Serial:
    """`verify(parse(gold), parse(response))` for every row, one after the other, all defaults."""
    accepted: list[bool | None] = []
    with limits_met() as limits:
        start = time.perf_counter()
        for row in rows:
            before = limits.n
            verdict = verify(parse(f"${row['gold']}$"), parse(row["response"]))
            accepted.append(None if limits.n > before else verdict)
        return Serial(accepted, time.perf_counter() - start)


def run_ours(rows: list[dict], data_set: DataSet, *, lenient: bool) -> Ours:
    """All rows through a grader of its own, whose workers have been started."""
    items = [(i, row["gold"], row["response"]) for i, row in enumerate(rows)]
    with Grader(think=data_set.think, where=data_set.where, lenient=lenient, workers=WORKERS) as grader:
        cold = time.perf_counter()
        grader.pool.start()
        ready = time.perf_counter()
        graded = dict(grader.grade(items))
        done = time.perf_counter()
    return Ours([graded[i] for i in range(len(rows))], ready - cold, done - ready)


def run_lenient_alone(rows: list[dict]) -> Ours:
    """The lenient verdicts only, as the workers give them."""
    with GradingPool(workers=WORKERS) as pool:
        cold = time.perf_counter()
        pool.start()
        ready = time.perf_counter()
        given = list(pool.run(Job("lenient", row["gold"], row["response"]) for row in rows))
        done = time.perf_counter()
    assert len(given) == len(rows)
    return Ours([], ready - cold, done - ready)


def measure(data_set: DataSet, every: int) -> tuple[list[tuple], tuple, float]:
    """Rows of the table of times, the row of the table of verdicts, and the slower start-up."""
    rows = generations(data_set.folder)[::every]
    serial = run_serial(rows)
    strict = run_ours(rows, data_set, lenient=False)
    both = run_ours(rows, data_set, lenient=True)
    times = [
        time_row(data_set, "strict", serial, strict, data_set.strict_at_least),
        time_row(data_set, "lenient alone", serial, run_lenient_alone(rows), LENIENT_AT_LEAST),
        time_row(data_set, "strict and lenient", serial, both, None),
    ]
    return times, verdict_row(data_set, serial, both), max(strict.start_seconds, both.start_seconds)


def time_row(data_set: DataSet, what: str, serial: Serial, ours: Ours, at_least: float | None) -> tuple:
    """One row of the table of times."""
    ratio = f"{serial.seconds / ours.seconds:.1f}×"
    from_cold = f"{serial.seconds / (ours.start_seconds + ours.seconds):.1f}×"
    times = duration(serial.seconds), duration(ours.seconds)
    return (
        data_set.folder,
        len(serial.accepted),
        what,
        *times,
        ratio,
        f"{at_least:g}×" if at_least else "",
        from_cold,
    )


def verdict_row(data_set: DataSet, serial: Serial, ours: Ours) -> tuple:
    """One row of the table of verdicts."""
    pairs = list(zip(serial.accepted, ours.outcomes, strict=True))
    limits = [(theirs is None, o.lenient_verdict is Verdict.TIMED_OUT) for theirs, o in pairs]
    differing = sum(
        theirs != (o.lenient_verdict is Verdict.CORRECT)
        for (theirs, o), met in zip(pairs, limits, strict=True)
        if not any(met)
    )
    reasons = Counter(o.reason for o in ours.outcomes)
    return (
        data_set.folder,
        sum(theirs for theirs, _ in limits),
        sum(own for _, own in limits),
        differing,
        reasons[Reason.TIME_LIMIT],
        sum(reasons[reason] for reason in BY_MATH_VERIFY),
    )


def main() -> None:
    """Measure and write the report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--every", type=int, default=1, help="take every n-th row only")
    every = parser.parse_args().every
    measured = [measure(data_set, every) for data_set in DATA_SETS]
    starts = [start for _, _, start in measured]
    time_header = ["responses", "rows", "ours", "math-verify", "opo_eval", "ratio", "at least"]
    time_header += ["ratio with our start"]
    verdict_header = ["responses", "math-verify met its limit", "lenient met its limit"]
    verdict_header += ["differ elsewhere", "strict met its limit", "strict answers parsed"]
    write_report(
        "grading",
        [
            "# Speed: grading",
            "math-verify: ``verify(parse(f'${gold}$'), parse(response))`` for one whole response after the "
            f"other, all defaults. opo_eval: a `Grader` with {WORKERS} workers, all defaults. Times are "
            "wall-clock, one run of each, on an otherwise idle machine. math-verify is imported before its "
            "clock starts; our workers are ready before ours does, which takes up to "
            f"{duration(max(starts))} (Python, imports, and part of the parser's tables, which math-verify "
            "fills as it goes). The last column counts that start too.",
            markdown_table(time_header, [row for rows, _, _ in measured for row in rows]),
            "Verdicts of lenient and of math-verify. Its limit is 5 s for each parse and each comparison, "
            "ours 5 s for the whole verdict; rows on which either met its limit are not compared. The rest "
            "of the strict answers is decided by equal text, by integers, or by there being none.",
            markdown_table(verdict_header, [row for _, row, _ in measured]),
            machine(["math-verify", "sympy", "antlr4-python3-runtime"]),
        ],
    )


if __name__ == "__main__":
    main()
