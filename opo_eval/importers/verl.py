"""verl: the JSON Lines that its trainer dumps (`trainer.rollout_data_dir`, `trainer.validation_data_dir`).

A path is one `STEP.jsonl` or a folder of them; of a folder every step is a checkpoint of its own,
`NAME_step_STEP`. A dump carries no version: its fields have to be those that verl 0.9.1 writes (`input`,
`output`, `gts`, `score`, `step`), and a file without one of them is refused.

The problem is `input`, which is the whole prompt, chat template and all, decoded without special tokens:
`--template TEXT` takes off what stands around the problem, so that it can be joined with a set. The gold is
`gts`. The dump does not name the checkpoint or the benchmark. Rollouts of step S were drawn by the policy
before its update S. Token counts and how responses ended are not in it, and special tokens are gone.

The score is `acc` where the reward function gives it, else `score`, as verl's own `val-core` metrics
choose; pass@1 is the printed `mean@N`. verl's `best@N` is a bootstrap estimate with replacement, pass@N
here is exact, so the two differ by design. A score that is not 0 or 1 needs `--correct-from`.
"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from opo_eval.errors import InputError
from opo_eval.importers.log import Log, PlacedRows, first_row, require_fields, step_logs, table_rows
from opo_eval.importers.plan import ImportPlan

NAME = "verl"
_FIELDS = ("input", "output", "gts", "score", "step")


def is_log(path: Path) -> bool:
    """Whether a path is `STEP.jsonl` with the fields of a dump, or a folder of such files alone."""
    files = _dumps_in(path) if path.is_dir() else [path]
    return bool(files) and all(file.stem.isdecimal() for file in files) and _is_dump(files[0])


def read_logs(plan: ImportPlan) -> Sequence[Log]:
    """One log a step."""
    return step_logs(plan, NAME, _dumps_in(plan.path), _log)


def _dumps_in(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.jsonl"))


def _is_dump(path: Path) -> bool:
    return path.suffix == ".jsonl" and tuple(first_row(path) or ())[: len(_FIELDS)] == _FIELDS


def _log(plan: ImportPlan, path: Path, checkpoint: str) -> Log:
    first = next(_rows(path))[1]
    return Log(
        format=NAME,
        path=path,
        rows=partial(_rows, path),
        columns={"response": "output", "problem": "input", "gold": "gts", "step": "step"},
        scores=("acc" if "acc" in first else "score",),
        checkpoint=checkpoint,
    )


def _rows(path: Path) -> PlacedRows:
    for where, row in table_rows(path):
        require_fields(row, _FIELDS, where, NAME, "verl 0.9.1")
        _refuse_sessions(row.get("uid"), where)
        yield where, row


def _refuse_sessions(uid: object, where: str) -> None:
    """The newer trainer names a row PROBLEM_ROLLOUT_OUTPUT; an agent's rollout may have several outputs."""
    if isinstance(uid, str) and uid.count("_") >= 2 and uid.rsplit("_", 1)[1] not in ("", "0"):
        raise InputError(
            f"{where} is a further output of one rollout (uid {uid!r}): leave one output a rollout in "
            "the dump, as each would count as a response of its own"
        )
