"""Numbers of every token: they add up to the records, and a killed writer leaves no doubt about them."""

from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from score import runs
from score.runs import EARLY, LATE, records, scored

from opo_eval.errors import StoreError
from opo_eval.per_token import PerToken, PerTokenWriter, per_token_keys, read_per_token
from opo_eval.store import RunDir

Copy = Callable[..., RunDir]
ARRAYS = ("entropy", "logprob", "ref_logprob", "ref_entropy", "kl", "reverse_kl")


def test_the_arrays_are_brute_force_and_add_up_to_the_records(copy: Copy) -> None:
    run = copy()
    said = scored(run, reference=EARLY, per_token=True, batch_tokens=200)
    assert said[-1] == f"the numbers of every token are in {run.path / 'per_token'}"
    found = {(row.problem_id, row.index, row.temperature): row for row in read_per_token(run)}
    assert found.keys() == records(run).keys() and len(list((run.path / "per_token").iterdir())) > 2
    responses = {(s.problem_id, s.index): s.token_ids or () for s in run.samples()}
    for (problem_id, index, temperature), stats in records(run).items():
        row, response = found[problem_id, index, temperature], responses[problem_id, index]
        prompt = runs.prompt_ids(problem_id)
        own = runs.brute_force(
            *(runs.log_probs(c, prompt, response, temperature) for c in (LATE, EARLY)), response
        )
        for name in ARRAYS:
            values = getattr(row, name)
            assert values.dtype == np.float32
            np.testing.assert_allclose(values, own[name], rtol=1e-4, atol=1e-5)
            assert values.sum(dtype=np.float64) == pytest.approx(getattr(stats, f"{name}_sum"), rel=1e-6)


def test_without_a_reference_four_are_none(copy: Copy) -> None:
    run = copy()
    scored(run, per_token=True)
    for row in read_per_token(run):
        assert len(row.entropy) == len(row.logprob) > 0
        assert row.ref_logprob is row.ref_entropy is row.kl is row.reverse_kl is None


def test_only_the_asked_scorer_and_temperature_are_read(copy: Copy) -> None:
    run = copy()
    for reference in (EARLY, None):
        scored(run, reference=reference, per_token=True)
    scorers = {stats.scorer for stats in run.token_stats()}
    assert len(list(read_per_token(run.path))) == 72
    for scorer in scorers:
        rows = list(read_per_token(run, scorer, 1.0))
        assert len(rows) == 18 and {(row.scorer, row.temperature) for row in rows} == {(scorer, 1.0)}
    assert list(read_per_token(run, temperature=0.5)) == []


def test_a_later_scoring_makes_the_arrays_that_are_missing_and_no_record_again(copy: Copy) -> None:
    run = copy()
    scored(run, reference=EARLY)
    before = (run.path / "token_stats.jsonl").read_bytes()
    assert list(read_per_token(run)) == []
    said = scored(run, reference=EARLY, per_token=True)
    assert ": 18 samples with " in said[0] and "before" not in said[0]
    assert (run.path / "token_stats.jsonl").read_bytes() == before
    assert {row.key[:2] + row.key[3:] for row in read_per_token(run)} == records(run).keys()
    assert "18 were scored before" in scored(run, reference=EARLY, per_token=True)[0]


def row(index: int, of: float, n: int = 3, **fields: Any) -> PerToken:
    numbers = np.full(n, of, dtype=np.float32)
    return PerToken(
        problem_id="p", index=index, scorer="s", temperature=1.0, entropy=numbers, logprob=-numbers, **fields
    )


def test_of_rows_that_a_killed_writer_left_the_later_count(copy: Copy) -> None:
    run = copy()
    PerTokenWriter(run).append([row(0, 1.0), row(1, 2.0)])
    torn = run.path / "per_token/.000002.parquet.99"
    torn.write_bytes(b"half")
    PerTokenWriter(run).append([row(1, 3.0), row(2, 4.0, n=1)])
    assert [(r.index, float(r.entropy[0])) for r in read_per_token(run)] == [(0, 1.0), (1, 3.0), (2, 4.0)]
    assert per_token_keys(run) == {("p", index, "s", 1.0) for index in range(3)}
    names = sorted(path.name for path in (run.path / "per_token").iterdir())
    assert names == ["000001.parquet", "000002.parquet"]


def test_killed_between_the_arrays_and_their_records(copy: Copy, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(*_: Any) -> None:
        raise KeyboardInterrupt

    run, whole = copy(), copy("whole")
    with monkeypatch.context() as patch:
        patch.setattr("opo_eval.store.RunWriter.append_token_stats", killed)
        with pytest.raises(KeyboardInterrupt):
            scored(run, reference=EARLY, per_token=True, batch_tokens=200)
    assert list(run.token_stats()) == [] and len(per_token_keys(run)) == 10
    scored(run, reference=EARLY, per_token=True)
    scored(whole, reference=EARLY, per_token=True)
    assert {row.key for row in read_per_token(run)} == {row.key for row in read_per_token(whole)}
    assert len(list(read_per_token(run))) == 36 and records(run).keys() == records(whole).keys()


def test_the_files_are_what_other_tools_read(copy: Copy) -> None:
    run = copy()
    PerTokenWriter(run).append([replace(row(0, 0.5), kl=np.ones(3, dtype=np.float32))])
    table = pq.read_table(run.path / "per_token/000001.parquet")
    assert table.column_names == [field.name for field in fields(PerToken)]
    assert table.to_pylist()[0]["kl"] == [1.0] * 3 and table.to_pylist()[0]["ref_logprob"] is None
    assert str(table.schema.field("entropy").type) == "list<element: float>"


def test_nothing_makes_no_file(copy: Copy) -> None:
    run = copy()
    PerTokenWriter(run).append([])
    assert not (run.path / "per_token").exists() and per_token_keys(run) == set()


@pytest.mark.parametrize("damage", [lambda data: data[:-40], lambda data: b"not parquet at all"])
def test_a_damaged_file_is_named_with_what_to_do(copy: Copy, damage: Callable[[bytes], bytes]) -> None:
    run = copy()
    PerTokenWriter(run).append([row(0, 1.0)])
    path: Path = run.path / "per_token/000001.parquet"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(StoreError, match=r"1\.parquet cannot be read \(.*\): delete it, and `opo-eval"):
        list(read_per_token(run))


def test_another_tables_columns_are_damage_too(copy: Copy) -> None:
    run = copy()
    PerTokenWriter(run).append([row(0, 1.0)])
    path = run.path / "per_token/000001.parquet"
    pq.write_table(pq.read_table(path).drop_columns(["kl"]), path)
    with pytest.raises(StoreError, match=r"cannot be read \(it has no column 'kl'\)"):
        list(read_per_token(run))
