"""Tasks on several processors: order, errors, killed workers, and nobody left behind."""

import multiprocessing
import os
import signal
import time
from functools import partial
from pathlib import Path

import pytest

from opo_eval.errors import EngineError, InputError
from opo_eval.processors import run_all


def square(number: int) -> int:
    time.sleep(0.02 * (5 - number))  # the later ones are done before the earlier
    return number * number


def refuse(name: str) -> int:
    raise InputError(f"{name} is empty")


def die() -> int:
    os.kill(os.getpid(), signal.SIGKILL)
    return 0


def touch_after_long(path: Path) -> int:
    time.sleep(20)
    path.touch()
    return 1


@pytest.mark.parametrize("workers", [1, 2, None])
def test_results_come_in_the_order_of_the_tasks(workers: int | None) -> None:
    assert list(run_all([partial(square, i) for i in range(5)], workers=workers)) == [0, 1, 4, 9, 16]
    assert list(run_all([partial(square, i) for i in range(5)], workers=workers, costs=range(5))) == [
        0, 1, 4, 9, 16
    ]  # fmt: skip
    assert list(run_all([], workers=workers)) == []


@pytest.mark.parametrize("workers", [1, 2])
def test_what_a_task_raises_is_raised_here(workers: int) -> None:
    tasks = [partial(square, 4), partial(refuse, "a.jsonl"), partial(square, 3)]
    with pytest.raises(InputError, match=r"a\.jsonl is empty"):
        list(run_all(tasks, workers=workers))
    assert multiprocessing.active_children() == []


def test_a_killed_worker_is_one_sentence() -> None:
    with pytest.raises(EngineError, match=r"a worker process was killed.*--measure-workers 1"):
        list(run_all([die, partial(square, 1)], workers=2))


def test_who_stops_listening_leaves_no_worker_behind(tmp_path: Path) -> None:
    results = run_all([partial(square, 4), partial(touch_after_long, tmp_path / "late")], workers=2)
    assert next(results) == 16
    results.close()  # type: ignore[attr-defined]
    assert multiprocessing.active_children() == []
    assert not (tmp_path / "late").exists(), "it was waited for"
