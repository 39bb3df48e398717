"""Which differences in the OPO paper's tables can be told apart at all: reports/published_tables/.

    python benchmarks/studies/published_tables.py [--data ../shared/data]

Turns the published percentages into counts and the counts into standard errors, and asks of every published
difference three questions that are not the same: would it hold if these checkpoints answered these
problems again; would it hold on other problems of the kind; would it hold for the method, trained again.
"""

import csv
import io
import os
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import sqrt
from pathlib import Path
from typing import Any

import numpy as np
import tyro
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from paper_numbers import (
    PAIRS,
    Contrast,
    Finding,
    Range,
    Row,
    Verdict,
    Z,
    chance_to_print,
    every_cell,
    family,
    reachable,
    rows,
    sampling_variance,
)
from published_page import CORRELATIONS, readme

from opo_eval.report.figures import figure_bytes, figure_style
from opo_eval.report.published import PROBLEMS
from opo_eval.tabular import read_rows

REPORT = Path("reports/published_tables")
_MEASURED = {"amc23": "AMC 2023", "aime2024": "AIME 2024"}


@dataclass
class Study:
    """Where the generations are read from that anchor the correlation between two checkpoints."""

    data: Path = Path(os.environ.get("OPO_EVAL_DATA", "../shared/data"))
    """Folder that holds rg_llama3b_rl_ckpts/."""

    def __call__(self) -> None:
        """Write the report."""
        REPORT.mkdir(parents=True, exist_ok=True)
        for name, content in build(self.data).items():
            (REPORT / name).write_bytes(content)


def build(data: Path) -> dict[str, bytes]:
    """Every file of the report, by name."""
    findings = [finding for number in (1, 2) for finding in family(number)]
    drawn = forest(findings)
    return {
        "README.md": readme(findings, correlations(data)).encode(),
        "cells.csv": csv_bytes([cell_row(row, k) for row, k in every_cell()]),
        "differences.csv": csv_bytes([difference_row(finding) for finding in findings]),
        **{f"differences.{suffix}": figure_bytes(drawn, suffix) for suffix in ("png", "svg")},
    }


def correlations(data: Path) -> dict[str, float]:
    """Benchmark → correlation of true pass@1 between two checkpoints of one RL run, 50 samples a problem.

    Real data: open-thought/reasoning-gym-eval (arXiv 2505.24760), the authors' scores.
    """
    scores: dict[tuple[str, str], dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for _, row in read_rows(data / "rg_llama3b_rl_ckpts" / "generations.jsonl.gz"):
        scores[row["benchmark"], row["checkpoint"]][row["problem_id"]].append(float(row["source_score"]))
    arms = {key: np.array([found[name] for name in sorted(found)]) for key, found in scores.items()}
    return {
        name: _true_correlation(arms[benchmark, "step_400"], arms[benchmark, "step_800"])
        for benchmark, name in _MEASURED.items()
    }


def _true_correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Of the true shares behind 0/1 scores [problems, n] each.

    The variance of the observed shares is lowered by their mean sampling variance, p (1 - p) / (n - 1).
    """
    of_shares = np.cov(a.mean(axis=1), b.mean(axis=1))
    spreads = [of_shares[i, i] - (x.var(axis=1, ddof=1) / x.shape[1]).mean() for i, x in enumerate((a, b))]
    return float(of_shares[0, 1] / np.sqrt(spreads[0] * spreads[1]))


# --- files ------------------------------------------------------------------------------------------


def cell_row(row: Row, k: int) -> dict[str, str]:
    """A published cell's line of cells.csv."""
    counts = row.counts(k)
    others = reachable(row, k)
    variance = sampling_variance(row, k)
    return {
        "table": str(row.table),
        "benchmark": row.benchmark,
        "method": row.method,
        "k": str(k),
        "published": row.cells[k],
        "denominator": str(row.denominator(k)),
        "chance_to_print": f"{chance_to_print(row.denominator(k)):.4f}",
        "counts": str(len(counts)),
        "smallest_count": str(min(counts, default="")),
        "largest_count": str(max(counts, default="")),
        "printed": "/".join(sorted(set(counts.values()))),
        "lowest_given_the_others": f"{100 * others.low:.2f}",
        "highest_given_the_others": f"{100 * others.high:.2f}",
        "se_low": f"{100 * sqrt(variance.low):.3f}",
        "se_high": f"{100 * sqrt(variance.high):.3f}",
    }


def difference_row(finding: Finding) -> dict[str, str]:
    """A published difference's line of differences.csv; what the cells do not tell is empty."""
    one = finding.contrast
    reach = Z * one.error.high
    return {
        "table": str(one.before.table),
        "benchmark": one.before.benchmark,
        "k": str(one.k),
        "before": one.before.method,
        "after": one.after.method,
        "published_before": one.before.cells[one.k],
        "published_after": one.after.cells[one.k],
        "difference": f"{one.difference:.3f}",
        **_ends("se", one.error, 3),
        "interval_low": f"{one.difference - reach:.3f}",
        "interval_high": f"{one.difference + reach:.3f}",
        **_ends("z", one.z, 2),
        **_ends("p", one.p_value, 6),
        **_ends("holm", finding.adjusted, 6),
        "verdict": str(finding.verdict),
        **_like_these_columns(one),
        "erasing_seed_sd": f"{one.erasing_seed_sd():.3f}",
    }


def _like_these_columns(one: Contrast) -> dict[str, str]:
    names = ["sd_before", "sd_after", *(f"se_at_rho_{rho:g}" for rho in CORRELATIONS), "least_rho"]
    names += [f"problems_at_rho_{rho:g}" for rho in CORRELATIONS]
    if not one.has_spreads:
        return dict.fromkeys(names, "")
    errors = [f"{one.error_like_these(rho):.3f}" for rho in CORRELATIONS]
    values = [*(f"{spread:.2f}" for spread in one.spreads), *errors, f"{one.least_correlation():.4f}"]
    values += [str(one.problems_needed(rho)) for rho in CORRELATIONS]
    return dict(zip(names, values, strict=True))


def _ends(name: str, ends: Range, digits: int) -> dict[str, str]:
    return {f"{name}_{end}": f"{value:.{digits}f}" for end, value in ends._asdict().items()}


def csv_bytes(lines: list[dict[str, str]]) -> bytes:
    """The lines as a CSV file."""
    text = io.StringIO()
    table = csv.DictWriter(text, list(lines[0]), lineterminator="\n")
    table.writeheader()
    table.writerows(lines)
    return text.getvalue().encode()


# --- figure -----------------------------------------------------------------------------------------

_MARKERS: dict[Verdict, dict[str, Any]] = {
    Verdict.TOLD_APART: {"marker": "o", "markerfacecolor": "#000000", "color": "#000000"},
    Verdict.OPEN: {"marker": "D", "markerfacecolor": "#56B4E9", "color": "#0072B2"},
    Verdict.NOT: {"marker": "o", "markerfacecolor": "#FFFFFF", "color": "#777777"},
}


@figure_style()
def forest(findings: Sequence[Finding]) -> Figure:
    """Every published difference with its interval on these problems, one column a comparison."""
    figure = Figure(figsize=(7.0, 4.6))
    # By hand: matplotlib's own layout takes longer than everything else in this study.
    figure.subplots_adjust(left=0.085, right=0.99, top=0.95, bottom=0.135, hspace=0.25, wspace=0.06)
    heights = [len(row.cells) for row in rows(1)[::2]]
    panels = figure.subplots(3, 4, sharex="row", sharey="row", height_ratios=heights)
    for column, (_, before, after) in enumerate(PAIRS):
        panels[0, column].set_title(f"{after} minus {before}")
        for line, benchmark in enumerate(PROBLEMS):
            _draw_panel(panels[line, column], _chosen(findings, before, after, benchmark))
        panels[-1, column].set_xlabel("percentage points")
    for line, benchmark in enumerate(PROBLEMS):
        panels[line, 0].set_ylabel(f"{benchmark}: pass@k")
    figure.legend(handles=_legend(), loc="lower center", ncols=5)
    return figure


def _chosen(findings: Iterable[Finding], before: str, after: str, benchmark: str) -> list[Finding]:
    wanted = (before, after, benchmark)
    return [finding for finding in findings if finding.contrast.names == wanted]


def _draw_panel(axes: Axes, findings: Sequence[Finding]) -> None:
    for y, finding in enumerate(findings):
        one, style = finding.contrast, _MARKERS[finding.verdict]
        for error, width in zip(one.error, (2.4, 0.8), strict=True):
            ends = (one.difference - Z * error, one.difference + Z * error)
            axes.plot(ends, (y, y), color=style["color"], linewidth=width, solid_capstyle="butt")
        axes.plot(one.difference, y, markersize=4, linestyle="none", **style)
    axes.axvline(0, color="#000000", linewidth=0.6, zorder=0)
    axes.set_yticks(range(len(findings)), labels=[f"@{f.contrast.k}" for f in findings])
    axes.set_ylim(len(findings) - 0.4, -0.6)
    axes.grid(visible=False, axis="y")
    axes.tick_params(axis="y", length=0)


def _legend() -> list[Line2D]:
    dots = [
        Line2D([], [], linestyle="none", markersize=4, label=str(verdict), **style)
        for verdict, style in _MARKERS.items()
    ]
    names = {2.4: "95 % interval, at least", 0.8: "at most"}
    lines = [Line2D([], [], color="#777777", linewidth=width, label=name) for width, name in names.items()]
    return dots + lines


if __name__ == "__main__":
    tyro.cli(Study)()
