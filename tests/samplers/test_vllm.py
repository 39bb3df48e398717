"""vLLM's own engine, on the CPU: what it draws, and what it shares with the other engines.

An engine takes seconds to start, and another folder, log-probabilities or an adapter take another engine:
tests that can share one stand beside each other.
"""

import copy
import gc
import json
from collections.abc import Iterator
from dataclasses import replace
from itertools import combinations, islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from samplers.engines import (
    HELD_OUT,
    NEAR_TIE,
    Drawn,
    assert_pass_rates_agree,
    by_key,
    copied,
    first_difference,
    gap_of_the_two_best,
    pass_rates,
    token_ids,
)

from opo_eval.errors import EngineError, StoreError, UsageError
from opo_eval.records import Checkpoint, Finish, Think
from opo_eval.samplers import (
    choose_engine,
    make_sampler,
    plan_requests,
    sample_run,
    vllm_engine,
)
from opo_eval.samplers.hf import HFSampler
from opo_eval.samplers.vllm import VLLMSampler
from opo_eval.samplers.vllm_worker import squared
from opo_eval.tiny import checkpoint_path

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
]
LATE, EARLY = str(checkpoint_path("late")), str(checkpoint_path("early"))


@pytest.fixture(scope="module", autouse=True)
def _engine_of_this_module() -> Iterator[None]:
    yield
    vllm_engine.close_engine()
    gc.collect()


def sampler(checkpoint: str = LATE, **options: Any) -> VLLMSampler:
    return VLLMSampler(checkpoint, **{"template": "tiny", "max_tokens": 64, **options})


@pytest.fixture(scope="module")
def whole() -> Drawn:
    """What `late` draws, 4 responses of 8 problems."""
    return by_key(sampler().generate(plan_requests(HELD_OUT[:8], 4, 0)))


# --- what is drawn ----------------------------------------------------------------------------------


@pytest.mark.parametrize("checkpoint", [EARLY, LATE])
def test_greedy_is_hfs_token_for_token(checkpoint: str) -> None:
    requests = plan_requests(HELD_OUT, 1, 0)
    hf = HFSampler(checkpoint, template="tiny", max_tokens=64, temperature=0.0)
    theirs = by_key(sampler(checkpoint, temperature=0.0).generate(requests))
    for key, own in by_key(hf.generate(requests)).items():
        place = first_difference(own.token_ids or (), theirs[key].token_ids or ())
        if place is None:
            assert theirs[key].text == own.text and theirs[key].finish is own.finish
        else:
            prompt = hf.prompt_ids(own.request.problem)
            assert gap_of_the_two_best(hf._model, prompt, (own.token_ids or ())[:place]) < NEAR_TIE


def test_pass_rates_are_hfs(hf_pass_rates: np.ndarray) -> None:
    drawn = sampler().generate(plan_requests(HELD_OUT, 16, 0))
    assert_pass_rates_agree(hf_pass_rates, pass_rates(drawn))


def test_a_response_depends_on_its_seed_alone(whole: Drawn) -> None:
    requests, ids = plan_requests(HELD_OUT[:8], 4, 0), token_ids(whole)
    assert token_ids(by_key(sampler().generate(requests[::-1][:9]))).items() <= ids.items()
    other = token_ids(by_key(sampler().generate(plan_requests(HELD_OUT[:8], 4, 1))))
    assert sum(other[key] == own for key, own in ids.items()) < len(ids) / 2


def test_how_it_ended_and_the_end_token_are_kept() -> None:
    ended = [g for g in sampler().generate(plan_requests(HELD_OUT[:4], 4, 0)) if g.finish is Finish.STOP]
    end = HFSampler(LATE, template="tiny")._end_ids
    assert ended and all(g.token_ids and g.token_ids[-1] in end for g in ended)
    cut = list(sampler(max_tokens=3).generate(plan_requests(HELD_OUT[:2], 2, 0)))
    assert {(g.finish, g.n_tokens, len(g.token_ids or ())) for g in cut} == {(Finish.LENGTH, 3, 3)}


# --- the engine -------------------------------------------------------------------------------------


def test_whoever_stops_listening_leaves_nothing_in_the_engine() -> None:
    engine = sampler()
    first = list(islice(engine.generate(plan_requests(HELD_OUT[:16], 8, 0)), 3))
    gc.collect()
    assert len(first) == 3
    assert not engine._engine._engine.has_unfinished_requests()
    assert len(list(engine.generate(plan_requests(HELD_OUT[:2], 2, 0)))) == 4


def test_an_engine_that_dies_loses_what_was_in_flight_only(
    whole: Drawn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    finished, steps = vllm_engine.Engine.finished, iter(range(1000))

    def dying(engine: Any) -> list[Any]:
        if next(steps) == 25:
            raise RuntimeError("EngineCore encountered an issue.\nSee stack trace")
        return finished(engine)

    run = tmp_path / "run"
    with (
        monkeypatch.context() as patched,
        pytest.raises(EngineError, match="EngineCore encountered"),
    ):
        patched.setattr(vllm_engine.Engine, "finished", dying)
        sample_into(run, sampler())
    kept = {(s.problem_id, s.index): s for s in opened(run).samples()}
    assert 0 < len(kept) < 32
    sample_into(run, sampler())
    found = {(s.problem_id, s.index): s.token_ids for s in opened(run).samples()}
    assert found == token_ids(whole)


def sample_into(path: Path, engine: Any, n: int = 4) -> None:
    sample_run(path, engine, Checkpoint(name="late"), HELD_OUT[:8], n=n, think=Think.NONE, quiet=True)


def opened(path: Path) -> Any:
    from opo_eval.store import RunDir

    return RunDir(path)


def test_another_engine_or_setting_is_refused_by_name(tmp_path: Path) -> None:
    sample_into(tmp_path, sampler(), n=1)
    with pytest.raises(StoreError, match=r"sampling.max_model_len was None, now 128"):
        sample_into(tmp_path, sampler(max_model_len=128), n=1)
    with pytest.raises(StoreError, match=r"sampling.engine was 'vllm', now 'hf'"):
        sample_into(tmp_path, HFSampler(LATE, template="tiny", max_tokens=64), n=1)
    with pytest.raises(StoreError, match=r"sampling.engine_args.block_size was None, now '64'"):
        sample_into(tmp_path, sampler(engine_args=("block_size=64",)), n=1)


def test_a_run_that_lacks_nothing_starts_no_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sample_into(tmp_path / "run", sampler(), n=1)
    monkeypatch.setattr(vllm_engine, "_running", None)
    monkeypatch.setattr(vllm_engine, "Engine", None)
    sample_into(tmp_path / "run", sampler(), n=1)
    with pytest.raises(TypeError):
        sample_into(tmp_path / "other", sampler(), n=1)
    assert not (tmp_path / "other").exists()


def test_an_engine_that_took_other_weights_only_in_part_is_not_trusted() -> None:
    """This build does: what it packed when it was loaded stays, the rest changes."""
    running = sampler(LATE)._engine
    assert vllm_engine._takes_weights(running, replace(running.spec, checkpoint=EARLY)) is False
    vllm_engine.close_engine()  # nobody knows what its weights are now


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("max_num_seqs", "takes NAME=VALUE, not 'max_num_seqs'"),
        ("max_num_seq=4", r"is no argument of vLLM 0\.\d+.*'s engine \(did you mean 'max_num_seqs'"),
        ("dtype=float32", "has an option of its own: give --dtype"),
    ],
)
def test_a_wrong_engine_argument_is_named(word: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        sampler(engine_args=(word,))


def test_values_of_engine_arguments_are_json_where_they_can_be() -> None:
    words = ("max-num-seqs=8", "enforce_eager=false", 'load_format="auto"', "block_size=16")
    assert vllm_engine.parse_engine_args(words) == {
        "max_num_seqs": 8,
        "enforce_eager": False,
        "load_format": "auto",
        "block_size": 16,
    }


def test_what_cannot_be_loaded_is_one_sentence(tmp_path: Path) -> None:
    broken = copied(Path(LATE), tmp_path / "broken")
    (broken / "model.safetensors").write_bytes(b"torn")
    with pytest.raises(EngineError, match=r"vLLM cannot load .*broken"):
        sampler(str(broken)).start()
    with pytest.raises(EngineError, match="is not a LoRA adapter"):
        sampler(adapter=str(tmp_path)).start()


def test_an_engine_that_took_them_all_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = vllm_engine.EngineSpec(
        checkpoint=LATE,
        dtype="float32",
        max_model_len=None,
        tensor_parallel=1,
        gpu_memory=0.9,
        adapter=None,
        logprobs=False,
        further=(),
    )
    running = FakeEngine(spec)
    monkeypatch.setattr(vllm_engine, "_running", running)
    other = replace(spec, checkpoint=EARLY)
    assert vllm_engine.engine_for(other) is running and running.spec == other
    assert running.calls == ["reload_weights", "reset_prefix_cache", "squared_weights"]
    running.takes = False
    assert not vllm_engine._takes_weights(running, spec)
    monkeypatch.setattr(vllm_engine, "_running", None)


class FakeEngine(vllm_engine.Engine):
    """An engine on a GPU, as far as reloading goes: it holds what it was told to load last."""

    def __init__(self, spec: vllm_engine.EngineSpec) -> None:
        self.spec, self._engine, self.calls, self.takes = spec, self, [], True

    def collective_rpc(self, name: str, kwargs: Any = None) -> list[Any]:
        self.calls.append(name)
        if name == "reload_weights":
            self.path = kwargs["weights_path"] if self.takes else self.path
            return [None]
        model = HFSampler(self.path, template="tiny")._model
        return [squared(model.parameters())]

    def reset_prefix_cache(self) -> None:
        self.calls.append("reset_prefix_cache")


# --- which engine -----------------------------------------------------------------------------------


def test_auto_takes_vllm_where_it_works_and_says_why_not(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert choose_engine(LATE) == ("vllm", "vLLM is installed and takes this checkpoint")
    engine, why = choose_engine(str(data_dir / "tiny_lm_stories260k"))
    assert engine == "hf" and "no attention with heads of 8" in why
    monkeypatch.setattr("opo_eval.samplers.engines.find_spec", lambda name: None)
    assert choose_engine(LATE) == ("hf", "vLLM is not installed")


def test_an_option_of_another_engine_is_refused() -> None:
    with pytest.raises(UsageError, match="engine vllm has no option batch_size"):
        make_sampler("vllm", LATE, template="tiny", batch_size=4)


# --- log-probabilities ------------------------------------------------------------------------------


def test_64_samples_repeat_no_more_than_their_probabilities_say() -> None:
    requests = plan_requests(HELD_OUT[:12], 64, 0)
    assert len({request.seed for request in requests}) == 12 * 64
    drawn = by_key(sampler(logprobs=True).generate(requests))
    excess = [repeated_less_expected(problem.id, drawn) for problem in HELD_OUT[:12]]
    assert np.mean(excess) < 4 * np.std(excess, ddof=1) / np.sqrt(len(excess))


def repeated_less_expected(problem_id: str, drawn: Any) -> float:
    """Share of equal pairs among a problem's 64, less the mean exact probability of a response."""
    own = [drawn[problem_id, index] for index in range(64)]
    repeated = np.mean([a.token_ids == b.token_ids for a, b in combinations(own, 2)])
    return float(repeated - np.mean([np.exp(sum(g.logprobs)) for g in own]))


def test_log_probabilities_are_those_of_the_distribution_drawn_from() -> None:
    requests = plan_requests(HELD_OUT[:4], 2, 0)
    drawn = list(sampler(logprobs=True, temperature=0.7).generate(requests))
    hf = HFSampler(LATE, template="tiny", max_tokens=64, temperature=0.7)
    for generation in drawn:
        prompt, response = hf.prompt_ids(generation.request.problem), list(generation.token_ids or ())
        with torch.no_grad():
            logits = hf._model(torch.tensor([prompt + response])).logits[0, len(prompt) - 1 : -1]
        exact = torch.log_softmax(logits.double() / 0.7, -1)[range(len(response)), response]
        np.testing.assert_allclose(generation.logprobs, exact, atol=1e-4)


# --- a checkpoint's own files -----------------------------------------------------------------------


def test_a_checkpoints_own_generation_settings_change_nothing(whole: Drawn, tmp_path: Path) -> None:
    penalties = {"repetition_penalty": 3.0, "temperature": 0.1, "top_k": 1, "do_sample": True}
    other = copied(Path(LATE), tmp_path / "penalised", generation_config=penalties)
    drawn = token_ids(by_key(sampler(str(other)).generate(plan_requests(HELD_OUT[:4], 2, 0))))
    assert len(drawn) == 8 and drawn.items() <= token_ids(whole).items()


def test_the_chat_template_is_applied_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    template = "{{ bos_token }}{% for m in messages %}{{ m.content }}{% endfor %}="
    changes = {"bos_token": "␀", "chat_template": template}
    chat = copied(Path(LATE), tmp_path / "chat", tokenizer_config=changes)
    seen = record_prompts(monkeypatch)
    engine = sampler(str(chat), response_prefix="1", max_tokens=4)
    list(engine.generate(plan_requests(HELD_OUT[:3], 2, 0)))
    bos = engine._prompter.tokenizer.bos_token_id
    assert len(seen) == 6 and all(ids.count(bos) == 1 and ids[0] == bos for ids in seen)
    assert sorted(map(tuple, seen)) == sorted(
        tuple(engine.prompt_ids(problem)) for problem in HELD_OUT[:3] for _ in range(2)
    )
    assert engine.prompting.chat_template_sha256 and engine.prompting.response_prefix == "1"
    assert engine.prompt_text(HELD_OUT[0]).endswith("=1")


def record_prompts(monkeypatch: pytest.MonkeyPatch) -> list[list[int]]:
    """What vLLM says that it read, output by output."""
    seen: list[list[int]] = []
    finished = vllm_engine.Engine.finished

    def recording(engine: Any) -> list[Any]:
        outputs = finished(engine)
        seen.extend(list(output.prompt_token_ids) for output in outputs)
        return outputs

    monkeypatch.setattr(vllm_engine.Engine, "finished", recording)
    return seen


# --- adapters ---------------------------------------------------------------------------------------


def test_an_adapter_draws_what_the_merged_model_draws(tmp_path: Path) -> None:
    adapter, merged = lora_of(Path(LATE), tmp_path)
    requests = plan_requests(HELD_OUT[:24], 1, 0)
    adapted = sampler(adapter=str(adapter), temperature=0.0)
    found = token_ids(by_key(adapted.generate(requests)))
    with_it, without = (
        HFSampler(path, template="tiny", max_tokens=64, temperature=0.0) for path in (str(merged), LATE)
    )
    assert found == token_ids(by_key(with_it.generate(requests)))
    assert found != token_ids(by_key(without.generate(requests)))
    assert adapted.settings.adapter_sha256 and sampler().settings.adapter_sha256 is None


def lora_of(checkpoint: Path, folder: Path) -> tuple[Path, Path]:
    """An adapter of rank 8 on the values of each layer, and the checkpoint with it merged in."""
    model = HFSampler(str(checkpoint), template="tiny")._model
    generator, tensors = torch.Generator().manual_seed(0), {}
    merged = copy.deepcopy(model)
    for i, layer in enumerate(merged.model.layers):
        out, width = layer.self_attn.v_proj.weight.shape
        a = 0.3 * torch.randn(8, width, generator=generator)
        b = 0.3 * torch.randn(out, 8, generator=generator)
        name = f"base_model.model.model.layers.{i}.self_attn.v_proj"
        tensors |= {f"{name}.lora_A.weight": a, f"{name}.lora_B.weight": b}
        layer.self_attn.v_proj.weight.data += b @ a
    adapter, target = folder / "adapter", copied(checkpoint, folder / "merged")
    adapter.mkdir()
    save_file(tensors, adapter / "adapter_model.safetensors")
    config = {"peft_type": "LORA", "r": 8, "lora_alpha": 8, "target_modules": ["v_proj"], "bias": "none"}
    (adapter / "adapter_config.json").write_text(json.dumps(config))
    merged.save_pretrained(target)
    return adapter, target
