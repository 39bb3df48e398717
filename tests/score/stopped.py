"""Scores a run in processes that are stopped at random moments: `python stopped.py WHOLE RUN REFERENCE SEED`.

Each is forked once everything is imported, so that a moment falls into the scoring and not into seconds of
imports. WHOLE is scored by one that nobody stops. RUN is scored by one after another, each stopped when its
records have grown to a random size, and by a last one. Prints a line for each: the signal, how it ended, how
many records there are and how many incomplete writes.
"""

import gc
import os
import random
import signal
import sys
import time
import warnings
from pathlib import Path

import torch

import opo_eval.score.run  # noqa: F401
from opo_eval.cli import run
from opo_eval.store import RunDir

SIGNALS = [signal.SIGKILL, signal.SIGINT, signal.SIGKILL, signal.SIGKILL, signal.SIGKILL]


def main(whole: str, stopped: str, reference: str, seed: str) -> None:
    """Score both runs."""
    torch.set_num_threads(1)  # a forked process has no pool of threads
    gc.freeze()  # what is imported is never garbage: each load collects it
    signal.signal(signal.SIGINT, signal.default_int_handler)
    rng = random.Random(int(seed))
    _end(_child(whole, reference), whole, "none")
    size = _size(whole)
    for place, number in enumerate(SIGNALS):
        # Between the start, and what is left after so many are stopped at about equal steps.
        most = size * (place + 1) / (len(SIGNALS) + 1)
        pid = _child(stopped, reference)
        _wait_for(pid, stopped, rng.uniform(0, most))
        time.sleep(rng.uniform(0, 0.2))
        os.kill(pid, number)
        _end(pid, stopped, number.name)
    _end(_child(stopped, reference), stopped, "none")


def _child(path: str, reference: str) -> int:
    pid = os.fork()
    if pid == 0:
        budget = str(40 * 64 * 4 / 1e9)  # of the hidden states of 40 tokens: many chunks
        options = ["--reference", reference, "--per-token", "--quiet", "--hidden-gb", budget]
        os._exit(run(["score", path, *options]))
    return pid


def _wait_for(pid: int, path: str, size: float) -> None:
    """Until the records have grown beyond a size, or the process has ended and can only be buried."""
    while _size(path) <= size and os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
        time.sleep(0.002)


def _size(path: str) -> int:
    file = Path(path) / "token_stats.jsonl"
    return file.stat().st_size if file.exists() else 0


def _end(pid: int, path: str, name: str) -> None:
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    with warnings.catch_warnings(record=True) as torn:
        warnings.simplefilter("always")
        n = sum(1 for _ in RunDir(path).token_stats())
    print("ENDED", name, status, n, len(torn), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
