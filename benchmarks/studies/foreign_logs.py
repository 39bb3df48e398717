r"""Logs that other tools write of the tiny model on tiny-arith: tests/importers/logs/.

    python benchmarks/studies/foreign_logs.py TOOL --python ENV/bin/python

TOOL is lm-eval, verl, trl, inspect, openai-batch or lighteval. Each runs as it is installed, in an
environment of its own:

- lm-eval: `pip install torch==2.13.0 transformers accelerate lm-eval==0.4.13`
- verl: as the head of logged_entropy.py says; its workers do not run without a GPU, so the model is sampled
  with transformers, and verl's trainer class scores, dumps and computes its validation metrics
- trl: `pip install torch==2.13.0 trl==1.16.0`
- inspect: `pip install torch==2.13.0 transformers accelerate inspect-ai==0.3.285`
- lighteval: `pip install torch==2.13.0 transformers accelerate lighteval==0.13.0 "xxhash<3.6"`
- openai-batch: vLLM, whose `run_batch` answers a file of OpenAI batch requests

The tool runs in an empty folder with problems.jsonl and the checkpoint `late` in it, so that its log names no
other path. What it prints of its own metrics and does not log is kept beside the log as printed.json.
"""

import json
import os
import shutil
import subprocess
import sys
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

LOGS = Path(__file__).resolve().parents[2] / "tests/importers/logs"
N_PROBLEMS, N_SAMPLES, MAX_TOKENS, SEED = 8, 4, 64, 1
BOXED = r"\\boxed\{(-?\d+)\}"

# --- in this project's environment ------------------------------------------------------------------


def make_log(tool: str, python: Path) -> None:
    """Run a tool in an empty folder and keep the log that it writes."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        _prepare(folder)
        here = {"HF_HUB_OFFLINE": "1", "HF_HOME": str(folder / "cache")}
        words = [str(python), str(Path(__file__).resolve()), "inside", tool]
        subprocess.run(words, check=True, cwd=folder, env=os.environ | here)
        kept = LOGS / tool
        for old in kept.glob("[!R]*"):
            shutil.rmtree(old) if old.is_dir() else old.unlink()
        shutil.copytree(folder / "log", kept, dirs_exist_ok=True)


def _prepare(folder: Path) -> None:
    from opo_eval import load_problems
    from opo_eval.tiny import checkpoint_path

    rows = [
        {"id": problem.source_id, "question": problem.prompt, "answer": problem.answer}
        for problem in load_problems("tiny-arith")[:N_PROBLEMS]
    ]
    _write_lines(folder / "problems.jsonl", rows)
    shutil.copytree(checkpoint_path("late"), folder / "late")
    (folder / "log").mkdir()


# --- in the tool's ----------------------------------------------------------------------------------


def _problems() -> list[dict[str, str]]:
    return [json.loads(line) for line in Path("problems.jsonl").read_text().splitlines()]


def _write_lines(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def _keep_printed(**printed: Any) -> None:
    Path("log/printed.json").write_text(json.dumps(printed, indent=2) + "\n")


# --- lm-eval

_LM_EVAL_TASK = """\
task: tiny_arith_%(name)s
dataset_path: json
dataset_kwargs: {data_files: {test: problems.jsonl}}
test_split: test
output_type: generate_until
doc_to_text: "{{question}}="
doc_to_target: "{{answer}}"
repeats: %(repeats)d
generation_kwargs: {do_sample: true, temperature: 1.0, max_gen_toks: %(max_tokens)d, until: ["\\n"]}
filter_list:
  - name: boxed
    filter:
      - {function: regex, regex_pattern: '%(boxed)s'}
      - %(take)s
metadata: {version: 1.0}
%(scoring)s
"""

_FIRST = "metric_list: [{metric: exact_match, aggregation: mean, higher_is_better: true}]"
_EACH = """\
process_results: !function scoring.process_results
metric_list:
  - {metric: correct, aggregation: !function scoring.mean_of_all, higher_is_better: true}
  - {metric: average, aggregation: mean, higher_is_better: true}"""
_SCORING = """\
def process_results(doc, results):
    each = [float(answer == doc["answer"]) for answer in results[0]]
    return {"correct": each, "average": sum(each) / len(each)}


def mean_of_all(rows):
    return sum(map(sum, rows)) / sum(map(len, rows))
"""


def _run_lm_eval() -> None:
    """Two tasks of 4 responses: one scores the first, as lm-eval does by default; one scores every one."""
    _write_lm_eval_task("first", "{function: take_first}", _FIRST)
    _write_lm_eval_task("each", f"{{function: take_first_k, k: {N_SAMPLES}}}", _EACH)
    Path("scoring.py").write_text(_SCORING)
    _call(
        "lm_eval --model hf --model_args pretrained=late,dtype=float32 --device cpu --batch_size 8 "
        f"--seed {SEED} --include_path . --tasks tiny_arith_first,tiny_arith_each --log_samples "
        "--output_path log"
    )
    (results,) = Path("log").glob("*/results_*.json")
    row = json.loads(results.read_text())
    results.write_text(json.dumps(row | {"pretty_env_info": "taken out: the machine"}, indent=2))


def _write_lm_eval_task(name: str, take: str, scoring: str) -> None:
    words = {"name": name, "repeats": N_SAMPLES, "max_tokens": MAX_TOKENS, "boxed": BOXED}
    Path(f"{name}.yaml").write_text(_LM_EVAL_TASK % {**words, "take": take, "scoring": scoring})


# --- verl


def _run_verl() -> None:
    """verl's trainer class on one batch: a rollout dump, and a validation dump with its metrics."""
    from verl.trainer.ppo.ray_trainer import RayPPOTrainer

    trainer = RayPPOTrainer.__new__(RayPPOTrainer)
    trainer.global_steps = 10
    trainer._init_dump_executor()
    rows, batch = _verl_batch(trainer)
    _dump_verl_rollouts(trainer, rows, batch)
    printed = _dump_verl_validation(trainer, rows, batch)
    trainer._shutdown_dump_executor()
    _keep_printed(tool="verl", version=version("verl"), metrics=printed)


def _verl_batch(trainer: Any) -> tuple[list[dict[str, str]], Any]:
    """Problems, each as often as it is sampled, and their responses as verl's workers give them."""
    import numpy as np
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from verl import DataProto

    trainer.tokenizer = AutoTokenizer.from_pretrained("late", padding_side="left")
    model = AutoModelForCausalLM.from_pretrained("late", dtype=torch.float32)
    rows = [row for row in _problems() for _ in range(N_SAMPLES)]
    asked = trainer.tokenizer([f"{row['question']}=" for row in rows], return_tensors="pt", padding=True)
    torch.manual_seed(SEED)
    drawn = model.generate(**asked, do_sample=True, max_new_tokens=MAX_TOKENS)
    prompts, responses = drawn.tensor_split([asked.input_ids.shape[1]], dim=1)
    golds = [{"ground_truth": row["answer"], "style": "rule"} for row in rows]
    batch = DataProto.from_dict(
        tensors={"prompts": prompts, "responses": responses},
        non_tensors={"reward_model": np.array(golds, dtype=object)},
    )
    return rows, batch


def _verl_texts(trainer: Any, tokens: Any) -> list[str]:
    return [trainer.tokenizer.decode(ids, skip_special_tokens=True) for ids in tokens]


def _dump_verl_rollouts(trainer: Any, rows: Sequence[Mapping[str, str]], batch: Any) -> None:
    import torch
    from verl.utils.reward_score.math_reward import compute_score

    texts = _verl_texts(trainer, batch.batch["responses"])
    scores = torch.zeros(batch.batch["responses"].shape)
    scores[:, -1] = torch.tensor(
        [compute_score(t, row["answer"]) for t, row in zip(texts, rows, strict=True)]
    )
    batch.batch["token_level_scores"] = scores
    trainer._log_rollout_data(batch, {}, {}, "log/rollouts")


def _dump_verl_validation(trainer: Any, rows: Sequence[Mapping[str, str]], batch: Any) -> dict[str, float]:
    """As its `_validate` does once responses are there; the reward is -1 or 1, with `acc` beside it."""
    import numpy as np
    from verl.utils.reward_score.math_dapo import compute_score

    inputs = _verl_texts(trainer, batch.batch["prompts"])
    outputs = _verl_texts(trainer, batch.batch["responses"])
    golds = [row["answer"] for row in rows]
    scored = [
        compute_score(text, gold, strict_box_verify=True) for text, gold in zip(outputs, golds, strict=True)
    ]
    scores = [score["score"] for score in scored]
    infos = {
        "reward": scores,
        "acc": [score["acc"] for score in scored],
        "pred": [score["pred"] for score in scored],
    }
    trainer._dump_generations(inputs, outputs, golds, scores, infos, "log/validation")
    # By text, as its process_validation_metrics needs one name a problem.
    found = trainer._val_metrics_update(np.array(["tiny-arith"] * len(rows)), inputs, infos, [])
    return {name: float(value) for name, value in found.items()}


# --- trl


def _run_trl() -> None:
    """Two steps of GRPO with the completions logged; the reward function logs the gold as well."""
    import torch
    from datasets import Dataset
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from trl import GRPOConfig, GRPOTrainer

    rows = [{"prompt": f"{row['question']}=", "answer": row["answer"]} for row in _problems()]
    trainer = GRPOTrainer(
        model=AutoModelForCausalLM.from_pretrained("late", dtype=torch.float32),
        reward_funcs=[boxed_answer, shortness],
        args=GRPOConfig(
            output_dir="log", max_steps=2, per_device_train_batch_size=N_PROBLEMS * N_SAMPLES,
            num_generations=N_SAMPLES, max_completion_length=MAX_TOKENS, temperature=1.0, seed=SEED,
            beta=0.0, use_cpu=True, logging_steps=1, log_completions=True, report_to="none",
            save_strategy="no",
        ),
        train_dataset=Dataset.from_list(rows),
        processing_class=AutoTokenizer.from_pretrained("late", padding_side="left"),
    )  # fmt: skip
    trainer.train()
    (Path("log") / "README.md").unlink(missing_ok=True)
    _keep_printed(tool="trl", version=version("trl"), steps=trainer.state.log_history[:2])


def boxed_answer(completions: Sequence[str], answer: Sequence[str], log_extra: Any, **_: Any) -> list[float]:
    """1 where the box holds the gold; a reward function as TRL calls it."""
    log_extra("answer", list(answer))
    return [float(f"boxed{{{gold}}}" in text) for text, gold in zip(completions, answer, strict=True)]


def shortness(completions: Sequence[str], **_: Any) -> list[float]:
    """A reward that is no verdict."""
    return [1 / (1 + len(text)) for text in completions]


# --- inspect

_INSPECT_TASK = f"""\
from inspect_ai import Epochs, Task, task
from inspect_ai.dataset import FieldSpec, json_dataset
from inspect_ai.scorer import pattern
from inspect_ai.solver import generate, prompt_template


@task
def tiny_arith():
    return Task(
        dataset=json_dataset("problems.jsonl", FieldSpec(input="question", target="answer", id="id")),
        solver=[prompt_template("{{prompt}}="), generate()],
        scorer=pattern(r"{BOXED}"),
        epochs=Epochs({N_SAMPLES}, ["mean", "pass_at_{N_SAMPLES}"]),
    )
"""


def _run_inspect() -> None:
    # Without a template of its own inspect writes the role in front of a message; the value is YAML.
    template = "\"{{messages[0]['content']}}\""
    Path("task.py").write_text(_INSPECT_TASK)
    _call(
        f"inspect eval task.py --model hf/late -M model_path=late -M device=cpu -M chat_template={template} "
        f"--temperature 1 --max-tokens {MAX_TOKENS} --seed {SEED} --log-dir log --log-format eval "
        "--display plain"
    )


# --- lighteval

_LIGHTEVAL_TASKS = f"""\
import numpy as np
from lighteval.metrics.metrics import Metrics
from lighteval.tasks.lighteval_task import LightevalTaskConfig
from lighteval.tasks.requests import Doc


def prompt(line, task_name):
    return Doc(task_name=task_name, query=line["question"] + "=", choices=[line["answer"]], gold_index=0)


def task(name, metric):
    return LightevalTaskConfig(
        name=name,
        prompt_function=prompt,
        hf_repo="data",
        hf_subset="default",
        hf_avail_splits=["test"],
        evaluation_splits=["test"],
        metrics=[metric],
        generation_size={MAX_TOKENS},
        stop_sequence=[],
    )


TASKS_TABLE = [
    task("tiny_arith_one", Metrics.expr_gold_metric),
    task("tiny_arith_several", Metrics.avg_at_n_math(sample_params={{"n": {N_SAMPLES}}})),
]
"""


def _run_lighteval() -> None:
    """Two tasks, of one response and of 4; what lighteval would fetch at its start stays away."""
    from huggingface_hub import HfApi
    from lighteval import __main__, tasks

    (Path(tasks.__file__).parent / "tasks/tinyBenchmarks.pkl").touch()
    HfApi.list_models = lambda *_, **__: [None]  # pyright: ignore[reportAttributeAccessIssue]
    settings = Path("late/generation_config.json")  # lighteval leaves it to these whether to sample
    settings.write_text(json.dumps(json.loads(settings.read_text()) | {"do_sample": True}))
    Path("data").mkdir()
    shutil.copy("problems.jsonl", "data/test.jsonl")
    Path("task.py").write_text(_LIGHTEVAL_TASKS)
    model = (
        "model_name=late,cache_dir=cache,dtype=float32,batch_size=8,generation_parameters={temperature:1.0}"
    )
    options = ["--custom-tasks", "task.py", "--output-dir", "log", "--save-details"]
    sys.argv = ["lighteval", "accelerate", model, "tiny_arith_one,tiny_arith_several", *options]
    __main__.app()


# --- openai-batch


def _run_openai_batch() -> None:
    """Four choices a request in one file; vLLM answers it."""
    template = "{% for message in messages %}{{ message.content }}{% endfor %}"
    _write_lines(Path("log/requests.jsonl"), [_batch_request(row) for row in _problems()])
    subprocess.run(
        [sys.executable, "-m", "vllm.entrypoints.openai.run_batch", "-i", "log/requests.jsonl",
         "-o", "log/results.jsonl", "--model", "late", "--max-model-len", "256", "--enforce-eager",
         "--gpu-memory-utilization", "0.25", "--dtype", "bfloat16", "--chat-template", template],
        check=True,
    )  # fmt: skip


def _batch_request(row: Mapping[str, str]) -> dict[str, Any]:
    body = {
        "model": "late",
        "messages": [{"role": "user", "content": f"{row['question']}="}],
        "n": N_SAMPLES,
        "temperature": 1.0,
        "seed": SEED,
        "max_completion_tokens": 16,
    }
    return {
        "custom_id": f"request-{row['id']}",
        "method": "POST",
        "url": "/v1/chat/completions",
        "body": body,
    }


def _call(words: str) -> None:
    # The tool's command lies beside the interpreter that this runs in.
    command, *rest = words.split()
    subprocess.run([str(Path(sys.executable).parent / command), *rest], check=True)


TOOLS: dict[str, Callable[[], None]] = {
    "lm-eval": _run_lm_eval,
    "verl": _run_verl,
    "trl": _run_trl,
    "inspect": _run_inspect,
    "lighteval": _run_lighteval,
    "openai-batch": _run_openai_batch,
}

if __name__ == "__main__":
    if sys.argv[1:2] == ["inside"]:
        TOOLS[sys.argv[2]]()
    else:
        parser = ArgumentParser(description=__doc__, formatter_class=RawDescriptionHelpFormatter)
        parser.add_argument("tool", choices=TOOLS)
        parser.add_argument(
            "--python", type=Path, required=True, help="interpreter of the tool's environment"
        )
        make_log(**vars(parser.parse_args()))
