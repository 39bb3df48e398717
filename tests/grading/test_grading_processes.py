"""Where graders are called from, and what is left of their workers afterwards."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from opo_eval.grading import Outcome, grade_answers
from opo_eval.records import Verdict

GOLDS = ["1/2", "1/2", "7", r"\sqrt{2}"]
RESPONSES = [r"\boxed{0.5}", r"\boxed{0.6}", "<think>7", r"\boxed{2^{1/2}}"]
VERDICTS = [Verdict.CORRECT, Verdict.WRONG, Verdict.NO_ANSWER, Verdict.CORRECT]


def grade() -> list[Outcome]:
    return grade_answers(GOLDS, RESPONSES, workers=1, timeout_s=30.0)


# --- from threads and forks -------------------------------------------------------------------------


def test_from_a_thread_as_from_the_main_one() -> None:
    assert in_threads([grade]) == [grade()]


def test_from_many_threads_at_once() -> None:
    results = in_threads([grade] * 8)
    assert [[outcome.verdict for outcome in outcomes] for outcomes in results] == [VERDICTS] * 8


def test_one_grader_from_many_threads_at_once(grader) -> None:
    def grade_batch(offset: int) -> dict[int, Outcome]:
        return dict(grader.grade((i, str(i + offset), rf"\boxed{{{i}+{offset}}}") for i in range(20)))

    results = in_threads([lambda offset=offset: grade_batch(offset) for offset in range(6)])
    for outcomes in results:
        assert outcomes.keys() == set(range(20))
        assert {outcome.verdict for outcome in outcomes.values()} == {Verdict.CORRECT}


FORK_SCRIPT = """
import os, signal, threading, time, warnings
from opo_eval.grading import grade_answers, grader

warnings.simplefilter("ignore", DeprecationWarning)  # of forks beside threads


def judge(gold, response):
    time.sleep(float(response))
    return response == gold


def grade(gold, responses):
    outcomes = grade_answers([gold] * len(responses), responses, verifier=judge, workers=1, timeout_s=30.0)
    return [str(outcome.verdict) for outcome in outcomes]


def is_open(descriptor):
    return os.path.exists(f"/proc/self/fd/{descriptor}")


assert grade("0.0", ["0.0"]) == ["correct"]
(pool,) = [each.pool for each in grader._graders.values()]
(worker,) = pool._workers
pipes = [stream.fileno() for stream in (worker.process.stdin, worker.process.stdout)]
busy = threading.Thread(target=lambda: print("parent", *grade("2", ["2", "0.0", "0.0"]), flush=True))
busy.start()
while not worker.tasks:
    time.sleep(0.001)
child = os.fork()
if not child:
    signal.alarm(60)
    assert not any(map(is_open, pipes)) and not pool.pids()
    print("child", *grade("0.0", ["0.0", "0.1"] * 20), flush=True)
    assert len(pool.pids()) == 1 and worker.process.pid not in pool.pids()
    pool.close()
    os._exit(0)
_, status = os.waitpid(child, 0)
busy.join()
assert pool.pids() == [worker.process.pid]
print("status", status)
"""


def test_a_forked_child_leaves_its_parent_s_workers_alone(tmp_path: Path) -> None:
    """Also where a thread of the parent grades at that moment, and holds the locks that are inherited."""
    lines = sorted(run_script(tmp_path, FORK_SCRIPT).splitlines())
    assert lines == ["child" + " correct wrong" * 20, "parent correct wrong wrong", "status 0"]


def in_threads(calls: list[Callable]) -> list:
    results: dict[int, object] = {}

    def keep(number: int, call: Callable) -> None:
        results[number] = call()

    threads = [threading.Thread(target=keep, args=item) for item in enumerate(calls)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [results[number] for number in range(len(calls))]


# --- from scripts -----------------------------------------------------------------------------------


def test_from_a_script_without_a_main_guard(tmp_path: Path) -> None:
    script = (
        "from opo_eval.grading import grade_answers\n"
        f"outcomes = grade_answers({GOLDS!r}, {RESPONSES!r})\n"
        "print(*(outcome.verdict for outcome in outcomes))\n"
    )
    assert run_script(tmp_path, script).split() == VERDICTS


def test_a_verifier_from_a_script(tmp_path: Path) -> None:
    script = (
        "from opo_eval.grading import grade_answers\n"
        "suffix = '!'\n"
        "def shouts(gold, response):\n"
        "    return response == gold + suffix\n"
        "outcomes = grade_answers(['a', 'a'], ['a!', 'a'], verifier=shouts)\n"
        "print(*(outcome.verdict for outcome in outcomes))\n"
    )
    assert run_script(tmp_path, script).split() == ["correct", "wrong"]


def run_script(folder: Path, text: str) -> str:
    script = folder / "script.py"
    script.write_text(text)
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, cwd=folder)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


# --- what is left -----------------------------------------------------------------------------------

BOMB_SCRIPT = """
from opo_eval.grading import Grader

grader = Grader(think="none", workers=2, lenient=False, timeout_s={limit})
grader.pool.start()
print(*grader.pool.pids(), flush=True)
bombs = (r"\\boxed{{10^{{10^{{10}}}} + %d}}" % i for i in range(100))
for _ in grader.grade((i, "3", bomb) for i, bomb in enumerate(bombs)):
    pass
"""


@pytest.fixture
def start_bombs(tmp_path: Path) -> Iterator[Callable[[float], tuple[subprocess.Popen, list[psutil.Process]]]]:
    """Function that starts a script busy with bombs; gives it and its workers, all at work."""
    started: list[psutil.Process] = []

    def start(limit: float) -> tuple[subprocess.Popen, list[psutil.Process]]:
        path = tmp_path / "bombs.py"
        path.write_text(BOMB_SCRIPT.format(limit=limit))
        # A session of its own, so that a signal to its group reaches nobody else.
        script = subprocess.Popen(
            [sys.executable, str(path)],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
        )
        workers = [psutil.Process(int(pid)) for pid in script.stdout.readline().split()]
        started.extend([psutil.Process(script.pid), *workers])
        busy = [sum(worker.cpu_times()[:2]) for worker in workers]
        while any(sum(w.cpu_times()[:2]) < before + 0.2 for w, before in zip(workers, busy, strict=True)):
            time.sleep(0.02)
        return script, workers

    yield start
    for process in started:
        if is_running(process):
            process.kill()


def test_control_c_in_a_terminal_leaves_no_worker(start_bombs) -> None:
    script, workers = start_bombs(1000.0)
    os.killpg(script.pid, signal.SIGINT)
    assert script.wait() != 0
    script.stdout.close()
    wait_until_gone(workers)


def test_an_interrupt_of_the_caller_alone_leaves_no_worker(start_bombs) -> None:
    script, workers = start_bombs(1000.0)
    os.kill(script.pid, signal.SIGINT)
    assert script.wait() != 0
    script.stdout.close()
    wait_until_gone(workers)


def test_workers_of_a_killed_caller_end_by_themselves(start_bombs) -> None:
    script, workers = start_bombs(3.0)
    script.kill()
    script.wait()
    script.stdout.close()
    wait_until_gone(workers)


def is_running(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def wait_until_gone(processes: list[psutil.Process]) -> None:
    give_up = time.monotonic() + 120
    while alive := [process for process in processes if is_running(process)]:
        assert time.monotonic() < give_up, f"still there: {alive}"
        time.sleep(0.05)
