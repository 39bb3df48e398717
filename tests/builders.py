"""Small records for tests, with everything that a test does not care about filled in."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import zstandard

from opo_eval.problems import dataset_sha256, make_problem
from opo_eval.records import (
    Checkpoint,
    Finish,
    Grade,
    GradedSample,
    Group,
    Problem,
    Reason,
    RunSettings,
    Sample,
    SamplingSettings,
    Think,
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
