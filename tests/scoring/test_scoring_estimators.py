"""The estimators against the divergence they estimate, computed over a whole small vocabulary."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from opo_eval.scoring import TokenStatistics, k1, k2, k3, token_stats

Estimator = Callable[[Tensor, Tensor], Tensor]
DRAWS = 10_000


@pytest.mark.parametrize("estimator", [k1, k3])
def test_the_mean_over_draws_of_the_policy_is_kl_to_the_reference(estimator: Estimator) -> None:
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(2, 7, dtype=torch.float64, generator=generator)
    log_p, log_q = x.log_softmax(dim=-1), y.log_softmax(dim=-1)
    one = torch.ones(1, 1, dtype=torch.float64)
    stats = token_stats(one, x[:, None], torch.tensor([0]), ref_hidden=one, ref_head=y[:, None])
    # Every token once, weighted with the probability with which it is drawn.
    assert float((log_p.exp() * estimator(log_p, log_q)).sum()) == pytest.approx(float(stats.kl), rel=1e-12)
    assert float((log_q.exp() * estimator(log_q, log_p)).sum()) == pytest.approx(float(stats.reverse_kl))
    assert float(stats.kl) != pytest.approx(float(stats.reverse_kl), rel=0.01)


def statistics_of(x: Tensor, y: Tensor, targets: Tensor) -> TokenStatistics:
    """Of tokens that all have the logits x [V] under the policy and y under the reference."""
    one = torch.ones(len(targets), 1, dtype=torch.float64)
    return token_stats(one, x[:, None], targets, ref_hidden=one, ref_head=y[:, None])


@pytest.mark.parametrize("size", [0.03, 0.3, 1.0])
@pytest.mark.parametrize("estimator", [k1, k3])
def test_the_mean_over_10_000_samples_is_kl_within_four_standard_errors(
    estimator: Estimator, size: float
) -> None:
    generator = torch.Generator().manual_seed(1)
    x, y = torch.randn(2, 200, dtype=torch.float64, generator=generator)
    y = x + size * y.abs()  # skewed, so that the two directions differ
    for policy, reference in ((x, y), (y, x)):
        drawn = torch.multinomial(policy.softmax(dim=-1), DRAWS, replacement=True, generator=generator)
        stats = statistics_of(policy, reference, drawn)
        estimates = estimator(stats.logprob, stats.ref_logprob)
        assert abs(float(estimates.mean() - stats.kl[0])) <= 4 * float(estimates.std()) / DRAWS**0.5


@pytest.mark.parametrize("estimator", [k1, k3])
def test_as_many_samples_tell_the_directions_of_kl_apart(estimator: Estimator) -> None:
    generator = torch.Generator().manual_seed(2)
    x, y = 2 * torch.randn(2, 200, dtype=torch.float64, generator=generator)
    y = x - y.abs()
    drawn = torch.multinomial(x.softmax(dim=-1), DRAWS, replacement=True, generator=generator)
    stats = statistics_of(x, y, drawn)
    estimates = estimator(stats.logprob, stats.ref_logprob)
    error = float(estimates.std()) / DRAWS**0.5
    assert abs(float(estimates.mean() - stats.kl[0])) <= 4 * error
    assert abs(float(estimates.mean() - stats.reverse_kl[0])) > 8 * error


def bias_of_k2(size: float) -> tuple[float, float]:
    """Expectation of k2 less KL, and Σ p·δ³/6 with δ = log p − log q, for a q at a distance from p."""
    generator = torch.Generator().manual_seed(3)
    x, z = torch.randn(2, 50, dtype=torch.float64, generator=generator)
    y = x + size * z.exp()  # one-sided, so that the third moment is not 0
    stats = statistics_of(x, y, torch.arange(50))
    p, delta = stats.logprob.exp(), stats.logprob - stats.ref_logprob
    bias = float((p * k2(stats.logprob, stats.ref_logprob)).sum() - stats.kl[0])
    return bias, float((p * delta**3).sum() / 6)


def test_k2_is_biased_by_the_third_moment_of_the_log_ratio() -> None:
    # Σ q = 1 gives E[δ] = E[δ²]/2 − E[δ³]/6 + …, and KL is E[δ].
    for size in (1e-3, -1e-3):
        bias, expected = bias_of_k2(size)
        assert bias * size < 0
        assert bias == pytest.approx(expected, rel=0.01)
        assert bias / bias_of_k2(size / 2)[0] == pytest.approx(8, rel=0.01)


def test_k1_may_be_negative_and_the_others_may_not() -> None:
    logprob, ref_logprob = torch.tensor([-1.0, -2.0, -0.5]), torch.tensor([-0.5, -3.0, -0.5])
    assert k1(logprob, ref_logprob).tolist() == [-0.5, 1.0, 0.0]
    assert k3(logprob, ref_logprob).tolist() == pytest.approx([0.5**2 / 2 + 0.0237213, 0.3678794, 0.0])
    assert k2(logprob, ref_logprob).tolist() == [0.125, 0.5, 0.0]
    close = torch.linspace(-1e-3, 1e-3, 101)
    assert (k3(close, torch.zeros(101)) >= 0).all()


def test_small_ratios_keep_their_digits() -> None:
    log_ratio = torch.tensor([1e-6, -1e-6], dtype=torch.float64)
    got = k3(-log_ratio, torch.zeros(2, dtype=torch.float64))
    assert got.tolist() == pytest.approx([5e-13, 5e-13], rel=1e-5)


@pytest.mark.parametrize(("estimator", "slope"), [(k1, 1.0), (k2, 1.0), (k3, 1 - 2.718281828**-1)])
def test_the_gradient_is_kept(estimator: Estimator, slope: float) -> None:
    logprob = torch.tensor([-1.0], requires_grad=True)
    estimator(logprob, torch.tensor([-2.0])).sum().backward()
    assert logprob.grad.tolist() == pytest.approx([slope])
