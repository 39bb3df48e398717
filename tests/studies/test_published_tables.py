"""The published tables as counts: against enumeration, simulation, real generations, and as committed."""

import dataclasses
import gzip
import json
from collections import defaultdict
from decimal import ROUND_DOWN, ROUND_HALF_EVEN, ROUND_HALF_UP, Decimal
from fractions import Fraction
from itertools import pairwise
from math import comb
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from studies.scripts import study

from opo_eval.errors import InputError
from opo_eval.metrics import pass_at_k_curve
from opo_eval.stats import holm

ROOT = Path(__file__).resolve().parents[2]
REPORT = ROOT / "reports/published_tables"


numbers, page, tables = study("paper_numbers"), study("published_page"), study("published_tables")
ALL_ROWS = [row for table in (1, 2) for row in numbers.rows(table)]


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def row_of(wrong: np.ndarray, *, benchmark: str = "AIME 2024", checkpoints: int = 5) -> Any:
    """The row that would be printed for these numbers of wrong samples: [problems × checkpoints]."""
    n = numbers.SAMPLES[benchmark]
    ks = [2**i for i in range(n.bit_length())]
    printed = tuple(f"{100 * share:.2f}" for share in shares(n, wrong, ks))
    return numbers.Row(
        table=1, benchmark=benchmark, method="simulated", printed=printed, checkpoints=checkpoints
    )


def shares(n: int, wrong: np.ndarray, ks: list[int]) -> np.ndarray:
    """Mean pass@k over the last axis of [..., units]: [..., ks]."""
    return pass_at_k_curve(n, n - wrong).mean(axis=-2)[..., np.array(ks) - 1]


def drawn_wrong(chances: np.ndarray, n: int, seed: int) -> np.ndarray:
    return rng(seed).binomial(n, chances)


def unit_variances(n: int, k: int, wrong: np.ndarray) -> np.ndarray:
    """Unbiased estimates of Var v_k by unit, in exact arithmetic until the end."""
    return np.array(
        [
            float(Fraction(comb(w, k), comb(n, k)) ** 2 - Fraction(comb(w, 2 * k), comb(n, 2 * k)))
            for w in wrong
        ]
    )


# --- counts -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cell", "denominator", "expected"),
    [
        ("68.50", 2400, {1644: "either"}),
        ("67.96", 2400, {1631: "rounded"}),
        ("66.04", 480, {317: "either"}),
        ("38.37", 2400, {921: "truncated"}),  # 38.375
        ("62.66", 150, {94: "truncated"}),  # 62.667
        ("66.67", 150, {100: "rounded"}),
        ("62.67", 150, {94: "rounded"}),
        ("62.65", 150, {}),
        ("100.00", 150, {150: "either"}),
    ],
)
def test_counts_behind_a_cell(cell: str, denominator: int, expected: dict[int, str]) -> None:
    assert dict(numbers.counts_that_print(cell, denominator)) == expected


@pytest.mark.parametrize("denominator", [7, 150, 480, 2400, 3600])
def test_counts_are_those_that_decimal_rounding_prints(denominator: int) -> None:
    printed: dict[str, dict[int, set[str]]] = defaultdict(lambda: defaultdict(set))
    rules = {ROUND_HALF_UP: "rounded", ROUND_HALF_EVEN: "rounded", ROUND_DOWN: "truncated"}
    for count in range(denominator + 1):
        for rounding, how in rules.items():
            cell = (Decimal(100 * count) / denominator).quantize(Decimal("0.01"), rounding)
            printed[str(cell)][count].add(how)
    for hundredths in range(0, 10_001, 7):
        cell = f"{hundredths / 100:.2f}"
        found = numbers.counts_that_print(cell, denominator)
        words = {count: "either" if len(how) == 2 else min(how) for count, how in printed[cell].items()}
        assert dict(found) == words, cell


def test_what_a_cell_that_passes_is_worth() -> None:
    passing = sum(bool(numbers.counts_that_print(f"{cell / 100:.2f}", 150)) for cell in range(10_001))
    assert numbers.chance_to_print(150) == passing / 10_001
    assert all(numbers.counts_that_print(f"{cell / 100:.2f}", 10_000) for cell in range(0, 10_001, 11))
    assert numbers.chance_to_print(4_000) < 1 == numbers.chance_to_print(10_000)


def test_every_published_cell_is_a_count() -> None:
    assert all(row.counts(k) for row, k in numbers.every_cell())
    assert sum(1 for _ in numbers.every_cell()) == 70


def test_only_multiples_of_five_checkpoints_fit_the_trained_arms() -> None:
    passing = page.passing_by_checkpoints()
    assert [number for number, cells in passing.items() if cells == passing[5]] == [5, 10]
    assert passing[5] == len(page.trained_aime_cells()) == 16


# --- rows -------------------------------------------------------------------------------------------


def test_a_histogram_prints_as_its_row_and_no_neighbour_does() -> None:
    row = next(row for row in ALL_ROWS if row.benchmark == "AIME 2024" and row.method == "OPO")
    found = [*numbers.histogram(row)]
    assert numbers.prints(found, row)
    filled = next(w for w, count in enumerate(found[:-1]) if count)
    found[filled], found[filled + 1] = found[filled] - 1, found[filled + 1] + 1
    assert not numbers.prints(found, row)  # one sample fewer is another count of pass@1


@pytest.mark.parametrize("benchmark", ["MATH-500", "AIME 2025"])
def test_a_row_of_real_counts_has_a_histogram_and_a_bent_one_has_none(benchmark: str) -> None:
    problems, n = numbers.PROBLEMS[benchmark], numbers.SAMPLES[benchmark]
    wrong = drawn_wrong(rng(1).beta(0.4, 0.8, size=problems * 5), n, 2)
    row = row_of(wrong, benchmark=benchmark)
    assert numbers.prints(np.bincount(wrong, minlength=n + 1).tolist(), row)
    assert numbers.prints(numbers.histogram(row), row)
    assert all(
        ends.low - 1e-9 <= row.share(k) <= ends.high + 1e-9
        for k in row.cells
        for ends in [numbers.reachable(row, k)]
    )
    outside = f"{100 * numbers.reachable(row, 2).high + 0.05:.2f}"
    bent = dataclasses.replace(row, printed=(row.printed[0], outside, *row.printed[2:]))
    with pytest.raises(InputError, match=r"no counts print as simulated"):
        numbers.histogram(bent)


def test_a_cell_without_a_count_is_refused() -> None:
    row = numbers.Row(table=1, benchmark="AIME 2024", method="x", printed=("50.01",), checkpoints=1)
    with pytest.raises(InputError, match=r"50\.01 % is no count of 480"):
        row.share(1)


# --- variance ---------------------------------------------------------------------------------------


def test_pass_at_2_minus_pass_at_1_is_the_variance_of_pass_at_1() -> None:
    for n in (2, 5, 8, 16):
        correct = np.arange(n + 1)
        within = correct * (n - correct) / (n * (n - 1))  # unbiased for p (1 - p)
        first, second = pass_at_k_curve(n, correct)[:, :2].T
        assert second - first == pytest.approx(within, abs=1e-15)
        assert unit_variances(n, 1, n - correct) == pytest.approx(within / n, abs=1e-15)


@pytest.mark.parametrize(("n", "k"), [(2, 1), (6, 1), (6, 2), (6, 3), (8, 4), (16, 8)])
def test_the_estimate_of_a_units_variance_is_unbiased(n: int, k: int) -> None:
    for wrong_chance in (Fraction(0), Fraction(1, 7), Fraction(1, 2), Fraction(9, 10), Fraction(1)):
        chances = [comb(n, w) * wrong_chance**w * (1 - wrong_chance) ** (n - w) for w in range(n + 1)]
        v = [Fraction(comb(w, k), comb(n, k)) for w in range(n + 1)]
        v_twice = [Fraction(comb(w, 2 * k), comb(n, 2 * k)) for w in range(n + 1)]
        mean = sum(c * x for c, x in zip(chances, v, strict=True))
        true = sum(c * x * x for c, x in zip(chances, v, strict=True)) - mean**2
        assert sum(c * (x * x - y) for c, x, y in zip(chances, v, v_twice, strict=True)) == true


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("benchmark", ["MATH-500", "AIME 2024"])
def test_the_bounds_from_a_printed_row_hold_what_the_counts_say(benchmark: str, seed: int) -> None:
    problems, n = numbers.PROBLEMS[benchmark], numbers.SAMPLES[benchmark]
    wrong = drawn_wrong(rng(seed).beta(0.3 + 0.2 * seed, 0.6, size=problems * 5), n, seed)
    row = row_of(wrong, benchmark=benchmark)
    for k in (2**i for i in range((n // 2).bit_length())):
        low, high = numbers.sampling_variance(row, k)
        from_counts = unit_variances(n, k, wrong).mean() / row.units
        assert low * (1 - 1e-6) <= from_counts <= high * (1 + 1e-6)
        assert k > 1 or high < 1.03 * low  # fixed but for the printed digits


def test_the_bounds_hold_the_spread_of_evaluations_made_again() -> None:
    chances, n, again = rng(3).beta(0.5, 0.7, size=150), 16, 3000
    spread = drawn_wrong(np.broadcast_to(chances, (again, 150)), n, 4)
    rows = [row_of(wrong) for wrong in spread[:12]]
    for k in (1, 2, 4, 8, 16):
        made_again = shares(n, spread, [k]).var()
        lows, highs = np.mean([numbers.sampling_variance(row, k) for row in rows], axis=0)
        assert 0.93 * lows <= made_again <= 1.07 * highs


def test_any_correct_bounds_hold_for_every_distribution_of_problems() -> None:
    generator = rng(5)
    for a, b, n in zip(
        generator.uniform(0.02, 3, 300), generator.uniform(0.02, 3, 300), [8, 16] * 150, strict=True
    ):
        wrong_chance = generator.beta(a, b, size=generator.integers(1, 40))
        shares = [1 - (wrong_chance**k).mean() for k in (n // 4, n // 2, n)]
        low, high = numbers.any_correct_variance(*shares)
        true = (wrong_chance**n - wrong_chance ** (2 * n)).mean()
        assert low - 1e-12 <= true <= high + 1e-12


def test_any_correct_bounds_are_reached() -> None:
    one = 0.8  # every problem alike: Jensen's inequality is an equality
    low, _ = numbers.any_correct_variance(*(1 - one**k for k in (4, 8, 16)))
    assert low == pytest.approx(one**16 - one**32)
    nearly = 0.9999  # y near 2, where chord and function meet
    _, high = numbers.any_correct_variance(*(1 - nearly**k for k in (4, 8, 16)))
    assert high == pytest.approx(nearly**16 - nearly**32, rel=0.02)


def test_the_spread_over_problems_is_unbiased() -> None:
    generator, found = rng(6), defaultdict(list)
    for seed in range(60):
        wrong_chance = np.repeat(generator.beta(0.6, 0.9, size=30), 5)
        row = row_of(drawn_wrong(wrong_chance, 16, seed))
        for k in (1, 2):
            found[k].append(numbers.problem_variance(row, k))
    population = rng(7).beta(0.6, 0.9, size=400_000)
    for k, variances in found.items():
        error = np.std(variances) / np.sqrt(len(variances))
        assert abs(np.mean(variances) - (population**k).var()) < 3 * error
    with pytest.raises(InputError, match=r"pass@16 over problems takes 32 samples"):
        numbers.problem_variance(ALL_ROWS[-1], 16)


@pytest.fixture(scope="module")
def real_wrong(data_dir: Path) -> np.ndarray:
    """Wrong responses of two checkpoints on AMC 2023, 0/1: [units, 50]."""
    scores = defaultdict(list)
    with gzip.open(data_dir / "rg_llama3b_rl_ckpts/generations.jsonl.gz", "rt") as file:
        for row in map(json.loads, file):
            if row["benchmark"] == "amc23":
                scores[row["checkpoint"], row["problem_id"]].append(1 - int(row["source_score"]))
    return np.array([scores[unit] for unit in sorted(scores)])


def test_real_generations_lie_within_the_bounds_of_their_printed_row(
    real_wrong: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(numbers.PROBLEMS, "AMC 2023", 40)
    monkeypatch.setitem(numbers.SAMPLES, "AMC 2023", 16)
    for start in (0, 16, 32):
        wrong = real_wrong[:, start : start + 16].sum(axis=1)
        row = row_of(wrong, benchmark="AMC 2023", checkpoints=2)
        for k in (1, 2, 4, 8):
            low, high = numbers.sampling_variance(row, k)
            assert low * (1 - 1e-6) <= unit_variances(16, k, wrong).mean() / 80 <= high * (1 + 1e-6)


def test_real_generations_lie_within_the_any_correct_bounds(real_wrong: np.ndarray) -> None:
    correct = (1 - real_wrong).sum(axis=1)  # of 50: enough for pass@32 without bias
    quarter, half, whole, twice = shares(50, 50 - correct, [4, 8, 16, 32])
    low, high = numbers.any_correct_variance(quarter, half, whole)
    assert low < twice - whole < high


# --- differences ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def findings() -> list[Any]:
    return [finding for table in (1, 2) for finding in numbers.family(table)]


def found_one(findings: list[Any], *names: str, k: int) -> Any:
    return next(f for f in findings if f.contrast.names == names and f.contrast.k == k)


def test_a_difference_by_hand(findings: list[Any]) -> None:
    one = found_one(findings, "GRPO", "OPO", "AIME 2024", k=1).contrast
    assert one.difference == pytest.approx(100 * 13 / 2400)
    by_hand = 100 * np.sqrt((0.7554 - 1631 / 2400 + 0.7610 - 1644 / 2400) / 2400)
    assert one.error.low <= by_hand * 1.002 and by_hand * 0.998 <= one.error.high
    assert one.error.high < 1.005 * one.error.low


def test_thresholds_are_where_significance_ends(findings: list[Any]) -> None:
    for one in page.contrasts(findings):
        if one.has_spreads and -1 < one.least_correlation() <= 1:
            error = one.error_like_these(one.least_correlation())
            assert abs(one.difference) / error == pytest.approx(numbers.Z)
        if one.erasing_seed_sd():
            error = np.hypot(one.error.high, np.sqrt(2) * one.erasing_seed_sd())
            assert abs(one.difference) / error == pytest.approx(numbers.Z)
        else:
            assert one.z.low <= numbers.Z


def test_problems_and_runs_needed_are_the_fewest_that_reach_the_power(findings: list[Any]) -> None:
    one = found_one(findings, "Off-Policy", "On-Policy", "MATH-500", k=1).contrast
    problems, runs = one.problems_needed(0.9), one.runs_needed(1.0)
    for enough, needed, error in (
        (problems, 500, one.error_like_these(0.9)),
        (runs, 1, np.hypot(one.error.high, np.sqrt(2))),
    ):
        reached, missed = (numbers.Z_POWER * error * np.sqrt(needed / m) for m in (enough, enough - 1))
        assert reached <= one.difference < missed
    tied = found_one(findings, "SFT", "GRPO", "AIME 2024", k=16).contrast
    assert tied.difference == 0 and tied.runs_needed(1.0) == float("inf")


def test_adjusting_the_ends_bounds_every_adjusted_p_value(findings: list[Any]) -> None:
    family = findings[:14]
    ends = np.array([finding.contrast.p_value for finding in family])
    for seed in range(50):
        between = holm(rng(seed).uniform(ends[:, 0], ends[:, 1]))
        assert all(f.adjusted.low <= p <= f.adjusted.high for f, p in zip(family, between, strict=True))


def test_what_can_be_told_apart(findings: list[Any]) -> None:
    told = [(*one.names, one.k) for one in page.with_verdict(findings, numbers.Verdict.TOLD_APART)]
    assert told == [("Off-Policy", "On-Policy", "MATH-500", k) for k in (1, 2)]
    opened = [(*one.names, one.k) for one in page.with_verdict(findings, numbers.Verdict.OPEN)]
    assert opened == [("GRPO", "OPO", "MATH-500", k) for k in (2, 4)]


def test_the_cells_in_which_the_headline_does_not_hold(findings: list[Any]) -> None:
    lower = {(*one.names, one.k) for one in page.contrasts(findings) if one.difference < 0}
    assert {names for names in lower if names[:2] != ("SFT", "GRPO")} == {
        ("Off-Policy", "On-Policy", "MATH-500", 8),
        ("Off-Policy", "On-Policy", "AIME 2025", 8),
        ("Off-Policy", "On-Policy", "AIME 2025", 16),
        *(("GRPO", "OPO", "AIME 2025", k) for k in (1, 2, 4)),
        ("SFT", "OPO", "AIME 2024", 4),
    }


def test_the_correlation_of_true_shares_is_found_under_sampling_noise() -> None:
    generator = rng(8)
    a, noise = generator.uniform(0.2, 0.8, size=(2, 4000))
    b = 0.6 * a + 0.4 * noise
    drawn = [(generator.random((4000, 12)) < chance[:, None]).astype(float) for chance in (a, b)]
    true = np.corrcoef(a, b)[0, 1]
    observed = np.corrcoef(*(scores.mean(axis=1) for scores in drawn))[0, 1]
    assert abs(tables._true_correlation(*drawn) - true) < 0.03 < true - observed


# --- report -----------------------------------------------------------------------------------------


def test_the_report_is_built_again_byte_by_byte(data_dir: Path) -> None:
    first, second = tables.build(data_dir), tables.build(data_dir)
    assert first == second
    assert first["differences.png"].startswith(b"\x89PNG")
    for name in ("README.md", "cells.csv", "differences.csv"):
        assert first[name] == (REPORT / name).read_bytes(), f"{name} is not as committed: run the study"


def test_every_line_of_a_table_has_the_cells_of_its_header() -> None:
    lines = (REPORT / "README.md").read_text().splitlines()
    for above, below in pairwise(lines):
        if above.startswith("|") and below.startswith("|"):
            assert above.count("|") == below.count("|"), below
    assert not any("nan" in line or "inf" in line.split() for line in lines)
