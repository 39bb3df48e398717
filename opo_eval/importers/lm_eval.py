"""lm-evaluation-harness: what `--log_samples` writes, beside the results file of the same run.

A path is `results_DATE.json` (all of its tasks), `samples_TASK_DATE.jsonl` (one task; the results file lies
beside it) or a folder with one results file. Versions 0.4.8 to 0.4.13 write the same fields; others are
refused. Only tasks that generate text (`generate_until`) can be read.

What a row is: one document with all of its responses (`repeats`). The problem is the document's own
`problem`, `question` or `prompt`, else the text that was sent; `doc.NAME` and `prompt` name others in
`--map`. The gold is `target`. Token counts, seeds and how responses ended are not in the log. `until` texts
were cut off.

Scores are named as lm-eval prints them, `METRIC,FILTER`. lm-eval gives one number a document and filter,
and its filter `take_first`, the default, looks at the first response only: such a score is a verdict on
that response, and is kept with `--first 1`, where mean pass@1 is the printed metric. A metric that lists
one number a response is kept for all; pass@1 is its mean over responses. Numbers that are of all responses
together (majority votes, averages, pass@k) are verdicts on none of them: they are left out, with a note.
"""

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from opo_eval.errors import InputError
from opo_eval.importers.log import (
    Log,
    PlacedRows,
    checkpoint_of,
    read_json,
    require_fields,
    table_rows,
)
from opo_eval.importers.plan import USUAL_COLUMNS, ImportPlan
from opo_eval.wording import counted, listed

NAME = "lm-eval"
OLDEST, NEWEST = (0, 4, 8), (0, 4, 13)
_WRITERS = "lm-eval 0.4.8 to 0.4.13"
_FIELDS = (
    "doc_id", "doc", "target", "arguments", "resps", "filtered_resps", "filter", "metrics", "doc_hash",
)  # fmt: skip
_DATE = r"\d{4}-\d\d-\d\dT\d\d-\d\d-\d\d\.\d+"
_RESULTS, _SAMPLES = re.compile(rf"results_({_DATE})\.json"), re.compile(rf"samples_(.+)_({_DATE})\.jsonl")

_OF_ONE = {"take_first", "regex", "multi_choice_regex", "remove_whitespace", "lowercase", "uppercase", "map"}
"""Filters that keep each response apart; a chain of these with `take_first` is of the first response."""

Scores = Mapping[Any, Mapping[str, list[Any]]]
"""Document id → name of a score → its values, one a response."""


def is_log(path: Path) -> bool:
    """Whether a path is named as lm-eval names its samples, holds its results, or is a folder of those."""
    return bool(_SAMPLES.fullmatch(path.name)) or _is_results(path) or bool(_results_in(path))


def read_logs(plan: ImportPlan) -> Sequence[Log]:
    """One log a task. Raises InputError for files that are missing, of another version or without text."""
    results_path = _results_path(plan.path)
    results = read_json(results_path)
    _refuse_other_versions(results, results_path)
    return [_log(plan, results, path) for path in _samples_paths(plan.path, results_path)]


# --- files ------------------------------------------------------------------------------------------


def _results_in(path: Path) -> list[Path]:
    found = path.rglob("results_*.json") if path.is_dir() else ()
    return sorted(filter(_is_results, found))


def _is_results(path: Path) -> bool:
    # lighteval gives its results the same name.
    if not _RESULTS.fullmatch(path.name) or not path.is_file():
        return False
    try:
        return "lm_eval_version" in read_json(path)
    except InputError:
        return False


def _results_path(path: Path) -> Path:
    if _RESULTS.fullmatch(path.name):
        return path
    if named := _SAMPLES.fullmatch(path.name):
        beside = path.with_name(f"results_{named[2]}.json")
        if beside.is_file():
            return beside
        raise InputError(
            f"{path} has no {beside.name} beside it, which says lm-eval's version and what the task was: "
            "put it there, or import the samples with --format table and --map"
        )
    found = _results_in(path)
    if len(found) != 1:
        raise InputError(
            f"{path} holds {counted(len(found), 'results file')} of lm-eval ({listed(map(str, found[:4]))}): "
            "name one results_DATE.json, or a samples_TASK_DATE.jsonl"
        )
    return found[0]


def _samples_paths(asked: Path, results_path: Path) -> list[Path]:
    if _SAMPLES.fullmatch(asked.name):
        return [asked]
    date = results_path.name.removeprefix("results_").removesuffix(".json")
    found = sorted(results_path.parent.glob(f"samples_*_{date}.jsonl"))
    if not found:
        raise InputError(
            f"{results_path} has no samples_TASK_{date}.jsonl beside it: run lm-eval with --log_samples"
        )
    return found


def _refuse_other_versions(results: Any, path: Path) -> None:
    version = results.get("lm_eval_version") if isinstance(results, dict) else None
    numbers = re.match(r"(\d+)\.(\d+)\.(\d+)", str(version))
    if not numbers or not OLDEST <= tuple(map(int, numbers.groups())) <= NEWEST:
        raise InputError(
            f"{path} was written by lm-eval {version or 'of an unknown version'}, and {_WRITERS} can "
            "be read: import its samples with --format table and --map"
        )


# --- a task -----------------------------------------------------------------------------------------


def _log(plan: ImportPlan, results: Mapping[str, Any], path: Path) -> Log:
    task = _SAMPLES.fullmatch(path.name)[1]  # pyright: ignore[reportOptionalSubscript]
    config = results.get("configs", {}).get(task, {})
    if config.get("output_type") != "generate_until":
        raise InputError(
            f"{path} is of a task of type {config.get('output_type')!r}, which has no responses to read: "
            "name the samples file of a task of type 'generate_until'"
        )
    scores, notes = _read_scores(path, config, plan.first)
    _, first = next(table_rows(path))
    columns = {"response": "resps", "gold": "target", "problem": _problem_column(first), "id": "doc_id"}
    return Log(
        format=NAME,
        path=path,
        rows=partial(_rows, path, first["filter"], scores, plan.first),
        columns=columns,
        scores=tuple(sorted({name for of in scores.values() for name in of})),
        checkpoint=checkpoint_of(plan, NAME, results.get("model_name")),
        benchmark=task,
        notes=notes,
    )


def _problem_column(row: Mapping[str, Any]) -> str:
    doc = row["doc"]
    return next((f"doc.{name}" for name in USUAL_COLUMNS["problem"] if doc.get(name)), "prompt")


def _rows(path: Path, filter: str, scores: Scores, most: int | None) -> PlacedRows:
    """A row a document: the lines of one filter, to which the scores of all are put."""
    for where, row in table_rows(path):
        if row["filter"] == filter:
            yield (
                where,
                {
                    **{f"doc.{name}": value for name, value in row["doc"].items()},
                    "doc_id": row["doc_id"],
                    "prompt": row["arguments"]["gen_args_0"]["arg_0"],
                    "target": row["target"],
                    "resps": row["resps"][0][:most],
                    **scores[row["doc_id"]],
                },
            )


# --- scores -----------------------------------------------------------------------------------------


def _read_scores(path: Path, config: Mapping[str, Any], most: int | None) -> tuple[Scores, tuple[str, ...]]:
    """Every score that is a verdict on single responses, and a sentence on each of the others."""
    of_first = _filters_of_the_first(config)
    found: dict[Any, dict[str, list[Any]]] = defaultdict(dict)
    together: dict[str, str] = {}
    for where, row in table_rows(path):
        require_fields(row, _FIELDS, where, NAME, _WRITERS)
        n = len(_responses(row, where))
        _ = found[row["doc_id"]]
        for metric in row["metrics"]:
            name, value = f"{metric},{row['filter']}", row.get(metric)
            values = _one_a_response(value, n, most, row["filter"] in of_first)
            if values is None:
                together[name] = _note(name, value, n, row["filter"] in of_first)
            else:
                found[row["doc_id"]][name] = values
    kept = {doc: {name: v for name, v in of.items() if name not in together} for doc, of in found.items()}
    return kept, tuple(together.values())


def _responses(row: Mapping[str, Any], where: str) -> list[str]:
    if len(row["resps"]) != 1:
        raise InputError(
            f"{where} has {counted(len(row['resps']), 'request')} for one document: only tasks that ask once "
            "for each document can be read"
        )
    return row["resps"][0]


def _filters_of_the_first(config: Mapping[str, Any]) -> set[str]:
    chains = config.get("filter_list") or [{"name": "none", "filter": [{"function": "take_first"}]}]
    steps = {chain["name"]: {step["function"] for step in chain["filter"]} for chain in chains}
    return {name for name, functions in steps.items() if "take_first" in functions and functions <= _OF_ONE}


def _one_a_response(value: Any, n: int, most: int | None, of_first: bool) -> list[Any] | None:
    """The score of each response that is taken; None for a score of all of them together."""
    if isinstance(value, list):
        return value[:most] if len(value) == n else None
    return [value] if n == 1 or (most == 1 and of_first) else None


def _note(name: str, value: Any, n: int, of_first: bool) -> str:
    said = f"the score {name!r} is left out: "
    if of_first and not isinstance(value, list):
        return f"{said}it is of the first of {n} responses; --first 1 takes that response with it"
    return f"{said}it is of {n} responses together ({value!r:.40}), so a verdict on none of them"
