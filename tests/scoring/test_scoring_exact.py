"""Entropy, KL divergence and log-probability against their definitions in extended precision."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scoring.watching import Watched, some
from torch import Tensor
from transformers import AutoModelForCausalLM

from opo_eval.errors import InputError, UsageError
from opo_eval.scoring import (
    OutputHead,
    exact,
    fused,
    last_hidden,
    output_head,
    tiles,
    token_stats,
    token_stats_at,
)
from opo_eval.tiny import checkpoint_path

FIELDS = ("logprob", "entropy", "ref_logprob", "ref_entropy", "kl", "reverse_kl")
TEMPERATURES = (0.3, 0.6, 1.0, 2.0)
REL, ABSOLUTE = 2e-15, 1e-15
"""What is reached: relative, or nats."""

SetTile = Callable[..., None]


@pytest.fixture
def set_tile(monkeypatch: pytest.MonkeyPatch) -> SetTile:
    """Sets the vocabulary of a slice, and the logits of a tile and of a block."""

    def set_sizes(vocabulary: int, tile: int = tiles.CPU_TILE_ELEMENTS, block: int = 2**16) -> None:
        monkeypatch.setattr(tiles, "SLICE", vocabulary)
        monkeypatch.setattr(tiles, "CPU_TILE_ELEMENTS", tile)
        monkeypatch.setattr(tiles, "CPU_BLOCK_ELEMENTS", block)

    return set_sizes


# --- the definitions, in extended precision ---------------------------------------------------------


def wide(x: Tensor) -> np.ndarray:
    return x.detach().double().numpy().astype(np.longdouble)


def logits_by_definition(hidden: Tensor, head: OutputHead) -> np.ndarray:
    x = wide(hidden) @ wide(head.weight).T
    x = head.scale * (x if head.bias is None else x + wide(head.bias))
    x = x if head.softcap is None else head.softcap * np.tanh(x / head.softcap)
    return x[:, : head.vocab_size]


def log_softmax(x: np.ndarray) -> np.ndarray:
    x = x - x.max(axis=-1, keepdims=True)
    return x - np.log(np.exp(x).sum(axis=-1, keepdims=True))


def expected_term(log_p: np.ndarray, log_ratio: np.ndarray) -> np.ndarray:
    """Σ p · log_ratio over what has a probability."""
    p = np.exp(log_p)
    return np.where(p > 0, p * np.where(p > 0, log_ratio, 0), 0).sum(axis=-1)


def by_definition(x: np.ndarray, y: np.ndarray, targets: Tensor, temperature: float) -> dict[str, np.ndarray]:
    log_p, log_q = log_softmax(x / temperature), log_softmax(y / temperature)
    rows = np.arange(len(targets))
    with np.errstate(invalid="ignore"):
        return {
            "logprob": log_p[rows, targets.numpy()],
            "entropy": -expected_term(log_p, log_p),
            "ref_logprob": log_q[rows, targets.numpy()],
            "ref_entropy": -expected_term(log_q, log_q),
            "kl": expected_term(log_p, log_p - log_q),
            "reverse_kl": expected_term(log_q, log_q - log_p),
        }


def exactly(logits: Tensor) -> tuple[Tensor, Tensor]:
    """Hidden states and a weight whose products are `logits` [T, V] without rounding."""
    return torch.eye(len(logits), dtype=logits.dtype), logits.T.contiguous()


def stats_of(x: Tensor, y: Tensor, targets: Tensor, temperature: float = 1.0) -> Any:
    (hidden, weight), (ref_hidden, ref_weight) = exactly(x), exactly(y)
    return token_stats(
        hidden, weight, targets, ref_hidden=ref_hidden, ref_head=ref_weight, temperature=temperature
    )


def assert_as_defined(
    stats: Any, expected: dict[str, np.ndarray], rel: float = REL, absolute: float = ABSOLUTE
) -> None:
    for name in FIELDS:
        got = getattr(stats, name)
        assert got.dtype == torch.float64 and not got.requires_grad
        np.testing.assert_allclose(
            got.numpy(), expected[name].astype(float), rtol=rel, atol=absolute, err_msg=name
        )


def some_targets(n_tokens: int, n_vocab: int) -> Tensor:
    return torch.randint(n_vocab, (n_tokens,), generator=torch.Generator().manual_seed(1))


# --- against the definitions ------------------------------------------------------------------------


@pytest.mark.parametrize("vocabulary", [7, 2**12])
@pytest.mark.parametrize("temperature", TEMPERATURES)
@pytest.mark.parametrize("size", [1e-4, 1.0, 30.0, 1e4])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_logits_of_any_size_give_the_defined_values(
    size: float, temperature: float, dtype: torch.dtype, vocabulary: int, set_tile: SetTile
) -> None:
    set_tile(vocabulary)
    x, y = (size * some(24, 50, seed=seed, dtype=dtype) for seed in (1, 2))
    targets = some_targets(24, 50)
    expected = by_definition(wide(x), wide(y), targets, temperature)
    assert_as_defined(stats_of(x, y, targets, temperature), expected)


@pytest.mark.parametrize("divergence", [10.0, 1.0, 1e-2, 1e-4, 1e-6, 1e-12])
@pytest.mark.parametrize("temperature", TEMPERATURES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_divergences_of_any_size_are_the_defined_ones(
    divergence: float, temperature: float, dtype: torch.dtype
) -> None:
    n_vocab = 5003  # more than a slice, and no multiple of one
    x = 2 * some(12, n_vocab, dtype=dtype)
    y = x + (2 * divergence) ** 0.5 * temperature * some(12, n_vocab, seed=3, dtype=dtype)
    targets = some_targets(12, n_vocab)
    stats = stats_of(x, y, targets, temperature)
    assert 0.1 < float(stats.kl.mean()) / divergence < 2
    expected = by_definition(wide(x), wide(y), targets, temperature)
    assert_as_defined(stats, expected, absolute=2e-15)


@pytest.mark.parametrize("vocabulary", [3, 2**12])
def test_a_sure_token_has_statistics_of_full_relative_precision(vocabulary: int, set_tile: SetTile) -> None:
    set_tile(vocabulary)
    x, y = torch.zeros(2, 4, 7, dtype=torch.float64)
    x[:, 4] = torch.tensor([20.0, 60.0, 300.0, 700.0])
    y[:, 4] = x[:, 4] + 1
    targets = torch.full((4,), 4)
    expected = by_definition(wide(x), wide(y), targets, 1.0)
    # log(1 + others), which an extended precision of 19 digits rounds away as well
    others = 6 * np.exp(-x[:, 4].numpy().astype(np.longdouble))
    ref_others = others * np.exp(np.longdouble(-1))
    p, gap = others / (1 + others), np.log1p(ref_others) - np.log1p(others)
    exact = {
        "logprob": -np.log1p(others),
        "entropy": np.log1p(others) + p * wide(x[:, 4]),
        "kl": p * 1 + gap,
    }
    stats = stats_of(x, y, targets)
    for name, value in exact.items():
        np.testing.assert_allclose(getattr(stats, name), value.astype(float), rtol=1e-14, err_msg=name)
    assert_as_defined(stats, expected)


@pytest.mark.parametrize("vocabulary", [4, 2**12])
@pytest.mark.parametrize("n_top", [1, 2, 3, 10])
def test_several_largest_logits_are_all_counted(n_top: int, vocabulary: int, set_tile: SetTile) -> None:
    set_tile(vocabulary)
    x, y = -10 - some(2, 6, 10).abs()
    x[:, :n_top] = 30.0
    y[:, -n_top:] = -1.0
    targets = some_targets(6, 10)
    assert_as_defined(stats_of(x, y, targets), by_definition(wide(x), wide(y), targets, 1.0))


@pytest.mark.parametrize("n_vocab", [1, 2, 96, 4097])
@pytest.mark.parametrize("level", [0.0, 1e4, -1e4])
def test_a_uniform_row_has_the_entropy_log_v_and_a_one_hot_row_none(n_vocab: int, level: float) -> None:
    one, uniform = torch.ones(1, 1), torch.full((n_vocab, 1), level)
    one_hot = masked_head(uniform, 1)
    stats = token_stats(one, uniform, torch.tensor([0]), ref_hidden=one, ref_head=one_hot)
    log_v, far = np.log(n_vocab), np.inf if n_vocab > 1 else 0
    got = [float(getattr(stats, name)) for name in FIELDS]
    assert got == [-log_v, log_v, 0, 0, far, pytest.approx(log_v, rel=1e-15)]


@pytest.mark.parametrize("vocabulary", [7, 2**12])
@pytest.mark.parametrize("size", [1e-3, 1.0, 1e4])
def test_identical_models_are_exactly_0_apart(size: float, vocabulary: int, set_tile: SetTile) -> None:
    set_tile(vocabulary, block=100)
    hidden, weight = size * some(40, 16, dtype=torch.float32), some(300, 16, seed=1, dtype=torch.float32)
    for stats in token_stats_at(
        hidden, weight, some_targets(40, 300), ref_hidden=hidden, ref_head=weight, temperatures=TEMPERATURES
    ):
        assert not stats.kl.any() and not stats.reverse_kl.any()
        assert torch.equal(stats.logprob, stats.ref_logprob)
        assert torch.equal(stats.entropy, stats.ref_entropy)


@pytest.mark.parametrize(
    "settings_",
    [
        {"bias": some(40, seed=5)},
        {"scale": 0.0625},
        {"softcap": 3.0},
        {"vocab_size": 33},
        {"bias": some(40, seed=5), "scale": 3.0, "softcap": 2.5, "vocab_size": 37},
    ],
    ids=lambda s: "+".join(s),
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_head_does_what_its_formula_says(settings_: dict[str, Any], dtype: torch.dtype) -> None:
    given_settings = {k: v.to(dtype) if isinstance(v, Tensor) else v for k, v in settings_.items()}
    head = OutputHead(some(40, 8, seed=1, dtype=dtype), **given_settings)
    ref_head = OutputHead(some(40, 6, seed=2, dtype=dtype), **given_settings)
    hidden, ref_hidden = some(20, 8, seed=3, dtype=dtype), some(20, 6, seed=4, dtype=dtype)
    targets = some_targets(20, 33)
    stats = token_stats(hidden, head, targets, ref_hidden=ref_hidden, ref_head=ref_head, temperature=0.7)
    x, y = logits_by_definition(hidden, head), logits_by_definition(ref_hidden, ref_head)
    rounding = 1e-12 if dtype == torch.float64 else 3e-5
    assert_as_defined(stats, by_definition(x, y, targets, 0.7), rel=rounding, absolute=rounding)


def test_what_follows_a_product_in_float32_is_in_float64() -> None:
    settings_ = {"bias": some(40, seed=5, dtype=torch.float32), "scale": 0.3, "softcap": 2.5}
    one, (x, y) = torch.eye(20), (some(40, 20, seed=seed, dtype=torch.float32) for seed in (1, 2))
    head, ref_head = (OutputHead(weight, **settings_) for weight in (x, y))  # products without rounding
    targets = some_targets(20, 40)
    stats = token_stats(one, head, targets, ref_hidden=one, ref_head=ref_head)
    expected = by_definition(*(logits_by_definition(one, h) for h in (head, ref_head)), targets, 1.0)
    assert_as_defined(stats, expected, rel=1e-14)


def test_half_precision_is_multiplied_with_float32_results() -> None:
    hidden, weight = some(30, 64, dtype=torch.bfloat16), some(90, 64, seed=1, dtype=torch.bfloat16)
    ref_hidden = some(30, 64, seed=2, dtype=torch.bfloat16)
    targets = some_targets(30, 90)
    stats = token_stats(hidden, weight, targets, ref_hidden=ref_hidden, ref_head=weight)
    x, y = (logits_by_definition(h, OutputHead(weight)) for h in (hidden, ref_hidden))
    assert_as_defined(stats, by_definition(x, y, targets, 1.0), rel=1e-5, absolute=1e-5)


def masked_head(weight: Tensor, first: int) -> OutputHead:
    """A head that excludes all tokens from one on."""
    bias = torch.zeros(len(weight), dtype=torch.float64)
    bias[first:] = -torch.inf
    return OutputHead(weight, bias=bias)


@pytest.mark.parametrize("vocabulary", [3, 5, 2**12])  # with slices that hold nothing else, too
def test_masked_tokens_are_left_out_of_the_sums(vocabulary: int, set_tile: SetTile) -> None:
    set_tile(vocabulary)
    hidden, weight, targets = some(6, 5), some(12, 5, seed=1), torch.arange(6)
    masked, ref_hidden = masked_head(weight, 7), some(6, 5, seed=2)
    stats = token_stats(hidden, masked, targets, ref_hidden=ref_hidden, ref_head=masked, temperature=0.9)
    short = weight[:7]
    cut = token_stats(hidden, short, targets, ref_hidden=ref_hidden, ref_head=short, temperature=0.9)
    for name in FIELDS:
        np.testing.assert_allclose(getattr(stats, name), getattr(cut, name), rtol=1e-14, err_msg=name)
    assert token_stats(hidden, masked, torch.full((6,), 9)).logprob.tolist() == [-np.inf] * 6


@pytest.mark.parametrize("vocabulary", [3, 5, 2**12])
def test_a_reference_that_excludes_a_token_is_infinitely_far(vocabulary: int, set_tile: SetTile) -> None:
    set_tile(vocabulary)
    hidden, weight, targets = some(4, 5), some(12, 5, seed=1), torch.arange(4)
    masked = masked_head(weight, 7)
    stats = token_stats(hidden, weight, targets, ref_hidden=hidden, ref_head=masked)
    kept = torch.softmax(hidden @ weight.T, dim=-1)[:, :7].sum(dim=-1)
    assert stats.kl.tolist() == [np.inf] * 4
    np.testing.assert_allclose(stats.reverse_kl, -kept.log(), rtol=1e-14)  # q = p / Σ p on what is left
    back = token_stats(hidden, masked, targets, ref_hidden=hidden, ref_head=weight)
    assert torch.equal(back.reverse_kl, stats.kl) and torch.equal(back.kl, stats.reverse_kl)


@pytest.mark.parametrize("vocabulary", [1, 2**12])
def test_an_excluded_token_counts_however_improbable(vocabulary: int, set_tile: SetTile) -> None:
    set_tile(vocabulary)
    x, y = torch.tensor([[0.0, -1e4]]), torch.tensor([[0.0, -torch.inf]])  # e^-1e4 is 0 in float64
    targets = torch.tensor([0])
    bias = OutputHead(torch.zeros(2, 1), bias=y[0])
    stats = token_stats(torch.ones(1, 1), x.T, targets, ref_hidden=torch.ones(1, 1), ref_head=bias)
    assert float(stats.kl) == np.inf and float(stats.reverse_kl) == 0


# --- properties -------------------------------------------------------------------------------------

vectors = st.lists(st.floats(-50, 50, width=32), min_size=2, max_size=12)


@settings(max_examples=150, deadline=None)
@given(st.data(), vectors)
def test_entropy_lies_between_0_and_log_v_and_kl_is_never_negative(
    data: st.DataObject, x: list[float]
) -> None:
    y = data.draw(st.lists(st.floats(-50, 50, width=32), min_size=len(x), max_size=len(x)))
    a, b = torch.tensor([x], dtype=torch.float64), torch.tensor([y], dtype=torch.float64)
    stats = stats_of(a, b, torch.tensor([0]))
    assert 0 <= float(stats.entropy) <= np.log(len(x)) + 1e-14
    assert float(stats.kl) >= 0 and float(stats.reverse_kl) >= 0
    assert float(stats.logprob) <= 0
    assert float(stats_of(a, a, torch.tensor([0])).kl) == 0


@settings(max_examples=100, deadline=None)
@given(vectors, st.integers(-1000, 1000))
def test_a_shift_of_all_logits_changes_nothing(x: list[float], shift: int) -> None:
    a = torch.tensor([x], dtype=torch.float64)
    stats = stats_of(a, a + shift, torch.tensor([1]))
    assert float(stats.kl) < 1e-12 and float(stats.reverse_kl) < 1e-12
    assert float(stats.logprob) == pytest.approx(float(stats.ref_logprob), rel=1e-12, abs=1e-12)


def test_the_two_divergences_change_places_with_the_two_models() -> None:
    x, y, targets = some(9, 30), some(9, 30, seed=1), some_targets(9, 30)
    there, back = stats_of(x, y, targets), stats_of(y, x, targets)
    np.testing.assert_allclose(there.kl, back.reverse_kl, rtol=1e-12)
    assert (there.kl - there.reverse_kl).abs().min() > 1e-3


def test_the_order_of_the_vocabulary_changes_nothing(set_tile: SetTile) -> None:
    set_tile(16)
    x, y, targets = 3 * some(9, 101), 3 * some(9, 101, seed=1), some_targets(9, 101)
    order = torch.randperm(101, generator=torch.Generator().manual_seed(2))
    moved = stats_of(x[:, order], y[:, order], order.argsort()[targets])
    for name in FIELDS:
        np.testing.assert_allclose(
            getattr(moved, name), getattr(stats_of(x, y, targets), name), rtol=1e-14, err_msg=name
        )


# --- models -----------------------------------------------------------------------------------------


@pytest.fixture(params=["tiny", "stories"])
def two_models(request: pytest.FixtureRequest) -> tuple[Any, Any]:
    """A trained policy and a reference: two steps of the tiny model; the stories and the same disturbed."""
    if request.param == "tiny":
        late, early = (AutoModelForCausalLM.from_pretrained(checkpoint_path(n)) for n in ("late", "early"))
        return late.eval(), early.eval()
    path = request.getfixturevalue("data_dir") / "tiny_lm_stories260k"
    model, reference = (AutoModelForCausalLM.from_pretrained(path).eval() for _ in range(2))
    with torch.no_grad():
        for seed, parameter in enumerate(reference.parameters()):
            parameter += 0.02 * parameter.std() * some(*parameter.shape, seed=seed, dtype=parameter.dtype)
    return model, reference


def log_probs_of(model: Any, tokens: Tensor, temperature: float) -> Tensor:
    """Log-softmax in float64 of what the model's own forward pass gives, before each token but the first."""
    return (model(tokens).logits[:, :-1].flatten(0, 1).double() / temperature).log_softmax(dim=-1)


@pytest.mark.parametrize("temperature", [1.0, 0.6])
@pytest.mark.parametrize(("dtype", "rounding"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
@torch.no_grad()
def test_statistics_are_those_of_the_models_own_logits(
    two_models: tuple[Any, Any], dtype: torch.dtype, rounding: float, temperature: float
) -> None:
    models = [model.to(dtype) for model in two_models]
    tokens = torch.randint(1, 96, (4, 60), generator=torch.Generator().manual_seed(0))
    targets = tokens[:, 1:].flatten()
    hidden, ref_hidden = (last_hidden(model, tokens)[:, :-1].flatten(0, 1) for model in models)
    head, ref_head = map(output_head, models)
    stats = token_stats(
        hidden, head, targets, ref_hidden=ref_hidden, ref_head=ref_head, temperature=temperature
    )
    log_p, log_q = (log_probs_of(model, tokens, temperature) for model in models)
    places = torch.arange(len(targets)), targets
    expected = {
        "logprob": log_p[places],
        "entropy": -(log_p.exp() * log_p).sum(dim=-1),
        "ref_logprob": log_q[places],
        "ref_entropy": -(log_q.exp() * log_q).sum(dim=-1),
        "kl": (log_p.exp() * (log_p - log_q)).sum(dim=-1),
        "reverse_kl": (log_q.exp() * (log_q - log_p)).sum(dim=-1),
    }
    assert float(stats.kl.mean()) > 1e-3
    for name, value in expected.items():
        np.testing.assert_allclose(getattr(stats, name), value, rtol=rounding, atol=rounding, err_msg=name)


# --- tiles ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("vocabulary", "tile", "block"),
    [(1, 1, 1), (7, 130, 20), (39, 200, 50), (40, 2**22, 130), (3, 2**22, 2**16), (2**12, 41, 2**16)],
)
def test_tiles_change_no_result(vocabulary: int, tile: int, block: int, set_tile: SetTile) -> None:
    x, y, targets = some(23, 40), some(23, 40, seed=1), some_targets(23, 40)
    whole = stats_of(x, y, targets, 0.7)
    set_tile(vocabulary, tile, block)
    for name in FIELDS:
        np.testing.assert_allclose(
            getattr(stats_of(x, y, targets, 0.7), name), getattr(whole, name), rtol=1e-14, err_msg=name
        )


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int32])
def test_targets_may_be_integers_of_any_width(dtype: torch.dtype, set_tile: SetTile) -> None:
    set_tile(16)
    hidden, weight, targets = some(23, 6), some(40, 6, seed=1), some_targets(23, 40)
    narrow = token_stats(hidden, weight, targets.to(dtype))
    assert torch.equal(narrow.logprob, token_stats(hidden, weight, targets).logprob)


def test_the_fused_kernel_does_all_of_it_where_it_is_usable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a stand-in: which tokens it gets, and how what it gives is put together."""
    got: list[tuple[int, int]] = []

    def statistics(sides: Any, targets: Tensor, temperatures: Any) -> list[dict[str, Tensor]]:
        got.append((len(targets), len(sides)))
        assert all(head.weight.dtype == torch.bfloat16 for _, head in sides)
        return exact._in_a_tile(sides, targets, temperatures)

    hidden, weight, targets = some(23, 6).bfloat16(), some(40, 6, seed=1).bfloat16(), some_targets(23, 40)
    reference = {"ref_hidden": some(23, 6, seed=2).bfloat16(), "ref_head": weight}
    expected = token_stats_at(hidden, weight, targets, **reference, temperatures=[0.6, 1.0])
    assert not got
    monkeypatch.setattr(fused, "is_usable", lambda sides: len(sides[0][0]) == 1)
    monkeypatch.setattr(fused, "statistics", statistics)
    monkeypatch.setattr(fused, "MOST_TOKENS", 10)
    found = token_stats_at(hidden, weight, targets, **reference, temperatures=[0.6, 1.0])
    assert got == [(10, 2), (10, 2), (3, 2)]
    for one, other in zip(found, expected, strict=True):
        assert all(torch.equal(getattr(one, name), getattr(other, name)) for name in one.__slots__)


def test_several_temperatures_are_what_each_gives_alone_from_one_set_of_logits(set_tile: SetTile) -> None:
    set_tile(16, block=64)
    hidden, weight, targets = some(23, 6), some(40, 6, seed=1), some_targets(23, 40)
    reference = {"ref_hidden": some(23, 5, seed=2), "ref_head": some(40, 5, seed=3)}
    with Watched() as seen:
        together = token_stats_at(hidden, weight, targets, **reference, temperatures=TEMPERATURES)
    assert seen.products == 2 * 3  # models × slices
    for temperature, stats in zip(TEMPERATURES, together, strict=True):
        alone = token_stats(hidden, weight, targets, **reference, temperature=temperature)
        assert all(torch.equal(getattr(stats, name), getattr(alone, name)) for name in FIELDS)


def largest_tensor(n_tokens: int, weight: Tensor, models: int) -> int:
    """Elements of the largest that is made in scoring random tokens at two temperatures."""
    hidden = some(n_tokens, weight.shape[1], dtype=weight.dtype)
    reference = {"ref_hidden": hidden, "ref_head": weight} if models == 2 else {}
    with Watched() as seen:
        token_stats_at(
            hidden, weight, some_targets(n_tokens, len(weight)), **reference, temperatures=(1.0, 0.6)
        )
    return seen.largest


@pytest.mark.parametrize("models", [1, 2])
def test_logits_of_all_tokens_never_exist_at_once(models: int, set_tile: SetTile) -> None:
    assert largest_tensor(100, some(20_000, 4), models) == 100 * tiles.SLICE
    set_tile(500, tile=10_000)
    assert largest_tensor(100, some(5_000, 4), models) == 500 * 20


def test_a_head_in_half_precision_is_never_widened_as_a_whole(set_tile: SetTile) -> None:
    set_tile(50)
    weight = some(500, 64, dtype=torch.bfloat16)
    assert largest_tensor(8, weight, models=2) == 50 * 64


def test_hidden_states_may_lie_in_a_mapped_file(tmp_path: Path, set_tile: SetTile) -> None:
    set_tile(16, tile=64)
    hidden, weight, targets = some(30, 8, dtype=torch.bfloat16), some(40, 8, seed=1), some_targets(30, 40)
    path = tmp_path / "hidden"
    mapped = torch.from_file(str(path), shared=True, size=30 * 8, dtype=torch.bfloat16).view(30, 8)
    mapped.copy_(hidden)
    stats = token_stats(mapped, weight, targets)
    assert path.stat().st_size == 30 * 8 * 2
    assert torch.equal(stats.entropy, token_stats(hidden, weight, targets).entropy)


def test_autocast_does_not_reach_the_products() -> None:
    hidden, weight, targets = (
        some(30, 8, dtype=torch.float32),
        some(40, 8, dtype=torch.float32),
        some_targets(30, 40),
    )
    outside = token_stats(hidden, weight, targets)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = token_stats(hidden, weight, targets)
    assert torch.equal(inside.entropy, outside.entropy)


def test_no_tokens_give_empty_statistics() -> None:
    none = torch.empty(0, 4)
    stats = token_stats(
        none, some(9, 4), torch.empty(0, dtype=torch.long), ref_hidden=none, ref_head=some(9, 4)
    )
    assert all(getattr(stats, name).shape == (0,) for name in FIELDS)


def test_without_a_reference_there_is_no_divergence() -> None:
    stats = token_stats(some(3, 4), some(9, 4), torch.arange(3))
    assert [getattr(stats, name) for name in FIELDS[2:]] == [None] * 4


# --- what cannot be scored --------------------------------------------------------------------------

HIDDEN, WEIGHT, TARGETS = some(3, 4), some(9, 4, seed=1), torch.arange(3)


def one_hot(place: int, value: float) -> Tensor:
    """[9], 0 but at one place."""
    return torch.where(torch.arange(9) == place, value, 0.0)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"temperature": 0.0}, UsageError, "temperature cannot be 0.0: it has to be more than 0"),
        ({"temperature": -1.0}, UsageError, "temperature cannot be -1.0"),
        ({"temperature": float("nan")}, UsageError, "temperature cannot be nan"),
        ({"hidden": some(3, 5)}, UsageError, r"hidden cannot have shape \[3, 5\]: give \[T, 4\]"),
        ({"hidden": some(1, 3, 4)}, UsageError, r"hidden cannot have shape \[1, 3, 4\]"),
        (
            {"targets": torch.arange(4)},
            UsageError,
            r"targets cannot have shape \[4\] where hidden has \[3, 4\]",
        ),
        ({"targets": torch.arange(3)[None]}, UsageError, r"targets cannot have shape \[1, 3\]"),
        ({"targets": torch.ones(3)}, UsageError, "targets cannot be torch.float32: give token numbers"),
        ({"targets": torch.tensor([0, 9, 1])}, InputError, "token 9 is not in the vocabulary of 9"),
        ({"targets": torch.tensor([0, -100, 1])}, InputError, "token -100 is not in the vocabulary of 9"),
        (
            {"head": OutputHead(WEIGHT, vocab_size=2)},
            InputError,
            "token 2 is not in the vocabulary of 2: leave padding and ignored tokens out",
        ),
        ({"ref_hidden": HIDDEN}, UsageError, "ref_hidden was given without ref_head: give both"),
        ({"ref_head": WEIGHT}, UsageError, "ref_head was given without ref_hidden: give both"),
        (
            {"ref_hidden": HIDDEN[:2], "ref_head": WEIGHT},
            UsageError,
            "ref_hidden has 2 tokens and hidden has 3: run both models on the same text",
        ),
        (
            {"ref_hidden": some(3, 6), "ref_head": WEIGHT},
            UsageError,
            r"ref_hidden cannot have shape \[3, 6\]: give \[T, 4\]",
        ),
        (
            {"ref_hidden": HIDDEN, "ref_head": WEIGHT[:8]},
            UsageError,
            "the reference has 8 tokens and the policy 9: compare models of one tokenizer",
        ),
        ({"hidden": HIDDEN * torch.nan}, InputError, "the logits of a token hold NaN"),
        ({"head": OutputHead(WEIGHT, bias=one_hot(8, torch.nan))}, InputError, "hold NaN"),
        ({"head": OutputHead(WEIGHT, bias=one_hot(8, torch.inf))}, InputError, r"hold NaN or \+inf"),
        (
            {"ref_hidden": HIDDEN, "ref_head": OutputHead(WEIGHT, bias=one_hot(8, torch.nan))},
            InputError,
            "hold NaN",
        ),
        ({"head": OutputHead(WEIGHT, bias=torch.full((9,), -torch.inf))}, InputError, "nothing but -inf"),
        ({"head": OutputHead(WEIGHT, bias=torch.full((9,), torch.inf))}, InputError, r"hold NaN or \+inf"),
    ],
)
@pytest.mark.parametrize("vocabulary", [4, 2**12])
def test_what_cannot_be_scored_is_refused(
    changes: dict[str, Any], error: type[Exception], message: str, vocabulary: int, set_tile: SetTile
) -> None:
    set_tile(vocabulary)
    arguments = {"hidden": HIDDEN, "head": WEIGHT, "targets": TARGETS} | changes
    with pytest.raises(error, match=message):
        token_stats(**arguments)


def test_without_a_temperature_nothing_is_scored() -> None:
    with pytest.raises(UsageError, match="temperatures cannot be empty: give at least one"):
        token_stats_at(HIDDEN, WEIGHT, TARGETS, temperatures=())
    with pytest.raises(UsageError, match="temperature cannot be 0"):
        token_stats_at(HIDDEN, WEIGHT, TARGETS, temperatures=(1.0, 0.0))
