"""Rows of the real sets, and copies of them to tamper with."""

import json

import pytest

from opo_eval.problems import BENCHMARKS


@pytest.fixture
def rows_of(data_dir):
    """Function from a benchmark's name to fresh rows of its file."""

    def read(name):
        lines = (data_dir / BENCHMARKS[name].data_path).read_bytes().splitlines()
        return [json.loads(line) for line in lines]

    return read


@pytest.fixture
def write_rows(tmp_path):
    """Function that writes rows as JSON Lines below the temporary folder and gives the path."""

    def write(rows, name="copy.jsonl"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        return path

    return write
