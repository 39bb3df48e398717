"""Small runs that were really drawn, checkpoints made from the shipped ones, and scoring by brute force."""

import json
import shutil
from collections.abc import Sequence
from functools import cache
from math import ceil, floor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from opo_eval.problems import load_problems
from opo_eval.records import Checkpoint, Think, TokenStats
from opo_eval.samplers import make_sampler, sample_run
from opo_eval.score import ScoreOptions, score_runs
from opo_eval.store import RunDir
from opo_eval.tiny import checkpoint_path

PROBLEMS = load_problems("tiny-arith")[:6]
LATE, EARLY = str(checkpoint_path("late")), str(checkpoint_path("early"))
N, TEMPERATURE = 3, 0.7


def draw(path: Path, checkpoint: str = LATE, **options: Any) -> RunDir:
    """A run of 6 problems × 3 responses of 40 tokens at most, drawn at temperature 0.7."""
    settings = {"template": "tiny", "max_tokens": 40, "temperature": TEMPERATURE, **options}
    sampler = make_sampler("hf", checkpoint, **settings)
    name = Checkpoint(name=Path(checkpoint).name, path=checkpoint)
    return sample_run(path, sampler, name, PROBLEMS, n=N, think=Think.NONE, quiet=True)


def scored(run: RunDir, **options: Any) -> list[str]:
    """Score a run and return the sentences."""
    return list(score_runs([run], ScoreOptions(**options), quiet=True))


def records(run: RunDir) -> dict[tuple[str, int, float], TokenStats]:
    """What was scored, by sample and temperature, of one scorer."""
    found = list(run.token_stats())
    assert len({stats.scorer for stats in found}) == 1
    return {(stats.problem_id, stats.index, stats.temperature): stats for stats in found}


def numbers(stats: TokenStats) -> list[float]:
    """Every number of a record, in order."""
    sums = [getattr(stats, f"{name}_sum") for name in ORDER]
    tenths = [x for name in ("entropy", "logprob", "kl") for x in getattr(stats.tenths, name) or ()]
    forking = [stats.forking.entropy_sum, stats.forking.logprob_sum, stats.forking.kl_sum]
    return [value for value in [stats.n_tokens, *sums, *tenths, *forking] if value is not None]


# --- by brute force -----------------------------------------------------------------------------


@cache
def model_of(checkpoint: str) -> Any:
    """The checkpoint as transformers loads it."""
    return AutoModelForCausalLM.from_pretrained(checkpoint, dtype=torch.float32).eval()


@cache
@torch.no_grad()
def _logits(checkpoint: str, prompt: tuple[int, ...], response: tuple[int, ...]) -> Any:
    whole = model_of(checkpoint)(torch.tensor([[*prompt, *response]])).logits[0]
    return whole[len(prompt) - 1 : -1].double()


def log_probs(checkpoint: str, prompt: Sequence[int], response: Sequence[int], temperature: float) -> Any:
    """float64 [n, V]: of every token of the response, from one forward pass over one text alone."""
    logits = _logits(checkpoint, tuple(prompt), tuple(response))
    return torch.log_softmax(logits / temperature, dim=-1).numpy()


@cache
def tokenizer() -> Any:
    """Of all the shipped checkpoints."""
    return AutoTokenizer.from_pretrained(LATE)


def prompt_ids(problem_id: str) -> list[int]:
    """Of the template `tiny`."""
    text = next(problem.prompt for problem in PROBLEMS if problem.id == problem_id) + "="
    return tokenizer()(text)["input_ids"]


def brute_force(log_p: Any, log_q: Any, response: Sequence[int]) -> dict[str, Any]:
    """Statistics of each token by their definitions."""
    drawn = range(len(response)), list(response)
    p, q = np.exp(log_p), np.exp(log_q)
    lp, lq = log_p[drawn], log_q[drawn]
    return {
        "entropy": -(p * log_p).sum(-1),
        "logprob": lp,
        "ref_entropy": -(q * log_q).sum(-1),
        "ref_logprob": lq,
        "kl": (p * (log_p - log_q)).sum(-1),
        "reverse_kl": (q * (log_q - log_p)).sum(-1),
        "kl_k2": (lp - lq) ** 2 / 2,
        "kl_k3": np.exp(lq - lp) - 1 - (lq - lp),
    }


def expected(own: dict[str, Any]) -> list[float]:
    """The numbers of the record that these statistics make, in the order of `numbers`."""
    n = len(own["entropy"])
    sums = [own[name].sum() for name in ORDER]
    places = [[i for i in range(n) if floor(10 * i / n) == tenth] for tenth in range(10)]
    tenths = [own[name][own_places].sum() for name in ("entropy", "logprob", "kl") for own_places in places]
    top = sorted(range(n), key=lambda i: (-own["entropy"][i], i))[: ceil(n / 5)]
    forking = [own[name][top].sum() for name in ("entropy", "logprob", "kl")]
    return [n, *sums, *tenths, *forking]


ORDER = [name.removesuffix("_sum") for name in TokenStats.__dataclass_fields__ if name.endswith("_sum")]

# --- other checkpoints ------------------------------------------------------------------------------


def changed(source: str, target: Path, **files: dict[str, Any]) -> str:
    """A copy of a checkpoint with some of its JSON files changed: `tokenizer_config={...}`."""
    shutil.copytree(source, target)
    for name, change in files.items():
        file = target / f"{name}.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | change))
    return str(target)


def resaved(source: str, target: Path, change: Any) -> str:
    """A copy of a checkpoint whose model was changed."""
    model = AutoModelForCausalLM.from_pretrained(source, dtype=torch.float32)
    shutil.copytree(source, target)
    change(model)
    model.save_pretrained(target)
    return str(target)


def untied(model: Any) -> None:
    """Give the model an output head of its own, a little off the embeddings."""
    model.config.tie_word_embeddings = False
    noise = torch.randn(model.lm_head.weight.shape, generator=torch.Generator().manual_seed(0))
    model.lm_head.weight = torch.nn.Parameter(model.lm_head.weight.detach() + 0.1 * noise)
