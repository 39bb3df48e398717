"""The trainer on a few steps, and its command."""

import json
from dataclasses import replace
from itertools import islice

import pytest
import torch
from transformers import AutoModelForCausalLM

from opo_eval.errors import UsageError
from opo_eval.tiny.command import run_command
from opo_eval.tiny.model import build_model, tiny_config
from opo_eval.tiny.tokenizer import build_tokenizer
from opo_eval.tiny.warm_start import WarmStart, rate_factor, train, warm_start


@pytest.fixture
def settings(tmp_path):
    return WarmStart(out=tmp_path / "run", steps=10, save_at=(10,), batch_size=16, warmup_steps=2, quiet=True)


def train_all(settings):
    """Losses and final weights."""
    tokenizer = build_tokenizer()
    model = build_model(tiny_config(tokenizer), settings.seed)
    return list(train(model, tokenizer, settings)), model.state_dict()


def test_ten_steps_reduce_the_loss_and_repeat_to_the_bit(settings):
    losses, weights = train_all(settings)
    again, same_weights = train_all(settings)
    assert len(losses) == 10 and losses[-1] < losses[0] - 0.5
    assert losses == again
    assert all(torch.equal(weights[name], same_weights[name]) for name in weights)


def test_another_seed_is_another_run(settings):
    shorter = replace(settings, steps=2, save_at=(2,))
    assert train_all(shorter)[0] != train_all(replace(shorter, seed=1))[0]


def test_a_yielded_loss_belongs_to_a_step_already_taken(settings):
    tokenizer = build_tokenizer()
    model = build_model(tiny_config(tokenizer), settings.seed)
    before = model.lm_head.weight.detach().clone()
    next(train(model, tokenizer, settings))
    assert not torch.equal(model.lm_head.weight, before)


def test_the_learning_rate_rises_and_falls(settings):
    factors = [rate_factor(step, settings) for step in range(10)]
    assert factors == [0.5, 1, 1, 7 / 8, 6 / 8, 5 / 8, 4 / 8, 3 / 8, 2 / 8, 1 / 8]
    assert rate_factor(0, replace(settings, warmup_steps=0)) == 1


def command(out, *more):
    arguments = ["--out", str(out), "--steps", "3", "--save-at", "2", "3", "--batch-size", "4", *more]
    threads = ["--threads", str(torch.get_num_threads())]
    return run_command(WarmStart, warm_start, [*arguments, *threads])


def test_the_command_writes_checkpoints_and_its_record(tmp_path, capsys):
    assert command(tmp_path / "run") == 0
    assert {path.name for path in (tmp_path / "run").iterdir()} == {
        "step_000002",
        "step_000003",
        "warm_start.json",
    }
    assert "warm start: 3/3 steps" in capsys.readouterr().err
    record = json.loads((tmp_path / "run" / "warm_start.json").read_text())
    assert "--steps 3 --save-at 2 3 --seed 0 --batch-size 4" in record["command"]
    assert str(tmp_path) not in json.dumps(record)
    assert record["loss_after_step"].keys() == {"2", "3"}
    settings = WarmStart(out=tmp_path, steps=3, save_at=(3,), batch_size=4)
    losses, weights = train_all(settings)
    assert record["loss_after_step"]["3"] == pytest.approx(sum(losses) / 3, abs=1e-4)
    saved = AutoModelForCausalLM.from_pretrained(tmp_path / "run" / "step_000003").state_dict()
    assert all(torch.equal(weights[name], saved[name]) for name in weights)


def test_an_earlier_checkpoint_is_the_run_stopped_there(tmp_path):
    assert command(tmp_path / "run", "--quiet") == 0
    tokenizer = build_tokenizer()
    model = build_model(tiny_config(tokenizer), seed=0)
    settings = WarmStart(out=tmp_path, steps=3, save_at=(3,), batch_size=4)
    list(islice(train(model, tokenizer, settings), 2))
    saved = AutoModelForCausalLM.from_pretrained(tmp_path / "run" / "step_000002")
    assert torch.equal(saved.lm_head.weight, model.lm_head.weight)


def test_a_full_directory_is_refused(tmp_path, capsys):
    (tmp_path / "notes.txt").write_text("mine")
    assert command(tmp_path) == 2
    assert f"--out {tmp_path} is not empty: name a new directory\n" == capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"save_at": (0, 5)}, "--save-at 0 5 must name steps from 1 to 10"),
        ({"save_at": (11,)}, "--save-at 11 must name steps from 1 to 10"),
        ({"save_at": ()}, "--save-at without a step must name steps from 1 to 10"),
        ({"error_rate": 1.5}, "--error-rate 1.5 must be a probability, from 0 to 1"),
        ({"steps": 0}, "--steps 0 must be at least 1"),
        ({"batch_size": 0}, "--batch-size 0 must be at least 1"),
        ({"threads": -1}, "--threads -1 must be at least 1"),
    ],
)
def test_wrong_settings_are_named(settings, wrong, message):
    with pytest.raises(UsageError) as caught:
        replace(settings, **wrong)
    assert str(caught.value) == message


def test_a_wrong_flag_leaves_with_status_2(tmp_path, capsys):
    with pytest.raises(SystemExit) as left:
        command(tmp_path / "run", "--error-rate", "1.5")
    assert left.value.code == 2
    assert "must be a probability" in capsys.readouterr().err
