"""Real golds and responses, and a grader whose workers are started once."""

import gzip
import json
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from opo_eval.grading import Grader, Outcome

Rows = list[dict[str, Any]]
GradeOne = Callable[[str, str], Outcome]


@pytest.fixture(scope="session")
def rows_of(data_dir: Path) -> Callable[[str], Rows]:
    """Function from a path below the data folder to its rows; each file is read once."""

    @cache
    def read(name: str) -> Rows:
        data = (data_dir / name).read_bytes()
        text = gzip.decompress(data) if name.endswith(".gz") else data
        return [json.loads(line) for line in text.splitlines()]

    return read


@pytest.fixture(scope="session")
def benchmark_golds(rows_of: Callable[[str], Rows]) -> list[str]:
    """The 560 golds of MATH-500 and of AIME 2024 and 2025."""
    files = ("math500/math500.jsonl", "aime/aime2024.jsonl", "aime/aime2025.jsonl")
    return [str(row["answer"]) for name in files for row in rows_of(name)]


@pytest.fixture(scope="session")
def training_golds(rows_of: Callable[[str], Rows]) -> list[str]:
    """The different golds of the RL training sets, in the order of their files; one is empty and left out."""
    files = ("rl_train_sets/rllm_aime_1983_2023.jsonl", "rl_train_sets/rllm_math_train.jsonl")
    answers = dict.fromkeys(str(row["answer"]) for name in files for row in rows_of(name))
    return [answer for answer in answers if answer]


@pytest.fixture(scope="session")
def grader() -> Iterator[Grader]:
    """A grader of responses without a think section, with a limit that only a bomb exceeds."""
    with Grader(think="none", timeout_s=30.0) as grader:
        yield grader


@pytest.fixture(scope="session")
def slow_path() -> Iterator[Grader]:
    """The same without fast paths: every verdict is math-verify's."""
    with Grader(think="none", timeout_s=30.0, lenient=False, fast_paths=False) as grader:
        yield grader


@pytest.fixture(scope="session")
def accepted_golds(
    benchmark_golds: list[str], training_golds: list[str], slow_path: Grader
) -> dict[str, bool]:
    """Each different gold of the benchmarks and training sets, and whether math-verify itself accepts it."""
    return slow_path.check_golds([*benchmark_golds, *training_golds])


@pytest.fixture(scope="session")
def grade_one(grader: Grader) -> GradeOne:
    """Function from gold and response to the outcome."""
    return lambda gold, response: dict(grader.grade([(0, gold, response)]))[0]
