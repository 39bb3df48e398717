"""Our reward function and our exports in TRL and verl themselves: reports/in_trainers/.

    OMP_NUM_THREADS=1 python benchmarks/studies/in_trainers.py --verl VERL/bin/python --trl TRL/bin/python

The tools run in environments of their own, as logged_entropy.py says, each with `pip install opo-eval` (and
verl's with `aiohttp`); verl keeps its ANTLR runtime 4.9. About four minutes.

TRL trains ten steps of the tiny model for each method that it has, by the exported script. verl, whose
workers take a GPU, composes and checks each export, reads its problems, rewards one batch of ours through
its reward manager, and gives advantages and the gradient of its loss.
"""

import csv
import json
import os
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
import tyro
from logged_entropy import write_csv
from numpy.typing import NDArray

from opo_eval.exporters import export_training
from opo_eval.grading import Grader, grade_answers
from opo_eval.records import Verdict
from opo_eval.report.grid import Grid, grid_of
from opo_eval.report.markdown import bullets, table
from opo_eval.rl.advantages import ADVANTAGES, Floats
from opo_eval.rl.config import TrainConfig
from opo_eval.rl.data import load_data
from opo_eval.rl.loss import surrogate, token_weights
from opo_eval.rl.rewards import GradeReward
from opo_eval.rl.rollout import Rollout, problems_of_step, roll_out
from opo_eval.rl.setup import prompt_options
from opo_eval.samplers import Sampler, make_sampler
from opo_eval.tiny import checkpoint_path

REPORT = Path(__file__).resolve().parents[2] / "reports/in_trainers"
TRL_METHODS = ("dr_grpo", "grpo", "rloo")
VERL_METHODS = ("opo", "grpo", "grpo_loose", "dr_grpo", "rloo")
TRL_STEPS = 10
TRL_EPSILON = 1e-4
CASES = (
    (r"\frac{1}{2}", "0.5"),
    (r"\frac{1}{2}", r"\frac{2}{4}"),
    (r"2\sqrt{2}", r"\sqrt{8}"),
    (r"2\sqrt{2}", "2.83"),
    (r"x^2-2x+1", "(x-1)^2"),
    (r"\left[1,2\right)", "[1,2)"),
    (r"\left[1,2\right)", "(1,2)"),
    (r"\begin{pmatrix} 1 & 2 \\ 3 & 4 \end{pmatrix}", r"\begin{pmatrix}1&2\\3&4\end{pmatrix}"),
    (r"\{1,2,3\}", r"\{3,2,1\}"),
    (r"\frac{\pi}{3}", r"60^\circ"),
    ("3", "10^{10^{10^{10}}}"),
    ("3", "__import__('os')._exit(1)"),
)
"""(gold, answer): beyond the whole numbers of tiny-arith, for the grader's parser and its limits."""
CASE_TIMEOUT_S = 5.0
Row = dict[str, Any]


def config_of(method: str) -> TrainConfig:
    """Ten steps of the tiny model on problems of its own."""
    return TrainConfig(
        model=str(checkpoint_path("late")),
        problems="tiny-arith",
        n_problems=160,
        method=method,
        steps=TRL_STEPS,
        problems_per_step=16,
        group_size=8,
        learning_rate=1e-3,
        max_tokens=64,
        think="none",
        workers=1,
    )


# --- what the tools are asked -----------------------------------------------------------------------


@cache
def sampler() -> Sampler:
    """The tiny model, asked as in training."""
    config = config_of("opo")
    return make_sampler(
        "hf", config.model, **prompt_options(config, "tiny-arith"), max_tokens=config.max_tokens
    )


@cache
def rollout() -> Rollout:
    """The batch that goes through verl and through us: that of a first training step."""
    config = config_of("opo")
    problems = problems_of_step(load_data(config).problems, 1, config.problems_per_step, config.seed)
    return roll_out(sampler(), problems, group_size=config.group_size, seed=config.seed, step=1)


@cache
def rewards() -> Floats:
    """Ours, [P, G]."""
    with Grader(think="none", lenient=False, workers=1) as grader:
        return rollout().by_group(GradeReward(grader)(*rollout().texts()))


@cache
def shift() -> NDArray[np.float32]:
    """Log-probability less that of the policy that drew, as after some updates: [B, T]."""
    shape = (rollout().lengths.size, config_of("opo").max_tokens)
    return np.random.default_rng(0).normal(0, 0.3, shape).astype(np.float32)


def write_batch(path: Path) -> None:
    """The rollout as verl holds one: responses padded on the right."""
    ids = np.zeros(shift().shape, dtype=np.int64)
    for row, generation in zip(ids, rollout().generations, strict=True):
        row[: generation.n_tokens] = generation.token_ids
    problems, _ = rollout().texts()
    np.savez(
        path,
        responses=ids,
        lengths=rollout().lengths.ravel().astype(np.int64),
        golds=np.array([problem.answer for problem in problems]),
        groups=np.array([problem.id for problem in problems]),
        shift=shift(),
        case_golds=np.array([gold for gold, _ in CASES]),
        case_texts=np.array([boxed(answer) for _, answer in CASES]),
        case_timeout_s=CASE_TIMEOUT_S,
    )


def boxed(answer: str) -> str:
    """A response that is nothing but its answer."""
    return rf"\boxed{{{answer}}}"


def ask(python: Path, script: str, *words: object) -> None:
    """Run a script of this folder with another environment's Python."""
    command = [str(python), str(Path(__file__).with_name(script)), *map(str, words)]
    done = subprocess.run(command, check=False, env=os.environ | {"OMP_NUM_THREADS": "1"})
    if done.returncode:
        raise SystemExit(f"{script} failed in {python}: what it printed says why")


def ask_trl(python: Path, folder: Path, method: str) -> Mapping[str, Any]:
    """What TRL's trainer saw in ten steps of a method's export."""
    export_training("trl", config_of(method), folder / f"trl-{method}")
    answer = folder / f"trl-{method}.json"
    ask(python, "in_trainers_trl.py", folder / f"trl-{method}", TRL_STEPS, answer)
    return json.loads(answer.read_text())


def ask_verl(python: Path, folder: Path, method: str) -> Mapping[str, Any]:
    """What verl made of a method's export and of the batch."""
    export_training("verl", config_of(method), folder / f"verl-{method}")
    answer = folder / f"verl-{method}.npz"
    ask(python, "in_trainers_verl.py", folder / "batch.npz", folder / f"verl-{method}", answer)
    return dict(np.load(answer))


# --- TRL, step by step ------------------------------------------------------------------------------


def trl_rows(method: str, answer: Mapping[str, Any]) -> Iterator[Row]:
    """Each step beside what we make of the same responses."""
    for step, log in zip(answer["steps"], answer["log"], strict=True):
        verdicts = [
            o.verdict for o in grade_answers(step["golds"], step["texts"], think="none", lenient=False)
        ]
        yield {
            "trl": answer["version"],
            "method": method,
            "step": log["step"],
            "responses": len(verdicts),
            "right": sum(value == 1 for value in step["rewards"]),
            "unscorable": sum(value is None for value in step["rewards"]),
            "rewards_equal": sum(
                value == float(verdict is Verdict.CORRECT)
                for value, verdict in zip(step["rewards"], verdicts, strict=True)
            ),
            "prompts_equal": sum(
                prompt == prompt_ids()[problem]
                for prompt, problem in zip(step["prompts"], step["ids"], strict=True)
            ),
            "advantage_off": trl_advantage_off(method, step),
            "gradient_off": trl_gradient_off(method, step),
            "mean_length": float(np.mean(step["lengths"])),
            "entropy": log["entropy"],
            "gradient_norm": log["grad_norm"],
        }


@cache
def prompt_ids() -> dict[str, list[int]]:
    """Our prompts by problem."""
    return {problem.id: sampler().prompt_ids(problem) for problem in load_data(config_of("opo")).problems}


def trl_advantage_off(method: str, step: Mapping[str, Any]) -> float:
    """Largest difference of an advantage; GRPO's with TRL's epsilon."""
    estimator = ADVANTAGES[method]
    if method == "grpo":
        estimator = partial(estimator, epsilon=TRL_EPSILON)
    shape = (-1, config_of(method).group_size)
    ours = estimator(np.reshape(np.array(step["rewards"], float), shape), np.reshape(step["lengths"], shape))
    return float(np.abs(ours.ravel() - step["advantages"]).max())


def trl_gradient_off(method: str, step: Mapping[str, Any]) -> float:
    """Largest difference of the loss's gradient in a token's log-probability from −A times its weight."""
    lengths = np.concatenate([batch["lengths"] for batch in step["micro_batches"]])
    weights = token_weights(lengths.astype(float), config_of(method).settled().aggregation)
    advantages = np.concatenate([batch["advantages"] for batch in step["micro_batches"]])
    gradients = [row for batch in step["micro_batches"] for row in batch["gradient"]]
    rows = zip(gradients, lengths, -advantages * weights, strict=True)
    return max(
        np.abs(np.array(row) - expected * (np.arange(len(row)) < n)).max() for row, n, expected in rows
    )


# --- verl, by method --------------------------------------------------------------------------------


def verl_row(method: str, answer: Mapping[str, Any]) -> Row:
    """An export and the batch beside what we make of it."""
    facts, settled = json.loads(str(answer["facts"])), config_of(method).settled()
    if facts["unknown"]:
        raise SystemExit(f"verl {facts['version']} knows no {', '.join(facts['unknown'])}")
    ours = ADVANTAGES[settled.advantage](rewards(), rollout().lengths)
    expected = list(prompt_ids().values())
    return {
        "verl": facts["version"],
        "antlr": facts["antlr"],
        "method": method,
        "estimator": facts["estimator"],
        "loss_agg_mode": facts["loss_agg_mode"],
        "responses": rewards().size,
        "rewards_equal": int((answer["rewards"] == rewards().ravel()).sum()),
        "problems": len(expected),
        "prompts_equal": sum(a == b for a, b in zip(facts["prompts"], expected, strict=True)),
        "advantage_off": float(np.abs(of_responses(answer["advantages"]) - ours.ravel()).max()),
        "on_policy_off": gradient_off(method, ours, answer["on_policy"], np.zeros_like(shift())),
        "shifted_off": gradient_off(method, ours, answer["shifted"], shift()),
    }


def of_responses(advantages: NDArray[Any]) -> Floats:
    """The advantage of each response, [B], from that of every token, which must be the same; 0 after it."""
    held = np.arange(advantages.shape[1]) < rollout().lengths.reshape(-1, 1)
    assert (advantages == advantages[:, :1] * held).all()
    return advantages[:, 0].astype(float)


def gradient_off(method: str, advantages: Floats, theirs: NDArray[Any], log_ratio: NDArray[Any]) -> float:
    """Largest difference of the loss's gradient in a log-probability, relative to the largest gradient."""
    ours = our_gradient(method, advantages.ravel(), log_ratio)
    return float(np.abs(theirs - ours).max() / np.abs(ours).max())


def our_gradient(method: str, advantages: Floats, log_ratio: NDArray[Any]) -> Floats:
    """Of our loss, mini-batch after mini-batch: [B, T]."""
    settled, lengths = config_of(method).settled(), rollout().lengths.ravel()
    parts = np.split(lengths, settled.mini_batches)
    weights = np.concatenate([token_weights(part, settled.aggregation) for part in parts])
    logprob = torch.tensor(log_ratio, dtype=torch.float64, requires_grad=True)
    objective, _ = surrogate(
        logprob, torch.zeros_like(logprob), torch.from_numpy(advantages)[:, None], settled.clip
    )
    held = torch.arange(log_ratio.shape[1]) < torch.from_numpy(lengths)[:, None]
    (-(torch.from_numpy(weights)[:, None] * objective * held)).sum().backward()
    assert logprob.grad is not None
    return logprob.grad.numpy()


def batch_rows(answers: Mapping[str, Mapping[str, Any]]) -> Iterator[Row]:
    """Every response with what it earned from us and from verl."""
    advantages = {f"verl_{name}": of_responses(answer["advantages"]) for name, answer in answers.items()}
    for place, generation in enumerate(rollout().generations):
        yield {
            "problem": generation.request.problem.prompt,
            "gold": generation.request.problem.answer,
            "text": generation.text,
            "length": generation.n_tokens,
            "reward": int(rewards().ravel()[place]),
            "verl_reward": int(answers["opo"]["rewards"][place]),
            **{name: float(values[place]) for name, values in advantages.items()},
        }


def case_rows(answer: Mapping[str, Any]) -> Iterator[Row]:
    """Each case's verdict here, and what the reward function gave in verl's environment."""
    texts = [boxed(said) for _, said in CASES]
    outcomes = grade_answers([gold for gold, _ in CASES], texts, lenient=False, timeout_s=CASE_TIMEOUT_S)
    found = zip(CASES, outcomes, answer["case_scores"], answer["case_unscorable"], strict=True)
    for (gold, said), outcome, score, unscorable in found:
        yield {
            "gold": gold,
            "answer": said,
            "verdict": outcome.verdict,
            "verl_score": score,
            "verl_unscorable": unscorable,
        }


# --- the report -------------------------------------------------------------------------------------

TextRow = Mapping[str, str]
PAGE_TABLES = ("trl_steps.csv", "verl.csv", "cases.csv")


def page(steps: Sequence[TextRow], exports: Sequence[TextRow], cases: Sequence[TextRow]) -> str:
    """reports/in_trainers/README.md, of the rows of the tables and of nothing else."""
    blocks = [
        "# Our reward function and our exports in TRL and verl",
        f"TRL {steps[0]['trl']} and verl {exports[0]['verl']} were each installed beside opo_eval in an "
        f"environment of its own (verl's with ANTLR runtime {exports[0]['antlr']}), and given exports of "
        "training runs of the tiny model. *Off* is the largest difference from ours.",
        "## TRL: ten steps by the exported script",
        bullets([_rewarded(steps), _trained(steps)]),
        table(_grid(steps, _STEP_COLUMNS)),
        "## verl: exports composed by their start script and checked by verl",
        bullets([_ACCEPTED, _equal(exports), _gradients(exports)]),
        table(_grid(exports, _EXPORT_COLUMNS)),
        "Answers that are no whole numbers, graded in verl's environment:",
        table(_grid(cases, _CASE_COLUMNS)),
        "`batch.csv` has every response that went through verl, with its reward and verl's advantages. "
        "Made by `benchmarks/studies/in_trainers.py`.",
    ]
    return "\n\n".join(blocks) + "\n"


_ACCEPTED = (
    "Every export is composed by run.sh --cfg job, names no setting that verl does not have, has an "
    "estimator of verl's AdvantageEstimator, and passes validate_config."
)


def _sum(rows: Sequence[TextRow], name: str) -> str:
    return f"{sum(int(row[name]) for row in rows):,}"


def _most(rows: Sequence[TextRow], name: str) -> str:
    return _short(max((row[name] for row in rows), key=float))


def _short(text: str) -> str:
    return f"{float(text):.1e}"


def _rewarded(steps: Sequence[TextRow]) -> str:
    return (
        f"The reward function was asked about {_sum(steps, 'responses')} responses. "
        f"{_sum(steps, 'rewards_equal')} rewards are the verdict of grade_answers, and "
        f"{_sum(steps, 'unscorable')} could not be graded. {_sum(steps, 'prompts_equal')} prompts have our "
        "token ids."
    )


def _trained(steps: Sequence[TextRow]) -> str:
    return (
        f"TRL's advantages are ours to {_most(steps, 'advantage_off')} (GRPO's with TRL's epsilon, "
        f"{TRL_EPSILON:g}), and the gradient of its loss in every log-probability is minus the advantage "
        f"times our weight of the token to {_most(steps, 'gradient_off')}."
    )


def _equal(exports: Sequence[TextRow]) -> str:
    return (
        f"In {len(exports)} exports verl's reward manager gives our reward to "
        f"{_sum(exports, 'rewards_equal')} of {_sum(exports, 'responses')} responses, "
        f"{_sum(exports, 'prompts_equal')} of {_sum(exports, 'problems')} prompts have our token ids, "
        f"and its advantages are ours to {_most(exports, 'advantage_off')}."
    )


def _gradients(exports: Sequence[TextRow]) -> str:
    return (
        "The gradient of its loss in every log-probability is ours, relative to the largest, to "
        f"{_most(exports, 'on_policy_off')} on policy and to {_most(exports, 'shifted_off')} off policy "
        "(log-ratios with a standard deviation of 0.3), where the clip of 1e9 holds nothing and that of 0.2 "
        "what ours holds."
    )


_STEP_COLUMNS: dict[str, Callable[[TextRow], str]] = {
    "method": lambda row: row["method"],
    "step": lambda row: row["step"],
    "right": lambda row: f"{row['right']} of {row['responses']}",
    "rewards equal": lambda row: row["rewards_equal"],
    "advantage off": lambda row: _short(row["advantage_off"]),
    "gradient off": lambda row: _short(row["gradient_off"]),
    "mean length": lambda row: f"{float(row['mean_length']):.1f}",
    "entropy": lambda row: f"{float(row['entropy']):.3f}",
}
_EXPORT_COLUMNS: dict[str, Callable[[TextRow], str]] = {
    "method": lambda row: row["method"],
    "adv_estimator": lambda row: row["estimator"],
    "loss_agg_mode": lambda row: row["loss_agg_mode"],
    "rewards equal": lambda row: f"{row['rewards_equal']} of {row['responses']}",
    "prompts equal": lambda row: f"{row['prompts_equal']} of {row['problems']}",
    "advantage off": lambda row: _short(row["advantage_off"]),
    "gradient off, on policy": lambda row: _short(row["on_policy_off"]),
    "off policy": lambda row: _short(row["shifted_off"]),
}


_CASE_COLUMNS: dict[str, Callable[[TextRow], str]] = {
    "gold": lambda row: row["gold"],
    "answer": lambda row: row["answer"],
    "verdict here": lambda row: row["verdict"],
    "score in verl": lambda row: row["verl_score"],
    "unscorable in verl": lambda row: row["verl_unscorable"],
}


def _grid(rows: Sequence[TextRow], columns: Mapping[str, Callable[[TextRow], str]]) -> Grid:
    return grid_of(columns, ([cell(row) for cell in columns.values()] for row in rows))


def read_csv(name: str) -> list[dict[str, str]]:
    """Rows of a table of the report."""
    with (REPORT / name).open(newline="") as file:
        return list(csv.DictReader(file))


@dataclass
class Study:
    """The comparison."""

    verl: Path
    """Python of an environment with verl."""
    trl: Path
    """Python of an environment with TRL."""

    def __call__(self) -> None:
        """Export, ask, compare, write."""
        REPORT.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory() as name:
            folder = Path(name)
            write_batch(folder / "batch.npz")
            of_verl = {method: ask_verl(self.verl.absolute(), folder, method) for method in VERL_METHODS}
            of_trl = {method: ask_trl(self.trl.absolute(), folder, method) for method in TRL_METHODS}
        write_csv(REPORT / "verl.csv", [verl_row(*pair) for pair in of_verl.items()])
        write_csv(REPORT / "batch.csv", list(batch_rows(of_verl)))
        write_csv(REPORT / "trl_steps.csv", [row for pair in of_trl.items() for row in trl_rows(*pair)])
        write_csv(REPORT / "cases.csv", list(case_rows(of_verl["opo"])))
        (REPORT / "README.md").write_text(page(*map(read_csv, PAGE_TABLES)))


if __name__ == "__main__":
    tyro.cli(Study)()
