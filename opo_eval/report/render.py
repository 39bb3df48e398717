"""A comparison as a folder: report.md, figures, JSON and CSV, and a manifest that says how it was made.

Only the manifest holds times, paths and machines. Every other file comes out the same, byte for byte,
whenever and wherever it is drawn from the same runs.
"""

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from opo_eval.errors import StoreError, UsageError
from opo_eval.provenance import current_provenance
from opo_eval.report.data import differences_csv, dump, metrics_csv, metrics_json, per_problem_csv
from opo_eval.report.document import report_markdown
from opo_eval.report.figures import FIGURES, draw
from opo_eval.report.views import benchmark_views
from opo_eval.store import write_atomically

if TYPE_CHECKING:
    from opo_eval.compare import ComparedRuns

MANIFEST_SCHEMA = "opo_eval.report_manifest/1"
_MANIFEST = "manifest.json"


def write_report(compared: "ComparedRuns", path: Path, *, name: str) -> None:
    """Write the report into the folder `path`; an earlier report there is replaced.

    Each file is replaced whole, the manifest last, and figures of the earlier report that this one does
    not have are removed. Raises UsageError where `path` is a file or holds something else's manifest,
    StoreError where it cannot be written.
    """
    path = Path(path)
    earlier = _earlier_files(path)
    files = report_files(compared, name=name)
    for file, data in files.items():
        write_atomically(path / file, data)
    for stale in earlier - files.keys():
        (path / stale).unlink(missing_ok=True)
    write_atomically(path / _MANIFEST, dump(_manifest(compared, name, files)))


def report_files(compared: "ComparedRuns", *, name: str) -> dict[str, bytes]:
    """Every file of the report but the manifest, by its path in the report."""
    views = benchmark_views(compared)
    drawings = [draw(figure, view.tables) for view in views for figure in FIGURES]
    return {
        "report.md": report_markdown(name, compared, views, drawings).encode(),
        "metrics.json": metrics_json(compared),
        "metrics.csv": metrics_csv(views),
        "differences.csv": differences_csv(views),
        "per_problem.csv": per_problem_csv(views),
        **{file: data for drawing in drawings for file, data in drawing.files.items()},
    }


def _manifest(compared: "ComparedRuns", name: str, files: dict[str, bytes]) -> dict[str, Any]:
    return {
        "schema": MANIFEST_SCHEMA,
        "name": name,
        "provenance": current_provenance(),
        "runs": [{"path": str(run.path), "manifest": run.manifest} for run in compared.runs],
        "files": {file: hashlib.sha256(data).hexdigest() for file, data in files.items()},
    }


def _earlier_files(path: Path) -> set[str]:
    """The figures of the report that is already at `path`."""
    if path.exists() and not path.is_dir():
        raise UsageError(f"{path} is a file: give a report another name, or move the file away")
    if not (path / _MANIFEST).exists():
        return set()
    files = _read_manifest(path / _MANIFEST).get("files", {})
    return {file for file in files if _is_figure(path, file)}


def _read_manifest(path: Path) -> dict[str, Any]:
    try:
        manifest = orjson.loads(path.read_bytes())
    except (OSError, orjson.JSONDecodeError) as error:
        raise StoreError(f"{path} cannot be read ({error}): remove it to write a report there") from None
    schema = manifest.get("schema") if isinstance(manifest, dict) else None
    if schema != MANIFEST_SCHEMA:
        raise UsageError(
            f"{path.parent} holds a manifest of {schema!r}, not of a report: give the report another name"
        )
    return manifest


def _is_figure(path: Path, file: str) -> bool:
    # The list comes from a file that anybody may have edited: nothing but figures is ever removed.
    return (path / file).parent == path / "figures" and file.endswith((".png", ".svg"))
