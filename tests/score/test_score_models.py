"""Which models score a run, with which prompt and vocabulary: what is allowed, what is refused."""

import builtins
import json
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from huggingface_hub import constants
from safetensors.torch import save_file
from score import runs
from score.runs import EARLY, LATE, PROBLEMS, changed, draw, numbers, records, resaved, scored

from opo_eval.errors import EngineError, InputError, UsageError
from opo_eval.problems import dataset_sha256
from opo_eval.records import Checkpoint, RunSettings, Sample, Think
from opo_eval.samplers.checkpoints import load_checkpoint, model_sha256
from opo_eval.score import ScoreOptions, models, score_runs
from opo_eval.store import RunDir, RunWriter

Copy = Callable[..., RunDir]
CHAT = "{{ bos_token }}{% for m in messages %}{{ m.content }}{% endfor %}"


def chat(source: str, target: Path, template: str = CHAT) -> str:
    """A copy of a checkpoint whose tokenizer has a chat template."""
    return changed(source, target, tokenizer_config={"bos_token": "␀", "chat_template": template})


def imported(path: Path, texts: list[str], checkpoint: str | None = LATE) -> RunDir:
    """A run of texts alone: no token ids, no prompt."""
    settings = RunSettings(
        checkpoint=Checkpoint(name="theirs", path=checkpoint),
        benchmark="tiny-arith",
        dataset_sha256=dataset_sha256(PROBLEMS),
        think=Think.NONE,
    )
    with RunWriter(path, settings, PROBLEMS) as writer:
        writer.append_samples(
            Sample(checkpoint="theirs", problem_id=problem.id, index=0, text=text)
            for problem, text in zip(PROBLEMS, texts, strict=False)
        )
    return RunDir(path)


def with_settings(run: RunDir, **changes: Any) -> RunDir:
    """The run with other settings in its manifest."""
    file = run.path / "manifest.json"
    row = json.loads(file.read_text())
    for name, value in changes.items():
        row["settings"][name] = row["settings"][name] | value if isinstance(value, dict) else value
    file.write_text(json.dumps(row))
    return run


# --- the policy -------------------------------------------------------------------------------------


def test_the_weights_that_drew_a_run_may_have_moved(copy: Copy, tmp_path: Path) -> None:
    run, moved = copy(), changed(LATE, tmp_path / "elsewhere")
    with_settings(run, checkpoint={"path": str(tmp_path / "gone")})
    with pytest.raises(EngineError, match=r"directory .*gone, and there is none: say where it lies"):
        scored(run)
    said = scored(run, checkpoint=moved)
    assert f"|policy:late@{str(model_sha256(LATE))[:8]}|" in said[-1] and "off-policy" not in " ".join(said)
    again = scored(with_settings(run, checkpoint={"path": LATE}))
    assert "18 were scored before" in again[0]


def test_other_weights_at_its_path_are_refused(copy: Copy, tmp_path: Path) -> None:
    run = with_settings(copy(), checkpoint={"path": EARLY})
    late, early = (str(model_sha256(path))[:8] for path in (LATE, EARLY))
    with pytest.raises(InputError, match=rf"drawn by late@{late}, and .* other weights \(early@{early}\)"):
        scored(run)
    assert not (run.path / "token_stats.jsonl").exists()


def test_other_weights_by_name_score_off_policy(copy: Copy) -> None:
    run = copy()
    said = scored(run, checkpoint=EARLY)
    assert "is scored off-policy, by early@" in said[0] and said[-1].endswith("|prompt:sampled|off-policy")
    for (problem_id, index, temperature), stats in records(run).items():
        response = next(s.token_ids for s in run.samples() if (s.problem_id, s.index) == (problem_id, index))
        log_p = runs.log_probs(EARLY, runs.prompt_ids(problem_id), response or (), temperature)
        drawn = log_p[range(len(response or ())), list(response or ())]
        assert stats.logprob_sum == pytest.approx(drawn.sum(), rel=1e-5)


def test_a_hub_name_is_signed_with_its_commit(
    copy: Copy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit, home = "0123456789abcdef" * 2, tmp_path / "cache/models--someone--early"
    changed(EARLY, home / "snapshots" / commit)
    (home / "refs").mkdir()
    (home / "refs/main").write_text(commit)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    one, other = copy("one"), copy("other")
    said = scored(one, reference="someone/early")
    assert "|reference:early@01234567|" in said[-1] and "scored by late beside early" in said[0]
    scored(other, reference=EARLY)
    assert [numbers(s) for s in records(one).values()] == [numbers(s) for s in records(other).values()]
    own = draw(tmp_path / "own", "someone/early")
    said = scored(own)
    assert said[0].endswith("own does not say which weights drew it: it is taken that early@01234567 did")


def test_a_run_that_does_not_say_its_checkpoint_asks_for_it(tmp_path: Path) -> None:
    run = imported(tmp_path / "run", ["1"], checkpoint=None)
    with pytest.raises(UsageError, match="does not say where the checkpoint lies that drew it: give --chec"):
        scored(run, template="tiny")


def test_one_policy_for_runs_of_two_is_refused(copy: Copy) -> None:
    both = [copy("a"), copy("b", of="early")]
    with pytest.raises(UsageError, match=r"--checkpoint names one policy, but .*a was drawn by late@\w+ and"):
        list(score_runs(both, ScoreOptions(checkpoint=LATE)))
    same = [copy("c"), copy("d")]
    list(score_runs(same, ScoreOptions(checkpoint=EARLY), quiet=True))
    assert [len(records(run)) for run in same] == [36, 36]


def test_a_training_run_in_the_place_of_a_checkpoint_is_refused(copy: Copy, tmp_path: Path) -> None:
    for step in (1, 2):
        changed(LATE, tmp_path / f"training/step_{step}")
    for option in ("checkpoint", "reference"):
        with pytest.raises(UsageError, match=rf"--{option} .*training is a training run with 2 checkpoints"):
            scored(copy(option), **{option: str(tmp_path / "training")})
    said = scored(copy("one"), reference=str(tmp_path / "training/step_2"))
    assert "scored by late beside training_step2" in said[0]


# --- adapters ---------------------------------------------------------------------------------------


def adapter(folder: Path, n_layers: int = 3, scale: float = 0.3) -> tuple[str, Callable[[Any], None]]:
    """A LoRA adapter of rank 4 on the values of each layer, and what merges it into a model by hand."""
    generator, tensors, added = torch.Generator().manual_seed(0), {}, []
    for i in range(n_layers):
        a, b = (scale * torch.randn(*shape, generator=generator) for shape in ((4, 64), (64, 4)))
        name = f"base_model.model.model.layers.{i}.self_attn.v_proj"
        tensors |= {f"{name}.lora_A.weight": a, f"{name}.lora_B.weight": b}
        added.append(2 * b @ a)
    folder.mkdir()
    save_file(tensors, folder / "adapter_model.safetensors")
    config = {"peft_type": "LORA", "r": 4, "lora_alpha": 8, "target_modules": ["v_proj"], "bias": "none"}
    (folder / "adapter_config.json").write_text(json.dumps(config))

    def merge(model: Any) -> None:
        for layer, delta in zip(model.model.layers, added, strict=True):
            layer.self_attn.v_proj.weight.data += delta

    return str(folder), merge


def test_an_adapter_is_the_model_with_it_merged_in(copy: Copy, tmp_path: Path) -> None:
    lora, merge = adapter(tmp_path / "lora")
    merged = resaved(EARLY, tmp_path / "merged", merge)
    one, other, plain = copy("one"), copy("other"), copy("plain")
    said = scored(one, reference=EARLY, reference_adapter=lora)
    scored(other, reference=merged)
    scored(plain, reference=EARLY)
    for key, stats in records(one).items():
        np.testing.assert_allclose(numbers(stats), numbers(records(other)[key]), rtol=1e-5, atol=1e-6)
        assert stats.kl_sum != pytest.approx(records(plain)[key].kl_sum, rel=1e-3)
    assert f"+adapter@{str(model_sha256(lora))[:8]}|" in said[-1]


def test_a_run_that_was_drawn_with_an_adapter_asks_for_it(copy: Copy, tmp_path: Path) -> None:
    lora, _ = adapter(tmp_path / "lora")
    run = with_settings(copy(), sampling={"adapter_sha256": model_sha256(lora)})
    with pytest.raises(
        InputError, match=r"was drawn with a LoRA adapter \(sha256 \w{64}\): give its directory"
    ):
        scored(run)
    assert "off-policy" not in " ".join(scored(run, adapter=lora))
    assert "scored off-policy, by late@" in scored(copy("without"), adapter=lora)[0]


def test_an_adapter_that_does_not_fit_is_refused(copy: Copy, tmp_path: Path) -> None:
    run, (lora, _) = copy(), adapter(tmp_path / "deep", n_layers=4)
    with pytest.raises(EngineError, match=r"deep does not fit the checkpoint: .*layers\.3.* only one of the"):
        scored(run, adapter=lora)
    with pytest.raises(EngineError, match=r"is not a LoRA adapter \(it has no adapter_config"):
        scored(run, adapter=LATE)
    with pytest.raises(UsageError, match="--reference-adapter was given without --reference"):
        scored(run, reference_adapter=lora)


def test_a_missing_peft_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lora, _ = adapter(tmp_path / "lora")
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(EngineError, match=r"an adapter needs peft, which is not installed: pip install"):
        load_checkpoint(LATE, "float32", "cpu", lora)


# --- the reference ----------------------------------------------------------------------------------


def with_tokens(source: str, target: Path, **renamed: str) -> str:
    """A copy of a checkpoint in whose tokenizer two tokens have changed places."""
    shutil.copytree(source, target)
    file = target / "tokenizer.json"
    row = json.loads(file.read_text())
    vocabulary = row["model"]["vocab"]
    for one, other in renamed.items():
        vocabulary[one], vocabulary[other] = vocabulary[other], vocabulary[one]
    file.write_text(json.dumps(row))
    return str(target)


def test_another_tokenizer_is_refused_with_a_token_that_differs(copy: Copy, tmp_path: Path) -> None:
    other = with_tokens(EARLY, tmp_path / "other", a="b")
    a = runs.tokenizer().get_vocab()["a"]
    with pytest.raises(InputError, match=rf"token {a} is 'a' in .*late and 'b' in .*other; give a reference"):
        scored(copy(), reference=other)


def test_a_head_with_too_few_rows_is_refused(copy: Copy, tmp_path: Path) -> None:
    cut = resaved(EARLY, tmp_path / "cut", lambda model: model.resize_token_embeddings(200))
    with pytest.raises(InputError, match="head of cut has 200 rows, fewer than the 258 tokens that late kn"):
        scored(copy(), reference=cut)


def test_a_reference_with_another_chat_template_reads_the_policys_prompt(copy: Copy, tmp_path: Path) -> None:
    own, other = chat(LATE, tmp_path / "own"), chat(EARLY, tmp_path / "other", CHAT + "!")
    run, plain = draw(tmp_path / "run", own), copy("plain")
    said = scored(run, reference=other)
    assert said[0] == "other has another chat template: it reads the prompt that own has"
    prompt = [0, *runs.prompt_ids(PROBLEMS[0].id)]
    sample = next(s for s in run.samples() if s.problem_id == PROBLEMS[0].id)
    log_q = runs.log_probs(EARLY, prompt, sample.token_ids or (), 1.0)
    drawn = log_q[range(len(log_q)), list(sample.token_ids or ())]
    stats = records(run)[sample.problem_id, sample.index, 1.0]
    assert stats.ref_logprob_sum == pytest.approx(drawn.sum(), rel=1e-5)
    assert scored(run, reference=EARLY)[0] == "early has no chat template: it reads the prompt that own has"
    assert "chat template" not in " ".join(scored(plain, reference=other))  # it was asked without one


# --- the prompt -------------------------------------------------------------------------------------


def test_another_chat_template_than_the_runs_is_refused(tmp_path: Path) -> None:
    own = chat(LATE, tmp_path / "own")
    run = draw(tmp_path / "run", own)
    assert "prompt:sampled" in scored(run)[-1]
    for checkpoint, has in (
        (chat(LATE, tmp_path / "b", CHAT + "?"), r"another one \(sha256"),
        (LATE, "none"),
    ):
        with pytest.raises(
            InputError, match=rf"asked through a chat template \(sha256 \w+\) and .* has {has}"
        ):
            scored(run, checkpoint=checkpoint)


def test_a_template_with_the_date_is_warned_of(tmp_path: Path) -> None:
    dated = "{{ strftime_now('%Y') }}" + CHAT
    run = draw(tmp_path / "run", chat(LATE, tmp_path / "dated", dated))
    assert scored(run)[0].startswith("the chat template of dated may write the day into the prompt")


def test_a_known_prompt_is_not_to_be_given(copy: Copy) -> None:
    for option in ({"template": "tiny"}, {"system": "s"}, {"response_prefix": "x"}, {"no_chat": True}):
        with pytest.raises(UsageError, match="says itself how its problems were put: leave --template, --sy"):
            scored(copy(next(iter(option))), **option)


def test_the_whole_prompt_is_rebuilt(tmp_path: Path) -> None:
    run = draw(tmp_path / "run", chat(LATE, tmp_path / "own"), system="sum", response_prefix="1")
    scored(run)
    sample = next(s for s in run.samples() if s.problem_id == PROBLEMS[0].id)
    prompt = [0, *runs.tokenizer()("sum" + PROBLEMS[0].prompt + "=1")["input_ids"]]
    log_p = runs.log_probs(LATE, prompt, sample.token_ids or (), 1.0)
    drawn = log_p[range(len(log_p)), list(sample.token_ids or ())]
    stats = records(run)[sample.problem_id, sample.index, 1.0]
    assert stats.logprob_sum == pytest.approx(drawn.sum(), rel=1e-5)


def test_a_run_that_does_not_know_its_prompt_asks_for_it(tmp_path: Path) -> None:
    run = imported(tmp_path / "run", ["1+2=3", "4", "\\boxed{5}"])
    with pytest.raises(
        UsageError, match="does not say how its problems were put to the model: say it with --t"
    ):
        scored(run)
    said = scored(run, template="tiny", reference=EARLY)
    assert "does not say which weights drew it: it is taken that theirs@" in said[0]
    assert said[1].endswith("is taken to be the template 'tiny' without a chat template")
    assert (
        "3 samples came without token ids: the text was tokenized anew, and no end token was scored" in said
    )
    for (problem_id, index, _), stats in records(run).items():
        text = next(s.text for s in run.samples() if (s.problem_id, s.index) == (problem_id, index))
        response = runs.tokenizer()(text)["input_ids"]
        p, q = (runs.log_probs(c, runs.prompt_ids(problem_id), response, 1.0) for c in (LATE, EARLY))
        found = runs.expected(runs.brute_force(p, q, response))
        np.testing.assert_allclose(numbers(stats), found, rtol=2e-5, atol=2e-6)
    assert {key[2] for key in records(run)} == {1.0} and "k1" not in " ".join(said)


def test_prompts_that_differ_are_other_scorers(tmp_path: Path) -> None:
    run = imported(tmp_path / "run", ["1"])
    options: list[dict[str, Any]] = [
        {"template": "tiny"},
        {"template": "{problem}:"},
        {"response_prefix": "x"},
    ]
    scorers = [scored(run, **option)[-2].split("|prompt:")[1] for option in options]
    assert [scorer.split("@")[0] for scorer in scorers] == ["tiny", "custom", "tiny"]
    assert len(set(scorers)) == 3


def test_a_conversation_with_a_server_has_an_unknown_prompt(copy: Copy) -> None:
    run = with_settings(copy(), sampling={"engine": "server", "engine_args": {"prompts": "chat"}})
    with pytest.raises(UsageError, match="does not say how its problems were put"):
        scored(run)
    assert "|prompt:tiny@" in scored(run, no_chat=True)[-1]
    known = with_settings(copy("b"), sampling={"engine": "server", "engine_args": {"prompts": "token ids"}})
    assert "|prompt:sampled" in scored(known)[-1]


# --- samples that cannot be scored ------------------------------------------------------------------


def test_what_cannot_be_scored_is_left_out_and_counted(tmp_path: Path) -> None:
    run = imported(tmp_path / "run", ["1+2=3", "", "9" * 256, "7"])
    said = scored(run, template="tiny", reference=EARLY)
    assert ": 2 samples with 6 tokens scored" in said[2] and len(records(run)) == 2
    assert "1 sample left out: without a token" in said
    assert "1 sample left out: longer, prompt included, than the 256 tokens that a model takes" in said
    again = scored(run, template="tiny", reference=EARLY)
    assert ": 0 samples with 0 tokens" in again[2] and "1 sample left out: without a token" in again


def test_tokens_that_only_one_model_has_are_left_out(copy: Copy, tmp_path: Path) -> None:
    padded = resaved(LATE, tmp_path / "padded", lambda m: m.resize_token_embeddings(320, mean_resizing=False))
    run = copy()
    sample = next(run.samples())
    with run.writer() as writer:
        odd = replace(sample, index=9, token_ids=(300, 1), n_tokens=2)
        writer.append_samples([odd])
    said = scored(run, checkpoint=padded, reference=EARLY)
    assert "1 sample left out: with a token outside the 258 that are scored" in said
    assert len(records(run)) == 36


def test_token_ids_of_another_tokenizer_are_refused(copy: Copy, tmp_path: Path) -> None:
    other = with_tokens(LATE, tmp_path / "other", **{"1": "2"})
    with pytest.raises(InputError, match=r"read '.*' in .*other and not '.*': score with a checkpoint that"):
        scored(copy(), checkpoint=other)


def test_texts_that_a_server_took_apart_are_their_tokens_still(copy: Copy) -> None:
    run = copy()
    sample = next(run.samples())
    with run.writer() as writer:
        text = f"<think>\n{sample.text[:3]} </think>{sample.text[3:]}"
        writer.append_samples([replace(sample, index=9, text=text)])
    assert ": 19 samples with" in scored(with_settings(run, sampling={"model_sha256": None}))[1]


@pytest.mark.parametrize(
    ("rope", "window"),
    [
        ({"rope_type": "default", "rope_theta": 10000.0}, 256),
        ({"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 256}, 1024),
        ({"rope_type": "llama3", "factor": 8.0, "original_max_position_embeddings": 16}, 256),
        (None, 256),
    ],
)
def test_stretched_positions_are_a_longer_window(rope: dict[str, Any] | None, window: int) -> None:
    config = SimpleNamespace(max_position_embeddings=256, rope_parameters=rope)
    assert models._window(config) == window
    assert models._window(SimpleNamespace()) is None


# --- a machine without torch ------------------------------------------------------------------------


def test_without_torch_it_is_one_sentence(copy: Copy, monkeypatch: pytest.MonkeyPatch) -> None:
    def without(name: str, *rest: Any) -> Any:
        if name.startswith("opo_eval.score.run"):
            raise ModuleNotFoundError("No module named 'torch'", name="torch")
        return real(name, *rest)

    real = builtins.__import__
    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(EngineError, match=r"scoring needs torch, which is not installed: pip install 'opo-e"):
        scored(copy())
