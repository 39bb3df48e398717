"""Scoring a run: every number against brute force, whatever the batches, chunks and places of the models."""

import gc
import re
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from score import runs
from score.runs import EARLY, LATE, ORDER, TEMPERATURE, draw, numbers, records, scored

from opo_eval.errors import EngineError, InputError
from opo_eval.samplers.checkpoints import load, model_sha256
from opo_eval.score import ScoreOptions, passes, resident, score_runs
from opo_eval.store import RunDir

Copy = Callable[..., RunDir]
BOTH = {1.0, TEMPERATURE}


def assert_alike(a: RunDir, b: RunDir, rtol: float = 1e-5) -> None:
    """The same samples, and numbers that differ by rounding at most."""
    one, other = records(a), records(b)
    assert one.keys() == other.keys()
    for key, stats in one.items():
        np.testing.assert_allclose(numbers(stats), numbers(other[key]), rtol=rtol, atol=1e-6)


def assert_is_brute_force(run: RunDir, policy: str, reference: str) -> None:
    found = records(run)
    texts = {(s.problem_id, s.index): s.token_ids for s in run.samples()}
    assert {key[:2] for key in found} == texts.keys() and {key[2] for key in found} == BOTH
    for (problem_id, index, temperature), stats in found.items():
        response = texts[problem_id, index]
        prompt = runs.prompt_ids(problem_id)
        p, q = (runs.log_probs(model, prompt, response, temperature) for model in (policy, reference))
        own = runs.brute_force(p[:, : q.shape[1]], q[:, : p.shape[1]], response)
        np.testing.assert_allclose(numbers(stats), runs.expected(own), rtol=2e-5, atol=2e-6)


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the checkpoints that are loaded; fails where one is in memory when the next is read."""
    seen: list[str] = []
    before: list[weakref.ref[Any]] = []

    def watched(path: str, *rest: Any) -> Any:
        assert all(backbone() is None for backbone in before), "two models in memory"
        loaded = resident_load(path, *rest)
        before.append(weakref.ref(loaded[0].model))
        seen.append(Path(path).name)
        return loaded

    resident_load = resident.load_checkpoint
    monkeypatch.setattr(resident, "load_checkpoint", watched)
    return seen


# --- the numbers ------------------------------------------------------------------------------------


def test_every_number_is_that_of_a_forward_pass_over_each_text_alone(copy: Copy) -> None:
    run = copy()
    scored(run, reference=EARLY)
    assert_is_brute_force(run, LATE, EARLY)
    assert len(ORDER) == 8 and {stats.reference for stats in run.token_stats()} == {"early"}


def test_the_drawn_tokens_are_scored_the_end_token_included(copy: Copy) -> None:
    run = copy()
    scored(run)
    lengths = {(s.problem_id, s.index): len(s.token_ids or ()) for s in run.samples()}
    assert {key[:2]: stats.n_tokens for key, stats in records(run).items()} == lengths
    assert any((s.token_ids or ())[-1] == 1 for s in run.samples())


def test_without_a_reference_there_is_no_divergence(copy: Copy) -> None:
    alone, beside = copy("alone"), copy("beside")
    said = scored(alone)
    scored(beside, reference=EARLY)
    for key, stats in records(alone).items():
        assert (stats.reference, stats.kl_sum, stats.ref_entropy_sum, stats.kl_k3_sum) == (None,) * 4
        assert stats.tenths.kl is None and stats.forking.kl_sum is None
        assert stats.entropy_sum == pytest.approx(records(beside)[key].entropy_sum, rel=1e-6)
    assert "KL" not in " ".join(said) and "|reference:none|" in said[-1]


@pytest.mark.parametrize("checkpoint", [LATE, "a copy"])
def test_a_reference_with_the_policys_weights_has_no_divergence_at_all(
    copy: Copy, tmp_path: Path, loads: list[str], checkpoint: str
) -> None:
    run = copy()
    scored(run, reference=LATE if checkpoint == LATE else runs.changed(LATE, tmp_path / "twin"))
    for stats in run.token_stats():
        assert stats.kl_sum == stats.reverse_kl_sum == stats.kl_k2_sum == stats.kl_k3_sum == 0
        assert stats.logprob_sum == stats.ref_logprob_sum and stats.entropy_sum == stats.ref_entropy_sum
        assert stats.reference == ("late" if checkpoint == LATE else "twin")
    assert loads == ["late"]


def test_an_untied_head(copy: Copy, tmp_path: Path) -> None:
    run, other = copy(), runs.resaved(LATE, tmp_path / "untied", runs.untied)
    scored(run, reference=other)
    assert_is_brute_force(run, LATE, other)
    own = draw(tmp_path / "own", other)
    scored(own, reference=LATE)
    assert_is_brute_force(own, other, LATE)


def test_a_padded_head_is_cut_to_the_rows_that_both_have(copy: Copy, tmp_path: Path) -> None:
    def pad(model: Any) -> None:
        model.resize_token_embeddings(320, mean_resizing=False)
        model.lm_head.weight.data[258:] = 0.3

    run, other = copy(), runs.resaved(EARLY, tmp_path / "padded", pad)
    said = scored(run, reference=other)
    assert_is_brute_force(run, LATE, EARLY)
    assert (
        "late and padded have 258 and 320 rows: entropies and divergences are over the first 258" in said[0]
    )
    assert "|vocab:258|" in said[-1]


def test_bfloat16_backbones_round_and_no_more(copy: Copy) -> None:
    exact, rounded = copy("exact"), copy("rounded")
    scored(exact, reference=EARLY)
    said = scored(rounded, reference=EARLY, dtype="bfloat16")
    a, b = ([stats.kl_sum for stats in records(run).values()] for run in (exact, rounded))
    assert sum(a) == pytest.approx(sum(b), rel=0.05) and a != b
    assert "|dtype:bfloat16|" in said[-1]


def test_the_last_sentences_say_what_came_out(copy: Copy) -> None:
    run = copy()
    said = scored(run, reference=EARLY)
    found = [stats for stats in run.token_stats() if stats.temperature == 1]
    n = sum(stats.n_tokens for stats in found)
    entropy, kl = (sum(getattr(stats, name) for stats in found) / n for name in ("entropy_sum", "kl_sum"))
    assert said[0] == f"{run.path}: 18 samples with {n:,} tokens scored by late beside early"
    assert said[1].startswith("at temperature 0.7, mean a token in nats: entropy ") and ", k3 " in said[1]
    start = f"at temperature 1, mean a token in nats: entropy {entropy:.4g}, KL to early {kl:.4g}, reverse KL"
    assert said[2].startswith(start) and "k1" not in said[2]  # the samples were not drawn at 1
    late, early = (str(model_sha256(path))[:8] for path in (LATE, EARLY))
    models = f"policy:late@{late}|reference:early@{early}"
    assert said[3:] == [f"scorer exact|{models}|dtype:float32|vocab:258|prompt:sampled"]
    assert {stats.scorer for stats in found} == {said[3].removeprefix("scorer ")}


# --- batches, chunks and loads ----------------------------------------------------------------------


def test_packing_changes_nothing(copy: Copy) -> None:
    small, large = copy("small"), copy("large")
    scored(small, reference=EARLY, batch_tokens=64)
    scored(large, reference=EARLY, batch_tokens=4096)
    assert_alike(small, large)


@pytest.mark.parametrize("on_disk", [False, True])
def test_chunks_change_nothing_and_k_of_them_take_k_and_1_loads(
    copy: Copy, tmp_path: Path, loads: list[str], on_disk: bool
) -> None:
    whole, cut, folder = copy("whole"), copy("cut"), tmp_path / "hidden"
    folder.mkdir()
    scored(whole, reference=EARLY)
    assert loads == ["late", "early"]
    loads.clear()
    budget = 60 * 64 * 4 / 1e9  # of 60 tokens of 64 numbers of 4 bytes
    scored(cut, reference=EARLY, hidden_gb=budget, hidden_dir=folder if on_disk else None)
    assert_alike(whole, cut)
    n_chunks = chunks_of([len(s.token_ids or ()) for s in cut.samples()], 60)
    assert n_chunks > 4 and loads == (["late", "early"] * n_chunks)[: n_chunks + 1]
    assert not any(folder.iterdir())


def chunks_of(lengths: list[int], most: int) -> int:
    """How many chunks responses of these lengths, in their order, make."""
    n, room = 0, 0
    for length in lengths:
        if length > room:
            n, room = n + 1, most
        room -= length
    return n


def test_a_model_that_sampling_left_in_memory_is_freed(copy: Copy) -> None:
    left = weakref.ref(load(LATE, "float32", "cpu")[0].model)
    scored(copy(), reference=EARLY)
    gc.collect()
    assert left() is None


def test_each_run_is_scored_by_its_own_checkpoint(copy: Copy, loads: list[str]) -> None:
    late, early = copy("late"), copy("early", of="early")
    said = list(score_runs([late, early], ScoreOptions(reference=EARLY), quiet=True))
    assert_is_brute_force(late, LATE, EARLY)
    assert all(stats.kl_sum == 0 for stats in early.token_stats())
    assert loads == ["late", "early"]  # the reference of the first run is the policy of the second
    assert sum("scored by early beside early" in sentence for sentence in said) == 1


def test_a_batch_that_does_not_fit_is_halved_and_later_ones_are_as_small(
    copy: Copy, monkeypatch: pytest.MonkeyPatch
) -> None:
    shapes = limit_memory(monkeypatch, 250)
    run, whole = copy("run"), copy("whole")
    scored(run, reference=EARLY)
    assert [size > 250 for size in shapes[:3]] == [True, True, False]  # 18, 9 and 4 texts
    assert max(shapes[2:]) < 250
    monkeypatch.undo()
    scored(whole, reference=EARLY)
    assert_alike(run, whole)


def test_a_response_that_does_not_fit_ends_it_with_what_to_do(
    copy: Copy, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit_memory(monkeypatch, 30)
    run = copy()
    with pytest.raises(EngineError, match=r"sample \d of problem \w+ with \d\d tokens, .* smaller --dtype"):
        scored(run)


def limit_memory(monkeypatch: pytest.MonkeyPatch, most: int) -> list[int]:
    """Let a model fail on more than so many tokens; returns the sizes that are tried."""
    shapes: list[int] = []

    def limited(model: Any, ids: Any) -> Any:
        shapes.append(ids.numel())
        if ids.numel() > most:
            raise torch.OutOfMemoryError("out of memory")
        return read(model, ids)

    read = passes.last_hidden
    monkeypatch.setattr(passes, "last_hidden", limited)
    return shapes


# --- going on ---------------------------------------------------------------------------------------


def test_what_is_scored_is_left_alone(copy: Copy, loads: list[str]) -> None:
    run = copy()
    scored(run, reference=EARLY)
    before = (run.path / "token_stats.jsonl").read_bytes()
    loads.clear()
    said = scored(run, reference=EARLY)
    assert said[0].endswith("0 samples with 0 tokens scored by late beside early; 18 were scored before")
    assert loads == [] and (run.path / "token_stats.jsonl").read_bytes() == before


def test_another_temperature_adds_to_what_is_there(copy: Copy) -> None:
    run = copy()
    scored(run, reference=EARLY, temperatures=(1.0,))
    assert {key[2] for key in records(run)} == {1.0}
    scored(run, reference=EARLY)
    assert_is_brute_force(run, LATE, EARLY)


def test_more_samples_add_to_what_is_there(copy: Copy, monkeypatch: pytest.MonkeyPatch) -> None:
    run = copy()
    scored(run, reference=EARLY)
    monkeypatch.setattr(runs, "N", 4)
    draw(run.path)
    said = scored(run, reference=EARLY)
    assert ": 6 samples with " in said[0] and said[0].endswith("; 18 were scored before")
    assert_is_brute_force(run, LATE, EARLY)


def test_another_scorer_stands_beside_the_first(copy: Copy) -> None:
    run = copy()
    for reference in (EARLY, LATE, None):
        scored(run, reference=reference)
    index = run.index()
    assert len(index.token_stats) == 3 and all(len(own) == 18 for own in index.token_stats.values())
    last = list(index.token_stats)[-1]
    assert all(len(s.token_stats) == 2 for group in run.groups(scorer=last) for s in group.samples)


def test_a_greedy_run_is_scored_at_temperature_1(tmp_path: Path) -> None:
    run = draw(tmp_path / "greedy", temperature=0.0)
    scored(run)
    assert {key[2] for key in records(run)} == {1.0}


# --- numbers that are none --------------------------------------------------------------------------


def test_an_infinite_divergence_names_the_sample(copy: Copy, monkeypatch: pytest.MonkeyPatch) -> None:
    def with_an_infinity(*args: Any, **kwargs: Any) -> Any:
        statistics = exact(*args, **kwargs)
        statistics[1].kl[0] = torch.inf
        return statistics

    exact = passes.token_stats_at
    monkeypatch.setattr(passes, "token_stats_at", with_an_infinity)
    run = copy()
    with pytest.raises(InputError, match=r"kl_sum of sample \d of problem \w{16} is inf: a model gives prob"):
        scored(run, reference=EARLY)
    assert list(run.token_stats()) == []


def test_hidden_states_that_are_no_numbers_name_the_sample(copy: Copy, tmp_path: Path) -> None:
    run = copy()
    seven = runs.tokenizer()("7")["input_ids"][0]

    def break_sevens(model: Any) -> None:
        runs.untied(model)
        model.model.embed_tokens.weight.data[seven] = torch.nan

    broken = runs.resaved(LATE, tmp_path / "broken", break_sevens)
    with pytest.raises(InputError, match="broken makes NaN or infinite hidden states of sample") as caught:
        scored(run, reference=broken)
    named = re.search(r"sample (\d) of problem (\w+)", str(caught.value))
    assert named
    sample = next(s for s in run.samples() if (str(s.index), s.problem_id) == named.groups())
    assert seven in [*runs.prompt_ids(sample.problem_id), *(sample.token_ids or ())]
