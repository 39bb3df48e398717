"""The contamination probe: a real model that has learnt one of two sets by heart, and one that has not."""

import csv
import json
import random
from pathlib import Path

import pytest
import torch
from torch.nn.utils.rnn import pad_sequence
from transformers import AutoModelForCausalLM, AutoTokenizer

from opo_eval.cli import run
from opo_eval.probe import begins_with, likeness, partial_of, split_at
from opo_eval.problems import make_problem
from opo_eval.records import Problem

NAMES, THINGS, PLACES = (
    ("Tom", "Lily", "Ben", "Mia", "Sam"),
    ("apples", "cars", "dolls", "books"),
    ("park", "shop", "farm"),
)


def story(rng: random.Random) -> str:
    a, b = rng.sample(NAMES, 2)
    thing, other = rng.sample(THINGS, 2)
    place, verb = rng.choice(PLACES), rng.choice(("finds", "buys", "sees"))
    return (
        f"{a} has {rng.randint(2, 99)} {thing} and {b} has {rng.randint(2, 99)} {other}. One day {b} goes to "
        f"the {place} and {verb} {rng.randint(2, 99)} more {thing}. How many {thing} do they have?"
    )


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory, data_dir: Path) -> Path:
    """seen.jsonl, unseen.jsonl, the model `clean`, and `dirty`, which was trained on the first of them."""
    folder, rng = tmp_path_factory.mktemp("probe"), random.Random(0)
    texts = {name: [story(rng) for _ in range(12)] for name in ("seen", "unseen")}
    for name, own in texts.items():
        rows = [{"problem": text, "answer": "1"} for text in own]
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "clean").symlink_to(data_dir / "tiny_lm_stories260k")
    learn_by_heart(folder / "clean", texts["seen"], folder / "dirty")
    return folder


def learn_by_heart(source: Path, texts: list[str], target: Path) -> None:
    torch.manual_seed(0)
    tokenizer, model = AutoTokenizer.from_pretrained(source), AutoModelForCausalLM.from_pretrained(source)
    rows = [torch.tensor(tokenizer(text)["input_ids"]) for text in texts]
    tokens, labels = (pad_sequence(rows, batch_first=True, padding_value=own) for own in (0, -100))
    optimizer = torch.optim.AdamW(model.parameters(), lr=4e-3)
    for _ in range(60):
        loss = model(input_ids=tokens, labels=labels).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.save_pretrained(target)
    tokenizer.save_pretrained(target)


def probe(here: Path, checkpoint: str, *more: str) -> int:
    words = [
        "probe",
        str(here / checkpoint),
        "--benchmark",
        str(here / "seen.jsonl"),
        str(here / "unseen.jsonl"),
    ]
    words += [
        "--engine",
        "hf",
        "--max-tokens",
        "96",
        "--out",
        str(here / "runs"),
        "--reports",
        str(here / "reports"),
    ]
    return run([*words, "--name", checkpoint, "--quiet", *more])


def rows_of(here: Path, name: str) -> dict[tuple[str, str, str], dict[str, str]]:
    with (here / "reports" / name / "probe.csv").open() as file:
        return {(row["benchmark"], row["share"], row["metric"]): row for row in csv.DictReader(file)}


def test_a_model_that_learnt_it_by_heart_is_told_apart(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert probe(here, "dirty", "--later", "unseen") == 0
    said = capsys.readouterr().out.replace("\n  ", " ")
    assert "dirty on seen: went on word for word in" in said and "a sign that it has seen them" in said
    rows = rows_of(here, "dirty")
    known, guessed = rows["seen", "0.6", "exact_match"], rows["unseen", "0.6", "exact_match"]
    assert float(known["value"]) > 0.9 and float(guessed["value"]) < 0.2
    assert float(known["p_adjusted"]) < 0.001 and guessed["p_value"] == ""
    assert float(known["delta"]) == float(known["value"]) - float(guessed["value"])
    likes = [float(rows[name, "0.6", "rouge_l"]["value"]) for name in ("unseen", "seen")]
    assert 0 < likes[0] < likes[1]


def test_a_model_that_did_not_is_not(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert probe(here, "clean", "--later", "unseen") == 0
    assert "clean on seen: went on word for word in 0 of 12 from 40 %, 0 of 12 from 60 %" in (
        said := capsys.readouterr().out
    )
    assert "not told apart from unseen" in said and "sign" not in said
    assert all(float(row["p_adjusted"] or 1) > 0.05 for row in rows_of(here, "clean").values())


def test_again_it_draws_nothing_and_writes_the_same(here: Path) -> None:
    files = ("report.md", "probe.csv", "probe.json", "per_problem.csv")
    assert probe(here, "clean", "--later", "unseen") == 0
    before = {name: (here / "reports/clean" / name).read_bytes() for name in files}
    runs = {path: path.stat().st_mtime_ns for path in (here / "runs").rglob("samples*")}
    assert probe(here, "clean", "--later", "unseen") == 0
    assert before == {name: (here / "reports/clean" / name).read_bytes() for name in files}
    assert runs == {path: path.stat().st_mtime_ns for path in (here / "runs").rglob("samples*")}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--later", "aime"], "'aime' is not among the benchmarks: give one of 'seen', 'unseen'"),
        (["--share", "40"], "a share cannot be 40: give some between 0 and 1"),
    ],
)
def test_what_cannot_be_probed_is_one_sentence(
    here: Path, capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    assert probe(here, "clean", *words) == 2
    said = capsys.readouterr().err
    assert message in said and "Traceback" not in said


# --- the pieces -------------------------------------------------------------------------------------


def asked(*texts: str) -> list[Problem]:
    return [
        make_problem(benchmark="b", source_id=str(i), prompt=text, answer="1") for i, text in enumerate(texts)
    ]


def test_a_text_is_cut_after_a_word_and_nothing_is_lost() -> None:
    assert split_at("one  two\nthree four five", 0.4) == ("one  two", "\nthree four five")
    for share in (0.01, 0.5, 0.99):
        first, rest = split_at("a b", share)
        assert (first, rest) == ("a", " b")


def test_short_ones_and_those_that_begin_alike_are_left_out_and_counted() -> None:
    same = ("Let x be a number with one digit.", "Let x be a number  with two digits.")
    found = partial_of(asked("too short", "$ $ $ $ $ $ $", *same, "Find all y that are more than two."), 0.5)
    assert [problem.source_id for problem in found.problems] == ["4"]
    assert (found.n_short, found.n_alike) == (2, 2)
    (problem,) = found.problems
    assert (problem.prompt, problem.answer, problem.benchmark) == (
        "Find all y that",
        "are more than two.",
        "b_first50",
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (" are more\nthan two. So y", True),
        ("are more than two.", True),
        ("are more than two", False),
        ("are more than two.5", False),
        ("Are more than two.", False),
        ("", False),
    ],
)
def test_an_exact_match_is_word_for_word(text: str, expected: bool) -> None:
    assert begins_with(text, "are more than two.") is expected


def test_what_comes_after_the_rest_lowers_nothing() -> None:
    assert likeness("are more than two. Answer: 3, because", "are more than two.") == 1.0
    assert likeness("", "are more than two.") == 0.0
