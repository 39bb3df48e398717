"""A finished report for other tools: its tables as Parquet, its curves in trackers, its numbers on a card.

Everything is read from the report's own files, whose columns and schema are those of the report.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from opo_eval.errors import EngineError, InputError, UsageError
from opo_eval.records import REPORT_SCHEMA
from opo_eval.rl.steps import read_steps
from opo_eval.rl.writers import WRITERS, make_writers, scalars
from opo_eval.wording import listed, nearest

PARQUET, CARD = "parquet", "model-card"
TARGETS = (PARQUET, *WRITERS, CARD)
Points = dict[int, dict[str, float]]
"""Numbers by name, by step."""


@dataclass(frozen=True, kw_only=True)
class Export:
    """What is exported, and where."""

    source: Path
    """A report's folder, or a training run's."""
    targets: Sequence[str]
    """Among `TARGETS`."""
    out: Path
    checkpoint: str | None = None
    """Of the card; default: the only one that is no baseline."""

    def __post_init__(self) -> None:
        """Raise UsageError for an unknown target."""
        for target in self.targets:
            if target not in TARGETS:
                raise UsageError(
                    f"nothing can be exported to {target!r}{nearest(target, TARGETS)}: choose among "
                    f"{listed(TARGETS)}"
                )

    def sentences(self) -> Iterator[str]:
        """Export, and say what went where. Raises InputError for a folder that does not have it."""
        for target in self.targets:
            if target == PARQUET:
                yield from write_parquet(self.source, self.out)
            elif target == CARD:
                yield write_card(self.source, self.out, self.checkpoint)
            else:
                yield from write_curves(self.source, self.out, target)


# --- tables -----------------------------------------------------------------------------------------


def write_parquet(report: Path, out: Path) -> Iterator[str]:
    """Every CSV table of a report, typed, and yield a sentence for each."""
    tables = sorted(report.glob("*.csv"))
    if not tables:
        raise InputError(f"{report} has no CSV tables: give the folder of a report")
    out.mkdir(parents=True, exist_ok=True)
    for path in tables:
        target = out / f"{path.stem}.parquet"
        n_rows = _as_parquet(path, target)
        yield f"{target}: {n_rows} rows"


def _as_parquet(path: Path, target: Path) -> int:
    """Numbers become numbers and an empty cell null; ids and names stay text, whatever they look like."""
    from pyarrow import csv, parquet, string

    names = path.read_text(encoding="utf-8").partition("\n")[0].split(",")
    text = {name: string() for name in names if name in _TEXT or name.endswith("_id")}
    options = csv.ConvertOptions(column_types=text, null_values=[""], strings_can_be_null=True)
    parsing = csv.ParseOptions(newlines_in_values=True)
    table = csv.read_csv(path, convert_options=options, parse_options=parsing)
    parquet.write_table(table, target)
    return table.num_rows


_TEXT = {
    "a", "answer", "arm", "b", "benchmark", "better", "checkpoint", "extracted", "family", "kind", "metric",
    "phrase", "reading", "reference", "signature", "subset", "training_run", "unit", "value_name",
}  # fmt: skip
"""Columns of names: a checkpoint may be called 400."""


# --- curves -----------------------------------------------------------------------------------------


def write_curves(source: Path, out: Path, tracker: str) -> Iterator[str]:
    """Curves over steps into a tracker, a run for each training run, and yield a sentence for each."""
    for name, points in curves_of(source).items():
        writer = make_writers([tracker], out / name, {"exported_from": source.name})[0]
        try:
            for step in sorted(points):
                writer.add(step, points[step])
        finally:
            writer.close()
        yield f"{out / name / tracker}: {len(points)} steps"


def curves_of(source: Path) -> dict[str, Points]:
    """By training run: of a training run what it logged; of a report `BENCHMARK/METRIC` and its interval.

    Raises InputError for a folder that is neither, or a report without curves.
    """
    if (source / "training.jsonl").exists():
        return {source.resolve().name: {step.step: scalars(step) for step in read_steps(source)}}
    curves = read_report(source).get("over_steps", {}).get("curves", [])
    if not curves:
        raise InputError(
            f"{source} has no curves over steps: its checkpoints are not those of a training run"
        )
    found: dict[str, Points] = {}
    for curve in curves:
        points = found.setdefault(_folder(curve["series"]), {})
        for point in curve["points"]:
            points.setdefault(point["step"], {}).update(_numbers(curve, point))
    return found


def _numbers(curve: Mapping[str, Any], point: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    name = f"{curve['benchmark']}/{curve['metric']}"
    yield name, point["value"]
    if interval := point["interval"]:
        yield from ((f"{name}/{end}", interval[end]) for end in ("low", "high"))


def _folder(name: str) -> str:
    return name.replace("/", "__").strip(".") or "run"


def read_report(report: Path) -> dict[str, Any]:
    """`metrics.json` of a report. InputError where there is none, or of another schema."""
    path = report / "metrics.json"
    try:
        document = orjson.loads(path.read_bytes())
    except FileNotFoundError:
        raise InputError(
            f"{report} has no metrics.json: give a folder that `opo-eval compare` wrote"
        ) from None
    except ValueError as error:
        raise InputError(f"{path} is not JSON ({error}): compare again") from None
    schema = document.get("schema") if isinstance(document, dict) else None
    if schema != REPORT_SCHEMA:
        raise InputError(
            f"{path} has the schema {schema!r}, and {REPORT_SCHEMA!r} is what can be exported: compare again"
        )
    return document


# --- the card ---------------------------------------------------------------------------------------


def write_card(report: Path, out: Path, checkpoint: str | None = None) -> str:
    """README.md with a checkpoint's results as Hugging Face model cards hold them (`model-index`).

    Headline metrics and pass@k at powers of two over all problems. Raises UsageError for a checkpoint that
    the report does not have, EngineError without huggingface_hub.
    """
    document = read_report(report)
    name = _chosen(document, checkpoint)
    results = [
        result for table in document["tables"] if table["checkpoint"] == name for result in _results(table)
    ]
    try:
        from huggingface_hub import EvalResult, ModelCardData
    except ImportError:
        raise EngineError("a model card takes huggingface_hub: pip install 'opo-eval[hub]'") from None
    data = ModelCardData(model_name=name, eval_results=[EvalResult(**result) for result in results])
    out.mkdir(parents=True, exist_ok=True)
    path = out / "README.md"
    path.write_text(f"---\n{data}\n---\n\n{_said(name, results)}", encoding="utf-8")
    return f"{path}: {len(results)} results of {name}"


def _chosen(document: Mapping[str, Any], checkpoint: str | None) -> str:
    names = list(dict.fromkeys(table["checkpoint"] for table in document["tables"]))
    baselines = {row["a"] for row in document["comparisons"]}
    others = [name for name in names if name not in baselines]
    if checkpoint is None and len(others) == 1:
        return others[0]
    if checkpoint not in names:
        what = "no --checkpoint was given" if checkpoint is None else f"there is no checkpoint {checkpoint!r}"
        raise UsageError(f"{what}: name one of {listed(names)}")
    return checkpoint


def _results(table: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for row in table["rows"]:
        if row["subset"] in ("", "all") and _on_card(row["metric"], table["n"]):
            interval = row["interval"] or {}
            yield {
                "task_type": "text-generation",
                "dataset_type": table["benchmark"],
                "dataset_name": table["benchmark"],
                "metric_type": row["metric"],
                "metric_name": f"{row['metric']} ({table['n']} samples a problem)",
                "metric_value": row["value"],
                "metric_args": {
                    "n": table["n"],
                    **{key: interval[key] for key in ("low", "high") if interval},
                },
            }


def _on_card(metric: str, n: int) -> bool:
    powers = {f"pass@{2**i}" for i in range(n.bit_length())}
    return metric in powers | {f"pass@{n}", "self_bleu", "rep_5", "tokens", "truncated", "entropy", "kl"}


def _said(name: str, results: Sequence[Mapping[str, Any]]) -> str:
    rows = (
        f"| {r['dataset_name']} | {r['metric_name']} | {r['metric_value']:.6g} | {_range(r['metric_args'])} |"
        for r in results
    )
    head = "| benchmark | metric | value | 95 % over problems like these |\n| --- | --- | ---: | ---: |"
    return f"# {name}\n\nMeasured with opo_eval; shares are from 0 to 1.\n\n{head}\n" + "\n".join(rows) + "\n"


def _range(arguments: Mapping[str, Any]) -> str:
    return f"{arguments['low']:.6g} to {arguments['high']:.6g}" if "low" in arguments else "—"
