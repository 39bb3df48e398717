"""What every test shares: the real data, which must be there in CI and is a skip that says so for a user."""

import os
from pathlib import Path

import pytest

os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")  # GiB: several engines run side by side


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
