"""The gradient of one rollout: against autograd on each response alone, and however it is cut."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from rl.tiny_policy import small_policy
from rl.updates import GROUPS, SIZE, gradient_of, handmade_rows, run_update

from opo_eval.errors import OpoEvalError
from opo_eval.rl.batches import Row, micro_batches
from opo_eval.rl.config import METHODS, Aggregation, Method
from opo_eval.rl.loss import surrogate, token_weights
from opo_eval.rl.update import split_groups


def _logprobs(model, row: Row, temperature: float = 0.7) -> torch.Tensor:
    """Straight from the definition: one response, all logits, log_softmax."""
    ids = torch.tensor([[*row.prompt, *row.response]])
    logits = model(ids).logits[0, len(row.prompt) - 1 : -1] / temperature
    return logits.log_softmax(-1)


def _expected(rows: Sequence[Row], method: Method) -> torch.Tensor:
    model, start = small_policy(torch.float64), small_policy(torch.float64, seed=1)
    tokens = sum(len(row.response) for row in rows)
    loss = torch.zeros((), dtype=torch.float64)
    for row in rows:
        logs, targets = _logprobs(model, row), torch.tensor(row.response)[:, None]
        logprob = logs.gather(1, targets)[:, 0]
        start_logprob = _logprobs(start, row).gather(1, targets)[:, 0].detach()
        entropy = -(logs.exp() * logs).sum(-1)
        k3 = torch.exp(start_logprob - logprob) - 1 - (start_logprob - logprob)
        terms = row.advantage * logprob + method.entropy_coefficient * entropy - method.kl_coefficient * k3
        share = {
            Aggregation.SEQUENCE_SUM: 1 / len(rows),
            Aggregation.SEQUENCE_MEAN: 1 / len(rows) / len(row.response),
            Aggregation.TOKEN_MEAN: 1 / tokens,
        }[method.aggregation]
        loss = loss - share * terms.sum()
    loss.backward()
    return gradient_of(model.parameters())


@pytest.mark.parametrize("aggregation", list(Aggregation))
@pytest.mark.parametrize("terms", [{}, {"entropy_coefficient": 0.3, "kl_coefficient": 0.2}])
def test_the_gradient_is_that_of_the_definition(aggregation: Aggregation, terms: dict[str, float]) -> None:
    method = Method(advantage="opo", aggregation=aggregation, **terms)
    rows = handmade_rows(aggregation, [range(GROUPS * SIZE)])
    (gradient,), _ = run_update(rows, method)
    torch.testing.assert_close(gradient, _expected(rows, method), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("aggregation", list(Aggregation))
@pytest.mark.parametrize("max_tokens", [1, 40, 100])
def test_the_gradient_does_not_depend_on_the_micro_batch(aggregation: Aggregation, max_tokens: int) -> None:
    method = Method(advantage="opo", aggregation=aggregation, entropy_coefficient=0.1, kl_coefficient=0.1)
    rows = handmade_rows(aggregation, [range(GROUPS * SIZE)])
    for dtype, tolerance in ((torch.float32, 1e-6), (torch.float64, 1e-12)):
        (whole,), _ = run_update(rows, method, dtype=dtype)
        (cut,), _ = run_update(rows, method, dtype=dtype, max_tokens=max_tokens)
        assert float((whole - cut).norm() / whole.norm()) <= tolerance


def test_gradient_checkpointing_changes_no_gradient() -> None:
    rows = handmade_rows(Aggregation.SEQUENCE_SUM, [range(GROUPS * SIZE)])
    (plain,), _ = run_update(rows, METHODS["opo"])
    (again,), _ = run_update(rows, METHODS["opo"], checkpointing=True)
    torch.testing.assert_close(plain, again, rtol=1e-12, atol=0)


def test_mini_batches_that_move_nothing_add_up() -> None:
    parts = split_groups(GROUPS, SIZE, 2)
    method = replace(METHODS["grpo_loose"], entropy_coefficient=0.0)
    rows = handmade_rows(method.aggregation, parts)
    halves, sums = run_update(rows, method)
    whole = [replace(row, weight=row.weight / 2) for row in rows]
    (once,), _ = run_update(whole, replace(method, mini_batches=1, clip=0.0))
    torch.testing.assert_close(sum(halves) / 2, once, rtol=1e-9, atol=1e-12)
    assert sums.mean("clipped") == 0 and sums.mean("kl_update_k3") == 0


def test_what_is_measured_is_the_definition() -> None:
    rows = handmade_rows(Aggregation.SEQUENCE_SUM, [range(GROUPS * SIZE)])
    _, sums = run_update(rows, METHODS["opo"], max_tokens=50)
    _, loose = run_update(rows, METHODS["grpo_loose"], max_tokens=70)
    model, start = small_policy(torch.float64), small_policy(torch.float64, seed=1)
    with torch.no_grad():
        p = torch.cat([_logprobs(model, row) for row in rows])
        q = torch.cat([_logprobs(start, row) for row in rows])
    targets = torch.tensor([token for row in rows for token in row.response])[:, None]
    drawn = -torch.ones(len(targets), dtype=torch.float64)
    ratio = (q - p).gather(1, targets)[:, 0]
    gap = p.gather(1, targets)[:, 0] - drawn
    expected = {
        "entropy": -(p.exp() * p).sum(-1).mean(),
        "start": (p.exp() * (p - q)).sum(-1).mean(),
        "start_k1": -ratio.mean(),
        "start_k3": (ratio.exp() - 1 - ratio).mean(),
        "rollout_k1": -gap.mean(),
        "rollout_k3": (gap.exp() - 1 - gap).mean(),
    }
    for name, value in expected.items():
        assert sums.mean(name) == pytest.approx(float(value), rel=1e-9), name
        assert loose.mean(name) == pytest.approx(float(value), rel=1e-9), name


def test_clipping_is_pessimistic() -> None:
    logprob = torch.log(torch.tensor([1.5, 1.5, 0.5, 0.5, 1.1])).requires_grad_()
    advantage = torch.tensor([1.0, -1.0, 1.0, -1.0, 1.0])
    objective, held = surrogate(logprob, torch.zeros(5), advantage, 0.2)
    torch.testing.assert_close(objective.detach(), torch.tensor([1.2, -1.5, 0.5, -0.8, 1.1]))
    assert held.tolist() == [True, False, False, True, False]
    objective.sum().backward()
    torch.testing.assert_close(logprob.grad, torch.tensor([0.0, -1.5, 0.5, 0.0, 1.1]))


def test_a_loss_that_is_not_finite_leaves_the_weights_alone() -> None:
    rows = handmade_rows(Aggregation.SEQUENCE_SUM, [range(GROUPS * SIZE)])
    rows[3] = replace(rows[3], advantage=float("nan"))
    with pytest.raises(OpoEvalError, match="the loss is nan"):
        run_update(rows, METHODS["opo"])


def test_memory_that_runs_out_names_what_to_give(monkeypatch: pytest.MonkeyPatch) -> None:
    def greedy(*_: object) -> torch.Tensor:
        return torch.empty(2**50)  # refused by the operating system as a GPU refuses

    monkeypatch.setattr("opo_eval.rl.update.surrogate", greedy)
    rows = handmade_rows(Aggregation.SEQUENCE_SUM, [range(GROUPS * SIZE)])
    longest = max(row.size for row in rows)
    said = (
        rf"micro-batches of 60 tokens \(its longest row has {longest}\) does not fit into memory: give fewer"
    )
    with pytest.raises(OpoEvalError, match=f"{said} micro_batch_tokens, or gradient_checkpointing"):
        run_update(rows, METHODS["opo"], max_tokens=60)


def test_another_runtime_error_is_not_taken_for_one_of_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    def odd(*_: object) -> torch.Tensor:
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    monkeypatch.setattr("opo_eval.rl.update.surrogate", odd)
    with pytest.raises(RuntimeError, match="mat1 and mat2"):
        run_update(handmade_rows(Aggregation.SEQUENCE_SUM, [range(GROUPS * SIZE)]), METHODS["opo"])


def test_micro_batches_hold_every_row_once_and_no_more_than_they_may() -> None:
    rows = handmade_rows(Aggregation.SEQUENCE_SUM, [range(GROUPS * SIZE)])
    batches = list(micro_batches(rows, [range(len(rows))], 60, torch.device("cpu")))
    assert sorted(place for batch in batches for place in batch.rows) == list(range(len(rows)))
    assert all(batch.input_ids.numel() <= 60 or len(batch.rows) == 1 for batch in batches)
    for batch in batches:
        assert batch.targets.tolist() == [token for place in batch.rows for token in rows[place].response]


def test_weights_of_the_three_aggregations() -> None:
    lengths = np.array([1.0, 3.0, 4.0])
    sums = {a: float((token_weights(lengths, a) * lengths).sum()) for a in Aggregation}
    assert sums == pytest.approx(
        {Aggregation.SEQUENCE_SUM: 8 / 3, Aggregation.SEQUENCE_MEAN: 1.0, Aggregation.TOKEN_MEAN: 1.0}
    )
    with pytest.raises(ValueError, match="no token to learn from"):
        token_weights(np.zeros(3), Aggregation.TOKEN_MEAN)
