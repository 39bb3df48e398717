"""What the path of a checkpoint says of it, and which checkpoints are steps of one training run.

A training run is a folder of checkpoints that are named after their step:

    RUN/step_000020                opo-eval train; RUN/config.json says the method, the seed and the start
    RUN/checkpoint-20              Hugging Face trainers
    RUN/global_step_20/actor/...   verl
    RUN/step20, RUN/iter_0000020   others
"""

import json
import os
import re
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from opo_eval.errors import InputError, UsageError
from opo_eval.records import Checkpoint
from opo_eval.wording import some_of

_STEP = re.compile(r"(?:global_?)?(?:step|checkpoint|ckpt|iter)[_-]?(\d{1,15})(?:[_-]hf)?", re.IGNORECASE)
_INSIDE = (Path("actor/huggingface"), Path("huggingface"))
"""Where a model lies in the folder of its step, if not in that folder itself."""
_CONFIG = "config.json"
_IS_MODEL = (_CONFIG, "adapter_config.json")
_TRAINING_SCHEMA = "opo_eval.training/"
_MOST_PARTS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class StepFolder:
    """A folder that is named after a step."""

    run: Path
    """The folder of the training run, absolute."""
    step: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """Checkpoints of one training run, one a step, in order of their steps."""

    name: str
    steps: tuple[int, ...]
    checkpoints: tuple[str, ...]
    start: str | None = None
    """What the training began from, as `Checkpoint.start` says it."""


def step_folder(path: str) -> StepFolder | None:
    """The training run and the step that a path speaks of; None where it names no step. Reads no file."""
    whole = _absolute(path)
    holders = [whole, *(whole.parents[len(i.parts) - 1] for i in _INSIDE if whole.match(str(i)))]
    for folder in holders:
        if match := _STEP.fullmatch(folder.name):
            return StepFolder(run=folder.parent, step=int(match[1]))
    return None


# --- from paths to checkpoints ----------------------------------------------------------------------


def checkpoints_of(paths: Sequence[str], reference: str | None = None) -> list[Checkpoint]:
    """The checkpoints that paths name, each once, the reference first.

    The folder of a training run stands for all its checkpoints. Training runs and other checkpoints come in
    the order in which they were first given, the checkpoints of a run in order of their steps. A name is
    RUN_step20, or the last part of the path; where that is not enough to tell all apart, longer. Raises
    UsageError for a training run without checkpoints or in the place of the reference.
    """
    first = [] if reference is None else [_reference(reference)]
    given = _each_once([*first, *(path for word in paths for path in _expanded(word))])
    names = _distinct_names([*first, *_by_run_and_step(given[len(first) :])])
    return [_checkpoint(path, name) for path, name in names.items()]


def _each_once(paths: Iterable[str]) -> list[str]:
    """Of several spellings of a path the first."""
    found: dict[Path, str] = {}
    for path in paths:
        found.setdefault(_absolute(path), path)
    return list(found.values())


def _reference(path: str) -> str:
    found = _expanded(path)
    if len(found) > 1:
        raise UsageError(
            f"--reference {path} is a training run with {len(found)} checkpoints: give one of them, or what "
            "the training began from"
        )
    return found[0]


def _expanded(path: str) -> list[str]:
    """The path itself, or the checkpoints of the training run that it is."""
    folder = Path(path).expanduser()
    if not folder.is_dir() or _is_model(folder):
        return [path]
    if step_folder(path):
        return [_model_in(folder) or path]
    found = [child for child in _children(folder) if _STEP.fullmatch(child.name)]
    if not found and _training_row(folder):
        raise UsageError(
            f"{path} is a training run without checkpoints yet: it saves one every save_every steps and "
            "after the last; let `opo-eval train` go on"
        )
    models = {child: _model_in(child) for child in found}
    if empty := [child.name for child, model in models.items() if model is None]:
        raise UsageError(
            f"{path} holds steps without a model in them ({some_of(sorted(empty))}; no config.json): remove "
            "them or give the other steps by name"
        )
    return [model for model in models.values() if model] or [path]


def _children(folder: Path) -> list[Path]:
    try:
        return sorted(child for child in folder.iterdir() if child.is_dir())
    except OSError as error:
        raise InputError(f"{folder} cannot be read ({error.strerror}): check its permissions") from None


def _is_model(folder: Path) -> bool:
    # A training run of our own has a config.json too, which is not a model's.
    return any((folder / name).is_file() for name in _IS_MODEL) and not _training_row(folder)


def _model_in(folder: Path) -> str | None:
    """Where the model of a step lies."""
    return next((str(home) for home in (folder, *(folder / i for i in _INSIDE)) if _is_model(home)), None)


def _by_run_and_step(paths: Sequence[str]) -> list[str]:
    """Runs and other checkpoints as they came, each run's checkpoints by step."""
    by_run: dict[Path, list[tuple[int, str]]] = defaultdict(list)
    for path in paths:
        folder = step_folder(path)
        by_run[folder.run if folder else _absolute(path)].append((folder.step if folder else 0, path))
    return [path for own in by_run.values() for _, path in sorted(own)]


def _distinct_names(paths: Sequence[str]) -> dict[str, str]:
    """Path → name: as many trailing parts of the path as it takes to tell all apart."""
    names: dict[str, str] = {}
    for n_parts in range(1, _MOST_PARTS):
        names = {path: _name(path, n_parts) for path in paths}
        if len(set(names.values())) == len(names):
            return names
    alike = [path for path, name in names.items() if Counter(names.values())[name] > 1]
    raise UsageError(f"the checkpoints {', '.join(alike)} cannot be told apart by name: give one of them")


def _name(path: str, n_parts: int) -> str:
    if folder := step_folder(path):
        return f"{'/'.join(folder.run.parts[-n_parts:])}_step{folder.step}"
    return "/".join(_absolute(path).parts[-n_parts:])


def _checkpoint(path: str, name: str) -> Checkpoint:
    folder = step_folder(path)
    if folder is None or not Path(path).expanduser().is_dir():
        return Checkpoint(name=name, path=path)
    row = _training_row(folder.run)
    config = _of_kind(dict, row.get("config")) or {}
    return Checkpoint(
        name=name,
        method=_of_kind(str, config.get("method")),
        train_seed=_of_kind(int, config.get("seed")),
        step=folder.step,
        path=path,
        start=_of_kind(str, row.get("model_sha256")) or _of_kind(str, config.get("model")),
    )


def _training_row(folder: Path) -> dict[str, Any]:
    """The config.json of a training run that `opo-eval train` wrote; empty for any other folder."""
    try:
        row = json.loads((folder / _CONFIG).read_bytes())
    except (OSError, ValueError):
        return {}
    ours = isinstance(row, dict) and str(row.get("schema")).startswith(_TRAINING_SCHEMA)
    return row if ours else {}


def _of_kind(kind: type, value: Any) -> Any:
    return value if type(value) is kind else None


def _absolute(path: str) -> Path:
    # Links are not followed: two names of one model are two checkpoints where the user says so.
    return Path(os.path.abspath(os.path.expanduser(path)))


# --- which belong together --------------------------------------------------------------------------


def training_run(checkpoint: Checkpoint) -> Hashable:
    """What all checkpoints of a training run have in common; None where nothing is known of its training."""
    folder = step_folder(checkpoint.path) if checkpoint.path else None
    if folder and folder.step == checkpoint.step:
        return folder.run
    known = checkpoint.method is not None or checkpoint.train_seed is not None
    return (checkpoint.method, checkpoint.train_seed) if known else None


def series_over_steps(checkpoints: Iterable[Checkpoint]) -> tuple[list[Series], list[str]]:
    """Training runs of which two steps or more are there, and a sentence for each that has a step twice."""
    by_run: dict[Hashable, list[Checkpoint]] = defaultdict(list)
    for checkpoint in checkpoints:
        if checkpoint.step is not None:
            by_run[training_run(checkpoint)].append(checkpoint)
    several = {run: own for run, own in by_run.items() if len(own) > 1 and run is not None}
    names = _run_names(several)
    twice = [sentence for run, own in several.items() for sentence in _twice(names[run], own)]
    found = [_series(names[run], own) for run, own in several.items() if not _twice(names[run], own)]
    return found, twice


def is_start(series: Series, checkpoint: Checkpoint, model_sha256: str | None) -> bool:
    """Whether a checkpoint outside the series is what its training began from.

    It is where its digest or its name is the one that the training names, or where it calls itself step 0
    of no method.
    """
    named = series.start is not None and series.start in (model_sha256, checkpoint.path)
    return named or (checkpoint.step == 0 and checkpoint.method is None)


def _series(name: str, own: Sequence[Checkpoint]) -> Series:
    by_step = sorted(own, key=lambda checkpoint: checkpoint.step or 0)
    starts = {checkpoint.start for checkpoint in own}
    return Series(
        name=name,
        steps=tuple(checkpoint.step or 0 for checkpoint in by_step),
        checkpoints=tuple(checkpoint.name for checkpoint in by_step),
        start=starts.pop() if len(starts) == 1 else None,
    )


def _twice(name: str, own: Sequence[Checkpoint]) -> list[str]:
    steps = Counter(checkpoint.step for checkpoint in own)
    return [
        f"{name}: {' and '.join(c.name for c in own if c.step == step)} are all step {step}, so nothing is "
        "said of it over steps."
        for step in [step for step, times in steps.items() if times > 1][:1]
    ]


def _run_names(runs: Mapping[Hashable, Sequence[Checkpoint]]) -> dict[Hashable, str]:
    """As many trailing parts of a run's folder as it takes, or method and seed."""
    names: dict[Hashable, str] = {}
    for n_parts in range(1, _MOST_PARTS):
        names = {run: _run_name(run, n_parts) for run in runs}
        if len(set(names.values())) == len(names):
            break
    return names


def _run_name(run: Hashable, n_parts: int) -> str:
    if isinstance(run, Path):
        return "/".join(run.parts[-n_parts:])
    method, seed = run if isinstance(run, tuple) else (None, None)
    return " ".join([*([method] if method else []), *([f"seed {seed}"] if seed is not None else [])])
