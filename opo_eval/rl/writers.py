"""Trackers that show a training run while it goes on: TensorBoard, Weights & Biases and trackio.

Each gets every number of every TrainingStep under the field's own name, times as `seconds/rollout`; a value
that is not known is no point. Their libraries are loaded when they are chosen. A continued run takes some
steps again: a tracker shows each step once.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack, closing
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol
from uuid import uuid4

import orjson

from opo_eval.errors import EngineError, StoreError, UsageError
from opo_eval.records import TrainingStep
from opo_eval.store import write_atomically
from opo_eval.wording import nearest

_IDENTITY = ("step", "method", "train_seed")
_PROJECT = "opo-eval"


class Writer(Protocol):
    """Shows numbers by step somewhere."""

    def add(self, step: int, values: Mapping[str, float]) -> None:
        """Show the numbers of one step by name; steps come in order, each once."""
        ...

    def close(self) -> None:
        """Bring everything to its place."""
        ...


def make_writers(names: Iterable[str], out: Path, config: Mapping[str, Any]) -> list[Writer]:
    """A writer for every name in `WRITERS`, each once; what they write goes below `out`.

    config: settings to show beside the run. Raises UsageError for an unknown name, EngineError where a
    library is missing or does not start.
    """
    names = tuple(dict.fromkeys(names))
    check_names(names)
    with ExitStack() as opened:
        writers = [opened.enter_context(closing(_make(name, out, config))) for name in names]
        opened.pop_all()  # they stay open, unless one of them does not start
    return writers


def check_names(names: Iterable[str]) -> None:
    """Raise UsageError for a name that is not in `WRITERS`."""
    for name in names:
        if name not in WRITERS:
            raise UsageError(
                f"there is no tracker {name!r}{nearest(name, WRITERS)}: choose among {', '.join(WRITERS)}"
            )


def scalars(step: TrainingStep) -> dict[str, float]:
    """The numbers of a step by name, without those that are not known."""
    fields = asdict(step)
    seconds = {f"seconds/{phase}": spent for phase, spent in fields.pop("seconds").items()}
    named = {name: value for name, value in fields.items() if name not in _IDENTITY and value is not None}
    return named | seconds


def _make(name: str, out: Path, config: Mapping[str, Any]) -> Writer:
    try:
        return WRITERS[name](out, config)
    except ImportError as error:
        raise EngineError(
            f"{name} cannot be loaded ({str(error).rstrip('.')}): pip install 'opo-eval[trackers]', or leave "
            f"{name} out"
        ) from None


class TensorBoardWriter:
    """Event files in `out`/tensorboard."""

    def __init__(self, out: Path, config: Mapping[str, Any]) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._open, self._folder = SummaryWriter, str(out / "tensorboard")
        self._writer: SummaryWriter | None = None

    def add(self, step: int, values: Mapping[str, float]) -> None:
        """Add a point to every curve; the first call takes back what lies from its step on."""
        if self._writer is None:
            self._writer = self._open(self._folder, purge_step=step)
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)
        self._writer.flush()

    def close(self) -> None:
        """Close the event file."""
        if self._writer:
            self._writer.close()


class WandbWriter:
    """A W&B run with files in `out`/wandb; WANDB_MODE, WANDB_PROJECT and WANDB_ENTITY are obeyed.

    W&B takes nothing back, so what a continued run does again is passed over; `opo_eval.json` beside W&B's
    own files says under which id the run goes on and what the last step was. Offline, each process leaves a
    folder of its own with that id, which `wandb sync` puts together. W&B itself writes what it was given
    within seconds: of a process that is killed, these are lost.
    """

    def __init__(self, out: Path, config: Mapping[str, Any]) -> None:
        self._shown = _Shown(out / "wandb" / "opo_eval.json", "W&B")
        self._run = _start_wandb(out, self._shown.run_id, config)

    def add(self, step: int, values: Mapping[str, float]) -> None:
        """Log the step, unless it has been."""
        if self._shown.first_time(step):
            self._run.log(dict(values), step=step, commit=True)

    def close(self) -> None:
        """End the run and wait until everything is where it belongs."""
        self._run.finish()


def _start_wandb(out: Path, run_id: str, config: Mapping[str, Any]) -> Any:
    import wandb

    out.mkdir(parents=True, exist_ok=True)
    project = os.environ.get("WANDB_PROJECT", _PROJECT)
    try:
        return wandb.init(
            project=project,
            id=run_id,
            name=out.resolve().name,
            dir=str(out),
            config=_plain(config),
            resume="allow",
        )
    except wandb.Error as error:
        said = " ".join(str(error).split()).rstrip(".")[:200]
        raise EngineError(
            f"wandb does not start ({said}): log in with `wandb login`, set WANDB_MODE=offline, or leave "
            "wandb out"
        ) from None


class TrackioWriter:
    """A run of trackio with its files in `out`/trackio; TRACKIO_DIR and trackio's other variables are obeyed.

    In a folder or on a server that runs share, the run's name ends with a part of its id. trackio takes
    nothing back either: see `WandbWriter`. Its own process outlives one that is killed, and keeps what it was
    given.
    """

    def __init__(self, out: Path, config: Mapping[str, Any]) -> None:
        if find_spec("trackio") is None:
            raise ImportError("No module named 'trackio'")
        self._shown = _Shown(out / "trackio" / "opo_eval.json", "trackio")
        shared = any(os.environ.get(name) for name in _TRACKIO_SHARED)
        name = out.resolve().name + (f"-{self._shown.run_id[:6]}" if shared else "")
        self._process = _start_trackio(out)
        self._tell({"project": _PROJECT, "name": name, "resume": "allow", "config": _plain(config)})
        self._refuse_failed()

    def add(self, step: int, values: Mapping[str, float]) -> None:
        """Log the step, unless it has been. Raises EngineError where trackio has ended."""
        if self._shown.first_time(step):
            self._tell({"step": step, "metrics": dict(values)})

    def close(self) -> None:
        """End the run and wait until everything is where it belongs."""
        # A process that was forked from this one may hold the pipe open: the end of the input is not enough.
        if not self._process.stdin.closed:
            self._tell(None)
        self._process.communicate()

    def _tell(self, message: Mapping[str, Any] | None) -> None:
        try:
            self._process.stdin.write(json.dumps(message) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            self._process.communicate()
            raise EngineError(
                f"trackio's process has ended with status {self._process.returncode}: what it printed says "
                "why; run again to go on, or leave trackio out"
            ) from None

    def _refuse_failed(self) -> None:
        if (said := self._process.stdout.readline()) != "\n":
            self._process.communicate()
            why = said.strip().rstrip(".") or f"it ended with status {self._process.returncode}"
            raise EngineError(f"trackio does not start ({why}): see its settings, or leave trackio out")


_TRACKIO_SHARED = ("TRACKIO_DIR", "TRACKIO_SPACE_ID", "TRACKIO_SERVER_URL")


def _start_trackio(out: Path) -> subprocess.Popen[str]:
    folder = os.environ.get("TRACKIO_DIR") or str(out.resolve() / "trackio")
    return subprocess.Popen(
        [sys.executable, "-m", "opo_eval.rl.trackio_run"],
        env=os.environ | {"TRACKIO_DIR": folder},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,  # an interrupt from the keyboard is for us: trackio is told when to end
    )


# --- what they have in common -----------------------------------------------------------------------


class _Shown:
    """Up to which step a tracker has been shown a run, and under which id, kept in a file."""

    def __init__(self, path: Path, tracker: str) -> None:
        self._path, self.run_id, self._last = path, uuid4().hex, -1
        if path.exists():
            self._read(tracker)

    def first_time(self, step: int) -> bool:
        """Whether the step has not been shown; from now on it has."""
        if step <= self._last:
            return False
        # Noted first: killed in between, a run shows a step less, but never one twice.
        self._last = step
        write_atomically(self._path, orjson.dumps({"id": self.run_id, "step": step}))
        return True

    def _read(self, tracker: str) -> None:
        try:
            state = orjson.loads(self._path.read_bytes())
            self.run_id, self._last = str(state["id"]), int(state["step"])
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise StoreError(
                f"{self._path} cannot be read ({type(error).__name__}), so the {tracker} run cannot go on: "
                f"restore it, or delete it to begin another {tracker} run"
            ) from None


def _plain(config: Mapping[str, Any]) -> dict[str, Any]:
    """Settings as JSON has them: trackers would show an enum by its Python name, not as it was given."""
    return orjson.loads(orjson.dumps(dict(config), default=str))


WRITERS: dict[str, Callable[[Path, Mapping[str, Any]], Writer]] = {
    "tensorboard": TensorBoardWriter,
    "wandb": WandbWriter,
    "trackio": TrackioWriter,
}
"""Name → writer."""
