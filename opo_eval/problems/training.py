"""Problems to train on: by name or from a user's file, never a benchmark's.

A training set need not be clean: a row without a gold or with a problem that was there before is left out
and counted, where a benchmark would be refused. Tables are read as `load_user_file` reads them; a table in
verl's layout (`prompt` a list of chat messages, `reward_model.ground_truth`) is known by its first row.
"""

import json
import os
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from opo_eval.errors import InputError, UsageError
from opo_eval.problems import tiny_arith
from opo_eval.problems.benchmarks import BENCHMARKS, HubFile
from opo_eval.problems.identity import answer_text, make_problem
from opo_eval.problems.local import locate
from opo_eval.problems.user_file import (
    ColumnChoice,
    Flaw,
    NumberedRow,
    UnusableRow,
    benchmark_name,
    mark_repeated,
    read_rows_of_problems,
)
from opo_eval.records import Problem
from opo_eval.tabular import SUFFIXES, place, read_rows
from opo_eval.wording import counted, listed, nearest


@dataclass(frozen=True, slots=True, kw_only=True)
class HubSet:
    """A training set on the hub: one file in verl's layout, and where a folder of data has it."""

    name: str
    hub: tuple[HubFile, ...]
    data_path: str


SKYWORK_OR1 = HubSet(
    name="skywork-or1",
    hub=(
        HubFile(
            repository="Skywork/Skywork-OR1-RL-Data",
            revision="1cdedc52e0e2db85fdf252f9be682e63a5a38c33",
            path="data/math-00000-of-00001.parquet",
        ),
    ),
    data_path="data/math-00000-of-00001.parquet",
)
"""Mathematics subset, 105,055 rows. Its model difficulties are failures in 16 responses: the 48k problems of
arXiv 2505.23585 are those that DeepSeek-R1-Distill-Qwen-7B failed 1 to 15 times."""

DIFFICULTY_TAG = "model_difficulty."
"""Before the name of the model whose difficulty a tag gives."""

TRAINING_SETS = (tiny_arith.BENCHMARK, SKYWORK_OR1.name)
"""Names that `load_training_problems` knows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingSet:
    """Problems to train on, and what was left out of their source."""

    problems: tuple[Problem, ...]
    left_out: Mapping[Flaw, int]
    """Rows by what is wrong with them; a flaw that no row has is not in it."""
    source: str
    """File that they are from, or how they were generated."""

    def sentence(self) -> str:
        """How many problems from where, and what was left out, for a person."""
        left_out = f"; left out: {_spell(self.left_out)}" if self.left_out else ""
        return f"{counted(len(self.problems), 'problem')} to train on from {self.source}{left_out}"


def load_training_problems(
    name: str | os.PathLike[str],
    *,
    source: str | os.PathLike[str] | None = None,
    columns: ColumnChoice | None = None,
    rng: np.random.Generator | None = None,
    n: int | None = None,
) -> TrainingSet:
    """Problems of a training set by name (`TRAINING_SETS`) or of a user's own file.

    `source` is where a named set is read from, as in `load_problems`; `columns` says which columns of a
    user's file are meant. n: how many problems are drawn with `rng`, default all; tiny-arith, which is
    generated, has no end and needs both.

    Raises UsageError for an unknown name, a benchmark, options that do not fit or an n out of range;
    InputError for data that cannot be had, cannot be read or give no problem.
    """
    name = str(name)
    _refuse_options(name, source=source, columns=columns)
    if n is not None and rng is None:
        raise UsageError(f"{n} problems cannot be drawn without a random generator: give rng")
    if name == tiny_arith.BENCHMARK:
        return _generated(n, rng)
    if name == SKYWORK_OR1.name:
        return _draw(_load_verl(_skywork(source), name), n, rng)
    path = _user_file(name)
    if columns is None and _is_verl(path):
        return _draw(_load_verl(path, benchmark_name(path)), n, rng)
    return _draw(_usable(read_rows_of_problems(path, columns), str(path)), n, rng)


def _refuse_options(name: str, **options: object) -> None:
    takes = {tiny_arith.BENCHMARK: (), SKYWORK_OR1.name: ("source",)}.get(name, ("columns",))
    for option, value in options.items():
        if value is not None and option not in takes:
            raise UsageError(f"{option} has no meaning for the training set {name!r}: leave it out")


def _generated(n: int | None, rng: np.random.Generator | None) -> TrainingSet:
    if n is None or rng is None:
        raise UsageError("tiny-arith is generated without end: give n and rng")
    problems = tiny_arith.training_problems(n, rng)
    return TrainingSet(problems=problems, left_out={}, source="the tiny-arith generator")


def _user_file(name: str) -> Path:
    path = Path(name).expanduser()
    is_file = path.exists() or name.lower().endswith(SUFFIXES)
    if name in BENCHMARKS or (is_file and benchmark_name(path) in BENCHMARKS):
        raise UsageError(f"{name} is a benchmark: a policy that is trained on it cannot be judged by it")
    if not is_file:
        raise UsageError(
            f"there is no training set {name!r}{nearest(name, TRAINING_SETS)}: known are "
            f"{listed(TRAINING_SETS)}, and a file of your own is given by its path ({', '.join(SUFFIXES)})"
        )
    return path


def _skywork(source: str | os.PathLike[str] | None) -> Path:
    (path,) = locate(SKYWORK_OR1, None if source is None else Path(source).expanduser())
    return path


def _usable(rows: Iterator[NumberedRow], source: str) -> TrainingSet:
    problems: list[Problem] = []
    left_out: Counter[Flaw] = Counter()
    for _, row in rows:
        if isinstance(row, Problem):
            problems.append(row)
        else:
            left_out[row.flaw] += 1
    if not problems:
        raise InputError(f"{source} gives no problem to train on ({_spell(left_out)}): mend its rows")
    return TrainingSet(problems=tuple(problems), left_out=dict(left_out), source=source)


def _draw(full: TrainingSet, n: int | None, rng: np.random.Generator | None) -> TrainingSet:
    """`n` of the problems, in their order."""
    if n is None or rng is None:
        return full
    if not 1 <= n <= len(full.problems):
        raise UsageError(f"{n} problems cannot be drawn from {full.source}: it has {len(full.problems)}")
    chosen = np.sort(rng.choice(len(full.problems), size=n, replace=False))
    problems = tuple(full.problems[place] for place in chosen)
    return TrainingSet(problems=problems, left_out=full.left_out, source=full.source)


def _spell(left_out: Mapping[Flaw, int]) -> str:
    return ", ".join(f"{count} {flaw.replace('_', ' ')}" for flaw, count in left_out.items())


# --- verl's layout ----------------------------------------------------------------------------------


def _is_verl(path: Path) -> bool:
    _, row = next(read_rows(path))
    return isinstance(row.get("prompt"), list) and isinstance(row.get("reward_model"), dict)


def _load_verl(file: Path, benchmark: str) -> TrainingSet:
    return _usable(mark_repeated(_verl_rows(file, benchmark), file), str(file))


def _verl_rows(file: Path, benchmark: str) -> Iterator[NumberedRow]:
    for number, row in read_rows(file):
        try:
            problem = _verl_problem(row, benchmark, number, place(file, number))
        except UnusableRow as unusable:
            problem = unusable
        yield number, problem


def _verl_problem(row: Mapping[str, Any], benchmark: str, number: int, where: str) -> Problem:
    return make_problem(
        benchmark=benchmark,
        source_id=str(number),
        prompt=_question(row.get("prompt"), where),
        answer=_gold(row.get("reward_model"), where),
        tags=_tags(row),
    )


def _question(messages: Any, where: str) -> str:
    """The one user message. A system message belongs to the prompt's template, not to the problem."""
    if not isinstance(messages, list) or not all(isinstance(message, dict) for message in messages):
        raise InputError(f"{where} has the prompt {messages!r:.80}: it has to be a list of chat messages")
    asked = [message.get("content") for message in messages if message.get("role") == "user"]
    if len(asked) > 1:
        raise InputError(f"{where} has {len(asked)} user messages: a problem is asked in one")
    if not asked or not isinstance(asked[0], str) or not asked[0].strip():
        raise UnusableRow(Flaw.NO_PROBLEM, f"{where} has no problem: no user message says anything")
    return asked[0]


def _gold(reward_model: Any, where: str) -> str:
    value = reward_model.get("ground_truth") if isinstance(reward_model, dict) else None
    golds = list(dict.fromkeys(gold for gold in map(answer_text, _listed_golds(value)) if gold))
    if not golds:
        raise UnusableRow(Flaw.NO_GOLD, f"{where} has no gold: reward_model.ground_truth is {value!r:.80}")
    if len(golds) > 1:
        raise UnusableRow(Flaw.SEVERAL_GOLDS, f"{where} has {len(golds)} golds: {listed(golds):.80}")
    return golds[0]


def _listed_golds(value: Any) -> list[Any]:
    """Skywork writes a gold as a JSON list of texts; `[1,2]`, which is no such list, is an interval."""
    if isinstance(value, str) and value.lstrip().startswith("["):
        try:
            decoded = json.loads(value)
        except ValueError:
            return [value]
        if all(isinstance(gold, str) for gold in decoded):
            return decoded
    return value if isinstance(value, list) else [value]


def _tags(row: Mapping[str, Any]) -> dict[str, str]:
    extra = row.get("extra_info")
    difficulty = extra.get("model_difficulty") if isinstance(extra, dict) else None
    if not isinstance(difficulty, dict):  # of a model that is not named
        difficulty = {} if difficulty is None else {"": difficulty}
    named = {f"{DIFFICULTY_TAG}{model}".rstrip("."): value for model, value in difficulty.items()}
    tags = {name: answer_text(value) for name, value in named.items()}
    tags["data_source"] = answer_text(row.get("data_source"))
    return {name: text for name, text in tags.items() if text}
