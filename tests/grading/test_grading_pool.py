"""Workers that are killed, hang, swell or never start: nothing is lost and nothing changes."""

import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from opo_eval.errors import OpoEvalError, UsageError
from opo_eval.grading import pool as pool_module
from opo_eval.grading import worker
from opo_eval.grading.pool import DIED, TIMED_OUT, GradingPool, Job

PARITY = {i: "wrong" if i % 2 else "correct" for i in range(60)}
QUESTIONS = [Job("own", "even", str(i)) for i in PARITY]
"""Cheap questions for what does not depend on math-verify, with their outcomes."""


def own(text: str) -> Job:
    return Job("own", "", text)


@pytest.fixture
def is_even() -> Callable[[str, str], bool]:
    # Defined here: a worker could not import this file.
    return lambda gold, text: int(text) % 2 == 0


def test_outcomes_are_keyed_by_position() -> None:
    jobs = [Job("strict", str(i), f"{i % 2 * i}+0") for i in range(40)]
    with GradingPool(workers=2) as pool:
        outcomes = dict(pool.run(jobs))
    assert outcomes == {i: worker.CORRECT if i % 2 or i == 0 else worker.NOT_EQUIVALENT for i in range(40)}


def test_killing_workers_changes_no_outcome() -> None:
    jobs = [Job("strict", str(i % 5), f"{i}-{5 * (i // 5)}+0") for i in range(60)]
    with GradingPool(workers=2) as pool:
        outcomes = {}
        for number, outcome in pool.run(jobs):
            outcomes[number] = outcome
            if len(outcomes) in (1, 30):
                for pid in pool.pids():
                    os.kill(pid, signal.SIGKILL)
    assert outcomes == dict.fromkeys(range(60), worker.CORRECT)


def test_killing_idle_workers_loses_nothing(is_even) -> None:
    with GradingPool(workers=2, verifier=is_even) as pool:
        pool.start()
        for pid in pool.pids():
            os.kill(pid, signal.SIGKILL)
        assert dict(pool.run(QUESTIONS)) == PARITY


def test_killing_a_worker_within_an_item_loses_nothing(tmp_path: Path) -> None:
    def hang_the_first_time(_: str, marker: str) -> bool:
        if not os.path.exists(marker):
            with open(f"{marker}.part", "w") as file:
                file.write(str(os.getpid()))
            os.rename(f"{marker}.part", marker)
            time.sleep(1000)
        return True

    marker = tmp_path / "pid"
    killer = threading.Thread(target=lambda: os.kill(int(wait_for(marker)), signal.SIGKILL))
    killer.start()
    with GradingPool(workers=1, timeout_s=100.0, verifier=hang_the_first_time) as pool:
        outcomes = dict(pool.run([own(str(marker)), own(__file__)]))
    killer.join()
    assert outcomes == {0: "correct", 1: "correct"}


@pytest.mark.parametrize("n_workers", [1, 2])
def test_a_worker_killed_while_it_starts_is_replaced(
    n_workers: int, is_even, monkeypatch: pytest.MonkeyPatch
) -> None:
    with GradingPool(workers=n_workers, verifier=is_even) as pool:
        kill_while_starting(pool, 1, monkeypatch)
        assert dict(pool.run(QUESTIONS)) == PARITY


def test_workers_that_are_all_killed_while_they_start_are_an_error(
    is_even, monkeypatch: pytest.MonkeyPatch
) -> None:
    with GradingPool(workers=1, verifier=is_even) as pool:
        kill_while_starting(pool, 2, monkeypatch)
        with pytest.raises(OpoEvalError, match=r"did not start \(it ended with status -9\)"):
            list(pool.run(QUESTIONS))
        assert dict(pool.run(QUESTIONS)) == PARITY


def kill_while_starting(pool: GradingPool, n: int, monkeypatch: pytest.MonkeyPatch) -> None:
    spawn, doomed = pool._spawn, iter(range(n))

    def spawn_doomed():
        worker = spawn()
        if next(doomed, None) is not None:
            os.kill(worker.process.pid, signal.SIGKILL)
        return worker

    monkeypatch.setattr(pool, "_spawn", spawn_doomed)


def test_an_item_that_two_workers_die_of_is_given_up_and_the_rest_goes_on() -> None:
    def die_of_poison(_: str, text: str) -> bool:
        if text == "poison":
            os.kill(os.getpid(), signal.SIGKILL)
        return True

    texts = ["a", "poison", "b", "c", "poison", "d"]
    with GradingPool(workers=1, verifier=die_of_poison) as pool:
        outcomes = dict(pool.run(map(own, texts)))
    assert outcomes == {i: DIED if text == "poison" else "correct" for i, text in enumerate(texts)}


def test_leaving_a_worker_by_exit_counts_as_death() -> None:
    def leave(_: str, text: str) -> bool:
        raise SystemExit(0)

    with GradingPool(workers=1, verifier=leave) as pool:
        assert dict(pool.run([own("a")])) == {0: DIED}


def test_hanging_costs_one_item_and_its_worker() -> None:
    def hang(_: str, text: str) -> bool:
        while text == "hang":
            pass
        return True

    texts = ["a", "hang", "b", "c"] * 2
    with GradingPool(workers=2, timeout_s=1.0, verifier=hang) as pool:
        outcomes = dict(pool.run(map(own, texts)))
    assert outcomes == {i: TIMED_OUT if text == "hang" else "correct" for i, text in enumerate(texts)}


def test_memory_has_a_limit() -> None:
    def swell(_: str, megabytes: str) -> bool:
        return bool(bytearray(int(megabytes) * 2**20))

    with GradingPool(workers=1, memory_mb=128, verifier=swell) as pool:
        outcomes = dict(pool.run([own("16"), own("1024"), own("16")]))
    assert outcomes == {0: "correct", 1: worker.MEMORY, 2: "correct"}


def test_memory_limit_of_math_verify() -> None:
    with GradingPool(workers=1, memory_mb=64, timeout_s=100.0) as pool:
        outcomes = dict(pool.run([Job("lenient", "1", "x" * 60_000_000), Job("strict", "1", "0+1")]))
    assert outcomes[0] in (worker.MEMORY, DIED)
    assert outcomes[1] == worker.CORRECT


def test_slow_callers_cause_no_time_outs(is_even) -> None:
    limit = 1.0
    with GradingPool(workers=2, timeout_s=limit, verifier=is_even) as pool:
        pool.start()
        outcomes = {}
        for number, outcome in pool.run(QUESTIONS):
            outcomes[number] = outcome
            if len(outcomes) in (1, 30):
                time.sleep(1.5 * limit)
    assert outcomes == PARITY


def test_leaving_early_drops_the_rest_and_the_pool_goes_on(is_even) -> None:
    with GradingPool(workers=2, verifier=is_even) as pool:
        run = pool.run(QUESTIONS)
        next(run)
        run.close()
        assert dict(pool.run(QUESTIONS)) == PARITY


def test_a_run_within_a_run_is_refused(is_even) -> None:
    with GradingPool(workers=1, verifier=is_even) as pool:
        run = pool.run(QUESTIONS)
        first = next(run)
        with pytest.raises(UsageError, match="in the middle of a run: finish or close that iterator"):
            list(pool.run(QUESTIONS))
        assert dict([first, *run]) == PARITY


def test_no_more_workers_than_jobs(is_even) -> None:
    with GradingPool(workers=2, verifier=is_even) as pool:
        assert list(pool.run([])) == []
        assert pool.pids() == []
        assert dict(pool.run(QUESTIONS[:1])) == {0: PARITY[0]}
        assert len(pool.pids()) == 1


def test_a_closed_pool_starts_again(is_even) -> None:
    with GradingPool(workers=1, verifier=is_even) as pool:
        assert dict(pool.run(QUESTIONS)) == PARITY
        (pid,) = pool.pids()
        pool.close()
        assert pool.pids() == []
        assert not psutil.pid_exists(pid)
        assert dict(pool.run(QUESTIONS)) == PARITY


def test_worn_workers_are_replaced(is_even, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool_module, "_RECYCLE_AFTER_JOBS", 20)
    seen = set()
    with GradingPool(workers=1, verifier=is_even) as pool:
        outcomes = {}
        for number, outcome in pool.run(QUESTIONS):
            outcomes[number] = outcome
            seen |= set(pool.pids())
    assert outcomes == PARITY
    assert len(seen) > 1


def test_swollen_workers_are_replaced() -> None:
    kept: list[bytes] = []

    def keep(_: str, megabytes: str) -> bool:
        kept.append(b"x" * (int(megabytes) * 2**20))
        return True

    with GradingPool(workers=1, memory_mb=256, verifier=keep) as pool:
        assert dict(pool.run([own("1"), own("1")])) == {0: "correct", 1: "correct"}
        before = pool.pids()
        assert dict(pool.run([own("200")])) == {0: "correct"}
        assert pool.pids() == before
        assert dict(pool.run([own("1")])) == {0: "correct"}
        assert pool.pids() != before


def test_start_makes_all_workers_ready(is_even) -> None:
    with GradingPool(workers=2, verifier=is_even) as pool:
        pool.start()
        pids = pool.pids()
        assert len(pids) == 2
        assert dict(pool.run(QUESTIONS)) == PARITY
        assert pool.pids() == pids


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"workers": 0}, "workers must be at least 1, not 0"),
        ({"timeout_s": 0.0}, "timeout_s must be more than 0 and at most 86400 seconds, not 0.0"),
        ({"timeout_s": float("nan")}, "timeout_s must be more than 0 and at most 86400 seconds, not nan"),
        ({"timeout_s": float("inf")}, "timeout_s must be more than 0 and at most 86400 seconds, not inf"),
        ({"timeout_s": 86_401}, "timeout_s must be more than 0 and at most 86400 seconds, not 86401"),
    ],
)
def test_settings_that_make_no_sense(settings: dict, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        GradingPool(**settings)


def test_a_worker_that_cannot_start_says_why() -> None:
    class Unloadable:
        def __reduce__(self) -> tuple[Callable, tuple[str]]:
            return __import__, ("a_module_that_is_not_there",)

        def __call__(self, gold: str, response: str) -> bool:
            return True

    message = r"did not start \(ModuleNotFoundError: No module named 'a_module_that_is_not_there'\)"
    with GradingPool(workers=2, verifier=Unloadable()) as pool:
        for _ in range(2):
            with pytest.raises(OpoEvalError, match=message):
                list(pool.run([own("a"), own("b")]))
            assert pool.pids() == []


def test_a_verifier_that_cannot_travel_is_refused_at_once() -> None:
    lock = threading.Lock()
    with pytest.raises(UsageError, match=r"cannot be sent to a worker process .*lock"):
        GradingPool(verifier=lambda gold, response: lock.locked())


def test_modules_in_the_current_folder_are_not_taken_for_python_s(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "random.py").write_text("raise RuntimeError('this is not the random that was meant')\n")
    monkeypatch.chdir(tmp_path)
    with GradingPool(workers=1) as pool:
        assert dict(pool.run([Job("strict", "1", "0+1")])) == {0: worker.CORRECT}


def wait_for(path: Path) -> str:
    while not path.exists():
        time.sleep(0.01)
    return path.read_text()
