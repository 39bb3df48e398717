"""Sums over a response, its tenths and its forking tokens, against their definitions."""

from dataclasses import replace
from math import ceil

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from opo_eval.errors import InputError
from opo_eval.scoring import TokenStatistics
from opo_eval.scoring.packing import Text
from opo_eval.scoring.responses import by_text, forking_of, response_stats, tenths_of

NUMBERS = st.lists(st.integers(0, 6).map(float), min_size=1, max_size=45)
"""Few different ones, so that many are equal."""


def text(index: int, n: int) -> Text:
    tokens = np.zeros(n, dtype=np.int32)
    return Text(problem_id="p", index=index, prompt=tokens[:1], response=tokens)


def statistics(n: int, *, reference: bool = True) -> TokenStatistics:
    generator = torch.Generator().manual_seed(n)
    values = torch.rand(6, n, generator=generator, dtype=torch.float64)
    names = ("logprob", "entropy", "ref_logprob", "ref_entropy", "kl", "reverse_kl")
    return TokenStatistics(**dict(zip(names[: 6 if reference else 2], values, strict=False)))


@given(NUMBERS)
def test_tenths_are_by_their_definition(values: list[float]) -> None:
    n, own = len(values), torch.tensor(values, dtype=torch.float64)
    found = tenths_of({"entropy": own, "logprob": -own})
    tenth = [10 * i // n for i in range(n)]
    assert found.n_tokens == tuple(tenth.count(t) for t in range(10)) and sum(found.n_tokens) == n
    pairs = list(zip(values, tenth, strict=True))
    assert found.entropy == tuple(sum(value for value, at in pairs if at == t) for t in range(10))
    assert found.logprob == tuple(-x for x in found.entropy) and found.kl is None
    assert max(found.n_tokens) - min(found.n_tokens) <= 1


@given(NUMBERS)
def test_forking_tokens_are_the_fifth_of_highest_entropy_the_earlier_first(values: list[float]) -> None:
    n = len(values)
    entropy, places = torch.tensor(values, dtype=torch.float64), torch.arange(n, dtype=torch.float64)
    found = forking_of({"entropy": entropy, "logprob": 2.0**places, "kl": places})
    chosen = sorted(range(n), key=lambda i: (-values[i], i))[: ceil(n / 5)]
    assert found.n_tokens == len(chosen)
    assert found.logprob_sum == sum(2.0**i for i in chosen)  # tells which they are
    assert (found.entropy_sum, found.kl_sum) == (sum(values[i] for i in chosen), sum(chosen))


def test_each_text_gets_the_statistics_of_its_own_tokens() -> None:
    batch, at = [text(0, 3), text(1, 1), text(2, 4)], statistics(8)
    parts = dict(zip((0, 1, 2), np.split(np.arange(8), [3, 4]), strict=True))
    for one, own in by_text(at, batch):
        assert len(own) == 6
        assert all(torch.equal(values, getattr(at, name)[parts[one.index]]) for name, values in own.items())


@pytest.mark.parametrize("reference", [True, False])
def test_a_record_has_the_sums_and_the_estimators(reference: bool) -> None:
    at = statistics(7, reference=reference)
    [(one, own)] = by_text(at, [text(4, 7)])
    name = "q" if reference else None
    found = response_stats(one, own, scorer="s", reference=name, temperature=0.5)
    key = (found.problem_id, found.index, found.scorer, found.reference, found.temperature, found.n_tokens)
    assert key == ("p", 4, "s", name, 0.5, 7)
    assert found.entropy_sum == pytest.approx(float(at.entropy.sum()), rel=1e-15)
    if not reference:
        assert (found.kl_sum, found.ref_entropy_sum, found.kl_k2_sum, found.tenths.kl) == (None,) * 4
        return
    assert at.ref_logprob is not None
    p, q = at.logprob.numpy(), at.ref_logprob.numpy()
    assert found.kl_k2_sum == pytest.approx(((p - q) ** 2 / 2).sum(), rel=1e-12)
    assert found.kl_k3_sum == pytest.approx((np.exp(q - p) - 1 - (q - p)).sum(), rel=1e-12)


@pytest.mark.parametrize("value", [torch.inf, -torch.inf, torch.nan])
@pytest.mark.parametrize("name", ["entropy", "logprob", "ref_logprob", "kl", "reverse_kl"])
def test_what_is_not_finite_is_refused_by_name(name: str, value: float) -> None:
    at = statistics(5)
    broken = replace(at, **{name: getattr(at, name).index_fill(0, torch.tensor([2]), value)})
    [(one, own)] = by_text(broken, [text(3, 5)])
    with pytest.raises(InputError, match=rf"{name}_sum of sample 3 of problem p is {value:g}: a model gives"):
        response_stats(one, own, scorer="s", reference="q", temperature=1.0)


def test_an_estimator_that_overflows_is_refused_too() -> None:
    at = statistics(2)
    far = replace(at, logprob=at.logprob - 800)
    [(one, own)] = by_text(far, [text(3, 2)])
    with pytest.raises(InputError, match="kl_k3_sum of sample 3 of problem p is inf"):
        response_stats(one, own, scorer="s", reference="q", temperature=1.0)
