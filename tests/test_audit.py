"""An audit of a table: every row accounted for, groups compared alike, wrong calls refused in a sentence."""

import csv
import json
from collections.abc import Sequence
from dataclasses import asdict
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from opo_eval.audit import Audit, AuditOptions, audit_file
from opo_eval.errors import InputError, UsageError
from opo_eval.metrics import rep_n, self_bleu
from opo_eval.metrics.tokenizers import TOKENIZERS, tokenize_13a
from opo_eval.metrics.vocabulary import Vocabulary

WORDS = [f"word{i}" for i in range(40)]
COLUMNS = {"text": "story", "group": "opening"}


def sentence(rng: np.random.Generator, n_words: int = 30, first: int = 0, last: int = 40) -> str:
    return " ".join(WORDS[i] for i in rng.integers(first, last, size=n_words))


def stories(sizes: Sequence[int], model: str = "a", seed: int = 0, **words: int) -> list[dict[str, Any]]:
    rng = np.random.default_rng(seed)
    return [
        {"model": model, "opening": f"g{g}", "story": sentence(rng, **words)}
        for g, size in enumerate(sizes)
        for _ in range(size)
    ]


def write(path: Path, rows: Sequence[dict[str, Any]], name: str = "stories.jsonl") -> Path:
    (path / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path / name


def audited(path: Path, rows: Sequence[dict[str, Any]], **options: Any) -> Audit:
    by = options.pop("by", "model")
    return audit_file(write(path, rows), **COLUMNS, by=by, options=AuditOptions(**options), quiet=True)


def adds_up(audit: Audit) -> bool:
    """Every row of the file is in one place."""
    counts = [asdict(value.accounting) for value in audit.values]
    sums = [sum(c.values()) - c["rows"] - c["groups"] == c["rows"] for c in counts]
    return all(sums) and sum(c["rows"] for c in counts) + audit.n_without_value == audit.n_rows


# --- the rows ---------------------------------------------------------------------------------------


def test_every_row_is_accounted_for(tmp_path: Path) -> None:
    rows = stories([4, 6, 3, 1, 2], "a") + stories([4, 4], "b")
    odd = [
        {"model": "a", "opening": "g0", "story": "  \n"},
        {"model": "a", "opening": "g0", "story": None},
        {"model": "a", "opening": "g0", "story": 7},
        {"model": "a", "opening": "g0", "story": ["a", "list"]},
        {"model": "a", "opening": None, "story": "a text"},
        {"model": None, "opening": "g0", "story": "a text"},
        {"model": "c", "opening": "g0", "story": ""},
        {"model": "b", "story": "a text"},
    ]
    audit = audited(tmp_path, rows + odd, n=3)
    a, b, c = (value.accounting for value in audit.values)
    assert adds_up(audit) and audit.n_rows == 32 and audit.n_without_value == 1
    assert (a.rows, a.compared, a.beyond_n, a.in_small_groups, a.alone) == (21, 9, 4, 2, 1)
    assert (a.blank, a.not_text, a.without_group, a.groups) == (2, 2, 1, 3)
    assert (b.rows, b.compared, b.beyond_n, b.without_group, b.groups) == (9, 6, 2, 1, 2)
    assert (c.rows, c.blank, c.compared) == (1, 1, 0)


@pytest.mark.parametrize("seed", range(6))
def test_the_accounting_adds_up_whatever_the_groups(tmp_path: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    sizes = [2, *rng.integers(1, 7, size=8).tolist()]
    rows = stories(sizes, n_words=6) + stories(sizes[::-1], "b", n_words=6)
    for i in rng.choice(len(rows), size=5, replace=False):
        rows[i][str(rng.choice(["model", "opening", "story"]))] = [None, "", 3][seed % 3]
    assert adds_up(audited(tmp_path, rows, n=[None, 2, 3][seed % 3]))


def test_cells_that_are_no_text_name_groups_too(tmp_path: Path) -> None:
    rows = [row | {"opening": {"g": i // 4}, "model": i % 2 == 0} for i, row in enumerate(stories([4, 4]))]
    audit = audited(tmp_path, rows)
    assert [value.value for value in audit.values] == ["true", "false"]
    assert audit.tables[0].problem_ids == ('{"g": 0}', '{"g": 1}')


def test_csv_and_jsonl_give_the_same(tmp_path: Path) -> None:
    rows = stories([3, 3])
    with (tmp_path / "stories.csv").open("w", newline="") as file:
        table = csv.DictWriter(file, list(rows[0]))
        table.writeheader()
        table.writerows(rows)
    one = audited(tmp_path, rows)
    other = audit_file(tmp_path / "stories.csv", **COLUMNS, by="model", quiet=True)
    assert one.tables == other.tables and one.values[0].findings.phrases == other.values[0].findings.phrases


def test_without_a_column_to_compare_by_the_file_is_one(tmp_path: Path) -> None:
    audit = audited(tmp_path, stories([3, 3]), by=None)
    assert [value.value for value in audit.values] == ["stories"]
    assert audit.comparisons == () and audit.notes == ()


# --- what is compared -------------------------------------------------------------------------------


def test_values_are_those_of_the_metrics_alone(tmp_path: Path) -> None:
    rows = stories([4, 5, 6])
    audit = audited(tmp_path, rows)
    by_group = [[r["story"] for r in rows if r["opening"] == f"g{g}"][:4] for g in range(3)]
    found = {row.metric: row for row in audit.tables[0].rows if row.subset == "all"}
    assert audit.n == 4
    assert found["self_bleu"].value == pytest.approx(np.mean([self_bleu(texts).mean() for texts in by_group]))
    shares = [rep_n(tokenize_13a(text), 5) for texts in by_group for text in texts]
    assert found["rep_5_per_sequence"].value == pytest.approx(np.mean(shares), abs=1e-12)
    assert found["self_bleu"].signature.startswith("self_bleu|n:4|tok:13a|")
    assert found["self_bleu"].interval is not None


def test_differences_are_over_the_groups_that_both_have(tmp_path: Path) -> None:
    rows = stories([3] * 6, "a") + stories([3] * 9, "b", seed=1, first=0, last=8)
    audit = audited(tmp_path, rows)
    difference = {row.metric: row for row in audit.comparisons}["self_bleu"]
    per_group = [
        {t.problem_ids[i]: s.numerators[i] for s in t.statistics if s.metric == "self_bleu" for i in range(6)}
        for t in audit.tables
    ]
    deltas = [per_group[1][group] - per_group[0][group] for group in per_group[0]]
    assert (difference.a, difference.b, difference.n_problems) == ("a", "b", 6)
    assert difference.delta == pytest.approx(np.mean(deltas)) and difference.delta > 0
    assert difference.p_adjusted is not None and difference.p_value is not None
    assert difference.p_adjusted >= difference.p_value
    assert "The groups that are compared are not the same everywhere (a 6, b 9)" in " ".join(audit.notes)


def test_the_first_value_of_the_file_is_the_baseline(tmp_path: Path) -> None:
    rows = stories([2, 2], "z") + stories([2, 2], "a") + stories([2, 2], "m")
    audit = audited(tmp_path, rows)
    assert {(row.a, row.b) for row in audit.comparisons} == {("z", "a"), ("z", "m")}


def test_a_value_without_large_groups_has_no_metrics_and_a_note(tmp_path: Path) -> None:
    audit = audited(tmp_path, stories([4, 4], "a") + stories([1, 1, 1], "human"))
    assert [value.table is None for value in audit.values] == [False, True]
    assert "No group of human has 4 texts, so no metric is shown there." in audit.notes
    assert audit.values[1].accounting.alone == 3 and audit.values[1].findings.near.n_texts == 3


def test_a_small_group_that_wastes_most_texts_is_pointed_out(tmp_path: Path) -> None:
    audit = audited(tmp_path, stories([2, 10, 10, 10]), by=None)
    (note,) = audit.notes
    assert audit.n == 2 and note.startswith("Only 8 of 32 texts are compared")
    assert "with -n 10, which leaves smaller groups out, it would be 30" in note
    assert audited(tmp_path, stories([2, 10, 10, 10]), by=None, n=10).notes == ()


def test_any_tokenizer_gives_the_same_ids_as_its_tokens(tmp_path: Path) -> None:
    rows = stories([3, 3])
    for name in TOKENIZERS:
        found = audited(tmp_path, rows, tokenize=name).tables[0].rows
        expected = np.mean([
            self_bleu([r["story"] for r in rows if r["opening"] == group], tokenize=name).mean()
            for group in ("g0", "g1")
        ])  # fmt: skip
        row = next(row for row in found if row.metric == "self_bleu")
        assert row.value == pytest.approx(expected, abs=1e-9) and f"tok:{name}" in row.signature


# --- what repeats -----------------------------------------------------------------------------------


def test_copies_and_near_duplicates_within_and_across_groups(tmp_path: Path) -> None:
    rows = stories([4, 4, 4], n_words=60)
    base = rows[0]["story"].split()
    rows[1]["story"] = " ".join([*base[:-1], "changed"])
    rows[5]["story"] = " ".join(["other", *base[1:]])
    rows[9]["story"] = rows[10]["story"] = rows[2]["story"]
    near = audited(tmp_path, rows).values[0].findings.near
    assert (near.n_texts, near.n_copies, near.n_within, near.n_across, near.n_duplicated) == (12, 2, 1, 2, 6)
    found = {(pair.row_a, pair.row_b): pair for pair in near.pairs}
    assert found.keys() == {(1, 2), (1, 6), (2, 6)}
    assert found[1, 2].similarity == pytest.approx(55 / 57)
    assert (found[1, 2].only_a, found[1, 2].only_b) == (base[-1], "changed")
    assert found[1, 2].shared == " ".join(base[:20]) and found[1, 6].shared == " ".join(base[1:21])
    assert (found[1, 6].group_a, found[1, 6].group_b) == ("g0", "g1")
    (copied,) = near.copied
    assert (copied.row, copied.n_copies, copied.n_groups) == (3, 3, 2)


def test_pairs_are_those_of_brute_force(tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    texts = [sentence(rng, 50) for _ in range(12)]
    texts += [" ".join([*t.split()[:-k], *["x"] * k]) for k, t in enumerate(texts[:10], start=1)]
    rows = [{"model": "a", "opening": f"g{i % 5}", "story": text} for i, text in enumerate(texts)]
    shingles = [{tuple(t.split()[i : i + 5]) for i in range(46)} for t in texts]
    truth = {
        (a + 1, b + 1)
        for a, b in combinations(range(22), 2)
        if len(shingles[a] & shingles[b]) >= 0.7 * len(shingles[a] | shingles[b])
    }
    near = audited(tmp_path, rows, near=0.7, n=2).values[0].findings.near
    assert {(min(p.row_a, p.row_b), max(p.row_a, p.row_b)) for p in near.pairs} == truth and truth
    assert near.n_within + near.n_across == len(truth)


def test_five_hundred_copies_are_one_text(tmp_path: Path) -> None:
    rows = (
        stories([4, 4]) + [{"model": "a", "opening": "g0", "story": "the same text every single time"}] * 500
    )
    near = audited(tmp_path, rows, n=2).values[0].findings.near
    assert near.n_copies == 499 and near.n_within + near.n_across == 0 and near.n_duplicated == 500


def test_phrases_are_found_in_all_texts_also_beyond_n(tmp_path: Path) -> None:
    rows = stories([2, 6, 1], n_words=10)
    said = "the moral of this is to share with every friend"
    for i in (4, 7, 8):
        rows[i]["story"] += f" {said}"
    (phrase,) = audited(tmp_path, rows).values[0].findings.phrases
    assert phrase.phrase == said
    assert (phrase.n_groups, phrase.n_texts, phrase.n_occurrences, phrase.n_tokens) == (2, 3, 3, 10)


def test_short_phrases_may_be_asked_for(tmp_path: Path) -> None:
    rows = [{"model": "a", "opening": "g", "story": f"so good {i} indeed so good"} for i in range(3)]
    (phrase, *_) = audited(tmp_path, rows, phrase_order=2).values[0].findings.phrases
    assert (phrase.phrase, phrase.n_occurrences) == ("so good", 6)


def test_the_least_diverse_groups_come_first(tmp_path: Path) -> None:
    rows = stories([3] * 7)
    for row in rows[9:12]:
        row["story"] = "always the very same words in this one"
    first, *others = audited(tmp_path, rows).values[0].least_diverse
    assert first.group == "g3" and first.self_bleu == pytest.approx(100)
    assert len(others) == 4 and len(first.texts) == 2
    scores = [group.self_bleu for group in (first, *others)]
    assert scores == sorted(scores, reverse=True)


def test_two_audits_of_a_file_are_equal(tmp_path: Path) -> None:
    rows = stories([3, 4], "a") + stories([3, 3], "b", seed=2)
    assert audited(tmp_path, rows) == audited(tmp_path, rows)


# --- refused ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n": 1}, "-n 1 leaves nothing to compare: Self-BLEU needs 2 texts a group or more"),
        ({"n": 5}, "-n 5 is more than any group has: the largest of stories.jsonl has 4"),
        ({"near": 0.0}, "give one from 0.1 to 1"),
        ({"phrase_order": 0}, "--phrase-order is 0"),
        ({"rep_order": -1}, "--rep-order is -1"),
        ({"tokenize": "13b"}, "no tokenizer '13b': use one of 13a,"),
    ],
)
def test_options_out_of_range_are_refused(tmp_path: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError) as error:
        audited(tmp_path, stories([4, 3]), **options)
    assert message in str(error.value)


def test_a_wrong_column_is_named_with_the_nearest(tmp_path: Path) -> None:
    file = write(tmp_path, stories([2]))
    for columns in ({"text": "storry", "group": "opening"}, {"text": "story", "group": "openin"}):
        with pytest.raises(InputError, match=r"has no column '.*' \(did you mean '(story|opening)'\?\)"):
            audit_file(file, **columns, quiet=True)
    with pytest.raises(InputError, match=r"has no column 'modle' \(did you mean 'model'\?\): it has"):
        audit_file(file, **COLUMNS, by="modle", quiet=True)


def test_groups_of_one_text_are_no_groups(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"every group of stories\.jsonl has one text: --group 'opening'"):
        audited(tmp_path, stories([1, 1, 1]))


def test_a_table_without_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="column 'story' is blank, or not text, in every row"):
        audited(tmp_path, [{"model": "a", "opening": "g", "story": value} for value in (1, None, " ")])


# --- odd texts --------------------------------------------------------------------------------------


def test_texts_that_break_things_elsewhere(tmp_path: Path) -> None:
    odd = ["\x00\x07\x1b[31m", "a" * 30_000, "é" * 50, "🙂 " * 40, "\u202egnp.exe", "]]>", "x", "%s {} \\"]
    rows = [{"model": "a", "opening": f"g{i % 2}", "story": text} for i, text in enumerate(odd)]
    audit = audited(tmp_path, rows)
    assert adds_up(audit) and audit.values[0].findings.near.n_too_short >= 5


def test_a_vocabulary_tokenizes_each_text_once() -> None:
    seen: list[str] = []

    def tokenize(text: str) -> list[str]:
        seen.append(text)
        return text.split()

    vocabulary = Vocabulary(tokenize)
    assert vocabulary("a b a") == [0, 1, 0] and vocabulary("b c") == [1, 2]
    assert vocabulary.documents(["a b a", "b c"]).ids.tolist() == [0, 1, 0, 1, 2]
    assert vocabulary.spelled([2, 0]) == "c a" and seen == ["a b a", "b c"]
    assert vocabulary.__qualname__.endswith("tokenize")
