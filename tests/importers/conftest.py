"""Real logs, and what this project makes of them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from opo_eval.importers import Imported, ImportPlan, import_path
from opo_eval.measure import MeasureOptions, measure_run
from opo_eval.records import Think
from opo_eval.store import RunDir

LOGS = Path(__file__).parent / "logs"


@pytest.fixture
def logs() -> Path:
    """Folder of logs that the tools wrote; each has a README that says how."""
    return LOGS


@pytest.fixture
def read(tmp_path: Path) -> Callable[..., Imported]:
    """Import a path into `tmp_path / "runs"`, with any settings of `ImportPlan`."""

    def import_it(path: Path, **settings: Any) -> Imported:
        return import_path(
            ImportPlan(**{"path": path, "out": tmp_path / "runs", "think": Think.NONE, **settings})
        )

    return import_it


@pytest.fixture
def value() -> Callable[[Path, str, str], float]:
    """A metric of a run, by the verdicts of a grader: what `opo-eval measure --grader` prints."""

    def measured(run: Path, metric: str, grader: str = "source") -> float:
        table = measure_run(RunDir(run), MeasureOptions(grader=grader), quiet=True)
        (row,) = (row for row in table.rows if row.metric == metric and row.subset == "all")
        return row.value

    return measured
