"""One worker by itself: what it answers, what it refuses to do, and the limits it sets itself."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from opo_eval.grading import worker

SETTINGS = {"memory_mb": 512, "timeout_s": 5.0, "verifier": None}
MATRIX = r"\begin{pmatrix} 1 & 2 \\ 3 & 4 \end{pmatrix}"
MATRIX_IN_LINES = "\\begin{pmatrix}\n1 & 2 \\\\\n3 & 4\n\\end{pmatrix}"

ANSWERS = [
    ("gold", "5", "", worker.CORRECT),
    ("gold", r"\text{Evelyn}", "", worker.CORRECT),
    ("gold", r"\$18.90", "", worker.CORRECT),
    ("gold", "$5$", "", worker.CORRECT),
    ("gold", MATRIX_IN_LINES, "", worker.CORRECT),
    ("gold", "$$", "", worker.UNPARSED_GOLD),
    ("strict", "1/2", "0.5", worker.CORRECT),
    ("strict", "1/2", r"\frac{1}{2}", worker.CORRECT),
    ("strict", "1/2", r"\(\frac{1}{2}\)", worker.CORRECT),
    ("strict", "1/2", r"\[\frac{1}{2}\]", worker.CORRECT),
    ("strict", "1/2", "$0.5$", worker.CORRECT),
    ("strict", "5", r"\$5", worker.CORRECT),
    ("strict", "5", "x = 5", worker.CORRECT),
    ("strict", "1/2", "0.6", worker.NOT_EQUIVALENT),
    ("strict", "1/2", r"\text{half}", worker.NOT_EQUIVALENT),
    ("strict", MATRIX, MATRIX_IN_LINES, worker.CORRECT),
    ("strict", MATRIX_IN_LINES, MATRIX, worker.CORRECT),
    ("strict", "1/2", "?", worker.UNPARSED_ANSWER),
    ("strict", "$$", "1/2", worker.UNPARSED_GOLD),
    ("strict", "2,2", "2", worker.PARTS_DIFFER),
    ("strict", "5", "7" * 9000, worker.UNPARSED_ANSWER),
    ("strict", "5", "\N{FULLWIDTH DIGIT FIVE}", worker.UNPARSED_ANSWER),
    ("strict", "7", "\N{ARABIC-INDIC DIGIT SEVEN}", worker.UNPARSED_ANSWER),
    ("strict", r"x \neq 3", "x < 3", worker.RAISED),
    ("lenient", "1/2", "so it is 0.5", worker.CORRECT),
    ("lenient", "1/2", "so it is 0.6", worker.NOT_EQUIVALENT),
    ("lenient", "1/2", "I cannot say", worker.NO_ANSWER),
    ("lenient", "$$", "0.5", worker.UNPARSED_GOLD),
]


@pytest.fixture(scope="module")
def replies() -> list[dict[str, Any]]:
    jobs = [{"kind": kind, "gold": gold, "text": text} for kind, gold, text, _ in ANSWERS]
    return talk(SETTINGS, jobs[:10], jobs[10:])


def test_it_says_that_it_is_ready_and_answers_in_order(replies: list[dict[str, Any]]) -> None:
    assert replies[0].keys() == {"ready"}
    assert [reply["outcome"] for reply in replies[1:]] == [outcome for *_, outcome in ANSWERS]
    assert all(20 < reply["resident_mb"] < 500 for reply in replies[1:])


def test_it_does_not_report_its_caller_s_memory() -> None:
    ballast = b"x" * (700 * 2**20)
    reply = talk(SETTINGS, [{"kind": "strict", "gold": "1", "text": "0+1"}])[-1]
    assert reply["resident_mb"] < len(ballast) >> 20


def test_it_ends_with_its_input() -> None:
    assert [reply.keys() for reply in talk(SETTINGS)] == [{"ready"}]


def test_it_says_why_it_cannot_start() -> None:
    assert talk(SETTINGS | {"verifier": "not a pickle"}) == [{"failed": "Error: Incorrect padding"}]


# --- doors that are closed --------------------------------------------------------------------------

REFUSED = {
    "program": "os.system('touch {path}')",
    "another program": "subprocess.run(['touch', '{path}'])",
    "replacing itself": "os.execvp('touch', ['touch', '{path}'])",
    "fork": "os._exit(0) if os.fork() == 0 else None",
    "writing": "open('{path}', 'w')",
    "appending": "open('{path}', 'a')",
    "creating": "os.open('{path}', os.O_CREAT)",
    "emptying": "os.open('{there}', os.O_RDONLY | os.O_TRUNC)",
    "shortening": "os.truncate('{there}', 0)",
    "removing": "os.remove('{there}')",
    "renaming": "os.rename('{there}', '{path}')",
    "replacing": "os.replace('{there}', '{path}')",
    "linking": "os.link('{there}', '{path}')",
    "linking softly": "os.symlink('{there}', '{path}')",
    "a folder": "os.mkdir('{path}')",
    "removing a folder": "shutil.rmtree('{folder}')",
    "rights": "os.chmod('{there}', 0)",
    "dates": "os.utime('{there}', (0, 0))",
    "a connection": "socket.create_connection(('127.0.0.1', 9))",
    "a signal": "os.kill(os.getppid(), 0)",
    "native code": "ctypes.CDLL(None)",
}


ATTEMPT_ALL = """
import ctypes, json, os, shutil, socket, subprocess, sys
from opo_eval.grading import worker

def attempt(code):
    try:
        exec(code)
    except BaseException as error:
        return repr(error)
    return "done"

settings, programs = json.loads(sys.argv[1])
worker._prepare(settings)
print(json.dumps({name: attempt(code) for name, code in programs.items()}))
"""


@pytest.fixture(scope="module")
def attempts(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, str], Path]:
    """What came of each attempt in a process whose doors are closed, and the folder it was aimed at."""
    folder = tmp_path_factory.mktemp("target")
    (folder / "there").write_text("untouched")
    names = {"path": folder / "new", "there": folder / "there", "folder": folder}
    codes = REFUSED | {"reading": "open('{there}').read()"}
    programs = {name: code.format(**names) for name, code in codes.items()}
    command = [sys.executable, "-c", ATTEMPT_ALL, json.dumps([SETTINGS, programs])]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(done.stdout), folder


@pytest.mark.parametrize("name", REFUSED)
def test_side_effect_is_refused(name: str, attempts: tuple[dict[str, str], Path]) -> None:
    assert "a grading worker may not do" in attempts[0][name]


def test_nothing_has_changed_and_reading_is_allowed(attempts: tuple[dict[str, str], Path]) -> None:
    outcomes, folder = attempts
    assert outcomes["reading"] == "done"
    assert [(path.name, path.read_text()) for path in folder.iterdir()] == [("there", "untouched")]


# --- limits -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("wanted, set_to", [(10**5, 10**5), (10**7, 10**6)])
@pytest.mark.parametrize("name", ["RLIMIT_CPU", "RLIMIT_AS"])
def test_hard_limits_of_the_machine_are_kept(name: str, wanted: int, set_to: int) -> None:
    # In a process of its own, because what it does cannot be taken back; in units of a megabyte, so
    # that either limit leaves room to work.
    script = (
        "import resource\n"
        "from opo_eval.grading import worker\n"
        f"kind, unit = resource.{name}, 2**20\n"
        "resource.setrlimit(kind, (10**6 * unit, 10**6 * unit))\n"
        f"worker._limit(kind, {wanted} * unit)\n"
        "print(*(limit // unit for limit in resource.getrlimit(kind)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == [str(set_to), str(10**6)]


def talk(settings: dict[str, Any], *chunks: list[dict[str, str]]) -> list[dict[str, Any]]:
    """Everything that a worker replies to settings and lists of jobs."""
    lines = "".join(json.dumps(message) + "\n" for message in (settings, *chunks))
    done = subprocess.run(
        [sys.executable, "-m", "opo_eval.grading.worker"],
        input=lines,
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    assert done.returncode == 0
    return [json.loads(line) for line in done.stdout.splitlines()]
