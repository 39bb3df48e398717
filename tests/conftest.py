"""What every test shares: the real data, which must be there in CI and is a skip that says so for a user."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from opo_eval.grading import pool

os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")  # GiB: several engines run side by side


@pytest.fixture(scope="session", autouse=True)
def _processors_are_shared() -> Iterator[None]:
    """Of several processes that run tests each grades on its share of the processors."""
    n = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    share = max(1, pool._usable_processors() // n)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pool, "_usable_processors", lambda: share)
        yield


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """Folder of real problems, generations and grader cases (`OPO_EVAL_DATA` overrides the place)."""
    default = Path(__file__).resolve().parents[2] / "shared" / "data"
    path = Path(os.environ.get("OPO_EVAL_DATA", default))
    if path.is_dir():
        return path
    message = f"no data folder at {path}: set OPO_EVAL_DATA to the folder that holds math500/, aime/, ..."
    if os.environ.get("CI"):
        pytest.fail(message)
    pytest.skip(message)


@pytest.fixture
def one_figure(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reports with their first figure alone, where words are meant: figures take most of a report's time."""
    from opo_eval.report.figures import FIGURES

    for name in list(FIGURES)[1:]:
        monkeypatch.delitem(FIGURES, name)
