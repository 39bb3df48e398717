import hashlib
import random
import unicodedata
from dataclasses import replace
from decimal import Decimal

import pytest

from opo_eval.problems import dataset_sha256, make_problem, normalise_text, row_digest
from opo_eval.problems.identity import answer_digest, answer_text


def sample_problems():
    texts = ["What is $1+1$?", "Is  \\(x\\)\n\nreal?", "Où est l'été?", "{braces} {0}"]
    return [
        make_problem(benchmark="b", source_id=str(i), prompt=text, answer=str(i))
        for i, text in enumerate(texts)
    ]


def test_normalised_text_is_composed_with_single_spaces():
    assert normalise_text(" a\t\tb\r\n\N{NO-BREAK SPACE}c \n") == "a b c"
    decomposed = unicodedata.normalize("NFD", "Où est l'été?")
    assert decomposed != "Où est l'été?" and normalise_text(decomposed) == "Où est l'été?"
    assert normalise_text("ab") != normalise_text("a b")


def test_an_id_is_a_hash_of_benchmark_and_normalised_text():
    problem = make_problem(
        benchmark="exam", source_id="q1", prompt="  What\n is it?\n", answer=" 4 ", tags={"l": "1"}
    )
    assert problem.id == hashlib.sha256(b"exam\nWhat is it?").hexdigest()[:16]
    assert (problem.prompt, problem.answer, problem.tags) == ("What\n is it?", "4", {"l": "1"})
    other = make_problem(benchmark="other", source_id="q1", prompt="What is it?", answer="4")
    assert other.id != problem.id and other.tags == {}


def test_the_dataset_digest_is_of_the_canonical_form():
    def sha(text):
        return hashlib.sha256(text.encode()).hexdigest()

    normalised = ["What is $1+1$?", "Is \\(x\\) real?", "Où est l'été?", "{braces} {0}"]
    lines = [f"{sha(text)} {sha(str(i))}\n" for i, text in enumerate(normalised)]
    assert dataset_sha256(sample_problems()) == sha("".join(sorted(lines)))


def test_the_dataset_digest_ignores_order_ids_tags_and_white_space():
    problems = sample_problems()
    expected = dataset_sha256(problems)
    random.Random(0).shuffle(problems)
    assert dataset_sha256(problems) == expected
    assert (
        dataset_sha256([replace(p, source_id="x", tags={"a": "b"}, benchmark="c") for p in problems])
        == expected
    )
    assert (
        dataset_sha256([replace(p, prompt=f"\n{p.prompt.replace(' ', '  ')} ") for p in problems]) == expected
    )


def test_the_dataset_digest_sees_every_edit():
    problems = sample_problems()
    variants = [
        problems,
        problems[1:],
        [*problems, problems[0]],
        [replace(problems[0], answer="7"), *problems[1:]],
        [replace(problems[0], prompt=problems[0].prompt + " (2)"), *problems[1:]],
        [
            replace(problems[0], answer=problems[1].answer),
            replace(problems[1], answer=problems[0].answer),
            *problems[2:],
        ],
    ]
    assert len({dataset_sha256(variant) for variant in variants}) == len(variants)


def test_row_digests_are_the_beginnings_of_both_hashes():
    digest = row_digest(sample_problems()[1])
    assert digest.problem == hashlib.sha256(b"Is \\(x\\) real?").hexdigest()[:16]
    assert digest.answer == hashlib.sha256(b"1").hexdigest()[:16] == answer_digest(" 1\n")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (4, "4"),
        (4.0, "4.0"),
        (0.1, "0.1"),
        (Decimal("4.00"), "4.00"),
        (" \\frac12 ", "\\frac12"),
        (3**50, str(3**50)),
    ],
)
def test_golds_keep_the_form_of_their_file(value, text):
    assert answer_text(value) == text


@pytest.mark.parametrize("value", [None, "", " \n", True, [1], {"a": 1}, b"4"])
def test_what_is_no_gold(value):
    assert answer_text(value) is None
