"""Checkpoints × benchmarks: choosing the engine, what it will take, and sampling it all.

Checkpoints are gone through one after another, each on all benchmarks, so that its weights are loaded once.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from opo_eval.problems import default_template
from opo_eval.records import Checkpoint, Problem, Think
from opo_eval.samplers import Sampler, choose_engine, make_sampler, plan_requests, sample_run
from opo_eval.samplers.engines import AUTO, ENGINES
from opo_eval.store import RunDir, begun_run, run_path
from opo_eval.wording import counted

REASONING_TOKENS, ANSWER_TOKENS = 32_768, 2_048
"""Longest responses by default: of models that think before they answer, and of those that do not."""
_RAY = "ray"
_OF_ONE_ENGINE = {
    _RAY: ("replicas", "replica_engine", "ray_address"),
    "server": ("endpoints",),
    "hf": ("device", "batch_size", "batch_tokens"),
}
_CALIBRATION = {"requests": 64, "tokens": 128}


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """What a call of `sample` or `eval` was asked for."""

    checkpoints: Sequence[Checkpoint]
    problem_sets: Sequence[tuple[Problem, ...]]
    n: int
    """Samples a problem."""
    out: Path
    think: Think
    engine: str
    """Name of an engine, or auto."""
    settings: Mapping[str, Any]
    """Of the engine, as `make_sampler` takes them; without a template each benchmark's own is used."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """One checkpoint on one benchmark."""

    checkpoint: Checkpoint
    problems: tuple[Problem, ...]
    path: Path
    """Of its run directory."""

    @property
    def what(self) -> str:
        """For a person."""
        return f"{self.checkpoint.name} on {self.problems[0].benchmark}"


def run_sweep(sweep: Sweep, *, quiet: bool = False) -> Iterator[RunDir | str]:
    """Sample what is missing; yields sentences for a person, and each run directory when it is complete."""
    said = None
    for part in parts(sweep):
        engine, why = engine_of(part, sweep)
        if why and (engine, why) != said:
            said = engine, why
            yield f"engine {engine}: {why}"
        with closing(_sampler(part, sweep, engine)) as sampler:
            yield sample_run(
                part.path,
                sampler,
                part.checkpoint,
                part.problems,
                n=sweep.n,
                think=sweep.think,
                quiet=quiet,
            )


def parts(sweep: Sweep) -> Iterator[Part]:
    """Checkpoint by checkpoint, each on all benchmarks."""
    for checkpoint in sweep.checkpoints:
        for problems in sweep.problem_sets:
            path = run_path(sweep.out, checkpoint.name, problems[0].benchmark)
            yield Part(checkpoint=checkpoint, problems=problems, path=path)


def engine_of(part: Part, sweep: Sweep) -> tuple[str, str]:
    """The engine for a part, and why it and no other; no reason where the user named it.

    A run that was begun goes on with its own engine: another one draws other responses.
    """
    if sweep.engine != AUTO:
        return sweep.engine, ""
    only = _only_engine(sweep.settings)
    if only and only[0] == _RAY:  # which records what its replicas run, so that it goes on with any run
        return only
    begun = begun_run(part.path)
    sampling = begun.manifest.settings.sampling if begun else None
    if sampling and sampling.engine in ENGINES:
        return sampling.engine, f"{part.path} was begun with it"
    return only or choose_engine(str(part.checkpoint.path))


def _only_engine(settings: Mapping[str, Any]) -> tuple[str, str] | None:
    """The engine that alone has an option which was given, and that option."""
    for engine, options in _OF_ONE_ENGINE.items():
        for name in options:
            if settings.get(name) is not None:
                return engine, f"{name} was given, an option of this engine alone"
    return None


def longest(think: Think) -> int:
    """Tokens that a response may have where nobody says."""
    return ANSWER_TOKENS if think is Think.NONE else REASONING_TOKENS


def _sampler(part: Part, sweep: Sweep, engine: str, **changes: Any) -> Sampler:
    settings = dict(sweep.settings)
    settings["template"] = settings.get("template") or default_template(part.problems[0].benchmark)
    settings["max_tokens"] = settings.get("max_tokens") or longest(sweep.think)
    return make_sampler(engine, str(part.checkpoint.path), **{**settings, **changes})


# --- the plan before the bill -----------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Bill:
    """What a part will take."""

    n_there: int
    n_missing: int
    tokens_at_most: int
    """Of the missing responses, if each runs to its limit."""
    tokens_expected: int | None
    """By the mean length of the responses that are there; None where there are none."""


@dataclass(frozen=True, kw_only=True)
class Pace:
    """How fast an engine drew a few responses."""

    tokens_per_s: float
    n_requests: int
    n_tokens: int


def plan_sentences(sweep: Sweep) -> Iterator[str]:
    """What the sweep would do, part by part, one prompt in full, and how long it may take; samples nothing.

    The pace is measured on the first checkpoint with responses that are not kept.
    """
    all_parts = list(parts(sweep))
    first = all_parts[0]
    engine, why = engine_of(first, sweep)
    yield f"engine {engine}" + (f": {why}" if why else "")
    with closing(_sampler(first, sweep, engine)) as sampler:
        prompt = sampler.prompt_text(first.problems[0])
        bills = [bill_of(part, sweep, sampler) for part in all_parts]
    yield f"the prompt of problem {first.problems[0].source_id} whole, between the lines:\n---\n{prompt}\n---"
    for part, bill in zip(all_parts, bills, strict=True):
        yield f"{part.what}: {_spelled(part, bill, sweep)}"
    at_most = sum(bill.tokens_at_most for bill in bills)
    yield f"in all: {sum(b.n_missing for b in bills):,} responses, {at_most:,} tokens at most"
    if at_most and (pace := _pace(first, sweep, engine)):
        yield from _time_sentences(bills, at_most, pace)


def bill_of(part: Part, sweep: Sweep, sampler: Sampler) -> Bill:
    """What is there of a part and what is missing."""
    run = begun_run(part.path)
    there = {(s.problem_id, s.index): s.n_tokens for s in run.samples()} if run else {}
    missing = plan_requests(part.problems, sweep.n, sampler.settings.base_seed, there)
    asked = {request.problem.id: request.problem for request in missing}
    rooms = {problem.id: sampler.room(problem) for problem in asked.values()}
    lengths = [length for length in there.values() if length is not None]
    mean = sum(lengths) / len(lengths) if lengths else None
    return Bill(
        n_there=len(there),
        n_missing=len(missing),
        tokens_at_most=sum(rooms[request.problem.id] for request in missing),
        tokens_expected=None if mean is None else round(mean * len(missing)),
    )


def _spelled(part: Part, bill: Bill, sweep: Sweep) -> str:
    asked = f"{counted(len(part.problems), 'prompt')} x {sweep.n} samples"
    known = bill.tokens_expected
    expected = "" if known is None else f", about {known:,} by the lengths of those there"
    missing = f"{bill.n_there:,} there, {bill.n_missing:,} to draw"
    return f"{asked}, {missing}: {bill.tokens_at_most:,} tokens at most{expected}"


def _pace(part: Part, sweep: Sweep, engine: str) -> Pace | None:
    """Time a few short responses, after one that pays for what is done once; None where nothing was drawn."""
    limit = min(_CALIBRATION["tokens"], sweep.settings.get("max_tokens") or longest(sweep.think))
    per_problem = -(-_CALIBRATION["requests"] // len(part.problems))
    with closing(_sampler(part, sweep, engine, max_tokens=limit)) as sampler:
        requests = plan_requests(part.problems, per_problem, sampler.settings.base_seed)
        list(sampler.generate(requests[:1]))
        requests = requests[: _CALIBRATION["requests"]]
        started = time.monotonic()
        n_tokens = sum(generation.n_tokens for generation in sampler.generate(requests))
        seconds = time.monotonic() - started
    if not n_tokens:
        return None
    return Pace(tokens_per_s=n_tokens / seconds, n_requests=len(requests), n_tokens=n_tokens)


def _time_sentences(bills: Sequence[Bill], at_most: int, pace: Pace) -> Iterator[str]:
    yield (
        f"at {pace.tokens_per_s:,.0f} tokens a second, as {pace.n_requests} responses of {pace.n_tokens:,} "
        f"tokens in all were drawn just now, that is {_duration(at_most / pace.tokens_per_s)} at most; long "
        "responses and large batches may have another pace"
    )
    known = [bill for bill in bills if bill.tokens_expected is not None]
    if known and len(known) == len(bills):
        expected = sum(bill.tokens_expected or 0 for bill in bills)
        yield f"by the lengths that are there: {expected:,} tokens, {_duration(expected / pace.tokens_per_s)}"


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{seconds / 60:.0f} min" if seconds < 5_400 else f"{seconds / 3_600:.1f} h"
