"""What verl and TRL log as entropy and KL, beside the exact values and ours: reports/logged_entropy/.

    OMP_NUM_THREADS=1 python benchmarks/studies/logged_entropy.py --verl VERL/bin/python --trl TRL/bin/python

The tools run in environments of their own. TRL's: `pip install torch==2.13.0 trl==1.16.0`. verl's:
`pip install torch==2.13.0`, `pip install --no-deps verl==0.9.1 peft accelerate`, `pip install
tensordict==0.10.0 "transformers<5.11,!=5.6.0" omegaconf hydra-core ray codetiming dill pandas pyarrow
datasets pybind11 packaging torchdata orjson pillow uvicorn fastapi cachetools`. torch compiles verl's
entropy, which takes a C++ compiler. About six minutes.

Also writes the tokens and the tools' answers to tests/oracles/, so that tests hold where the tools are not.
"""

import csv
import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import logged_precision as precision
import numpy as np
import tyro
from logged_definitions import (
    TRL_GRPO,
    TRL_RLOO,
    VERL_BFLOAT16_ENTROPY_LOSS,
    VERL_ENTROPIES,
    VERL_ENTROPY_LOSS,
    VERL_KLS,
    Entry,
    in_micro_batches,
)
from logged_page import page
from logged_rows import POLICY, REFERENCE, Answer, Question, Row, Setting, logged_rows, own, token_rows

from opo_eval.problems import load_problems
from opo_eval.samplers import make_sampler, plan_requests
from opo_eval.tabular import file_sha256
from opo_eval.tiny import checkpoint_path

ROOT = Path(__file__).resolve().parents[2]
REPORT, ORACLE = ROOT / "reports/logged_entropy", ROOT / "tests/oracles/logged_entropy.npz"
TABLES = ("logged.csv", "tokens.csv")
N_PROBLEMS, N_SAMPLES, WIDTH, SEED = 32, 4, 64, 0
TEMPERATURES = (1.0, 0.6)
N_DETAILED = 6
"""Responses of which every token's values are frozen; the logged numbers are of all."""


# --- what is asked ----------------------------------------------------------------------------------


_FSDP, _MODEL = "actor_rollout_ref.actor.fsdp_config", "actor_rollout_ref.model"
_FLOAT32 = {f"+{_FSDP}.mixed_precision": "{param_dtype:fp32,reduce_dtype:fp32}"}
_FUSED = {f"{_MODEL}.use_fused_kernels": True}
_EAGER = {f"{_FSDP}.use_torch_compile": False}
_CHUNKED = {f"{_FSDP}.entropy_from_logits_with_chunking": True}
_DEFAULT = "bfloat16, as installed"
_IN_FLOAT32 = (*VERL_ENTROPIES, VERL_ENTROPY_LOSS, *VERL_KLS)
_IN_BFLOAT16 = (VERL_ENTROPIES[0], VERL_BFLOAT16_ENTROPY_LOSS, *VERL_KLS)
_ENTROPY_IN_FLOAT32 = (VERL_ENTROPIES[0], VERL_ENTROPY_LOSS)


def _verl(how: str, temperature: float, entries: tuple[Entry, ...], **rest: Any) -> Setting:
    return Setting(tool="verl", how=how, temperature=temperature, entries=entries, **rest)


def _trl(how: str, temperature: float, options: dict[str, Any], **rest: Any) -> Setting:
    rest = {"trainer": "grpo", "entries": TRL_GRPO, **rest}
    return Setting(tool="TRL", how=how, temperature=temperature, options={"beta": 0.04, **options}, **rest)


SETTINGS = (
    *(_verl("float32", t, _IN_FLOAT32, micro_batches=4, options=_FLOAT32) for t in TEMPERATURES),
    _verl("float32, fused", 1.0, _ENTROPY_IN_FLOAT32, options=_FLOAT32 | _FUSED),
    *(
        _verl(
            _DEFAULT,
            t,
            _IN_BFLOAT16,
            precision=precision.verl_compiled,
            rounded="logits, temperature, Σ p x, the difference log Z − Σ p x; log-probabilities",
        )
        for t in TEMPERATURES
    ),
    _verl(
        "bfloat16, not compiled",
        1.0,
        _IN_BFLOAT16[:2],
        precision=precision.verl_eager,
        rounded="logits, temperature, p, p x, Σ p x, log Z, their difference; log-probabilities",
        options=_EAGER,
    ),
    _verl(
        "bfloat16, chunked",
        1.0,
        _ENTROPY_IN_FLOAT32,
        precision=precision.verl_chunked,
        rounded="logits, temperature; log-probabilities",
        options=_CHUNKED,
    ),
    _verl(
        "bfloat16, fused",
        1.0,
        _IN_BFLOAT16,
        precision=precision.verl_fused,
        rounded="logits, the entropy",
        options=_FUSED,
    ),
    *(_trl("float32", t, {"bf16": False}, from_logits=precision.exact) for t in TEMPERATURES),
    _trl(
        "float32, 4 micro-batches",
        1.0,
        {"bf16": False},
        micro_batches=4,
        entries=tuple(map(in_micro_batches, TRL_GRPO)),
    ),
    _trl("float32, RLOO", 1.0, {"bf16": False}, trainer="rloo", entries=TRL_RLOO),
    *(
        _trl(
            _DEFAULT,
            t,
            {},
            precision=precision.bfloat16_logits,
            rounded="logits",
            from_logits=precision.trl_from_logits,
        )
        for t in TEMPERATURES
    ),
    _trl(
        "bfloat16, head in float32",
        1.0,
        {"cast_lm_head_to_fp32": True},
        precision=precision.exact,
        rounded="nothing after the backbone",
    ),
)


@cache
def question(temperature: float) -> dict[str, Any]:
    """Responses of the policy, problem by problem, and where its checkpoints are."""
    sampler = make_sampler(
        "hf", str(checkpoint_path(POLICY)), template="tiny", max_tokens=WIDTH, temperature=temperature
    )
    problems = load_problems("tiny-arith")[:N_PROBLEMS]
    drawn = {
        (one.request.problem.id, one.request.index): one
        for one in sampler.generate(plan_requests(problems, N_SAMPLES, SEED))
    }
    ordered = [drawn[problem.id, index] for problem in problems for index in range(N_SAMPLES)]
    return {
        "policy": str(checkpoint_path(POLICY)),
        "reference": str(checkpoint_path(REFERENCE)),
        "temperature": temperature,
        "width": WIDTH,
        "texts": [sampler.prompt_text(problem) for problem in problems],
        "prompts": [sampler.prompt_ids(one.request.problem) for one in ordered],
        "responses": [list(one.token_ids or ()) for one in ordered],
    }


def ask(setting: Setting, python: Path) -> Answer:
    """What the tool says in its own environment."""
    script = Path(__file__).with_name(f"logged_entropy_{setting.tool.lower()}.py")
    asked = question(setting.temperature) | {
        "trainer": setting.trainer,
        "micro_batches": setting.micro_batches,
        "options": setting.options,
        "keys": [entry.key for entry in setting.entries],
    }
    with TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "question.json").write_text(json.dumps(asked))
        words = [str(python), str(script), "question.json", "answer.npz"]
        done = subprocess.run(words, check=False, cwd=folder, env=os.environ | {"OMP_NUM_THREADS": "1"})
        if done.returncode:
            raise SystemExit(
                f"{python} gave no answer for {setting.name}: what it printed says why, and the head of "
                f"{Path(__file__).name} how to make an environment for {setting.tool}"
            )
        return dict(np.load(folder / "answer.npz"))


# --- what is made of it -----------------------------------------------------------------------------


@dataclass
class Study:
    """The comparison."""

    verl: Path
    """Python of an environment with verl."""
    trl: Path
    """Python of an environment with TRL."""

    def __call__(self) -> None:
        """Ask, compare, freeze, write."""
        pythons = {"verl": self.verl.absolute(), "TRL": self.trl.absolute()}
        answers = {setting.name: ask(setting, pythons[setting.tool]) for setting in SETTINGS}
        freeze(answers)
        REPORT.mkdir(parents=True, exist_ok=True)
        for name, rows in zip(TABLES, rows_of(answers), strict=True):
            write_csv(REPORT / name, rows)
        (REPORT / "README.md").write_text(page(*map(read_csv, TABLES)))


def rows_of(answers: Mapping[str, Answer]) -> tuple[list[Row], list[Row]]:
    """Of everything logged, and of the tokens behind it."""
    asked = {temperature: question(temperature) for temperature in TEMPERATURES}
    ours = {temperature: own(one) for temperature, one in asked.items()}
    logged, tokens = [], []
    for setting in SETTINGS:
        rest = answers[setting.name], asked[setting.temperature], ours[setting.temperature]
        logged += logged_rows(setting, *rest)
        tokens += token_rows(setting, *rest)
    return logged, tokens


def write_csv(path: Path, rows: Sequence[Row]) -> None:
    """Rows under the names of all their columns; what a row does not have is left empty."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def read_csv(name: str) -> list[dict[str, str]]:
    """Rows of a table of the report."""
    with (REPORT / name).open(newline="") as file:
        return list(csv.DictReader(file))


def freeze(answers: Mapping[str, Answer]) -> None:
    """The questions and the answers, as tests read them: numbers of all responses, tokens of the first."""
    arrays = {f"{name} sha256": file_sha256(weights_of(name)) for name in (POLICY, REFERENCE)}
    for temperature in TEMPERATURES:
        arrays |= frozen_question(question(temperature))
    for setting in SETTINGS:
        arrays |= frozen_answer(setting, answers[setting.name])
    np.savez_compressed(ORACLE, **arrays)


def weights_of(checkpoint: str) -> Path:
    """The file with a tiny checkpoint's weights."""
    return checkpoint_path(checkpoint) / "model.safetensors"


def frozen_question(asked: Question) -> dict[str, Any]:
    """Token ids of all prompts and responses, one after the other, with their lengths."""
    at = f"{asked['temperature']:g}"
    return {
        f"{kind} {at}": np.concatenate([np.array(row, dtype=np.int16) for row in asked[kind]])
        for kind in ("prompts", "responses")
    } | {
        f"lengths of {kind} {at}": np.array([len(row) for row in asked[kind]], dtype=np.int16)
        for kind in ("prompts", "responses")
    }


def frozen_answer(setting: Setting, answer: Answer) -> dict[str, Any]:
    """What was logged and, of the first responses, every token's values."""
    n_tokens = sum(map(len, question(setting.temperature)["responses"][:N_DETAILED]))
    whole = {name: answer[name] for name in ("version", "logged", "micro_batch") if name in answer}
    names = ["entropy", "logprob", "ref_logprob"] + ([] if setting.precision is None else ["hidden"])
    detailed = {name: answer[name][:n_tokens] for name in names}
    return {f"{setting.name}: {name}": value for name, value in (whole | detailed).items()}


if __name__ == "__main__":
    tyro.cli(Study)()
