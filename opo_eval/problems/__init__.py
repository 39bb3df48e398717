"""Name → tuple of problems, pinned by revision and sha256; and how a problem is put to a model.

`load_problems("math500")` is a built-in set, refused unless it is the published one;
`load_problems("exam.csv")` is a user's own file, a benchmark like any other.
"""

import os
from pathlib import Path

from opo_eval.errors import UsageError
from opo_eval.problems.benchmarks import BENCHMARKS, Benchmark, HubFile
from opo_eval.problems.builtin import load_builtin
from opo_eval.problems.identity import RowDigest, dataset_sha256, make_problem, normalise_text, row_digest
from opo_eval.problems.prompts import TEMPLATES, default_template, make_prompting, render
from opo_eval.problems.user_file import ColumnChoice, benchmark_name, load_user_file
from opo_eval.records import Problem
from opo_eval.tabular import SUFFIXES
from opo_eval.wording import listed, nearest

__all__ = [
    "BENCHMARKS",
    "TEMPLATES",
    "Benchmark",
    "HubFile",
    "RowDigest",
    "benchmark_names",
    "dataset_sha256",
    "default_template",
    "load_problems",
    "make_problem",
    "make_prompting",
    "normalise_text",
    "render",
    "row_digest",
]

_GENERATED = "tiny-arith"


def benchmark_names() -> tuple[str, ...]:
    """Names of the built-in sets."""
    return (*BENCHMARKS, _GENERATED)


def load_problems(
    name: str | os.PathLike[str],
    *,
    source: str | os.PathLike[str] | None = None,
    columns: ColumnChoice | None = None,
) -> tuple[Problem, ...]:
    """Problems of a built-in set or of a user's own file.

    `source` is where a built-in set is read from: its file, a folder of data (`math500/math500.jsonl`,
    `aime/aime2024.jsonl`, `aime/aime2025.jsonl`) or a download of its hub repository. Without it the
    folder in OPO_EVAL_DATA is read, and without that the hub; a folder that was named and lacks the set
    is an error. `columns` maps `problem`, `answer`, `id` and `tags` to the columns of a user's file.

    Raises UsageError for an unknown name, InputError for data that cannot be had or is not what it has
    to be.
    """
    name = str(name)
    if name not in benchmark_names():
        _refuse_options(name, source=source)
        return load_user_file(_user_file(name), columns)
    _refuse_options(name, columns=columns)
    if name in BENCHMARKS:
        return load_builtin(BENCHMARKS[name], None if source is None else Path(source).expanduser())
    _refuse_options(name, source=source)
    from opo_eval.problems.tiny_arith import generate_problems

    return generate_problems()


def _user_file(name: str) -> Path:
    path = Path(name).expanduser()
    if not path.exists() and not name.lower().endswith(SUFFIXES):
        raise UsageError(
            f"there is no benchmark {name!r}{nearest(name, benchmark_names())}: known are "
            f"{listed(benchmark_names())}, and a file of your own is given by its path "
            f"({', '.join(SUFFIXES)})"
        )
    if path.is_file() and benchmark_name(path) in benchmark_names():
        raise UsageError(
            f"{path} has the name of a built-in set: load {benchmark_name(path)!r} with this file as its "
            "source, or give the file another name to use it as a set of your own"
        )
    return path


def _refuse_options(name: str, **options: object) -> None:
    for option, value in options.items():
        if value is not None:
            raise UsageError(f"{option} has no meaning for {name!r}: leave it out ({_MEANING[option]})")


_MEANING = {
    "source": "it says where a built-in set is read from",
    "columns": "it says which columns of a user's own file are meant",
}
