"""Small records for tests, with everything that a test does not care about filled in."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import zstandard

from opo_eval.problems import dataset_sha256, make_problem
from opo_eval.records import (
    Checkpoint,
    Finish,
    Forking,
    Grade,
    GradedSample,
    Group,
    Problem,
    Reason,
    RunSettings,
    Sample,
    SamplingSettings,
    Tenths,
    Think,
    TokenStats,
    Verdict,
)
from opo_eval.store import RunDir, RunWriter


def problem(number: int, *, benchmark: str = "sums", **tags: str) -> Problem:
    """`number + number`."""
    return make_problem(
        benchmark=benchmark,
        source_id=f"p{number}",
        prompt=f"{number}+{number}",
        answer=str(2 * number),
        tags=tags,
    )


def sample(asked: Problem, index: int, text: str = "\\boxed{4}", **fields: Any) -> Sample:
    """A finished response."""
    defaults: dict[str, Any] = {"checkpoint": "c", "finish": Finish.STOP}
    return Sample(problem_id=asked.id, index=index, text=text, **(defaults | fields))


def grade(asked: Problem, index: int, verdict: Verdict = Verdict.CORRECT, **fields: Any) -> Grade:
    """A verdict of a grader called `g`."""
    defaults: dict[str, Any] = {"reason": Reason.EQUIVALENT, "grader": "g"}
    return Grade(problem_id=asked.id, index=index, verdict=verdict, **(defaults | fields))


def token_stats(
    asked: Problem,
    index: int,
    entropy: Sequence[float],
    *,
    kl: Sequence[float] | None = None,
    logprob: Sequence[float] | None = None,
    temperature: float = 1.0,
    scorer: str = "s",
) -> TokenStats:
    """Of a response whose tokens have these entropies, divergences and log-probabilities, in nats."""
    logprob = [-value for value in entropy] if logprob is None else logprob
    n, places = len(entropy), np.arange(len(entropy))
    tenth, fork = 10 * places // max(n, 1), np.argsort(-np.array(entropy), kind="stable")[: -(-n // 5)]

    def tenths(values: Sequence[float]) -> tuple[float, ...]:
        return tuple(np.bincount(tenth, values, minlength=10).tolist())

    return TokenStats(
        problem_id=asked.id,
        index=index,
        scorer=scorer,
        reference=None if kl is None else "start",
        temperature=temperature,
        n_tokens=n,
        entropy_sum=float(sum(entropy)),
        logprob_sum=float(sum(logprob)),
        ref_entropy_sum=None if kl is None else 1.0,
        ref_logprob_sum=None if kl is None else float(sum(logprob)) - 0.9 * sum(kl),
        kl_sum=None if kl is None else float(sum(kl)),
        reverse_kl_sum=None if kl is None else 2.0 * sum(kl),
        kl_k2_sum=None if kl is None else 3.0 * sum(kl),
        kl_k3_sum=None if kl is None else 1.1 * sum(kl),
        tenths=Tenths(
            n_tokens=tuple(np.bincount(tenth, minlength=10).tolist()),
            entropy=tenths(entropy),
            logprob=tenths(logprob),
            kl=None if kl is None else tenths(kl),
        ),
        forking=Forking(
            n_tokens=len(fork),
            entropy_sum=float(np.array(entropy)[fork].sum()),
            logprob_sum=float(np.array(logprob)[fork].sum()),
            kl_sum=None if kl is None else float(np.array(kl)[fork].sum()),
        ),
    )


def group(asked: Problem, texts: Sequence[str], verdicts: Sequence[Verdict], **fields: Any) -> Group:
    """A problem with graded responses."""
    graded = [
        GradedSample(sample=sample(asked, i, text), grade=grade(asked, i, verdict, **fields))
        for i, (text, verdict) in enumerate(zip(texts, verdicts, strict=True))
    ]
    return Group(checkpoint="c", problem=asked, samples=tuple(graded))


def settings(problems: Sequence[Problem], *, checkpoint: str = "c", **sampling: Any) -> RunSettings:
    """Settings of a run that was sampled."""
    drawn: dict[str, Any] = {
        "engine": "hf",
        "temperature": 1.0,
        "top_p": 1.0,
        "top_k": 0,
        "max_tokens": 64,
        "base_seed": 0,
        "dtype": "float32",
    }
    return RunSettings(
        checkpoint=Checkpoint(name=checkpoint),
        benchmark=problems[0].benchmark,
        dataset_sha256=dataset_sha256(problems),
        think=Think.NONE,
        sampling=SamplingSettings(**(drawn | sampling)),
    )


def unpack(run: Path) -> Path:
    """Turn the samples of a run into a plain file, which tests can edit, and return its path."""
    packed = RunDir(run).samples_path
    plain = packed.with_suffix("")
    with packed.open("rb") as frames, plain.open("wb") as lines:
        zstandard.ZstdDecompressor().copy_stream(frames, lines)
    packed.unlink()
    return plain


def write_run(
    path: Path, problems: Sequence[Problem], texts: dict[str, Sequence[str]], *, checkpoint: str = "c"
) -> RunDir:
    """A run directory with these responses, by the problem's own id."""
    with RunWriter(path, settings(problems, checkpoint=checkpoint), problems) as writer:
        for asked in problems:
            for index, text in enumerate(texts[asked.source_id]):
                writer.append_samples([sample(asked, index, text, checkpoint=checkpoint)])
    return RunDir(path)
