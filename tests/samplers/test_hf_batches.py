"""Batches of the hf engine: filled by tokens, halved when memory runs out; what is drawn stays the same."""

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from samplers.engines import HELD_OUT, by_key, token_ids

from opo_eval.errors import EngineError, UsageError
from opo_eval.records import Problem
from opo_eval.samplers import hf as hf_module
from opo_eval.samplers import plan_requests
from opo_eval.samplers.hf import HFSampler
from opo_eval.tiny import checkpoint_path

LATE = str(checkpoint_path("late"))
REQUESTS = plan_requests(HELD_OUT[:12], 2, 0)


def sampler(**options: Any) -> HFSampler:
    return HFSampler(LATE, **{"template": "tiny", "max_tokens": 32, **options})


@pytest.fixture
def widths(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """Rows, and tokens that the longest may have, of each batch that was decoded."""
    seen: list[tuple[int, int]] = []
    decode = hf_module.decode

    def recording(model: Any, prompts: Sequence[Sequence[int]], draw: Any, **options: Any) -> Any:
        seen.append((len(prompts), max(map(len, prompts)) + options["max_new_tokens"]))
        return decode(model, prompts, draw, **options)

    monkeypatch.setattr(hf_module, "decode", recording)
    return seen


def limited(monkeypatch: pytest.MonkeyPatch, rows: int, error: RuntimeError) -> None:
    """A machine whose memory holds so many rows."""
    decode = hf_module.decode

    def small(model: Any, prompts: Sequence[Sequence[int]], *arguments: Any, **options: Any) -> Any:
        if len(prompts) > rows:
            raise error
        return decode(model, prompts, *arguments, **options)

    monkeypatch.setattr(hf_module, "decode", small)


def test_a_batch_has_no_more_tokens_than_allowed(widths: list[tuple[int, int]]) -> None:
    whole = token_ids(by_key(sampler().generate(REQUESTS)))
    assert [rows for rows, _ in widths] == [24]
    widths.clear()
    assert token_ids(by_key(sampler(batch_tokens=200).generate(REQUESTS))) == whole
    assert all(rows * width <= 200 for rows, width in widths) and len(widths) > 4
    widths.clear()
    assert token_ids(by_key(sampler(batch_tokens=1).generate(REQUESTS))) == whole
    assert [rows for rows, _ in widths] == [1] * 24  # a row that is too long has a batch of its own


@pytest.mark.parametrize(
    "error",
    [torch.OutOfMemoryError("CUDA out of memory"), RuntimeError("DefaultCPUAllocator: can't allocate")],
)
def test_a_batch_that_runs_out_of_memory_is_halved(
    monkeypatch: pytest.MonkeyPatch, widths: list[tuple[int, int]], error: RuntimeError
) -> None:
    whole = token_ids(by_key(sampler().generate(REQUESTS)))
    widths.clear()
    limited(monkeypatch, 7, error)
    engine = sampler()
    assert token_ids(by_key(engine.generate(REQUESTS))) == whole
    assert max(rows for rows, _ in widths) == 6  # 24 and 12 did not fit, and are not tried again
    widths.clear()
    list(engine.generate(REQUESTS))
    assert max(rows for rows, _ in widths) == 6


def test_one_response_that_does_not_fit_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    limited(monkeypatch, 0, torch.OutOfMemoryError("CUDA out of memory"))
    with pytest.raises(EngineError, match=r"one response of problem \S+ with \d+ tokens.*lower max_tokens"):
        list(sampler().generate(REQUESTS))


def test_another_error_is_not_taken_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    limited(monkeypatch, 0, RuntimeError("shapes cannot be multiplied"))
    with pytest.raises(RuntimeError, match="shapes"):
        list(sampler().generate(REQUESTS))


def test_a_batch_needs_room_for_a_token() -> None:
    with pytest.raises(UsageError, match="batch_tokens cannot be 0: it has to be at least 1"):
        sampler(batch_tokens=0)


def test_room_is_the_limit_or_what_the_window_leaves() -> None:
    engine, problem = sampler(max_tokens=32), HELD_OUT[0]
    assert engine.room(problem) == 32
    assert sampler(max_tokens=4096).room(problem) == 256 - len(engine.prompt_ids(problem))
    assert isinstance(problem, Problem)
