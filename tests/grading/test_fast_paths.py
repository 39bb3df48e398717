"""Fast paths never change a verdict: each is compared with math-verify's on the same pair."""

import random
import re
from collections import Counter
from collections.abc import Iterator
from itertools import product

import pytest

from opo_eval.grading import Grader, worker
from opo_eval.grading.grader import fast_verdict
from opo_eval.records import Reason, Verdict

FAST_REASONS = {Reason.EQUAL_TEXT, Reason.EQUAL_INTEGER, Reason.DIFFERENT_INTEGER}
DECIMALS = ["0", "-0", "0.0", "-0.0", "4", "4.0", "4.00", "04.0", "-4.0", "4.0001", "4.0002", "3.9999"]
DECIMALS += [
    "0.25",
    "0.250",
    "0.333333",
    "0.3334",
    "12.5",
    "-12.5",
    "125",
    "1000.0",
    "33.0",
    "2023.0",
    "100.10",
]
DECIMALS += ["999999999", "999999999.999999", "999999999.9998", "123456789.123456", "0.000001", "-0.000001"]
SPELLINGS = ["0", "-0", "00", "7", "07", "-7", "-07", "10", "1000", "9" * 18, "-" + "9" * 18, "1" + "0" * 17]
UNDECIDED = {
    "decimals that differ by little": ("7.0", "7.0001"),
    "decimals that differ by less": ("7.0", "7.000001"),
    "many decimals": ("7", "7.0000000"),
    "a decimal in another way": ("0.5", ".5"),
    "comma": ("7.5", "7,5"),
    "plus": ("7", "+7"),
    "assignment": ("7", "x=7"),
    "unit": ("7", "7 cm"),
    "separator": ("1000", "1,000"),
    "another alphabet": ("7", "\N{ARABIC-INDIC DIGIT SEVEN}"),
    "two lines": ("7", "7\n8"),
    "long": ("9" * 19, "9" * 19 + "0"),
    "fraction": ("7", r"\frac{14}{2}"),
    "space": ("-7", "- 7"),
    "two signs": ("7", "--7"),
}


@pytest.fixture(scope="module")
def fast() -> Iterator[Grader]:
    with Grader(think="none", timeout_s=30.0, lenient=False) as grader:
        yield grader


def test_all_integers_of_the_benchmarks_against_each_other(benchmark_golds: list[str]) -> None:
    integers = sorted({gold for gold in benchmark_golds if re.fullmatch(r"-?\d+", gold)})
    assert len(integers) > 150
    parsed = {integer: worker._parse_wrapped(integer) for integer in [*integers, *SPELLINGS]}
    for gold, answer in product(parsed, repeat=2):
        verdict, reason = fast_verdict(gold, answer)
        assert reason in FAST_REASONS
        assert worker._verify(parsed[gold], parsed[answer]) == (verdict is Verdict.CORRECT), (gold, answer)


def test_decimals_against_each_other() -> None:
    parsed = {decimal: worker._parse_wrapped(decimal) for decimal in DECIMALS}
    verdicts = Counter()
    for gold, answer in product(parsed, repeat=2):
        verdict, _ = fast_verdict(gold, answer) or (None, None)
        verdicts[verdict] += 1
        if verdict is not None:
            accepted = worker._verify(parsed[gold], parsed[answer])
            assert accepted == (verdict is Verdict.CORRECT), (gold, answer)
    assert verdicts[Verdict.CORRECT] > len(DECIMALS)
    assert verdicts[Verdict.WRONG] > verdicts[None] > 0


def test_decimals_at_random() -> None:
    rng = random.Random(7)
    for _ in range(400):
        gold, answer = (f"{rng.uniform(-20, 20):.{rng.randint(1, 6)}f}" for _ in range(2))
        near = f"{float(gold) + rng.choice((-1, 1)) * 10 ** -rng.uniform(2, 5):.6f}"
        for other in (answer, near, f"{float(gold):.6f}"):
            decided = fast_verdict(gold, other)
            accepted = worker._verify(worker._parse_wrapped(gold), worker._parse_wrapped(other))
            assert decided is None or accepted == (decided[0] is Verdict.CORRECT), (gold, other)


@pytest.mark.parametrize("gold, answer", UNDECIDED.values(), ids=UNDECIDED)
def test_what_is_neither_equal_nor_two_integers_is_left_to_math_verify(gold: str, answer: str) -> None:
    assert fast_verdict(gold, answer) is None


# What math-verify says of all golds takes a while: whatever asks for it is in this file.


def test_all_560_benchmark_golds_are_accepted(
    benchmark_golds: list[str], accepted_golds: dict[str, bool]
) -> None:
    assert len(benchmark_golds) == 560
    assert [gold for gold in benchmark_golds if not accepted_golds[gold]] == []


def test_all_training_golds_are_accepted(training_golds: list[str], accepted_golds: dict[str, bool]) -> None:
    assert len(training_golds) > 2900
    assert [gold for gold in training_golds if not accepted_golds[gold]] == []


def test_equal_text_is_what_math_verify_accepted_of_the_gold(accepted_golds: dict[str, bool]) -> None:
    for gold, is_accepted in accepted_golds.items():
        verdict, reason = fast_verdict(gold, gold.strip())
        assert reason is Reason.EQUAL_TEXT
        assert is_accepted == (verdict is Verdict.CORRECT), gold


def test_benchmark_golds_against_themselves(
    benchmark_golds: list[str], fast: Grader, slow_path: Grader
) -> None:
    pairs = [(gold, gold) for gold in benchmark_golds]
    assert set(same_verdicts(pairs, fast, slow_path).values()) == {Verdict.CORRECT}


def test_golds_against_other_golds(accepted_golds: dict[str, bool], fast: Grader, slow_path: Grader) -> None:
    rng = random.Random(20260722)
    golds = sorted(accepted_golds)
    pairs = [(rng.choice(golds), rng.choice(golds)) for _ in range(200)]
    assert Verdict.WRONG in same_verdicts(pairs, fast, slow_path).values()


def same_verdicts(pairs: list[tuple[str, str]], fast: Grader, slow: Grader) -> dict:
    """The verdicts that both give, having checked that only one of them takes the fast paths."""
    items = [(pair, pair[0], rf"\boxed{{{pair[1]}}}") for pair in pairs]
    graded, expected = dict(fast.grade(items)), dict(slow.grade(items))
    assert any(outcome.reason in FAST_REASONS for outcome in graded.values())
    assert not any(outcome.reason in FAST_REASONS for outcome in expected.values())
    verdicts = {pair: outcome.verdict for pair, outcome in graded.items()}
    assert verdicts == {pair: outcome.verdict for pair, outcome in expected.items()}
    return verdicts
