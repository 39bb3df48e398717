"""What a run trains on: problems in no benchmark and, if asked for, neither too easy nor too hard."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from opo_eval.errors import InputError
from opo_eval.grading import Grader
from opo_eval.problems import benchmark_names, load_problems
from opo_eval.problems.overlap import Overlap, OverlapKind, find_overlaps
from opo_eval.problems.tiny_arith import BENCHMARK as TINY_ARITH
from opo_eval.problems.training import load_training_problems
from opo_eval.records import Checkpoint, Problem
from opo_eval.rl.config import TrainConfig
from opo_eval.rl.difficulty import filter_by_difficulty
from opo_eval.samplers import Sampler
from opo_eval.wording import counted, some_of

GENERATED = 4096
"""Problems of tiny-arith that are generated where no other number is asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingData:
    """Problems to train on, and how many of their source were left out for which reason."""

    problems: tuple[Problem, ...]
    left_out: Mapping[str, int]
    sentences: tuple[str, ...] = ()
    """What happened, for a person."""


def load_data(config: TrainConfig) -> TrainingData:
    """The problems that the configuration names, less those that are in its benchmarks.

    Raises InputError where some are and `allow_overlap` is not set, or where nothing is left.
    """
    generated = config.problems == TINY_ARITH
    loaded = load_training_problems(
        config.problems,
        source=config.problems_from,
        rng=np.random.default_rng(config.seed),
        n=config.n_problems or (GENERATED if generated else None),
    )
    data = TrainingData(
        problems=loaded.problems,
        left_out={str(flaw): count for flaw, count in loaded.left_out.items()},
        sentences=(loaded.sentence(),),
    )
    # Generated problems leave out their own benchmark by themselves, and are no text of a published one.
    published = benchmark_names() if generated else ()
    return _without_benchmarks(data, config, [name for name in config.benchmarks if name not in published])


def filter_data(
    data: TrainingData, config: TrainConfig, sampler: Sampler, grader: Grader, *, quiet: bool = False
) -> TrainingData:
    """The problems that the starting policy solves sometimes; all of them where no filter is asked for."""
    if not config.difficulty_samples:
        return data
    filtered = filter_by_difficulty(
        config.out,
        sampler,
        Checkpoint(name="start", path=config.model),
        data.problems,
        grader,
        n=config.difficulty_samples,
        think=config.think,
        quiet=quiet,
    )
    out = {"all_right": filtered.all_right, "all_wrong": filtered.all_wrong, "unscored": filtered.unscored}
    return TrainingData(
        problems=filtered.kept,
        left_out={**data.left_out, **{reason: count for reason, count in out.items() if count}},
        sentences=(*data.sentences, filtered.sentence()),
    )


def _without_benchmarks(data: TrainingData, config: TrainConfig, benchmarks: Sequence[str]) -> TrainingData:
    held_out = [problem for name in benchmarks for problem in load_problems(name)]
    found = find_overlaps(data.problems, held_out)
    # A near problem with another gold asks something else about the same words: other numbers, say.
    variants = tuple(overlap for overlap in found if not _is_in_benchmark(overlap))
    overlaps = tuple(overlap for overlap in found if _is_in_benchmark(overlap))
    if variants:
        sentence = f"{_spell(variants, data)}, but with other answers: kept as problems of their own"
        data = replace(data, sentences=(*data.sentences, sentence))
    if not overlaps:
        return data
    if not config.allow_overlap:
        raise InputError(
            f"{_spell(overlaps, data)}: give --allow-overlap to leave them out, or other problems"
        )
    gone = {overlap.training_id for overlap in overlaps}
    kept = tuple(problem for problem in data.problems if problem.id not in gone)
    if not kept:
        raise InputError("every training problem is in a benchmark: give other problems")
    return replace(
        data,
        problems=kept,
        left_out={**data.left_out, "in_a_benchmark": len(data.problems) - len(kept)},
        sentences=(*data.sentences, f"{_spell(overlaps, data)}: left out"),
    )


def _is_in_benchmark(overlap: Overlap) -> bool:
    return overlap.kind is OverlapKind.EXACT or overlap.same_answer


def _spell(overlaps: tuple[Overlap, ...], data: TrainingData) -> str:
    names = {problem.id: problem.source_id for problem in data.problems}
    found = dict.fromkeys(names[overlap.training_id] for overlap in overlaps)
    kinds = Counter((overlap.benchmark, overlap.kind) for overlap in overlaps)
    where = ", ".join(f"{count} {kind} in {benchmark}" for (benchmark, kind), count in sorted(kinds.items()))
    problems = counted(len(found), "training problem")
    return f"{problems} found in a benchmark ({where}; {some_of(found)})"
