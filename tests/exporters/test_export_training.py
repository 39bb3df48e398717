"""What the exports for other trainers share: prompts, files, the command, and what none can express."""

import json
from pathlib import Path
from shutil import copytree

import pyarrow.parquet as pq
import pytest
from rl.tiny_policy import tiny_config
from transformers import AutoTokenizer

from opo_eval.cli import run
from opo_eval.errors import EngineError, UsageError
from opo_eval.exporters import export_training
from opo_eval.exporters.chat import same_prompts, template_ids
from opo_eval.exporters.training import nested, yaml
from opo_eval.problems import load_problems
from opo_eval.rl.setup import prompt_options
from opo_eval.samplers.prompts import Prompter
from opo_eval.tiny import checkpoint_path

CHATML = (
    "{% for m in messages %}<{{ m['role'] }}>{{ m['content'] }}\n{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}\n"
)


@pytest.fixture
def with_template(tmp_path: Path) -> Path:
    """The tiny tokenizer, with a chat template that ends in a line break."""
    copytree(checkpoint_path("late"), tmp_path / "chat")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "chat")
    tokenizer.chat_template = CHATML
    tokenizer.save_pretrained(tmp_path / "chat")
    return tmp_path / "chat"


PROMPTS = [
    {},
    {"no_chat": True},
    {"system": "Be brief."},
    {"response_prefix": "<think>\n"},
    {"response_prefix": "{% 'a' %} \"ü\" \\ 🙂"},
    {"no_chat": True, "response_prefix": "<think>\n"},
]


@pytest.mark.parametrize("settings", PROMPTS, ids=json.dumps)
def test_a_chat_template_gives_the_prompts_of_our_sampler(settings, with_template, tmp_path):
    config = tiny_config(tmp_path, model=str(with_template), **settings)
    problems = load_problems("tiny-arith")[:5]
    conversations, template, longest = same_prompts(config, problems)
    tokenizer = AutoTokenizer.from_pretrained(with_template)
    prompter = Prompter(tokenizer, **prompt_options(config, "tiny-arith"))
    theirs = [template_ids(tokenizer, conversation, template) for conversation in conversations]
    assert theirs == [prompter.ids(problem) for problem in problems]
    assert longest == max(map(len, theirs))
    own = not settings.get("no_chat") and not settings.get("response_prefix")
    assert (template is None) == own


def test_the_tiny_tokenizer_has_no_chat_template_and_gets_one(tmp_path):
    _, template, _ = same_prompts(tiny_config(tmp_path), load_problems("tiny-arith")[:2])
    assert template == "{% for message in messages %}{{ message['content'] }}{% endfor %}"


def test_prompts_that_no_template_gives_are_refused(with_template, tmp_path, monkeypatch):
    monkeypatch.setattr(Prompter, "ids", lambda self, problem: [0])
    with pytest.raises(EngineError, match="no chat template gives the prompts"):
        same_prompts(tiny_config(tmp_path, model=str(with_template)), load_problems("tiny-arith")[:2])


@pytest.mark.parametrize("trainer", ["verl", "trl"])
@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"reward": "mine:reward"}, "the reward mine:reward takes our own Problem"),
        ({"difficulty_samples": 2}, "difficulty_samples lets the starting policy answer"),
        ({"method": "reinforce_pp"}, "cannot train with the advantage reinforce_pp"),
        ({"method": "reinforce"}, "cannot train with the advantage reinforce"),
        ({"method": "opo_loo"}, "cannot train with the advantage opo_loo"),
        ({"clip": 0.1}, "clip 0.1 does nothing"),
    ],
)
def test_what_no_trainer_can_do_is_refused(trainer, settings, said, tmp_path):
    config = tiny_config(tmp_path, **{"method": "dr_grpo", **settings})
    with pytest.raises(UsageError) as caught:
        export_training(trainer, config, tmp_path / "export")
    assert said in str(caught.value)
    assert not (tmp_path / "export").exists()


def test_an_unknown_trainer_is_refused(tmp_path):
    with pytest.raises(UsageError, match="no export for 'openrlhf': choose one of 'verl', 'trl'"):
        export_training("openrlhf", tiny_config(tmp_path), tmp_path)


SETTINGS = {
    "--problems": "tiny-arith",
    "--n-problems": "64",
    "--think": "none",
    "--problems-per-step": "4",
    "--group-size": "4",
    "--max-tokens": "32",
    "--model": str(checkpoint_path("late")),
}
WORDS = ["train", *(word for pair in SETTINGS.items() for word in pair)]


def test_the_command_writes_and_says_what_differs_and_trains_nothing(tmp_path, capsys):
    folder = tmp_path / "a folder" / "export"
    out = tmp_path / "run"
    words = [*WORDS, "--out", str(out), "--export", "verl", str(folder)]
    assert run(words) == 0
    said = capsys.readouterr().out
    assert "opo on verl 0.9.1, 64 problems; start it with: ./run.sh" in said
    differences = [line for line in said.splitlines() if line.startswith("differs from opo-eval train: ")]
    assert len(differences) >= 7
    readme = (folder / "README.md").read_text()
    assert all(line.partition(": ")[2] in readme for line in differences)
    assert not out.exists()
    assert pq.read_table(folder / "train.parquet").num_rows == 64


def test_the_command_takes_the_settings_of_a_file(tmp_path, capsys):
    file = tmp_path / "run.toml"
    file.write_text(
        f'model = "{checkpoint_path("late")}"\nproblems = "tiny-arith"\nn_problems = 64\nthink = "none"\n'
        "problems_per_step = 4\ngroup_size = 4\nmax_tokens = 32\nlearning_rate = 3e-4\n"
    )
    assert run(["train", str(file), "--method", "rloo", "--export", "trl", str(tmp_path / "export")]) == 0
    script = (tmp_path / "export" / "train.py").read_text()
    assert "'learning_rate': 0.0003" in script and "'reward_weights': [1.3333333333333333]" in script


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--export", "trl", "x"], "TRL cannot train with the advantage opo"),
        (
            ["--export", "verl", "x", "--method", "opo_power"],
            "verl cannot train with the advantage opo_power",
        ),
        (["--export", "verl", "x", "--schedule", "linear"], "verl has no linear schedule"),
    ],
)
def test_wrong_usage_is_one_sentence(more, said, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run([*WORDS, *more]) == 2
    error = capsys.readouterr().err
    assert error.startswith("opo-eval: ") and said in error and error.count("\n") == 1


def test_settings_become_a_tree_and_yaml():
    tree = nested({"a.b": 1e-06, "a.c.d": [1, "x"], "e": None, "a.f": 'say "{{ x }}"\n'})
    assert tree == {"a": {"b": 1e-06, "c": {"d": [1, "x"]}, "f": 'say "{{ x }}"\n'}, "e": None}
    assert yaml(tree) == ('a:\n  b: 1e-06\n  c:\n    d: [1, "x"]\n  f: "say \\"{{ x }}\\"\\n"\ne: null\n')
