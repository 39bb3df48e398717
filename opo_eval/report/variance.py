"""A study of gradients as a folder: report.md, figures, JSON and CSV, and a manifest."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from opo_eval.report.data import csv_table, dump
from opo_eval.report.folder import refuse_other_folder, replace_report
from opo_eval.report.variance_figures import draw_figures
from opo_eval.report.variance_page import variance_markdown, variance_sentences

if TYPE_CHECKING:
    from opo_eval.variance import BaselineVariance, Estimate, VarianceStudy

__all__ = ["variance_files", "variance_sentences", "write_variance"]

SCHEMA = "opo_eval.variance/1"
_ESTIMATES = (
    "variance", "to_none", "to_rloo", "to_none_rescaled", "to_rloo_rescaled", "length", "cosine",
)  # fmt: skip
_ENDS = ("", "_low", "_high")
_BASELINES = ("baseline", "meaning", "unbiased", *(name + end for name in _ESTIMATES for end in _ENDS))
_SAMPLES = ("problem_id", "source_id", "index", "length", "reward", "squared_norm")
_PER_PROBLEM = ("problem_id", "source_id", "baseline", "power", "signal", "agreement", "variance")


def write_variance(study: "VarianceStudy", path: Path, *, name: str) -> None:
    """Write the report into the folder `path`, as `replace_report` does, with its errors."""
    refuse_other_folder(path)
    made_of = {"checkpoint": study.checkpoint, "benchmark": study.benchmark, "options": asdict(study.options)}
    replace_report(path, variance_files(study, name=name), {"name": name, "variance": made_of})


def variance_files(study: "VarianceStudy", *, name: str) -> dict[str, bytes]:
    """Every file of the report but the manifest, by its path in the report."""
    drawn, figures = draw_figures(study)
    return {
        "report.md": variance_markdown(name, study, figures).encode(),
        "variance.json": dump(_document(study)),
        "variance.csv": csv_table(_BASELINES, map(_baseline, study.baselines)),
        "samples.csv": csv_table(_SAMPLES, _samples(study)),
        "per_problem.csv": csv_table(_PER_PROBLEM, _per_problem(study)),
        **drawn,
    }


def _document(study: "VarianceStudy") -> dict[str, Any]:
    """Everything but what is one line a sample or a problem."""
    return {
        "schema": SCHEMA,
        "checkpoint": study.checkpoint,
        "benchmark": study.benchmark,
        "n": study.n,
        "group_size": study.group_size,
        "n_problems": len(study.problems),
        "n_problems_left_out": study.n_problems_left_out,
        "n_unscorable": study.n_unscorable,
        "n_mixed": study.n_mixed,
        "gradients": study.gradients,
        "gradient_error": study.gradient_error,
        "grader": study.grader,
        "options": asdict(study.options),
        "verdicts": study.verdicts,
        "fit": asdict(study.fit),
        "constants": asdict(study.constants),
        "baselines": [asdict(own) for own in study.baselines],
        "ratios": {f"{a} / {b}": found and asdict(found) for (a, b), found in study.ratios.items()},
    }


def _baseline(own: "BaselineVariance") -> dict[str, Any]:
    cells: dict[str, Any] = {
        "baseline": own.baseline.name,
        "meaning": own.baseline.meaning,
        "unbiased": own.baseline.unbiased,
    }
    for name in _ESTIMATES:
        cells |= _flat(name, getattr(own, name))
    return cells


def _flat(name: str, found: "Estimate | None") -> Mapping[str, Any]:
    """Empty cells where there is no number."""
    interval = found and found.interval
    values = (found and found.value, interval and interval.low, interval and interval.high)
    return {name + end: value for end, value in zip(_ENDS, values, strict=True)}


def _samples(study: "VarianceStudy") -> Iterator[dict[str, Any]]:
    for problem in study.problems:
        columns = (problem.indices, problem.lengths, problem.rewards, problem.squared_norms)
        for index, length, reward, squared_norm in zip(*columns, strict=True):
            yield {
                "problem_id": problem.problem_id,
                "source_id": problem.source_id,
                "index": index,
                "length": int(length),
                "reward": int(reward),
                "squared_norm": f"{squared_norm:.7g}",  # float32's digits
            }


def _per_problem(study: "VarianceStudy") -> Iterator[dict[str, Any]]:
    for problem, moments in zip(study.problems, study.moments, strict=True):
        for place, own in enumerate(study.baselines):
            values = {name: f"{getattr(moments, name)[place]:.9g}" for name in _PER_PROBLEM[3:]}
            yield {
                "problem_id": problem.problem_id,
                "source_id": problem.source_id,
                "baseline": own.baseline.name,
                **values,
            }
