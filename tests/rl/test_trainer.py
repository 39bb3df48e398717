"""Training runs on the shipped tiny model: what they write, how they end, and how they go on."""

import errno
import multiprocessing
import os
import shutil
import signal
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import orjson
import pytest
import torch
from rl.tiny_policy import tiny_config
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from opo_eval.errors import InputError, OpoEvalError, StoreError, UsageError
from opo_eval.problems.tiny_arith import generate_problems, training_problems
from opo_eval.records import TrainingStep
from opo_eval.rl import trainer as trainer_module
from opo_eval.rl import update as update_module
from opo_eval.rl.config import METHODS, TrainConfig
from opo_eval.rl.rollout import problems_of_step
from opo_eval.rl.run import TrainingRun
from opo_eval.rl.steps import read_steps
from opo_eval.rl.trainer import rate_factor, train
from opo_eval.tiny import checkpoint_path

KILLS = 10


def _weights(path: Path) -> dict[str, torch.Tensor]:
    return load_file(path / "model.safetensors")


def _same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def _lasting(steps: list[TrainingStep]) -> list[dict]:
    """All of the steps that does not depend on how busy the machine was."""
    return [{k: v for k, v in orjson.loads(orjson.dumps(step)).items() if k != "seconds"} for step in steps]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of four steps that nothing interrupted."""
    out = tmp_path_factory.mktemp("finished")
    train(tiny_config(out), quiet=True)
    return out


def test_a_run_leaves_checkpoints_that_transformers_loads(finished: Path) -> None:
    assert sorted(path.name for path in finished.glob("step_*")) == ["step_000002", "step_000004"]
    assert not list(finished.glob(".*part*"))
    model = AutoModelForCausalLM.from_pretrained(finished / "step_000004")
    assert AutoTokenizer.from_pretrained(finished / "step_000004").eos_token_id == model.config.eos_token_id
    assert not _same(_weights(finished / "step_000002"), _weights(finished / "step_000004"))


def test_steps_say_what_happened(finished: Path) -> None:
    steps = read_steps(finished)
    assert [step.step for step in steps] == [1, 2, 3, 4]
    assert [step.n_updates for step in steps] == [1, 2, 3, 4]
    first = steps[0]
    assert (first.n_samples, first.n_unscorable, first.clip_fraction, first.kl_update_k3) == (
        16,
        0,
        None,
        None,
    )
    assert first.kl_start == pytest.approx(0, abs=1e-9) and steps[-1].kl_start > 1e-5
    assert first.reward == first.pass_rate
    for step in steps:
        # What drew the responses is the policy that is updated, to the rounding of another batch's shape.
        assert abs(step.kl_rollout_k1) < 1e-5 and step.kl_rollout_k3 < 1e-9
        assert 0 < step.entropy < np.log(258) and 0 <= step.groups_equal <= 1
        assert set(step.seconds) == {"rollout", "reward", "reference", "update"}
        assert step.n_tokens == pytest.approx(step.length * step.n_samples)


def test_the_resolved_settings_are_kept(finished: Path) -> None:
    kept = orjson.loads((finished / "config.json").read_bytes())
    assert kept["config"]["aggregation"] == "sequence-sum" and kept["config"]["mini_batches"] == 1
    assert kept["n_problems"] == 64 and len(kept["model_sha256"]) == 64


def test_the_same_seed_gives_the_same_bits_and_another_seed_others(finished: Path, tmp_path: Path) -> None:
    train(tiny_config(tmp_path / "again"), quiet=True)
    train(tiny_config(tmp_path / "other", seed=1), quiet=True)
    weights = _weights(finished / "step_000004")
    assert _same(weights, _weights(tmp_path / "again" / "step_000004"))
    assert _lasting(read_steps(finished)) == _lasting(read_steps(tmp_path / "again"))
    assert not _same(weights, _weights(tmp_path / "other" / "step_000004"))


def test_a_finished_run_has_nothing_left_to_do(finished: Path) -> None:
    before = (finished / "training.jsonl").read_bytes()
    again = train(tiny_config(finished), quiet=True)
    assert (again.steps, again.n_before) == ((), 4)
    assert (finished / "training.jsonl").read_bytes() == before


@pytest.mark.parametrize("method", [name for name in METHODS if name != "opo"])
def test_every_method_trains(method: str, tmp_path: Path) -> None:
    config = tiny_config(tmp_path, method=method, steps=2, alpha=0.8 if method == "opo_power" else None)
    steps = train(config, quiet=True).steps
    loose = method == "grpo_loose"
    assert [step.n_updates for step in steps] == ([2, 4] if loose else [1, 2])
    assert all((step.clip_fraction is not None) == loose for step in steps)
    if loose:
        assert steps[1].kl_update_k3 > 0, "the second mini-batch finds another policy than the rollout's"


# --- going on ---------------------------------------------------------------------------------------


def _train_quietly(config: TrainConfig) -> None:
    train(config, quiet=True)


@pytest.mark.parametrize("method", ["opo", "grpo_loose"])
def test_a_run_killed_at_random_moments_ends_in_the_same_bits(method: str, tmp_path: Path) -> None:
    settings = {"method": method, "steps": 8, "save_every": 2, "state_every": 1}
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["opo_eval.rl.trainer"])
    rng = np.random.default_rng(7)
    config = tiny_config(tmp_path / "killed", **settings)
    reached = []
    for _ in range(KILLS // 2):
        process = context.Process(target=_train_quietly, args=(config,))
        process.start()
        _wait_for_progress(process, config.out, steps=len(reached) and int(rng.integers(2)))
        time.sleep(rng.uniform(0, 0.3))
        process.kill()
        process.join()
        reached.append((config.out / "state.pt").exists())
    train(config, quiet=True)
    whole = tiny_config(tmp_path / "whole", **settings)
    train(whole, quiet=True)
    for name in ("step_000004", "step_000008"):
        assert _same(_weights(config.out / name), _weights(whole.out / name))
    assert _lasting(read_steps(config.out)) == _lasting(read_steps(whole.out))


def _wait_for_progress(process, out: Path, steps: int) -> None:
    """Until the process has begun and, where the run goes on, has added so many lines."""
    lines = out / "training.jsonl"
    before = _count(lines)
    while process.is_alive() and (not lines.exists() or _count(lines) < before + steps):
        time.sleep(0.01)


def _count(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.exists() else 0


def test_an_interrupt_ends_after_the_step_in_flight(tmp_path: Path, monkeypatch) -> None:
    config = tiny_config(tmp_path / "run", save_every=100)
    real, taken = trainer_module.record_step, []

    def interrupted(number: int, *arguments, **named):
        taken.append(number)
        if number == 2 and len(taken) == 2:
            os.kill(os.getpid(), signal.SIGTERM)
        return real(number, *arguments, **named)

    monkeypatch.setattr(trainer_module, "record_step", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train(config, quiet=True)
    assert torch.load(config.out / "state.pt")["step"] == 2
    assert train(config, quiet=True).n_before == 2
    assert taken == [1, 2, 3, 4]


def test_more_steps_continue_a_run_and_other_settings_do_not(tmp_path: Path) -> None:
    train(tiny_config(tmp_path / "run", steps=2), quiet=True)
    train(tiny_config(tmp_path / "run", steps=4), quiet=True)
    train(tiny_config(tmp_path / "whole", steps=4), quiet=True)
    assert _same(_weights(tmp_path / "run/step_000004"), _weights(tmp_path / "whole/step_000004"))
    with pytest.raises(StoreError, match=r"learning_rate was 0\.001, now 0\.002: give the old ones"):
        train(tiny_config(tmp_path / "run", learning_rate=2e-3), quiet=True)


def test_fewer_steps_than_were_taken_are_refused_and_change_nothing(tmp_path: Path) -> None:
    train(tiny_config(tmp_path, steps=2), quiet=True)
    before = (tmp_path / "config.json").read_bytes()
    with pytest.raises(StoreError, match="has taken 2 steps, which cannot become 1: give 2 steps or more"):
        train(tiny_config(tmp_path, steps=1), quiet=True)
    assert (tmp_path / "config.json").read_bytes() == before


def test_settings_are_bound_by_the_first_step_and_not_before(tmp_path: Path) -> None:
    """What an error advises can be given to the same directory."""
    (tmp_path / "reward.py").write_text("def score(problem, text):\n    return None\n")
    with pytest.raises(OpoEvalError, match="could be scored"):
        train(tiny_config(tmp_path, reward=f"{tmp_path / 'reward.py'}:score"), quiet=True)
    assert (tmp_path / "config.json").exists()
    train(tiny_config(tmp_path, steps=1, learning_rate=1e-4), quiet=True)
    with pytest.raises(StoreError, match=r"begun with other settings: learning_rate was 0\.0001, now 0\.001"):
        train(tiny_config(tmp_path, steps=1), quiet=True)


def test_what_memory_allows_may_change_and_what_changes_responses_may_not(tmp_path: Path) -> None:
    train(tiny_config(tmp_path, steps=1), quiet=True)
    fitted = tiny_config(tmp_path, steps=2, micro_batch_tokens=64, gradient_checkpointing=True)
    assert train(fitted, quiet=True).n_before == 1
    for name, value in {"rollout_batch": 2, "timeout": 1.0}.items():
        with pytest.raises(StoreError, match=f"{name} was"):
            train(replace(fitted, **{name: value}), quiet=True)


def test_a_damaged_config_is_named(tmp_path: Path) -> None:
    config = tiny_config(tmp_path, steps=1)
    train(config, quiet=True)
    for damaged in ('{"conf', "[]", '{"config": null}'):
        (tmp_path / "config.json").write_text(damaged)
        with pytest.raises(StoreError, match=r"config\.json is damaged .*: restore it"):
            train(config, quiet=True)


def test_a_state_whose_steps_are_lost_is_refused(tmp_path: Path) -> None:
    config = tiny_config(tmp_path, steps=3, save_every=3)
    train(config, quiet=True)
    lines = (tmp_path / "training.jsonl").read_bytes().splitlines(keepends=True)
    (tmp_path / "training.jsonl").write_bytes(b"".join(lines[:2]))
    with pytest.raises(StoreError, match=r"no line of step 2, and state\.pt goes on from step 3: restore it"):
        train(config, quiet=True)


def test_steps_are_on_the_disk_before_the_state_that_follows_them(tmp_path: Path, monkeypatch) -> None:
    real, synced = os.fsync, []
    monkeypatch.setattr(os, "fsync", lambda fd: synced.append(os.fstat(fd).st_ino) or real(fd))
    with monkeypatch.context() as patch:
        patch.setattr(TrainingRun, "close", lambda self: synced.append("closed") or os.close(self._lock))
        train(tiny_config(tmp_path, steps=1), quiet=True)
    steps, state = ((tmp_path / name).stat().st_ino for name in ("training.jsonl", "state.pt"))
    assert synced.index(steps) < synced.index(state) < synced.index("closed")


def test_a_checkpoint_that_is_missing_is_written_from_its_state(
    finished: Path, tmp_path: Path, monkeypatch
) -> None:
    """The state comes first: a run that ends between the two loses neither a step nor a checkpoint."""
    config = tiny_config(tmp_path)

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(trainer_module.Trainer, "_save_checkpoint", killed)
        with pytest.raises(KeyboardInterrupt):
            train(config, quiet=True)
    assert torch.load(tmp_path / "state.pt")["step"] == 2 and not list(tmp_path.glob("step_*"))
    assert train(config, quiet=True).n_before == 2
    for name in ("step_000002", "step_000004"):
        assert _same(_weights(tmp_path / name), _weights(finished / name))


def test_generation_settings_that_cannot_be_saved_do_not_stop_a_run(tmp_path: Path) -> None:
    source = shutil.copytree(tiny_config(tmp_path).model, tmp_path / "source")
    own = orjson.loads((source / "generation_config.json").read_bytes())
    own |= {"do_sample": False, "temperature": 0.6, "top_p": 0.95}
    (source / "generation_config.json").write_bytes(orjson.dumps(own))
    train(tiny_config(tmp_path / "run", model=str(source), steps=2), quiet=True)
    saved = AutoModelForCausalLM.from_pretrained(tmp_path / "run" / "step_000002").generation_config
    assert (saved.eos_token_id, saved.pad_token_id) == (own["eos_token_id"], own.get("pad_token_id"))
    assert not saved.do_sample and saved.temperature in (None, 1.0)


def test_a_tracker_that_does_not_start_leaves_no_grader_behind(tmp_path: Path, monkeypatch) -> None:
    def refuse(*_: object) -> None:
        raise OpoEvalError("wandb does not start")

    closed, real = [], trainer_module.make_grader

    def watched(config: TrainConfig):
        grader = real(config)
        monkeypatch.setattr(grader, "close", lambda: closed.append(1))
        return grader

    monkeypatch.setattr(trainer_module, "make_grader", watched)
    monkeypatch.setattr(trainer_module, "make_writers", refuse)
    with pytest.raises(OpoEvalError, match="does not start"):
        train(tiny_config(tmp_path), quiet=True)
    assert closed == [1]


def test_kl_to_the_start_is_that_of_the_last_step_that_measured_it(tmp_path: Path) -> None:
    said = train(tiny_config(tmp_path / "some", steps=4, kl_every=2), quiet=True).sentences()[-1]
    assert said.endswith(" nats a token at step 3")
    said = train(tiny_config(tmp_path / "some", steps=6, kl_every=2), quiet=True)
    assert said.sentences()[-1].endswith("nats a token at step 5")
    never = train(tiny_config(tmp_path / "never", steps=2, kl_every=0), quiet=True).sentences()[-1]
    assert never.endswith("KL to the start not measured")


def test_a_checkpoint_may_move_but_not_change(tmp_path: Path) -> None:
    config = tiny_config(tmp_path / "run", steps=1)
    train(config, quiet=True)
    moved = shutil.copytree(config.model, tmp_path / "moved")
    assert train(replace(config, steps=2, model=str(moved)), quiet=True).n_before == 1
    other = str(checkpoint_path("early"))
    with pytest.raises(StoreError, match="model_sha256 was"):
        train(replace(config, model=other), quiet=True)


def test_two_processes_cannot_train_in_one_directory(tmp_path: Path) -> None:
    with TrainingRun(tmp_path), pytest.raises(StoreError, match="is being written by process"):
        train(tiny_config(tmp_path), quiet=True)


# --- what goes wrong --------------------------------------------------------------------------------


def test_a_loss_that_is_no_number_keeps_the_last_checkpoint(tmp_path: Path, monkeypatch) -> None:
    real, calls = update_module.surrogate, []

    def broken(*arguments):
        objective, held = real(*arguments)
        calls.append(None)
        return (objective * float("nan") if len(calls) > 3 else objective), held

    monkeypatch.setattr(update_module, "surrogate", broken)
    config = tiny_config(tmp_path / "run")
    with pytest.raises(
        OpoEvalError, match=r"step 4 of .*run: the loss is nan .*last checkpoint .*step_000002"
    ):
        train(config, quiet=True)
    monkeypatch.setattr(update_module, "surrogate", real)
    train(config, quiet=True)
    train(tiny_config(tmp_path / "whole"), quiet=True)
    assert _same(_weights(tmp_path / "run/step_000004"), _weights(tmp_path / "whole/step_000004"))


@pytest.mark.parametrize("what", ["state", "checkpoint"])
def test_a_full_disk_keeps_what_was_saved(what: str, tmp_path: Path, monkeypatch) -> None:
    config = tiny_config(tmp_path / "run")
    full = OSError(errno.ENOSPC, "No space left on device")

    def refuse(*arguments, **named):
        raise full if what == "state" else RuntimeError(f"I/O error: {full}")

    with monkeypatch.context() as patch:
        real = trainer_module.Trainer._save

        def fail_at_four(self, number: int) -> None:
            if number == 4:
                patch.setattr(torch, "save", refuse)
                patch.setattr(type(self.policy.model), "save_pretrained", refuse)
            real(self, number)

        patch.setattr(trainer_module.Trainer, "_save", fail_at_four)
        with pytest.raises(StoreError, match="no space left on the disk; what was saved before is kept"):
            train(config, quiet=True)
    assert _weights(config.out / "step_000002")
    assert train(config, quiet=True).n_before == 2


def test_a_damaged_state_is_named(tmp_path: Path) -> None:
    train(tiny_config(tmp_path, steps=2), quiet=True)
    (tmp_path / "state.pt").write_bytes(b"nonsense")
    with pytest.raises(StoreError, match=r"state\.pt cannot be read .* delete it"):
        train(tiny_config(tmp_path, steps=2), quiet=True)


def test_a_checkpoint_without_tokenizer_is_named(tmp_path: Path) -> None:
    source = Path(tiny_config(tmp_path).model)
    bare = tmp_path / "bare"
    bare.mkdir()
    for name in ("config.json", "model.safetensors"):
        (bare / name).write_bytes((source / name).read_bytes())
    with pytest.raises(OpoEvalError, match="has no tokenizer: copy"):
        train(tiny_config(tmp_path / "run", model=str(bare)), quiet=True)


def test_an_empty_training_set_and_one_too_small_are_named(tmp_path: Path) -> None:
    (tmp_path / "none.jsonl").write_text('{"problem": "1+1", "answer": ""}\n')
    with pytest.raises(InputError, match="gives no problem to train on"):
        train(tiny_config(tmp_path / "a", problems=str(tmp_path / "none.jsonl"), n_problems=None), quiet=True)
    (tmp_path / "two.jsonl").write_text(
        '{"problem": "1+1", "answer": "2"}\n{"problem": "1+2", "answer": "3"}\n'
    )
    settings = {"problems": str(tmp_path / "two.jsonl"), "n_problems": None, "benchmarks": []}
    with pytest.raises(UsageError, match="2 problems do not fill a step of 4"):
        train(tiny_config(tmp_path / "b", template="tiny", **settings), quiet=True)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("raise KeyError('x')", "raised KeyError"),
        ("return float('inf')", "gave inf"),
        ("return None", "none of the 16 responses of a mini-batch could be scored"),
    ],
)
def test_a_reward_that_does_not_score_is_named(body: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "reward.py").write_text(f"def score(problem, text):\n    {body}\n")
    config = tiny_config(tmp_path / "run", reward=f"{tmp_path / 'reward.py'}:score")
    with pytest.raises(OpoEvalError, match=said):
        train(config, quiet=True)


def test_a_reward_of_ones_own_is_learnt_from_and_unscorable_responses_are_counted(tmp_path: Path) -> None:
    (tmp_path / "reward.py").write_text(
        "def score(problem, text):\n    return None if text.count('=') > 1 else -0.1 * len(text)\n"
    )
    config = tiny_config(tmp_path / "run", reward=f"{tmp_path / 'reward.py'}:score", steps=2)
    first, _ = train(config, quiet=True).steps
    assert 0 < first.n_unscorable < first.n_samples
    assert first.reward < 0 and first.pass_rate is None and first.length_correct is None


# --- order and rate ---------------------------------------------------------------------------------


def test_each_epoch_goes_through_all_problems_in_its_own_order() -> None:
    problems = training_problems(10, np.random.default_rng(0))
    steps = [problems_of_step(problems, step, 3, seed=5) for step in range(1, 7)]
    for epoch in (steps[:3], steps[3:]):
        ids = [problem.id for step in epoch for problem in step]
        assert len(ids) == len(set(ids)) == 9
    assert steps[:3] != steps[3:]
    assert {p.prompt for p in problems}.isdisjoint(p.prompt for p in generate_problems())


def test_learning_rates_rise_and_fall() -> None:
    def factors(**settings) -> list[float]:
        config = tiny_config(Path("run"), steps=6, warmup_steps=2, **settings)
        return [round(rate_factor(step, config), 4) for step in range(1, 7)]

    assert factors() == [0.5, 1, 1, 1, 1, 1]
    assert factors(schedule="linear") == [0.5, 1, 1, 0.75, 0.5, 0.25]
    assert factors(schedule="cosine") == [0.5, 1, 1, 0.8536, 0.5, 0.1464]
