"""A report as a folder: its files, and a manifest that says how they were made.

Only the manifest holds times, paths and machines. Every other file comes out the same, byte for byte,
whenever and wherever it is drawn from the same input.
"""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson

from opo_eval.errors import StoreError, UsageError
from opo_eval.provenance import current_provenance
from opo_eval.report.data import dump
from opo_eval.store import write_atomically

MANIFEST_SCHEMA = "opo_eval.report_manifest/1"
_MANIFEST = "manifest.json"
_NOT_IN_EVERY_REPORT = {
    "against_paper.csv", "arms.csv", "audit.json", "definitions.md", "last_means.csv", "metrics.json",
    "near_duplicates.csv", "over_steps.csv", "per_group.csv", "per_problem.csv", "phrases.csv", "samples.csv",
    "variance.csv", "variance.json",
}  # fmt: skip
_DRAWN = {
    "figures": (".png", ".svg"),
    "paper": ("README.md",),
    "paper/figures": (".pdf", ".svg", ".png", ".tex", ".csv"),
    "paper/tables": (".tex", ".md", ".csv"),
}
"""Folder in a report → what the names of its files may end in."""


def replace_report(path: Path, files: Mapping[str, bytes], made_of: Mapping[str, Any]) -> None:
    """Write these files into the folder `path`; an earlier report there is replaced.

    files: by their path in the report. made_of: what the manifest says beside them. Each file is replaced
    whole, the manifest last, and what only the earlier report has is removed. Raises UsageError where
    `path` is a file or holds something else's manifest, StoreError where it cannot be written.
    """
    path = Path(path)
    earlier = _earlier_files(path)
    for file, data in files.items():
        write_atomically(path / file, data)
    for stale in earlier - files.keys():
        (path / stale).unlink(missing_ok=True)
    digests = {file: hashlib.sha256(data).hexdigest() for file, data in files.items()}
    manifest = {"schema": MANIFEST_SCHEMA, "provenance": current_provenance(), **made_of, "files": digests}
    write_atomically(path / _MANIFEST, dump(manifest))


def refuse_other_folder(path: Path) -> None:
    """Raise UsageError where `path` is no place for a report, before the work of drawing one."""
    _earlier_files(Path(path))


def _earlier_files(path: Path) -> set[str]:
    """What the report that is already at `path` has and another may not have."""
    if path.exists() and not path.is_dir():
        raise UsageError(f"{path} is a file: give a report another name, or move the file away")
    if not (path / _MANIFEST).exists():
        return set()
    files = _read_manifest(path / _MANIFEST).get("files", {})
    return {file for file in files if file in _NOT_IN_EVERY_REPORT or _is_drawn(path, file)}


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


def _is_drawn(path: Path, file: str) -> bool:
    # The list comes from a file that anybody may have edited: no file of another kind is ever removed.
    suffixes = {folder: kinds for folder, kinds in _DRAWN.items() if (path / file).parent == path / folder}
    return any(file.endswith(kinds) for kinds in suffixes.values())
