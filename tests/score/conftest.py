"""Runs that many tests score: drawn once, copied for each test."""

import gc
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from score.runs import EARLY, LATE, draw

from opo_eval.store import RunDir


@pytest.fixture(scope="module", autouse=True)
def _quick_collections() -> Iterator[None]:
    """Every load collects garbage: what is imported by now need not be gone through each time."""
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture(scope="session")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with the runs late/sums and early/sums; to be read only."""
    root = tmp_path_factory.mktemp("drawn")
    draw(root / "late/sums", LATE)
    draw(root / "early/sums", EARLY)
    return root


@pytest.fixture
def copy(drawn: Path, tmp_path: Path) -> Callable[..., RunDir]:
    """Makes copies of the run of `late`, each in a folder of its own."""

    def make(name: str = "run", of: str = "late") -> RunDir:
        shutil.copytree(drawn / of / "sums", tmp_path / name)
        return RunDir(tmp_path / name)

    return make
