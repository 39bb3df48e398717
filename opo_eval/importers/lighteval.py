"""lighteval: the details that `--save-details` writes, one Parquet file a task.

A path is one `details_TASK_DATE.parquet` or a folder with those of one run. The files carry no version:
their fields have to be those that lighteval 0.13 writes (`doc`, `metric`, `model_response`, each with its
own); earlier ones, with `full_prompt` and `predictions`, are refused.

The problem is the document's `query`, which is the whole prompt without a chat template; `--template TEXT`
takes off what stands around it, and `doc.NAME` names other fields of it in `--map`. The gold is the choice
at `gold_index`; where there are several, `--problems` has to give it. The checkpoint is the model's folder
below `details/`. How a response ended is not in it, and its token ids are padded to the longest of a batch,
so they are not counted.

A metric is one number a document: with one response it is a verdict, if it is 0 or 1, and pass@1 is the
printed value. With several (`avg@n`, `pass@k:n=`, `g-pass@k`) it is of all of them together and a verdict
on none: it is left out, with a note. `opo-eval grade` gives verdicts of its own on the same responses.
"""

import re
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from opo_eval.errors import InputError
from opo_eval.importers.log import (
    UNSCORED,
    Log,
    PlacedRows,
    checkpoint_of,
    first_row,
    only_one,
    require_fields,
    table_rows,
)
from opo_eval.importers.plan import ImportPlan
from opo_eval.wording import counted

NAME = "lighteval"
_WRITERS = "lighteval 0.13"
_FIELDS = ("doc", "metric", "model_response")
_DOC, _RESPONSE = (
    ("query", "choices", "gold_index", "num_samples"),
    ("text", "text_post_processed", "reasonings"),
)
_FILE = re.compile(r"details_(.+)_(\d{4}-\d\d-\d\dT\d\d-\d\d-\d\d\.\d+)\.parquet")


def is_log(path: Path) -> bool:
    """Whether a path is a file as lighteval names and fills it, or a folder with one."""
    files = _details_in(path) if path.is_dir() else [path]
    return any(
        _FILE.fullmatch(file.name) and set(_FIELDS) == (first_row(file) or {}).keys() for file in files[:1]
    )


def read_logs(plan: ImportPlan) -> Sequence[Log]:
    """One log a task. Raises InputError for a folder with the details of no run or of several."""
    if not plan.path.is_dir():
        return [_log(plan, plan.path)]
    files = _details_in(plan.path)
    runs = {file.parent for file in files}
    if len(runs) != 1:
        raise InputError(
            f"{plan.path} holds the details of {counted(len(runs), 'run')} of lighteval: name one folder "
            "details/MODEL/DATE, or one file"
        )
    return [_log(plan, file) for file in files]


def _details_in(folder: Path) -> list[Path]:
    return sorted(file for file in folder.rglob("details_*.parquet") if _FILE.fullmatch(file.name))


def _log(plan: ImportPlan, path: Path) -> Log:
    named = _FILE.fullmatch(path.name)
    several = _metrics_of_several(path)
    return Log(
        format=NAME,
        path=path,
        rows=partial(_rows, path),
        columns={"response": "text", "problem": "doc.query", "gold": "gold", "id": "doc.id"},
        scores=tuple(name for name, n in several.items() if n == 1),
        checkpoint=checkpoint_of(plan, NAME, _model(path)),
        benchmark=named[1].removesuffix("|0") if named else None,
        notes=tuple(
            f"the score {name!r} is left out: it is of {n} responses together, so a verdict on none of them"
            for name, n in several.items()
            if n > 1
        ),
    )


def _model(path: Path) -> str | None:
    """The folders between `details` and the date."""
    parts = path.resolve().parts[:-2]
    return "/".join(parts[parts.index("details") + 1 :]) if "details" in parts else None


def _metrics_of_several(path: Path) -> dict[str, int]:
    """Metric → the most responses that one number of it is of."""
    found: dict[str, int] = {}
    for where, row in table_rows(path):
        _require_all(row, where)
        for name in row["metric"]:
            found[name] = max(found.get(name, 1), len(row["model_response"]["text"]))
    return found


def _require_all(row: Mapping[str, Any], where: str) -> None:
    require_fields(row, _FIELDS, where, NAME, _WRITERS)
    require_fields(row["doc"], _DOC, f"{where}, doc", NAME, _WRITERS)
    require_fields(row["model_response"], _RESPONSE, f"{where}, model_response", NAME, _WRITERS)


def _rows(path: Path) -> PlacedRows:
    for where, row in table_rows(path):
        doc, texts = row["doc"], row["model_response"]["text"]
        gold = doc["gold_index"]
        golds = [doc["choices"][at] for at in (gold if isinstance(gold, list) else [gold])]
        yield (
            where,
            {
                **{f"doc.{name}": value for name, value in doc.items()},
                "text": texts,
                "gold": only_one(golds),
                **{name: UNSCORED if value is None else value for name, value in row["metric"].items()},
            },
        )
