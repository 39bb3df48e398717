"""TRL: the completions that GRPOTrainer and its kin log (`log_completions=True`), one Parquet file a step.

A path is one `completions_STEP.parquet` or the folder of them; of a folder every step is a checkpoint of
its own, `NAME_step_STEP`. The files carry no version: their columns have to be as TRL 1.16 writes them
(`step`, `prompt`, `completion`, one a reward function and one a `log_extra`, last `advantage`).

The problem is the prompt, of a conversation its last user turn; `--template TEXT` takes off what stands
around it. A completion that is a conversation of several turns is refused. The gold is not in the log
unless the reward function logged it (`log_extra`, then `--map gold=COLUMN`); else `--problems` gives it.
Neither the checkpoint nor the benchmark is named. Token counts and how completions ended are not in it.

Step S names the file's completions, which the policy drew before update S. The trainer keeps its last batch
until the next: with `steps_per_generation` or `num_iterations` above `logging_steps`, several files hold
the same completions; of a folder, such a file is left out and said so. Evaluation batches are logged in the
same files.

Every column of reals between `completion` and `advantage` that is 0 or 1 throughout is a score, by the name
of its function; pass@1 is the printed `rewards/NAME/mean`. A completion to which a function gave no reward
(NaN) counts as one that could not be graded, so not as correct, where TRL's mean leaves it out.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from opo_eval.errors import InputError
from opo_eval.importers.log import (
    UNSCORED,
    Log,
    PlacedRows,
    first_row,
    last_user_turn,
    require_fields,
    step_logs,
    table_rows,
)
from opo_eval.importers.plan import ImportPlan

NAME = "trl"
_FIELDS = ("step", "prompt", "completion", "advantage")
_FILE = re.compile(r"completions_\d+\.parquet")


def is_log(path: Path) -> bool:
    """Whether a path is a file as TRL names and fills it, or a folder with one."""
    files = _files_in(path) if path.is_dir() else [path]
    return bool(files) and bool(_FILE.fullmatch(files[0].name)) and _is_completions(files[0])


def read_logs(plan: ImportPlan) -> Sequence[Log]:
    """One log a step, without those that only repeat the step before."""
    return _without_repeats(step_logs(plan, NAME, _files_in(plan.path), _log))


def _files_in(folder: Path) -> list[Path]:
    return sorted(folder.glob("completions_*.parquet"))


def _is_completions(path: Path) -> bool:
    columns = tuple(first_row(path) or ())
    return columns[:3] == _FIELDS[:3] and columns[-1] == _FIELDS[-1]


def _log(plan: ImportPlan, path: Path, checkpoint: str) -> Log:
    rewards = _reward_columns(path)
    return Log(
        format=NAME,
        path=path,
        rows=partial(_rows, path, rewards),
        columns={"response": "completion", "problem": "prompt", "step": "step"},
        scores=rewards,
        checkpoint=checkpoint,
    )


def _rows(path: Path, rewards: Sequence[str]) -> PlacedRows:
    for where, row in table_rows(path):
        require_fields(row, _FIELDS, where, NAME, "TRL 1.16")
        yield (
            where,
            {
                **row,
                "prompt": last_user_turn(row["prompt"]),
                "completion": _only_turn(row["completion"], where),
                **{name: UNSCORED if row[name] is None else row[name] for name in rewards},
            },
        )


def _reward_columns(path: Path) -> tuple[str, ...]:
    """Columns that hold a real number in every row that holds anything."""
    found: dict[str, bool] = {}
    for _, row in table_rows(path):
        for name in row.keys() - set(_FIELDS):
            if row[name] is not None:
                found[name] = found.get(name, True) and isinstance(row[name], float)
    return tuple(sorted(name for name, is_real in found.items() if is_real))


def _only_turn(completion: Any, where: str) -> Any:
    if not isinstance(completion, list):
        return completion
    if len(completion) != 1:
        raise InputError(
            f"{where} has a completion of {len(completion)} turns: only those of one can be read"
        )
    return completion[0]["content"]


def _without_repeats(logs: Sequence[Log]) -> list[Log]:
    kept: list[Log] = []
    before: Sequence[Mapping[str, Any]] = ()
    for log in logs:
        drawn = [{name: row[name] for name in _FIELDS[1:]} for _, row in log.rows()]
        if kept and drawn == before:
            note = f"{log.path.name} is left out: it holds the completions of {kept[-1].path.name} again"
            kept[-1] = replace(kept[-1], notes=(*kept[-1].notes, note))
        else:
            kept.append(log)
        before = drawn
    return kept
