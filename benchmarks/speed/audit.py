"""An audit of 8,000 texts of 1,000 words: wall and CPU time, memory, and near-duplicates by brute force."""

import os
import resource
import time
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import orjson
from _tables import (
    duration,
    generations,
    machine,
    markdown_table,
    race,
    repeats_from_command_line,
    write_report,
)

from opo_eval.audit import Audit, audit_file
from opo_eval.metrics.near_duplicates import near_duplicates, ngram_sets
from opo_eval.metrics.repeated_ngrams import repeated_ngrams
from opo_eval.metrics.vocabulary import Vocabulary
from opo_eval.report.audit import write_audit

N_GROUPS, GROUP_SIZE, N_WORDS = 500, 16, 1000
N_BY_BRUTE_FORCE = 300
NEAR_EVERY, CHANGED = 20, 10
THRESHOLD, SHINGLE = 0.8, 5


# --- texts ------------------------------------------------------------------------------------------


def texts(n: int, rng: np.random.Generator) -> Iterator[str]:
    """Runs of 3 to 11 words of real responses; every 20th text is the last but for 10 words."""
    words = [word for row in generations("r1_14b_math4_rollouts") for word in row["response"].split(" ")]
    pool, last = np.array(words, dtype=object), np.array([], dtype=object)
    for i in range(n):
        last = changed(last, rng) if i % NEAR_EVERY == NEAR_EVERY - 1 else recombined(pool, rng)
        yield " ".join(last)


def recombined(pool: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """1,000 words in runs from anywhere."""
    lengths = rng.integers(3, 12, size=N_WORDS // 3)
    starts = rng.integers(len(pool) - 12, size=len(lengths))
    runs = [pool[start : start + length] for start, length in zip(starts, lengths, strict=True)]
    return np.concatenate(runs)[:N_WORDS]


def changed(words: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The words with 10 of them replaced."""
    copy = words.copy()
    copy[rng.integers(len(words), size=CHANGED)] = "changed"
    return copy


# --- the whole audit --------------------------------------------------------------------------------


def audit_row(n_groups: int, folder: Path) -> tuple[object, ...]:
    """One row of the report: an audit from the file to the folder."""
    table = folder / "texts.jsonl"
    given = texts(n_groups * GROUP_SIZE, np.random.default_rng(0))
    rows = (orjson.dumps({"group": i // GROUP_SIZE, "text": text}) for i, text in enumerate(given))
    table.write_bytes(b"\n".join(rows))
    wall, before = time.monotonic(), os.times()
    audit = audit_file(table, text="text", group="group")
    write_audit(audit, folder / "report", name="speed")
    used, wall = os.times(), time.monotonic() - wall
    cpu = used.user - before.user + used.system - before.system
    size = f"{n_groups * GROUP_SIZE:,} × {N_WORDS:,} words"
    return size, duration(wall), duration(cpu), f"{peak_gib():.2f} GiB", *found(audit)


def found(audit: Audit) -> tuple[int, int]:
    """Near-duplicate pairs and phrases."""
    (value,) = audit.values
    near = value.findings.near
    return near.n_within + near.n_across, len(value.findings.phrases)


def peak_gib() -> float:
    """Largest memory of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


# --- near-duplicates against brute force ------------------------------------------------------------


def by_sets(token_lists: list[list[int]]) -> set[tuple[int, int]]:
    """Every pair of Python sets."""
    sets = [{tuple(t[i : i + SHINGLE]) for i in range(len(t) - SHINGLE + 1)} for t in token_lists]
    return {
        (a, b)
        for a, b in combinations(range(len(sets)), 2)
        if len(sets[a] & sets[b]) >= THRESHOLD * len(sets[a] | sets[b])
    }


def by_opo_eval(given: list[str], vocabulary: Vocabulary) -> set[tuple[int, int]]:
    """MinHash candidates, verified."""
    documents = vocabulary.documents(given)
    sets = ngram_sets(documents, repeated_ngrams(documents, SHINGLE), np.arange(len(given)))
    near = near_duplicates(sets, THRESHOLD, np.random.default_rng(0))
    return {(one.document, int(other)) for one in near for other in one.others}


def brute_force_row(repeats: int) -> tuple[object, ...]:
    """The same pairs from token ids, in two ways."""
    given, vocabulary = list(texts(N_BY_BRUTE_FORCE, np.random.default_rng(1))), Vocabulary("13a")
    token_lists = [vocabulary(text) for text in given]
    timings = race(
        {"sets": lambda: by_sets(token_lists), "ours": lambda: by_opo_eval(given, vocabulary)}, repeats
    )
    theirs, ours = timings["sets"], timings["ours"]
    ratio = f"{theirs.seconds / ours.seconds:.0f}×"
    times = duration(theirs.seconds), duration(ours.seconds)
    return N_BY_BRUTE_FORCE, len(theirs.result), len(theirs.result - ours.result), *times, ratio


def main() -> None:
    """Measure everything and write the report."""
    repeats = repeats_from_command_line(__doc__ or "", default=3)
    with TemporaryDirectory() as folder:
        rows = [audit_row(n_groups, Path(folder)) for n_groups in (N_GROUPS // 10, N_GROUPS)]
    write_report(
        "audit",
        [
            "# Speed: audit",
            "From the file to the report's folder, figures and all, in one process of two threads. The texts "
            "are runs of 3 to 11 words of real reasoning, put together anew, which repeat one another more "
            f"than most texts do; groups of {GROUP_SIZE}; every {NEAR_EVERY}th text is the one before it "
            f"with {CHANGED} words changed.",
            markdown_table(["texts", "wall", "CPU", "peak memory", "near-duplicate pairs", "phrases"], rows),
            "Near-duplicates from token ids against every pair of Python sets of 5-grams; CPU seconds, "
            f"medians of {repeats} repeats.",
            markdown_table(
                ["texts", "pairs", "missed", "Python sets", "opo_eval", "ratio"], [brute_force_row(repeats)]
            ),
            machine(["numpy"]),
        ],
    )


if __name__ == "__main__":
    main()
