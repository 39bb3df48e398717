"""Populations of problems whose pass@k and Rep-5 are known exactly: what simulations of coverage draw from.

A population says how likely each of its problems is to be solved by one sample, or which responses each of
its problems gets; problems are drawn from it, and samples of each problem.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import special, stats

from opo_eval.metrics.ngrams import ngram_counts
from opo_eval.metrics.tokenizers import tokenize_13a
from opo_eval.tabular import read_rows

Floats = NDArray[np.float64]
Rng = np.random.Generator
GRID = 40_000
"""Points of the quantile function, at which expectations over a Beta distribution are taken."""
NODES = 61
"""Of Gauss-Hermite quadrature, for expectations over normals."""


@dataclass(frozen=True)
class Abilities:
    """Chances of a correct sample that differ between problems as Beta(a, b)."""

    name: str
    a: float
    b: float

    def draw(self, size: tuple[int, ...], rng: Rng) -> Floats:
        """Chances of so many problems."""
        return rng.beta(self.a, self.b, size=size)

    def pass_at(self, ks: Sequence[int]) -> Floats:
        """pass@k over the population: 1 - E[(1 - p)^k] = 1 - B(a, b + k) / B(a, b)."""
        k = np.array(ks)
        return 1 - np.exp(special.betaln(self.a, self.b + k) - special.betaln(self.a, self.b))


AIME = Abilities("AIME-like, Beta(0.35, 0.9)", 0.35, 0.9)
MATH = Abilities("MATH-500-like, Beta(0.539, 0.034)", 0.53876, 0.03439)
"""pass@1 94.0 % and pass@8 98.2 %: MATH-500 in tables 1 and 2 of arXiv 2505.23585v2 has 93.0 to 95.3 and
98.2 to 98.5."""
NEARLY_SOLVED = Abilities("nearly solved, Beta(0.9, 0.35)", 0.9, 0.35)


@dataclass(frozen=True)
class Pair:
    """Two checkpoints on the same problems: `b` differs from `a` in some way that `moved` says.

    `moved` takes chances of `a` and noise of the same shape (standard normal and uniform) and gives both.
    """

    name: str
    base: Abilities
    shift: float = 0.0
    """Logits that every problem gains."""
    noise: float = 0.0
    """Standard deviation, in logits, of what each checkpoint gains or loses on each problem by itself."""
    lopsided: bool = False
    """4 of 5 problems gain p (1 - p) / 4 and the others lose p (1 - p): pass@1 stays what it is."""

    def draw(self, size: tuple[int, ...], rng: Rng) -> tuple[Floats, Floats]:
        """Chances of both checkpoints on so many problems."""
        p, gains = self.base.draw(size, rng), rng.random(size) < 0.8
        return self._moved(p, gains, rng.standard_normal(size), rng.standard_normal(size))

    def differences(self, ks: Sequence[int]) -> Floats:
        """pass@k of `b` minus that of `a`, over the population."""
        p = stats.beta.ppf((np.arange(GRID) + 0.5) / GRID, self.base.a, self.base.b)
        z, weights = np.polynomial.hermite_e.hermegauss(NODES if self.noise else 1)
        found = np.zeros(len(ks))
        for gains, chance in ((True, 0.8), (False, 0.2)):
            a, b = self._moved(p[:, None], np.array(gains), z, z)
            each = [((1 - a) ** k - (1 - b) ** k) @ weights / weights.sum() for k in ks]
            found += chance * np.array(each).mean(axis=1)
        return found

    def _moved(self, p: Floats, gains: NDArray[np.bool_], za: Floats, zb: Floats) -> tuple[Floats, Floats]:
        a, b = self._noisy(p, 0.0, za), self._noisy(p, self.shift, zb)
        return a, b + np.where(gains, 0.25, -1.0) * b * (1 - b) if self.lopsided else b

    def _noisy(self, p: Floats, shift: float, z: Floats) -> Floats:
        if not (shift or self.noise):
            return p + 0 * z
        return special.expit(special.logit(p) + shift + self.noise * z)


SAME = Pair("the same chances", AIME)
EXCHANGEABLE = Pair("exchangeable chances, 0.5 logits apart", AIME, noise=0.5)
LOPSIDED = Pair("equal pass@1, lopsided", AIME, lopsided=True)
BETTER = Pair("+0.45 logits", AIME, shift=0.45)
BETTER_UNEVENLY = Pair("+0.45 logits, 0.5 logits apart", AIME, shift=0.45, noise=0.5)


@dataclass(frozen=True)
class Logits:
    """Two checkpoints: chances whose logits are normal, and the same `shift` logits higher."""

    name: str
    mean: float
    sd: float
    shift: float

    def draw(self, size: tuple[int, ...], rng: Rng) -> tuple[Floats, Floats]:
        """Chances of both checkpoints on so many problems."""
        logits = rng.normal(self.mean, self.sd, size=size)
        return special.expit(logits), special.expit(logits + self.shift)

    def differences(self, ks: Sequence[int]) -> Floats:
        """pass@k of `b` minus that of `a`, over the population."""
        z, weights = np.polynomial.hermite_e.hermegauss(201)
        a, b = (special.expit(self.mean + self.sd * z + gain) for gain in (0.0, self.shift))
        return np.array([((1 - a) ** k - (1 - b) ** k) @ weights for k in ks]) / weights.sum()


GAINING = Logits("logits N(-1.18, 2.16²), +0.45", -1.17932, 2.16224, 0.45)
"""pass@1 33.5 % and 39.6 %."""


@dataclass(frozen=True)
class Trained:
    """Several training runs of two methods, on the same problems.

    The logit of a chance is that of the problem, the method's on that problem, the run's, and the run's on
    that problem.
    """

    name: str
    base: Abilities
    shift: float = 0.0
    """Logits by which the second method is better."""
    method_noise: float = 0.3
    run_sd: float = 0.15
    run_noise: float = 0.3

    def draw(self, n_seeds: int, size: tuple[int, int], rng: Rng) -> tuple[Floats, Floats]:
        """Chances of both methods: [runs, simulations, problems] each."""
        problems = special.logit(self.base.draw(size, rng))
        sides = []
        for shift in (0.0, self.shift):
            method = problems + shift + rng.normal(0, self.method_noise, size=size)
            run = rng.normal(0, self.run_sd, size=(n_seeds, size[0], 1))
            own = rng.normal(0, self.run_noise, size=(n_seeds, *size))
            sides.append(special.expit(method + run + own))
        return sides[0], sides[1]

    def differences(self, ks: Sequence[int]) -> Floats:
        """pass@k of the second method minus that of the first, over problems and training runs."""
        noise = float(np.sqrt(self.method_noise**2 + self.run_sd**2 + self.run_noise**2))
        return Pair(self.name, self.base, shift=self.shift, noise=noise).differences(ks)

    def seed_sd(self) -> float:
        """Standard deviation of pass@1 over training runs on all problems of the population."""
        p = stats.beta.ppf((np.arange(GRID // 10) + 0.5) / (GRID // 10), self.base.a, self.base.b)
        rest = float(np.hypot(self.method_noise, self.run_noise))
        z, weights = np.polynomial.hermite_e.hermegauss(NODES)
        weights = weights / weights.sum()
        logits = special.logit(p)[:, None] + rest * z
        values = [float((special.expit(logits + self.run_sd * run) @ weights).mean()) for run in z]
        return float(np.sqrt(np.cov(values, aweights=weights, ddof=0)))


NO_BETTER = Trained("two methods that do not differ", AIME)
BETTER_METHOD = Trained("second method +0.45 logits", AIME, shift=0.45)


@dataclass(frozen=True)
class Responses:
    """Real responses: problems are drawn from all there are, and samples from a problem's responses."""

    name: str
    counts: Floats
    """[problems, responses, 2]: duplicate 5-grams, 5-grams."""

    def draw(self, chosen: NDArray[np.int64], n: int, rng: Rng) -> Floats:
        """Samples of the problems with these numbers, [...]: [..., n, 2]."""
        samples = rng.integers(self.counts.shape[1], size=(*chosen.shape, n))
        return self.counts[chosen[..., None], samples]

    def value(self, chosen: NDArray[np.int64] | slice = slice(None)) -> Floats:
        """Rep-5 over these problems, [..., problems], with all their responses: [...]; default: over all."""
        expected = self.counts.mean(axis=1)[chosen].sum(axis=-2)
        return expected[..., 0] / expected[..., 1]


def real_responses(data: Path) -> dict[str, Responses]:
    """Checkpoint → its responses to 70 problems, 50 each, from open-thought/reasoning-gym-eval."""
    found: dict[str, dict[tuple[str, str], list[tuple[int, int]]]] = defaultdict(lambda: defaultdict(list))
    for _, row in read_rows(data / "rg_llama3b_rl_ckpts" / "generations.jsonl.gz"):
        n_distinct, n_total = ngram_counts(tokenize_13a(row["response"]), 5)
        asked = row["benchmark"], row["problem_id"]
        found[row["checkpoint"]][asked].append((n_total - n_distinct, n_total))
    return {
        name: Responses(
            f"real responses, {name}", np.array([own[asked] for asked in sorted(own)], dtype=float)
        )
        for name, own in sorted(found.items())
    }
