"""Which format a path is of, and what all formats share."""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from opo_eval.errors import OpoEvalError, UsageError
from opo_eval.importers import FORMATS, Imported
from opo_eval.store import RunDir

Read = Callable[..., Imported]
LOGS = {
    "lm-eval/late": "lm-eval",
    "lm-eval/late/results_*.json": "lm-eval",
    "lm-eval/late/samples_tiny_arith_each_*.jsonl": "lm-eval",
    "verl/rollouts": "verl",
    "verl/rollouts/10.jsonl": "verl",
    "verl/validation/10.jsonl": "verl",
    "verl/printed.json": None,
    "trl/completions": "trl",
    "trl/completions/completions_00001.parquet": "trl",
    "inspect/*.eval": "inspect",
    "lighteval": "lighteval",
    "lighteval/details/late/*/details_tiny_arith_one*": "lighteval",
    "lighteval/results/late/*": None,
    "openai-batch/results.jsonl": "openai-batch",
    "openai-batch/requests.jsonl": None,
}


@pytest.mark.parametrize(("pattern", "name"), LOGS.items())
def test_a_real_log_is_of_one_format(logs: Path, pattern: str, name: str | None) -> None:
    (path,) = logs.glob(pattern)
    assert [known for known, of in FORMATS.items() if of.is_log(path)] == ([name] if name else [])


def test_what_only_looks_like_a_log_is_none(tmp_path: Path) -> None:
    for name in ("10.jsonl", "completions_00001.parquet", "a.eval", "results_1.json"):
        (tmp_path / name).write_text('{"input": "1+1", "output": "2"}\n')
        assert not any(of.is_log(tmp_path / name) for of in FORMATS.values())
    assert not any(
        of.is_log(path) for of in FORMATS.values() for path in (tmp_path, tmp_path / "nothing.eval")
    )


def test_every_format_but_the_table_has_a_real_log() -> None:
    assert {name for name in LOGS.values() if name} == FORMATS.keys() - {"table"}


def test_an_unknown_format_names_the_nearest(tmp_path: Path, read: Read) -> None:
    with pytest.raises(UsageError, match=r"--format has no 'lmeval' \(did you mean 'lm-eval'\?\): known are"):
        read(tmp_path / "a.jsonl", format="lmeval")


def test_whoever_names_the_responses_column_means_a_table(logs: Path, tmp_path: Path, read: Read) -> None:
    columns = {"response": "output", "problem": "input", "gold": "gts", "score": "score"}
    path = Path(shutil.copy(logs / "verl/rollouts/10.jsonl", tmp_path))
    (run,) = read(path, columns=columns).runs
    assert run.parts[-2:] == ("10", "10")
    (again,) = read(path, format="table", columns=columns, checkpoint="named").runs
    assert again.parts[-2:] == ("named", "10")


def test_the_first_responses_alone_can_be_taken(tmp_path: Path, read: Read) -> None:
    rows = [
        {"problem": problem, "gold": "1", "response": f"{problem}{i}"} for i in range(3) for problem in "ab"
    ]
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    (run,) = read(path, first=2).runs
    assert [sample.text for sample in RunDir(run).samples()] == ["a0", "b0", "a1", "b1"]
    assert read(path).already_there == 4
    path.write_text(json.dumps({"problem": "a", "gold": "1", "response": ["x", "y", "z"]}) + "\n")
    assert list(read(path, first=2, checkpoint="lists").runs.values()) == [2]


@pytest.mark.parametrize(
    ("score", "least", "correct"), [(0.5, 0.5, True), (-1, 0, False), ("0.75", 0.5, True), (True, 1, True)]
)
def test_scores_are_verdicts_from_where_it_is_said(
    tmp_path: Path, read: Read, score: object, least: float, correct: bool
) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps({"problem": "a", "gold": "1", "response": "x", "s": score}) + "\n")
    (run,) = read(path, columns={"score": "s"}, correct_from=least).runs
    (grade,) = RunDir(run).grades()
    assert (grade.verdict == "correct") is correct


def _without_each(value: Any) -> Iterator[Any]:
    """Copies of nested JSON that lack one value each, at any depth; a list's first item stands for it."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield {name: other for name, other in value.items() if name != key}
            yield {**value, key: None}
            yield from ({**value, key: changed} for changed in _without_each(inner))
    elif isinstance(value, list) and value:
        yield []
        yield from ([changed, *value[1:]] for changed in _without_each(value[0]))


@pytest.mark.parametrize(
    ("pattern", "settings"),
    [
        ("lm-eval/late/samples_tiny_arith_each_*.jsonl", {}),
        ("verl/validation/10.jsonl", {"checkpoint": "a", "benchmark": "b"}),
        ("openai-batch/results.jsonl", {"problems": "tiny-arith", "template": "tiny"}),
    ],
)
def test_a_log_that_lacks_anything_is_read_or_refused_in_a_sentence(
    logs: Path, tmp_path: Path, read: Read, pattern: str, settings: dict[str, Any]
) -> None:
    (found,) = logs.glob(pattern)
    folder = Path(shutil.copytree(found.parent, tmp_path / "log"))
    path, name = folder / found.name, LOGS[pattern]
    if name == "openai-batch":
        settings = {**settings, "requests": folder / "requests.jsonl"}
    first, *rest = found.read_text().splitlines()
    for number, changed in enumerate(_without_each(json.loads(first))):
        path.write_text("\n".join([json.dumps(changed), *rest]))
        try:
            read(path, format=name, out=tmp_path / str(number), **settings)
        except OpoEvalError as error:
            assert not (tmp_path / str(number)).exists() and path.name in str(error)
