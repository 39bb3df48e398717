"""lighteval's details, and the values that it printed of them."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest

from opo_eval.errors import InputError, UsageError
from opo_eval.importers import Imported
from opo_eval.problems import load_problems
from opo_eval.store import RunDir

Read = Callable[..., Imported]
Value = Callable[..., float]


@pytest.fixture
def folder(tmp_path: Path, logs: Path) -> Path:
    """A copy of a run's details, to be changed."""
    (written,) = (logs / "lighteval/details/late").iterdir()
    return Path(shutil.copytree(written, tmp_path / "details/late" / written.name))


def details_of(folder: Path, task: str) -> Path:
    (path,) = folder.glob(f"details_tiny_arith_{task}*.parquet")
    return path


def printed(logs: Path, task: str, metric: str) -> float:
    (path,) = (logs / "lighteval/results/late").iterdir()
    return json.loads(path.read_text())["results"][f"tiny_arith_{task}|0"][metric]


def change(path: Path, change_row: Callable[[dict[str, Any]], object]) -> Path:
    rows = pyarrow.parquet.read_table(path).to_pylist()
    for row in rows:
        change_row(row)
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    return path


def test_a_metric_of_one_response_is_reproduced(folder: Path, logs: Path, read: Read, value: Value) -> None:
    ((run, n),) = read(details_of(folder, "one")).runs.items()
    number = printed(logs, "one", "extractive_match")
    assert n == 8 and run.parts[-2:] == ("late", "tiny_arith_one")
    assert 0 < number < 1 and value(run, "pass@1") == pytest.approx(number, abs=1e-12)


def test_a_metric_of_several_responses_is_no_verdict(folder: Path, logs: Path, read: Read) -> None:
    """Its mean says how many of the 4 are right and not which; the responses are all there to be graded."""
    done = read(details_of(folder, "several"), problems="tiny-arith", template="tiny")
    ((path, n),) = done.runs.items()
    run = RunDir(path)
    assert n == 32 and not list(run.grades())
    (note,) = done.notes
    assert "the score 'avg@n:n=4' is left out: it is of 4 responses together" in note
    golds = {problem.id: problem.answer for problem in load_problems("tiny-arith")[:8]}
    boxed = [f"boxed{{{golds[sample.problem_id]}}}" in sample.text for sample in run.samples()]
    assert sum(boxed) / 32 == pytest.approx(printed(logs, "several", "avg@n:n=4"))
    assert all(sample.n_tokens is sample.finish is None for sample in run.samples())


def test_a_folder_stands_for_all_tasks_of_its_run(folder: Path, read: Read) -> None:
    runs = read(folder.parents[1]).runs
    assert [run.name for run in runs] == ["tiny_arith_one", "tiny_arith_several"]
    shutil.copytree(folder, folder.with_name("2020-01-01T00-00-00.000001"))
    with pytest.raises(InputError, match="holds the details of 2 runs of lighteval: name one folder"):
        read(folder.parents[1])


def test_a_file_away_from_its_folder_does_not_name_its_checkpoint(
    folder: Path, tmp_path: Path, read: Read
) -> None:
    alone = Path(shutil.copy(details_of(folder, "one"), tmp_path))
    with pytest.raises(UsageError, match="does not say who answered: name it with --checkpoint"):
        read(alone)


def test_several_golds_are_no_gold(folder: Path, read: Read) -> None:
    def two(row: dict[str, Any]) -> None:
        row["doc"] |= {"choices": ["1", "2"], "gold_index": [0, 1]}

    path = change(details_of(folder, "one"), two)
    with pytest.raises(InputError, match=r"gold .* is \['1', '2'\], it has to be text or a number"):
        read(path)


@pytest.mark.parametrize(
    ("change_row", "message"),
    [
        (lambda row: row.pop("doc"), "row 1 is not as lighteval 0.13 writes it: it has no 'doc'"),
        (lambda row: row["model_response"].pop("text"), "row 1, model_response is not as .* no 'text'"),
    ],
)
def test_other_fields_are_refused(
    folder: Path, read: Read, change_row: Callable[[dict[str, Any]], object], message: str
) -> None:
    path = change(details_of(folder, "one"), change_row)
    with pytest.raises(InputError, match=message):
        read(path, format="lighteval")
