"""Digests of the published sets: `python -m opo_eval.problems.reference DATA [--write]`.

Prints name, count and sha256 of every built-in set as read from the data folder and says where
`BENCHMARKS` has another sha256; `--write` renews `reference_digests.json` beside this module.
"""

import argparse
import json
from pathlib import Path

from opo_eval.problems.benchmarks import BENCHMARKS, Benchmark
from opo_eval.problems.builtin import read_copy
from opo_eval.problems.identity import dataset_sha256, row_digest
from opo_eval.problems.verify import DIGESTS_FILE, ReferenceRow
from opo_eval.tabular import read_rows


def digest_rows(benchmark: Benchmark, data: Path) -> list[ReferenceRow]:
    """Reference rows of a set from its file in a data folder."""
    file = data / benchmark.data_path
    rows = (row for _, row in read_rows(file))
    return [
        ReferenceRow(
            problem.source_id,
            *row_digest(problem),
            {name: str(row[name]) for name in benchmark.tag_columns},
        )
        for problem, row in zip(read_copy(benchmark, file), rows, strict=True)
    ]


def describe(benchmark: Benchmark, data: Path) -> str:
    """`aime24 30 <sha256>`, and whether it is the pinned one."""
    problems = tuple(read_copy(benchmark, data / benchmark.data_path))
    sha256 = dataset_sha256(problems)
    verdict = "as pinned" if sha256 == benchmark.sha256 else f"PINNED IS {benchmark.sha256}"
    return f"{benchmark.name} {len(problems)} {sha256} {verdict}"


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m opo_eval.problems.reference", description=__doc__)
    parser.add_argument("data", type=Path, help="folder that holds math500/ and aime/")
    parser.add_argument("--write", action="store_true", help=f"renew {DIGESTS_FILE}")
    options = parser.parse_args(arguments)
    for benchmark in BENCHMARKS.values():
        print(describe(benchmark, options.data))
    if options.write:
        tables = {name: digest_rows(benchmark, options.data) for name, benchmark in BENCHMARKS.items()}
        Path(__file__).with_name(DIGESTS_FILE).write_text(_one_row_a_line(tables), "utf-8")


def _one_row_a_line(tables: dict[str, list[ReferenceRow]]) -> str:
    rows = {name: ",\n".join(json.dumps(row) for row in table) for name, table in tables.items()}
    return "{\n" + ",\n".join(f"{json.dumps(name)}: [\n{text}\n]" for name, text in rows.items()) + "\n}\n"


if __name__ == "__main__":
    main()
