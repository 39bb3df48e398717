"""Checkpoints × benchmarks: the engine for each, the plan before the bill, and sampling it all."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from opo_eval.problems import load_problems
from opo_eval.records import Checkpoint, Think
from opo_eval.samplers import make_sampler
from opo_eval.store import RunDir
from opo_eval.sweep import Sweep, bill_of, engine_of, longest, parts, plan_sentences, run_sweep
from opo_eval.tiny import checkpoint_path

HELD_OUT = load_problems("tiny-arith")
FIRST, SECOND = HELD_OUT[:6], HELD_OUT[6:10]


def sweep(out: Path, *, n: int = 2, engine: str = "hf", **settings: Any) -> Sweep:
    return Sweep(
        checkpoints=[Checkpoint(name=name, path=str(checkpoint_path(name))) for name in ("early", "late")],
        problem_sets=[FIRST],
        n=n,
        out=out,
        think=Think.NONE,
        engine=engine,
        settings={"max_tokens": 40, **settings},
    )


def run(asked: Sweep) -> tuple[list[str], list[RunDir]]:
    done = list(run_sweep(asked, quiet=True))
    return [each for each in done if isinstance(each, str)], [
        each for each in done if isinstance(each, RunDir)
    ]


def plan(asked: Sweep) -> str:
    return "\n".join(plan_sentences(asked))


def test_every_checkpoint_is_sampled_on_every_benchmark(tmp_path: Path) -> None:
    said, runs = run(sweep(tmp_path))
    assert said == []
    assert [run.path.relative_to(tmp_path).parts[0] for run in runs] == ["early", "late"]
    assert all(len(run.sample_keys()) == 12 for run in runs)
    assert runs[0].manifest.settings.sampling != runs[1].manifest.settings.sampling  # another model
    assert {run.manifest.provenance[-1].n_devices for run in runs} == {1}


def test_a_checkpoint_is_gone_through_before_the_next(tmp_path: Path) -> None:
    asked = replace(sweep(tmp_path), problem_sets=[FIRST, SECOND])
    names = [part.checkpoint.name for part in parts(asked)]
    assert names == ["early", "early", "late", "late"]


def test_the_plan_says_what_is_there_and_what_is_missing_and_keeps_nothing(tmp_path: Path) -> None:
    run(replace(sweep(tmp_path), checkpoints=sweep(tmp_path).checkpoints[:1]))
    before = sorted((path, path.stat().st_mtime_ns) for path in tmp_path.rglob("*"))
    said = plan(sweep(tmp_path, n=3))
    assert sorted((path, path.stat().st_mtime_ns) for path in tmp_path.rglob("*")) == before
    assert re.search(
        r"early on tiny-arith: 6 prompts x 3 samples, 12 there, 6 to draw: 240 tokens at most", said
    )
    assert re.search(
        r"late on tiny-arith: 6 prompts x 3 samples, 0 there, 18 to draw: 720 tokens at most", said
    )
    assert "in all: 24 responses, 960 tokens at most" in said
    assert re.search(r"at [\d,]+ tokens a second, as 64 responses of [\d,]+ tokens in all were drawn", said)


def test_the_plan_shows_one_prompt_whole(tmp_path: Path) -> None:
    asked = sweep(tmp_path, response_prefix="<1")
    sampler = make_sampler("hf", str(checkpoint_path("early")), template="tiny", response_prefix="<1")
    assert f"---\n{sampler.prompt_text(FIRST[0])}\n---" in plan(asked)


def test_lengths_that_are_there_say_what_to_expect(tmp_path: Path) -> None:
    _, runs = run(sweep(tmp_path))
    part = next(parts(sweep(tmp_path, n=4)))
    sampler = make_sampler("hf", str(checkpoint_path("early")), template="tiny", max_tokens=40)
    bill = bill_of(part, sweep(tmp_path, n=4), sampler)
    mean = sum(sample.n_tokens or 0 for sample in runs[0].samples()) / 12
    assert (bill.n_there, bill.n_missing, bill.tokens_at_most) == (12, 12, 480)
    assert bill.tokens_expected == round(12 * mean)
    assert "by the lengths that are there" in plan(sweep(tmp_path, n=4))


def test_nothing_left_to_draw_takes_no_time(tmp_path: Path) -> None:
    run(sweep(tmp_path))
    assert "in all: 0 responses, 0 tokens at most" in plan(sweep(tmp_path))
    assert "tokens a second" not in plan(sweep(tmp_path))


def test_auto_goes_on_with_the_engine_that_a_run_was_begun_with(tmp_path: Path) -> None:
    run(sweep(tmp_path))
    said, runs = run(sweep(tmp_path, n=3, engine="auto"))
    assert said[0] == f"engine hf: {runs[0].path} was begun with it"
    assert all(len(run.sample_keys()) == 18 for run in runs)


def test_auto_says_its_reason_once_for_all_that_share_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("opo_eval.samplers.engines.find_spec", lambda name: None)
    said, runs = run(sweep(tmp_path, engine="auto"))
    assert said == ["engine hf: vLLM is not installed"] and len(runs) == 2
    assert engine_of(next(parts(sweep(tmp_path, engine="vllm"))), sweep(tmp_path, engine="vllm")) == (
        "vllm",
        "",
    )


def test_auto_takes_the_engine_that_an_option_belongs_to(tmp_path: Path) -> None:
    def chosen(**settings: Any) -> tuple[str, str]:
        asked = sweep(tmp_path, engine="auto", **settings)
        return engine_of(next(parts(asked)), asked)

    assert chosen(batch_size=8) == ("hf", "batch_size was given, an option of this engine alone")
    assert chosen(device="cpu")[0] == "hf" and chosen(endpoints=("http://127.0.0.1:1/v1",))[0] == "server"


def test_replicas_go_on_with_a_run_that_another_engine_began(tmp_path: Path) -> None:
    run(sweep(tmp_path, engine="hf"))
    asked = sweep(tmp_path, engine="auto", replicas=2)
    assert engine_of(next(parts(asked)), asked) == (
        "ray",
        "replicas was given, an option of this engine alone",
    )


def test_models_that_think_get_more_room() -> None:
    assert (longest(Think.TAGGED), longest(Think.PREFILLED), longest(Think.NONE)) == (32_768, 32_768, 2_048)
