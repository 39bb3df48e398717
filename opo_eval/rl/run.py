"""The directory of a training run, safe to kill at any instant.

    config.json      resolved settings, dataset, versions; a continued run must agree with it
    training.jsonl   one TrainingStep a step, appended
    step_000020/     checkpoints: ordinary Hugging Face directories, tokenizer included
    state.pt         weights, optimiser and step that a continued run goes on from, replaced atomically
    writer.lock      held by the one process that trains

A run that ended between two states goes on from the last one: the steps after it are taken again, with the
same responses and, on the CPU, to the same bits.
"""

import errno
import os
import shutil
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import orjson
import torch

from opo_eval.errors import StoreError
from opo_eval.records import TrainingStep
from opo_eval.rl.steps import checkpoint_name, step_file
from opo_eval.store import (
    SCHEMA_VERSION,
    Appender,
    TornTailWarning,
    dump_record,
    make_directory,
    take_lock,
    write_atomically,
)

CONFIG, STATE, LOCK = "config.json", "state.pt", "writer.lock"
MAY_DIFFER = (
    "out", "save_every", "state_every", "log_to", "workers", "rollout_gpu_memory",
    "micro_batch_tokens", "gradient_checkpointing",
)  # fmt: skip
"""Settings that a continued run may have otherwise. The last two, which a run that met the end of its memory
has to change, change the rounding of gradients and nothing else. The others do not change what is learnt, but
for verdicts that time out: on a machine with more `workers` than it has processors there may be more."""


class TrainingRun:
    """The one process that trains in a directory; a context manager."""

    def __init__(self, path: Path) -> None:
        self.path = path
        make_directory(path)
        self._lock = take_lock(path / LOCK)
        self._steps: Appender | None = None

    def begin(self, description: Mapping[str, Any], *, may_grow: bool) -> None:
        """Write config.json, or refuse to continue a run that was begun otherwise.

        Where no step has been taken there is nothing to continue, and any settings will do.
        may_grow: whether the number of steps may be other than it was; never fewer than have been taken.
        """
        path = self.path / CONFIG
        row = {"schema": f"opo_eval.training/{SCHEMA_VERSION}", **description}
        row = orjson.loads(orjson.dumps(row, default=str))
        taken = max((step.step for step in self._read_steps()), default=0)
        if path.exists() and (taken or (self.path / STATE).exists()):
            # A checkpoint may have moved: its digest says which it is. A hub name has none.
            may = {"steps": may_grow, "model": row.get("model_sha256") is not None}
            free = (*MAY_DIFFER, *(name for name, allowed in may.items() if allowed))
            _refuse_differences(path, _read_config(path), row, free)
            _refuse_fewer_steps(self.path, taken, row["config"]["steps"])
        write_atomically(path, orjson.dumps(row, option=orjson.OPT_INDENT_2) + b"\n")

    def restore(self) -> dict[str, Any] | None:
        """The last state, or None; what was written of later steps is taken away.

        Raises StoreError where the state cannot be read or steps before it are missing.
        """
        state = self._read_state()
        self._cut_after(state["step"] if state else 0)
        self._steps = Appender(step_file(self.path))
        return state

    def append(self, step: TrainingStep) -> None:
        """Add a line to training.jsonl."""
        assert self._steps is not None, "restore() comes first"
        self._steps.append([step])

    def save_checkpoint(self, step: int, save: Callable[[Path], None]) -> Path:
        """Have `save` write a checkpoint into a folder that appears whole or not at all."""
        target = self.path / checkpoint_name(step)
        part = self.path / f".{target.name}.part"
        with self._writing(target):
            shutil.rmtree(part, ignore_errors=True)
            save(part)
            if target.exists():
                shutil.rmtree(target)
            part.rename(target)
        return target

    def save_state(self, state: Mapping[str, Any]) -> None:
        """Replace state.pt, once the steps that led to it are on the disk."""
        target = self.path / STATE
        part = target.with_name(f".{STATE}.part")
        with self._writing(target):
            _bring_to_disk(step_file(self.path).path)
            with part.open("wb") as file:
                torch.save(dict(state), file)
                file.flush()
                os.fsync(file.fileno())
            part.replace(target)

    def close(self) -> None:
        """Bring the steps to disk and release the lock."""
        if self._steps:
            self._steps.close()
        os.close(self._lock)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _read_state(self) -> dict[str, Any] | None:
        path = self.path / STATE
        if not path.exists():
            return None
        try:
            return torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        except Exception as error:  # of whatever kind: torch, pickle and zip raise their own
            raise StoreError(
                f"{path} cannot be read ({' '.join(str(error).split())[:100]}): delete it to train from the "
                "start again, or restore it from a copy"
            ) from None

    def _read_steps(self) -> list[TrainingStep]:
        """What training.jsonl holds, once its torn tail is cut off."""
        file = step_file(self.path)
        if word := file.repair():
            warnings.warn(word, TornTailWarning, stacklevel=3)
        return list(file)

    def _cut_after(self, last: int) -> None:
        file, steps = step_file(self.path), self._read_steps()
        kept = [step for step in steps if step.step <= last]
        if missing := set(range(1, last + 1)) - {step.step for step in kept}:
            raise StoreError(
                f"{file.path} has no line of step {min(missing)}, and {STATE} goes on from step {last}: "
                f"restore it from a copy, or delete {STATE} to train from the start again"
            )
        if len(kept) < len(steps):
            lines = [orjson.dumps(file.header) + b"\n", *map(dump_record, kept)]
            write_atomically(file.path, b"".join(lines))

    @contextmanager
    def _writing(self, target: Path) -> Iterator[None]:
        """Turn what a disk refuses into one sentence; torch and safetensors wrap the system's error."""
        try:
            yield
        except Exception as error:
            full = _is_full(error, self.path)
            if not (full or isinstance(error, OSError)):
                raise
            what = "make room" if full else "check its permissions"
            raise StoreError(
                f"cannot write {target}: {_reason(error, full)}; what was saved before is kept: {what} and "
                "give the same command again"
            ) from error


class FollowedRun(TrainingRun):
    """The same directory in a process that leaves all writing to the first one."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def begin(self, description: Mapping[str, Any], *, may_grow: bool) -> None:
        """Nothing."""

    def restore(self) -> dict[str, Any] | None:
        """The last state, or None."""
        return self._read_state()

    def append(self, step: TrainingStep) -> None:
        """Nothing."""

    def save_checkpoint(self, step: int, save: Callable[[Path], None]) -> Path:
        """Where the first process saves it."""
        return self.path / checkpoint_name(step)

    def save_state(self, state: Mapping[str, Any]) -> None:
        """Nothing."""

    def close(self) -> None:
        """Nothing."""


def _bring_to_disk(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _is_full(error: Exception, path: Path) -> bool:
    if getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return True
    # Writers in C say only that they could not write.
    return "No space left" in str(error) or shutil.disk_usage(path).free < 2**16


def _reason(error: Exception, full: bool) -> str:
    return "no space left on the disk" if full else getattr(error, "strerror", None) or str(error)[:100]


def _read_config(path: Path) -> dict[str, Any]:
    try:
        row = orjson.loads(path.read_bytes())
        return {**row, "config": dict(row["config"])}
    except (ValueError, TypeError, KeyError) as error:
        raise StoreError(
            f"{path} is damaged ({type(error).__name__}: {str(error)[:80]}): restore it from a copy, or give "
            "another --out to start anew"
        ) from None


def _refuse_fewer_steps(path: Path, taken: int, steps: int) -> None:
    if steps < taken:
        raise StoreError(
            f"{path} has taken {taken} steps, which cannot become {steps}: give {taken} steps or more, or "
            "another --out to start anew"
        )


def _refuse_differences(
    path: Path, before: dict[str, Any], now: dict[str, Any], free: tuple[str, ...]
) -> None:
    pairs = {**before, **before["config"]}, {**now, **now["config"]}
    names = [
        name for name in pairs[0] | pairs[1] if name not in (*free, "config", "provenance", "n_processes")
    ]
    differ = [name for name in names if pairs[0].get(name) != pairs[1].get(name)]
    if differ:
        said = "; ".join(f"{name} was {pairs[0].get(name)!r}, now {pairs[1].get(name)!r}" for name in differ)
        raise StoreError(
            f"{path.parent} was begun with other settings: {said}: give the old ones to continue it, or "
            "another --out to start anew"
        )
