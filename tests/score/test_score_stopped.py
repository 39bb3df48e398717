"""Scoring that is killed or interrupted, and goes on as if it had not been."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from score.runs import EARLY, numbers, records, scored

from opo_eval.cli import run as cli
from opo_eval.per_token import per_token_keys
from opo_eval.score import run as score_run
from opo_eval.store import RunDir

Copy = Callable[..., RunDir]


def test_stopped_at_random_moments_it_ends_as_if_it_had_not_been(copy: Copy) -> None:
    whole, stopped = copy("whole"), copy("stopped")
    script = Path(__file__).with_name("stopped.py")
    command = [sys.executable, str(script), str(whole.path), str(stopped.path), EARLY, "0"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    lines = [line.split()[1:] for line in done.stdout.splitlines() if line.startswith("ENDED")]
    first, *stops, last = [(name, *map(int, rest)) for name, *rest in lines]
    assert first == last == ("none", 0, 36, 0)
    assert {status for name, status, _, _ in stops if name == "SIGKILL"} == {-9}
    assert [(status, torn) for name, status, _, torn in stops if name == "SIGINT"] == [(130, 0)]
    counts = [n for _, _, n, _ in stops]
    assert counts == sorted(counts) and len({n for n in counts if 0 < n < 36}) >= 2, counts
    assert records(stopped).keys() == records(whole).keys()
    for key, stats in records(whole).items():
        np.testing.assert_allclose(numbers(stats), numbers(records(stopped)[key]), rtol=1e-5, atol=1e-6)
    assert per_token_keys(stopped) == per_token_keys(whole) and len(per_token_keys(whole)) == 36
    assert stopped.index()  # refuses what is there twice


def test_an_interruption_keeps_every_batch_that_was_done(
    copy: Copy, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(self: score_run.Missing, done: score_run.Done) -> None:
        write(self, done)
        if done.records:
            raise KeyboardInterrupt

    write = score_run.Missing.write
    run = copy()
    command = ["score", str(run.path), "--reference", EARLY, "--batch-tokens", "200"]
    with monkeypatch.context() as patch:
        patch.setattr(score_run.Missing, "write", interrupted)
        assert cli(command) == 130
    assert "interrupted; give the same command again to continue" in capsys.readouterr().err
    n = len(records(run)) // 2
    assert 0 < n < 18
    assert cli(command) == 0
    assert f": {18 - n} samples with " in capsys.readouterr().out and len(records(run)) == 36


def test_a_run_that_another_process_writes_is_refused(copy: Copy) -> None:
    run = copy()
    with run.writer(), pytest.raises(Exception, match="is being written by process"):
        scored(run)
