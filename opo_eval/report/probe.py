"""A contamination probe as a folder: report.md, its rows and every problem for programs, and a manifest."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from opo_eval.family import ALPHA
from opo_eval.records import Unit
from opo_eval.report.data import csv_table, dump
from opo_eval.report.folder import refuse_other_folder, replace_report
from opo_eval.report.grid import NONE, Grid, grid_of, without_empty_columns
from opo_eval.report.markdown import bullets, heading, paragraph, table
from opo_eval.report.names import one_line
from opo_eval.report.values import difference_bounds, difference_digits, number, p_text, with_interval
from opo_eval.wording import counted

if TYPE_CHECKING:
    from opo_eval.probe import Completed, Probe, ProbeRow

SCHEMA = "opo_eval.probe/1"
_NAMES = {"exact_match": "exact match", "rouge_l": "ROUGE-L"}
_COLUMNS = (
    "checkpoint",
    "benchmark",
    "given",
    "metric",
    "problems",
    "value (%)",
    "more than later",
    "p",
    "adjusted p",
)
_ROW = (
    "checkpoint", "benchmark", "share", "metric", "n_problems", "value", "low", "high", "level", "delta",
    "delta_low", "delta_high", "p_value", "p_adjusted",
)  # fmt: skip
_PROBLEM = ("checkpoint", "benchmark", "share", "problem_id", "source_id", "exact_match", "rouge_l")
_METHOD = (
    "Each checkpoint went on greedily, without chat template, from the first part of each problem, by words. "
    "Exact match: the share of problems where it went on with exactly the rest, white space aside. ROUGE-L: "
    "F1 of the longest common subsequence of words with the rest, the continuation cut to as many words; the "
    "mean over problems. In brackets 95 % over problems like these (exact match: Wilson; ROUGE-L: bootstrap)."
)
_COMPARISON = (
    "More than later: difference from the later benchmark at the same share, its 95 % interval (exact match: "
    "Newcombe; ROUGE-L: Welch) and test (Fisher's exact; permutation of problems), adjusted by Holm over all "
    "rows. It is evidence where the two benchmarks are alike in kind and the checkpoint cannot have seen the "
    "later one."
)
_ALONE = (
    "Problems are written alike, so that some of a rest can be guessed: without a later benchmark of the "
    "same kind (`--later`) only exact matches of long rests say something."
)
_LIMIT = "A probe that finds nothing does not show that a benchmark was never seen: solutions may have been."


def write_probe(probe: "Probe", path: Path, *, name: str) -> None:
    """Write the report into the folder `path`, as `replace_report` does, with its errors."""
    refuse_other_folder(path)
    replace_report(path, probe_files(probe, name=name), {"name": name, "later": probe.later})


def probe_files(probe: "Probe", *, name: str) -> dict[str, bytes]:
    """Every file of the report but the manifest, by its path in the report."""
    rows = [_flat(row) for row in probe.rows]
    return {
        "report.md": _markdown(probe, name).encode(),
        "probe.json": dump({"schema": SCHEMA, "later": probe.later, "rows": rows}),
        "probe.csv": csv_table(_ROW, rows),
        "per_problem.csv": csv_table(_PROBLEM, (row for own in probe.completed for row in _problems(own))),
    }


def probe_sentences(probe: "Probe") -> Iterator[str]:
    """What a probe comes to, a sentence a checkpoint and benchmark."""
    for checkpoint, benchmark in dict.fromkeys((row.checkpoint, row.benchmark) for row in probe.rows):
        own = [row for row in probe.rows if (row.checkpoint, row.benchmark) == (checkpoint, benchmark)]
        where = f"{one_line(checkpoint)} on {one_line(benchmark)}"
        yield f"{where}: {_exact_said(own)}{_beyond(own, probe.later)}."
    yield _LIMIT


def _exact_said(rows: Sequence["ProbeRow"]) -> str:
    exact = [row for row in rows if row.metric == "exact_match"]
    said = (
        f"{round(row.value * row.n_problems)} of {row.n_problems} from {100 * row.share:g} %" for row in exact
    )
    return f"went on word for word in {', '.join(said)} of the text"


def _beyond(rows: Sequence["ProbeRow"], later: str | None) -> str:
    tested = [row for row in rows if row.p_adjusted is not None]
    if not tested:
        return ""
    told = [row for row in tested if (row.p_adjusted or 0) < ALPHA and (row.delta or 0) > 0]
    if not told:
        return f"; not told apart from {one_line(later or '')}"
    where = ", ".join(f"{_NAMES[row.metric]} from {100 * row.share:g} %" for row in told)
    return f"; more than on {one_line(later or '')} by {where}, a sign that it has seen them"


# --- the page ---------------------------------------------------------------------------------------


def _markdown(probe: "Probe", name: str) -> str:
    blocks = [heading(1, one_line(name, 100)), bullets(list(probe_sentences(probe)))]
    blocks += [table(_grid(probe)), paragraph(_METHOD)]
    blocks += [paragraph(_COMPARISON if probe.later else _ALONE)]
    blocks += [
        "probe.csv has the rows in full, per_problem.csv every problem; `opo-eval show RUN PROBLEM` prints "
        "what was given of it and the continuation."
    ]
    left_out = [_left_out(own) for own in probe.completed]
    blocks += [bullets(sorted(set(filter(None, left_out))))] if any(left_out) else []
    return "\n\n".join(blocks) + "\n"


def _left_out(own: "Completed") -> str:
    partial = own.partial
    if not partial.n_short + partial.n_alike:
        return ""
    short = f"{counted(partial.n_short, 'problem')} of too few words"
    return (
        f"{one_line(partial.benchmark)} from {100 * partial.share:g} %: left out {short} and "
        f"{partial.n_alike} that begin like another"
    )


def _grid(probe: "Probe") -> Grid:
    return without_empty_columns(grid_of(_COLUMNS, map(_cells, probe.rows)))


def _cells(row: "ProbeRow") -> Iterator[str]:
    yield from (
        row.checkpoint,
        row.benchmark,
        f"{100 * row.share:g} %",
        _NAMES[row.metric],
        str(row.n_problems),
    )
    yield with_interval(row.value, row.interval, Unit.SHARE)
    yield NONE if row.delta is None else _difference(row)
    yield from (p_text(row.p_value), p_text(row.p_adjusted))


def _difference(row: "ProbeRow") -> str:
    delta = row.delta or 0.0
    shown = number(delta, Unit.SHARE, difference_digits(row.delta_interval, Unit.SHARE, delta), signed=True)
    return f"{shown} {difference_bounds(row.delta_interval, Unit.SHARE)}" if row.delta_interval else shown


# --- for programs -----------------------------------------------------------------------------------


def _flat(row: "ProbeRow") -> dict[str, Any]:
    cells = asdict(row)
    interval, own = cells.pop("interval") or {}, cells.pop("delta_interval") or {}
    bounds = {key: interval.get(key) for key in ("low", "high", "level")}
    return cells | bounds | {"delta_low": own.get("low"), "delta_high": own.get("high")}


def _problems(own: "Completed") -> Iterator[Mapping[str, Any]]:
    partial = own.partial
    for problem, exact, rouge in zip(partial.problems, own.exact, own.rouge, strict=True):
        yield {
            "checkpoint": own.checkpoint,
            "benchmark": partial.benchmark,
            "share": partial.share,
            "problem_id": problem.id,
            "source_id": problem.source_id,
            "exact_match": int(exact),
            "rouge_l": rouge,
        }
