"""A comparison as a folder: report.html, report.md, definitions.md, figures, JSON and CSV, and a manifest."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from opo_eval.report.data import (
    arms_csv,
    differences_csv,
    last_means_csv,
    metrics_csv,
    metrics_json,
    over_steps_csv,
    per_problem_csv,
    samples_csv,
)
from opo_eval.report.definitions import definitions_markdown
from opo_eval.report.document import report_markdown
from opo_eval.report.figures import FIGURES, draw
from opo_eval.report.folder import refuse_other_folder, replace_report
from opo_eval.report.page import MOST_BYTES, page_html
from opo_eval.report.paper.files import PaperChoice, paper_parts
from opo_eval.report.spending import all_time_spent, time_spent
from opo_eval.report.views import benchmark_views

if TYPE_CHECKING:
    from opo_eval.compare import ComparedRuns


def write_report(
    compared: "ComparedRuns",
    path: Path,
    *,
    name: str,
    paper: PaperChoice | None = None,
    page_bytes: int = MOST_BYTES,
    quiet: bool = False,
) -> None:
    """Write the report into the folder `path`, as `replace_report` does, with its errors.

    paper, page_bytes and quiet: see `report_files`.
    """
    refuse_other_folder(path)
    made_from = [
        {"path": str(run.path), "manifest": run.manifest, "spent": time_spent(run.manifest)}
        for run in compared.runs
    ]
    made_of = {"name": name, "spent": all_time_spent(compared), "runs": made_from}
    files = report_files(compared, name=name, paper=paper, page_bytes=page_bytes, quiet=quiet)
    replace_report(path, files, made_of)


def report_files(
    compared: "ComparedRuns",
    *,
    name: str,
    paper: PaperChoice | None = None,
    page_bytes: int = MOST_BYTES,
    quiet: bool = False,
) -> dict[str, bytes]:
    """Every file of the report but the manifest, by its path in the report.

    paper: whether it has figures and tables for a paper, and the OPO paper's numbers beside its own.
    page_bytes: what report.html may have at most, 0 for none. quiet: packing many responses into it shows no
    progress. Raises UsageError where `paper` names what is not
    there.
    """
    views = benchmark_views(compared)
    section, of_paper = paper_parts(name, compared, views, paper or PaperChoice())
    drawings = [draw(figure, view) for view in views for figure in FIGURES]
    page = partial(page_html, compared, views, drawings, name=name, quiet=quiet)
    return {
        **({"report.html": page(most_bytes=page_bytes)} if page_bytes else {}),
        "report.md": report_markdown(name, compared, views, drawings, section).encode(),
        "definitions.md": definitions_markdown(name, views).encode(),
        "metrics.json": metrics_json(compared),
        "metrics.csv": metrics_csv(views),
        "differences.csv": differences_csv(views),
        **({"arms.csv": arms_csv(views)} if compared.arms else {}),
        **({"over_steps.csv": over_steps_csv(views)} if compared.over_steps.curves else {}),
        **({"last_means.csv": last_means_csv(views)} if compared.over_steps.means else {}),
        "per_problem.csv": per_problem_csv(views),
        "samples.csv": samples_csv(views),
        **{file: data for drawing in drawings for file, data in drawing.files.items()},
        **of_paper,
    }
