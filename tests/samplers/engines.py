"""What tests of several engines share: requests, and when two engines agree."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from opo_eval.grading import grade_answers
from opo_eval.problems import load_problems
from opo_eval.records import Verdict
from opo_eval.samplers import Generation

HELD_OUT = load_problems("tiny-arith")
NEAR_TIE = 1e-4
"""Logits that differ by less may change places by rounding."""

Drawn = dict[tuple[str, int], Generation]


def by_key(generations: Iterable[Generation]) -> Drawn:
    """Generations by what they answer."""
    return {(g.request.problem.id, g.request.index): g for g in generations}


def token_ids(drawn: Drawn) -> dict[tuple[str, int], tuple[int, ...] | None]:
    """The tokens of each."""
    return {key: generation.token_ids for key, generation in drawn.items()}


def first_difference(a: Sequence[int], b: Sequence[int]) -> int | None:
    """Place of the first token in which two responses differ."""
    if list(a) == list(b):
        return None
    return next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))


def gap_of_the_two_best(model: Any, prompt: Sequence[int], response: Sequence[int]) -> float:
    """Difference of the two largest logits after a prompt and the beginning of a response."""
    with torch.no_grad():
        logits = model(torch.tensor([[*prompt, *response]])).logits[0, -1]
    best, second = logits.topk(2).values.tolist()
    return best - second


def copied(source: Path, target: Path, **changes: dict[str, Any]) -> Path:
    """A checkpoint's folder with some JSON files changed: `tokenizer_config={...}`."""
    target.mkdir()
    for path in source.iterdir():
        (target / path.name).write_bytes(path.read_bytes())
    for name, change in changes.items():
        file = target / f"{name}.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | change))
    return target


def assert_pass_rates_agree(a: np.ndarray, b: np.ndarray) -> None:
    """Within 4 standard errors of the difference, paired by problem; else sampling is not the same."""
    assert abs((b - a).mean()) < 4 * (b - a).std(ddof=1) / np.sqrt(len(a))
    assert 0.2 < a.mean() < 0.6  # at 0 or 1 the comparison would say nothing


def pass_rates(generations: Iterable[Generation]) -> np.ndarray:
    """Share of correct responses, problem by problem in the order of their ids."""
    drawn = by_key(generations)
    golds = [generation.request.problem.answer for generation in drawn.values()]
    grades = grade_answers(golds, [generation.text for generation in drawn.values()], think="none")
    by_problem: dict[str, list[bool]] = {}
    for (problem_id, _), grade in zip(drawn, grades, strict=True):
        by_problem.setdefault(problem_id, []).append(grade.verdict is Verdict.CORRECT)
    return np.array([np.mean(by_problem[problem_id]) for problem_id in sorted(by_problem)])
