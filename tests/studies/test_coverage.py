"""The study of coverage: its populations and other methods against outside answers, its own cells in small,
and the committed report.
"""

import importlib.util
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats as scipy_stats

from opo_eval.metrics.core import sums
from opo_eval.stats import bootstrap

ROOT = Path(__file__).resolve().parents[2]
REPORT = ROOT / "reports/coverage"


def study(name: str) -> Any:
    """A script of benchmarks/studies as a module; scripts there find one another as when they are run."""
    folder = ROOT / "benchmarks/studies"
    sys.path.insert(0, str(folder))
    try:
        if name != "coverage":
            return importlib.import_module(name)
        # Not by its name, which is that of a well-known package as well.
        spec = importlib.util.spec_from_file_location("study_of_coverage", folder / "coverage.py")
        assert spec and spec.loader
        module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module
    finally:
        sys.path.remove(str(folder))


populations, other, simulated, coverage = map(
    study, ("populations", "other_methods", "simulated", "coverage")
)
KS = (1, 4, 8)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.fixture(scope="module")
def responses(data_dir: Path) -> list[Any]:
    """Those of step 400 and of step 800."""
    return [*populations.real_responses(data_dir).values()]


def figure(figures: list, **named: object) -> Any:
    """The one with these fields."""
    (found,) = [f for f in figures if all(getattr(f, k) == v for k, v in named.items())]
    return found


# --- populations ------------------------------------------------------------------------------------


@pytest.mark.parametrize("population", [populations.AIME, populations.MATH, populations.NEARLY_SOLVED])
def test_pass_at_k_of_a_population_is_the_mean_of_its_problems(population: Any) -> None:
    p = population.draw((400_000,), rng())
    simulated_means = [np.mean(1 - (1 - p) ** k) for k in KS]
    assert population.pass_at(KS) == pytest.approx(simulated_means, abs=0.003)


def test_the_populations_are_what_the_report_says_of_them() -> None:
    assert populations.AIME.pass_at([1])[0] == pytest.approx(0.28)
    assert populations.MATH.pass_at([1, 8]) == pytest.approx([0.94, 0.982], abs=1e-4)
    logits = populations.GAINING.mean + populations.GAINING.sd * rng().standard_normal(400_000)
    shares = [np.mean(1 / (1 + np.exp(-logits - shift))) for shift in (0, 0.45)]
    assert shares == pytest.approx([0.335, 0.396], abs=0.002)


@pytest.mark.parametrize("name", ["SAME", "EXCHANGEABLE", "LOPSIDED", "BETTER", "BETTER_UNEVENLY", "GAINING"])
def test_a_pairs_difference_is_that_of_its_problems(name: str) -> None:
    pair = getattr(populations, name)
    a, b = pair.draw((400_000,), rng(1))
    found = [np.mean((1 - a) ** k - (1 - b) ** k) for k in KS]
    assert pair.differences(KS) == pytest.approx(found, abs=0.002)
    assert a.min() >= 0 and b.max() <= 1


@pytest.mark.parametrize("name", ["SAME", "EXCHANGEABLE", "LOPSIDED"])
def test_a_null_is_one(name: str) -> None:
    assert getattr(populations, name).differences([1])[0] == pytest.approx(0, abs=1e-9)


def test_exchangeable_chances_could_as_well_have_come_the_other_way_round() -> None:
    a, b = populations.EXCHANGEABLE.draw((200_000,), rng(2))
    assert scipy_stats.skew(b - a) == pytest.approx(0, abs=0.05)
    lopsided = np.subtract(*populations.LOPSIDED.draw((200_000,), rng(2))[::-1])
    assert scipy_stats.skew(lopsided) < -1


def test_training_runs_differ_as_the_report_says() -> None:
    trained = populations.BETTER_METHOD
    a, b = trained.draw(20, (100, 400), rng(3))
    assert trained.differences(KS) == pytest.approx(
        [np.mean((1 - a) ** k - (1 - b) ** k) for k in KS], abs=0.006
    )
    over_problems = a.mean(axis=2)  # of 400 problems: [runs, simulations]
    own = trained.run_noise**2 / 400 / 9  # next to nothing
    assert over_problems.std(axis=0).mean() == pytest.approx(np.hypot(trained.seed_sd(), own), rel=0.1)


def test_real_responses_are_drawn_as_they_are(responses: list[Any]) -> None:
    early, late = responses
    assert early.counts.shape == late.counts.shape == (70, 50, 2)
    totals = early.counts.sum(axis=(0, 1))
    assert early.value() == pytest.approx(totals[0] / totals[1])
    chosen = rng(4).integers(70, size=(3, 5))
    drawn = early.draw(chosen, 2000, rng(5))
    by_draws = drawn[..., 0].sum(axis=(1, 2)) / drawn[..., 1].sum(axis=(1, 2))
    assert early.value(chosen) == pytest.approx(by_draws, rel=0.05)


# --- methods that are compared ----------------------------------------------------------------------


def test_resampled_samples_are_drawn_problem_by_problem() -> None:
    draws, n = rng(6), 4
    correct = np.array([0, 1, 1, 3, 4])
    counts = other.resampled_samples(correct, n, 40_000, draws)
    one_by_one = draws.binomial(n, correct / n, size=(40_000, 5))
    expected = [(one_by_one == c).sum(axis=1) for c in range(n + 1)]
    np.testing.assert_allclose(counts.mean(axis=0), np.mean(expected, axis=1), atol=0.03)
    np.testing.assert_allclose(counts.var(axis=0), np.var(expected, axis=1), atol=0.03)


def test_the_two_level_bootstrap_draws_problems_first() -> None:
    draws, n = rng(7), 4
    correct = np.array([0, 1, 1, 3, 4])
    counts = other.resampled_problems_and_samples(correct, n, 40_000, draws)
    chosen = correct[draws.integers(5, size=(40_000, 5))]
    one_by_one = draws.binomial(n, chosen / n)
    expected = [(one_by_one == c).sum(axis=1) for c in range(n + 1)]
    np.testing.assert_allclose(counts.mean(axis=0), np.mean(expected, axis=1), atol=0.03)
    np.testing.assert_allclose(counts.var(axis=0), np.var(expected, axis=1), atol=0.04)


def test_the_other_tests_are_scipys() -> None:
    a, b = rng(8).uniform(size=(2, 30))
    assert other.paired_t(a, b) == pytest.approx(scipy_stats.ttest_rel(b, a).pvalue * 1, rel=1e-9)
    z = (b.mean() - a.mean()) / np.sqrt((a.var(ddof=1) + b.var(ddof=1)) / 30)
    assert other.unpaired_z(a, b) == pytest.approx(2 * scipy_stats.norm.sf(abs(z)))
    right = [x < 0.4 for x in (a, b)]
    gained, lost = (right[1] & ~right[0]).sum(), (right[0] & ~right[1]).sum()
    exact = scipy_stats.binomtest(int(gained), int(gained + lost)).pvalue
    assert other.mcnemar(*right) == pytest.approx(exact)
    assert other.mcnemar(right[0], right[0]) == 1 and other.paired_t(a, a) == 1


def test_sums_of_many_runs_are_those_of_the_metric() -> None:
    drawn = rng(9).integers(1, 50, size=(3, 4, 6, 2)).astype(float)
    pairs, spreads = simulated.sums_of(drawn)
    for run in range(3):
        for problem in range(4):
            value = sums(drawn[run, problem, :, 0], drawn[run, problem, :, 1])
            assert pairs[run, :, problem].tolist() == list(value[:2])
            assert spreads[run, :, problem] == pytest.approx(value.spread)


# --- cells, small -----------------------------------------------------------------------------------

SMALL, LARGE = simulated.Cell(30, 16, 150), simulated.Cell(500, 8, 100)


def test_intervals_of_values_cover() -> None:
    for found in simulated.values(populations.AIME, SMALL):
        assert 0.89 <= found.share <= 0.999
        assert found.share + found.above + found.below == pytest.approx(1, abs=0.01)
        assert found.simulations == 150


def test_intervals_of_a_ratio_of_real_responses_cover(responses: list[Any]) -> None:
    for found in simulated.repetition(responses[0], SMALL):
        assert 0.88 <= found.share <= 0.99


def test_a_share_near_its_bound_is_covered_by_the_problem_that_is_added() -> None:
    cell = simulated.Cell(30, 16, 300)
    ours = figure(
        simulated.values(populations.NEARLY_SOLVED, cell), metric="pass@8", question=simulated.LIKE_THESE
    )
    plain = figure(simulated.plain_values(populations.NEARLY_SOLVED, cell), metric="pass@8")
    assert ours.share > 0.95 and plain.share < 0.92


def test_resampling_samples_covers_too_little() -> None:
    found = simulated.rejected(populations.AIME, LARGE)
    within = figure(found, metric="pass@4", method=simulated.WITHIN)
    two_level = figure(found, metric="pass@4", method=simulated.TWO_LEVEL)
    assert within.share < 0.1 and two_level.share < 0.8


def test_intervals_of_differences_cover() -> None:
    for found in simulated.differences(populations.BETTER_UNEVENLY, simulated.Cell(30, 8, 150)):
        assert 0.86 <= found.share <= 0.999


def test_tests_keep_their_size_and_pairing_has_power() -> None:
    for null in (populations.SAME, populations.EXCHANGEABLE):
        for found in simulated.decisions(null, SMALL, KS):
            assert found.question == simulated.SIZE and found.share <= 0.1
    power = simulated.decisions(populations.GAINING, SMALL, (1,), others=True)
    assert {found.question for found in power} == {simulated.POWER}
    ours = figure(power, method=simulated.PRODUCT).share
    assert ours > 0.45
    assert figure(power, method="McNemar, first sample").share < ours / 3
    assert figure(power, method="unpaired z, problem means").share < ours / 3


def test_arms_cover_and_keep_their_size() -> None:
    found = simulated.arms(populations.NO_BETTER, 3, SMALL)
    assert all(f.share >= 0.9 for f in found if f.question == simulated.ARMS)
    assert all(f.share <= 0.1 for f in found if f.question == simulated.SIZE)


def test_a_cell_is_simulated_the_same_each_time() -> None:
    cell = simulated.Cell(12, 4, 60)
    assert simulated.values(populations.AIME, cell) == simulated.values(populations.AIME, cell)


# --- the committed report ---------------------------------------------------------------------------

TEXT = (REPORT / "figures.csv").read_text(encoding="utf-8")
FIGURES = coverage.read_figures(TEXT)


def test_the_page_is_what_the_figures_make() -> None:
    assert coverage.csv_text(FIGURES) == TEXT
    assert (REPORT / "README.md").read_text(encoding="utf-8") == coverage.readme(FIGURES)


def test_what_is_required_holds() -> None:
    held = [f for f in FIGURES if coverage.required(f)]
    assert {f.question for f in held} == set(coverage.REQUIRED)
    assert [coverage.where(f) for f in held if not coverage.holds(f)] == []
    assert min(f.simulations for f in held) >= 4000


def test_the_figures_are_those_of_every_cell() -> None:
    """Names and order, by a run of two small simulations each."""
    drawn = rng(10).integers(1, 50, size=(2, 5, 6, 2)).astype(float)
    responses = {
        step: populations.Responses(f"real responses, {step}", own)
        for step, own in zip(("step_400", "step_800"), drawn, strict=True)
    }
    cells = coverage.cells(responses, simulated.Cell(11, 16, 2), simulated.Cell(12, 8, 2))
    again = [found for cell in cells for found in cell()]
    assert [named(f) for f in again] == [named(f) for f in FIGURES]


def named(found: Any) -> tuple[object, ...]:
    return found.question, found.population, found.samples, found.metric, found.method


def test_the_module_quotes_the_figures_as_measured() -> None:
    quoted = re.findall(
        r"^ +(\d+) × (\d+) +([\d.]+) % +([\d.]+) % +([\d.]+) %$", bootstrap.__doc__ or "", re.M
    )
    assert len(quoted) == 2
    for problems, samples, *shares in quoted:
        of = {
            "population": populations.AIME.name,
            "problems": int(problems),
            "samples": int(samples),
            "metric": f"pass@{int(samples) // 2}",
        }
        measured = [
            figure(FIGURES, **of, method=simulated.WITHIN),
            figure(FIGURES, **of, method=simulated.TWO_LEVEL),
            figure(FIGURES, **of, method=simulated.PRODUCT, question=simulated.LIKE_THESE),
        ]
        assert shares == [f"{100 * f.share:.1f}" for f in measured]
