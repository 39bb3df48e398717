"""Seeds that never overlap, runs that an interruption does not change, engines on real checkpoints."""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from builders import problem
from scipy import stats as scipy_stats

from opo_eval.errors import EngineError, StoreError, UsageError
from opo_eval.problems import TEMPLATES, make_problem, make_prompting
from opo_eval.records import Checkpoint, Finish, SamplingSettings, Think
from opo_eval.samplers import Generation, Request, make_sampler, plan_requests, sample_run, sample_seed
from opo_eval.samplers.checkpoints import model_sha256
from opo_eval.samplers.draw import draw_tokens
from opo_eval.samplers.hf import HFSampler
from opo_eval.samplers.scripted import ScriptedSampler
from opo_eval.store import RunDir

PROBLEMS = tuple(problem(number) for number in range(1, 6))
STARTS = ("Once upon a time", "Lily and Tom", "The big dog ran to the", "One day", "A cat")
STORIES = tuple(
    make_problem(benchmark="stories", source_id=str(i), prompt=start, answer="0")
    for i, start in enumerate(STARTS)
)


@pytest.fixture(scope="session")
def stories(data_dir: Path) -> HFSampler:
    """A real trained checkpoint that others made."""
    return HFSampler(str(data_dir / "tiny_lm_stories260k"), template="plain", max_tokens=24, base_seed=5)


def scripted(script: Any = lambda request: f"{request.seed}") -> ScriptedSampler:
    return ScriptedSampler(script, TEMPLATES["plain"])


def sample(path: Path, sampler: Any, n: int, problems: Any = PROBLEMS) -> RunDir:
    return sample_run(path, sampler, Checkpoint(name="c"), problems, n=n, think=Think.NONE, quiet=True)


# --- seeds and plans --------------------------------------------------------------------------------


def test_seeds_are_distinct_and_no_two_are_neighbours() -> None:
    seeds = sorted(sample_seed(base, f"p{p}", i) for base in range(3) for p in range(50) for i in range(256))
    gaps = np.diff(np.array(seeds, dtype=object))
    assert min(gaps) > 1024  # an engine's seed + i children of one sample stay clear of the next
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_a_seed_depends_on_nothing_but_its_base_problem_and_index() -> None:
    assert sample_seed(0, "p", 3) == sample_seed(0, "p", 3)
    assert (
        len({sample_seed(0, "p", 3), sample_seed(1, "p", 3), sample_seed(0, "q", 3), sample_seed(0, "p", 4)})
        == 4
    )
    assert sample_seed(1, "2\n3", 4) != sample_seed(1, "2", 34)


def test_a_plan_holds_what_is_missing() -> None:
    done = {(PROBLEMS[0].id, 0), (PROBLEMS[2].id, 1)}
    plan = plan_requests(PROBLEMS, 2, 0, done)
    keys = {(request.problem.id, request.index) for request in plan}
    assert len(plan) == len(keys) == 8 and not keys & done
    with pytest.raises(UsageError, match="n must be at least 1 sample a problem, not 0"):
        plan_requests(PROBLEMS, 0, 0)


# --- runs -------------------------------------------------------------------------------------------


class Breaks(ScriptedSampler):
    """Stops with an interruption after some samples."""

    after = 7

    def generate(self, requests: Sequence[Request]) -> Iterator[Generation]:
        for done, generation in enumerate(super().generate(requests)):
            if done == self.after:
                raise KeyboardInterrupt
            yield generation


def test_an_interrupted_run_is_continued_to_the_same_samples(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        sample(tmp_path / "broken", Breaks(lambda r: f"{r.seed}", TEMPLATES["plain"]), 4)
    assert len(list(RunDir(tmp_path / "broken").samples())) == Breaks.after
    continued = sample(tmp_path / "broken", scripted(), 4)
    whole = sample(tmp_path / "whole", scripted(), 4)
    assert sorted(continued.samples(), key=str) == sorted(whole.samples(), key=str)
    assert len(list(whole.samples())) == 20 and whole.manifest.n_target == 4


def test_a_larger_n_adds_and_keeps_what_is_there(tmp_path: Path) -> None:
    before = list(sample(tmp_path, scripted(), 2).samples())
    after = list(sample(tmp_path, scripted(), 5).samples())
    assert after[: len(before)] == before and len(after) == 25


def test_another_base_seed_or_template_is_refused(tmp_path: Path) -> None:
    sample(tmp_path, scripted(), 2)
    other = ScriptedSampler(lambda r: "", TEMPLATES["boxed"], base_seed=9)
    with pytest.raises(StoreError, match=r"prompting.name was 'plain', now 'boxed'.*base_seed was 0, now 9"):
        sample(tmp_path, other, 2)


# --- Hugging Face -----------------------------------------------------------------------------------


def texts(generations: Iterator[Generation]) -> dict[tuple[str, int], str]:
    return {(g.request.problem.source_id, g.request.index): g.text for g in generations}


def test_a_response_does_not_depend_on_its_batch(stories: HFSampler) -> None:
    requests = plan_requests(STORIES, 4, 5)
    together = texts(stories.generate(requests))
    stories.batch_size = 1
    alone = texts(stories.generate(list(reversed(requests))))
    stories.batch_size = 64
    assert together == alone
    assert len(set(together.values())) == len(together) == 20


def test_greedy_is_what_transformers_generates(data_dir: Path) -> None:
    sampler = HFSampler(str(data_dir / "tiny_lm_stories260k"), template="plain", max_tokens=24, temperature=0)
    for generation in sampler.generate(plan_requests(STORIES, 1, 0)):
        ids = torch.tensor([sampler.prompt_ids(generation.request.problem)])
        with torch.no_grad():
            plain = sampler._model.generate(ids, do_sample=False, max_new_tokens=24)
        assert list(generation.token_ids or ()) == plain[0, ids.shape[1] :].tolist()


def test_the_special_tokens_are_there_once(stories: HFSampler) -> None:
    ids = stories.prompt_ids(STORIES[0])
    assert ids == stories._tokenizer("Once upon a time")["input_ids"]
    assert ids.count(stories._tokenizer.bos_token_id) <= 1


def test_a_chat_template_is_applied_once_and_recorded(tmp_path: Path, data_dir: Path) -> None:
    folder = tmp_path / "chat"
    folder.mkdir()
    for path in (data_dir / "tiny_lm_stories260k").iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    template = "{{ bos_token }}{% for m in messages %}[{{ m.role }}] {{ m.content }}{% endfor %} [assistant]"
    (folder / "chat_template.jinja").write_text(template)
    sampler = HFSampler(str(folder), template="plain", system="be kind", response_prefix=" <think>")
    tokenizer = sampler._tokenizer
    ids = sampler.prompt_ids(STORIES[0])
    expected = "[system] be kind[user] Once upon a time [assistant] <think>"
    assert tokenizer.decode(ids, skip_special_tokens=True).strip() == expected
    assert ids.count(tokenizer.bos_token_id) == 1
    assert sampler.prompting.chat_template_sha256 is not None
    without = HFSampler(str(folder), template="plain", chat=False)
    assert without.prompting.chat_template_sha256 is None


def copied(source: Path, target: Path) -> Path:
    target.mkdir()
    for path in source.iterdir():
        (target / path.name).write_bytes(path.read_bytes())
    return target


def test_a_checkpoints_own_generation_settings_change_nothing(tmp_path: Path, data_dir: Path) -> None:
    source = data_dir / "tiny_lm_stories260k"
    other = copied(source, tmp_path / "penalised")
    config = json.loads((other / "generation_config.json").read_text())
    penalties = {"repetition_penalty": 3.0, "no_repeat_ngram_size": 2, "temperature": 0.1, "do_sample": True}
    (other / "generation_config.json").write_text(json.dumps(config | penalties))
    drawn = [
        texts(HFSampler(str(path), template="plain", max_tokens=24).generate(plan_requests(STORIES, 2, 0)))
        for path in (source, other)
    ]
    assert drawn[0] == drawn[1]
    assert model_sha256(str(source)) != model_sha256(str(other))


def test_a_long_prompt_takes_no_room_from_a_short_one(data_dir: Path) -> None:
    sampler = HFSampler(str(data_dir / "tiny_lm_stories260k"), template="plain", max_tokens=40)
    long = make_problem(benchmark="stories", source_id="long", prompt="tree " * 165, answer="0")
    short, cut = plan_requests([STORIES[0], long], 1, 0)
    (alone,) = sampler.generate([short])
    beside = {g.request.problem.source_id: g for g in sampler.generate([short, cut])}
    assert beside[STORIES[0].source_id].token_ids == alone.token_ids and alone.n_tokens > 20
    window = sampler._model.config.max_position_embeddings
    assert beside["long"].n_tokens == window - len(sampler.prompt_ids(cut.problem)) < 40
    assert beside["long"].finish is Finish.LENGTH


def test_a_prompt_that_opens_a_thought_has_to_be_said(tmp_path: Path) -> None:
    prompting = make_prompting("plain", response_prefix="<think>")
    sampler = ScriptedSampler(lambda request: "so 2", prompting)
    with pytest.raises(UsageError, match=r"opens a think section.*give --think prefilled, not none"):
        sample(tmp_path / "run", sampler, 1)
    with pytest.raises(UsageError, match="n must be at least 1"):
        sample(tmp_path / "run", scripted(), 0)
    assert not (tmp_path / "run").exists()


def test_finish_says_how_generation_ended(stories: HFSampler) -> None:
    for generation in stories.generate(plan_requests(STORIES, 2, 5)):
        assert generation.n_tokens == len(generation.token_ids or ())
        assert generation.finish is (Finish.LENGTH if generation.n_tokens == 24 else Finish.STOP)


def drawn(logits: torch.Tensor, n: int = 40_000, **options: Any) -> Counter[int]:
    settings: dict[str, Any] = {"temperature": 1.0, "top_p": 1.0, "top_k": 0} | options
    settings |= {"engine": "hf", "max_tokens": 1, "base_seed": 0, "dtype": "float32"}
    uniform = torch.from_numpy(np.random.default_rng(3).random(n))
    return Counter(draw_tokens(logits.expand(n, -1), uniform, SamplingSettings(**settings)).tokens.tolist())


@pytest.mark.parametrize("temperature", [0.6, 1.0, 1.7])
def test_tokens_are_drawn_from_the_models_distribution(temperature: float) -> None:
    logits = torch.tensor([2.0, -1.0, 0.5, 0.0, -3.0, 1.2])
    expected = torch.softmax(logits.double() / temperature, -1).numpy()
    counts = drawn(logits, temperature=temperature)
    observed = [counts[token] for token in range(len(logits))]
    assert scipy_stats.chisquare(observed, 40_000 * expected).pvalue > 1e-3


def test_top_k_and_top_p_keep_the_most_probable_and_their_proportions() -> None:
    logits = torch.log(torch.tensor([0.05, 0.4, 0.15, 0.3, 0.1], dtype=torch.float64))
    assert drawn(logits, top_k=2).keys() == {1, 3}
    assert drawn(logits, top_p=0.4).keys() == {1}
    counts = drawn(logits, top_p=0.8)
    assert counts.keys() == {1, 3, 2}
    expected = np.array([0.4, 0.3, 0.15]) / 0.85 * 40_000
    assert scipy_stats.chisquare([counts[1], counts[3], counts[2]], expected).pvalue > 1e-3


def test_another_model_of_the_same_shape_has_another_hash(tmp_path: Path, data_dir: Path) -> None:
    source = data_dir / "tiny_lm_stories260k"
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for path in source.iterdir():
            (tmp_path / name / path.name).write_bytes(path.read_bytes())
    assert model_sha256(str(tmp_path / "a")) == model_sha256(str(source))
    weights = bytearray((tmp_path / "b" / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (tmp_path / "b" / "model.safetensors").write_bytes(weights)
    assert model_sha256(str(tmp_path / "a")) != model_sha256(str(tmp_path / "b"))
    assert model_sha256("owner/name") is None


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"temperature": -1}, "temperature cannot be -1: it has to be 0 or more"),
        ({"temperature": float("nan")}, "temperature cannot be nan"),
        ({"top_p": 0}, "top_p cannot be 0"),
        ({"top_k": -2}, "top_k cannot be -2"),
        ({"max_tokens": 0}, "max_tokens cannot be 0"),
        ({"dtype": "int3"}, "dtype cannot be 'int3': it has to be one of float32"),
        ({"template": "no slot"}, "has no {problem}"),
        ({"system": "be kind"}, "has no chat template for a system message"),
    ],
)
def test_a_setting_out_of_range_is_named(data_dir: Path, setting: dict[str, Any], message: str) -> None:
    options = {"template": "plain"} | setting
    with pytest.raises(UsageError, match=message):
        HFSampler(str(data_dir / "tiny_lm_stories260k"), **options)


def test_a_folder_that_is_no_checkpoint_is_named(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match=r"is not a checkpoint directory \(it has no config.json\)"):
        HFSampler(str(tmp_path), template="plain")
    with pytest.raises(EngineError, match="there is no checkpoint directory"):
        HFSampler(str(tmp_path / "nowhere"), template="plain")
    for name in ("config.json", "tokenizer.json"):
        (tmp_path / name).write_text("{")
    with pytest.raises(EngineError, match="cannot be loaded as a checkpoint"):
        HFSampler(str(tmp_path), template="plain")


def test_an_unknown_engine_is_named() -> None:
    with pytest.raises(UsageError, match="there is no engine 'warp': choose one of auto, hf, vllm, server"):
        make_sampler("warp", "x")


def test_a_prompt_that_fills_the_context_is_refused(stories: HFSampler) -> None:
    long = make_problem(benchmark="b", source_id="long", prompt="tree " * 600, answer="0")
    with pytest.raises(EngineError, match=r"problem long has \d+ tokens and the model takes 512"):
        list(stories.generate(plan_requests([long], 1, 0)))
