"""Sampling that is killed and continued, in small, and the committed report of the study."""

import importlib.util
import sys
from collections import Counter
from collections.abc import Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from opo_eval.cli import run
from opo_eval.records import Sample
from opo_eval.samplers.vllm_engine import close_engine

ROOT = Path(__file__).resolve().parents[2]
REPORT = ROOT / "reports/kills"


def _study() -> Any:
    spec = importlib.util.spec_from_file_location("study_of_kills", ROOT / "benchmarks/studies/kills.py")
    assert spec and spec.loader
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


kills = _study()
Moment = kills.Moment
N = 8
COMMAND = partial(kills.sample_command, N, ("--engine", "vllm"))
START_S = 10.0
"""What a whole run is said to take: after a tenth of it no launch has begun to sample."""


@pytest.fixture
def let_through(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A launch that nobody kills runs in this process, which has imported vLLM already."""

    def run_here(command: Any, out: Path) -> float:
        out.mkdir(parents=True, exist_ok=True)
        (out / "log").touch()
        assert run(command(out)[3:]) == 0  # without `python -m opo_eval`
        return START_S

    monkeypatch.setattr(kills, "finish", run_here)
    monkeypatch.setattr(kills, "_LOOK_EVERY_S", 0.01)
    yield
    close_engine()


# --- launches that are killed -----------------------------------------------------------------------


@pytest.mark.usefixtures("let_through")
def test_killed_twice_and_continued_it_is_the_uninterrupted_run(tmp_path: Path) -> None:
    whole = kills.uninterrupted(COMMAND, tmp_path / "whole")
    when = iter([Moment(0.1, "time"), Moment(0.4, "file")])
    done = kills.trial("vllm", COMMAND, tmp_path / "killed", whole, when, 2)
    assert done.is_sound and done.samples == len(whole.samples) == 64 * N
    assert [kill.phase for kill in done.kills] == [kills.STARTING, kills.SAMPLING]
    assert [kill.before for kill in done.kills[1:]] == [kill.after for kill in done.kills[:-1]]
    found = {
        (sample.problem_id, sample.index): sample.text for sample in kills.samples_in(tmp_path / "killed")
    }
    assert found == {key: sample.text for key, sample in whole.samples.items()}


# --- what the study would notice --------------------------------------------------------------------


def sample(index: int, **fields: Any) -> Sample:
    return Sample(checkpoint="c", problem_id="p", index=index, **{"text": str(index), "seed": 1, **fields})


@pytest.mark.parametrize(
    ("found", "flaws"),
    [
        ([sample(2), sample(0), sample(1)], (0, 0, 0)),
        ([sample(0), sample(2)], (1, 0, 0)),
        ([sample(0), sample(1), sample(2), sample(1)], (0, 1, 0)),
        ([sample(0), sample(1, seed=2), sample(2, token_ids=(7,))], (0, 0, 2)),
        ([sample(0), sample(1), sample(3)], (1, 0, 1)),
    ],
)
def test_every_flaw_is_counted(found: list[Sample], flaws: tuple[int, ...]) -> None:
    expected = {("p", index): sample(index) for index in range(3)}
    counted = kills.flaws(found, expected)
    assert (counted["missing"], counted["duplicates"], counted["different"]) == flaws


def test_a_kill_belongs_to_the_phase_that_the_samples_tell() -> None:
    assert kills.phase_of(3, 3, 9) == kills.STARTING
    assert kills.phase_of(3, 4, 9) == kills.SAMPLING
    assert kills.phase_of(3, 9, 9) == kills.phase_of(9, 9, 9) == kills.COMPLETE


def test_moments_are_drawn_from_the_whole_run_and_by_the_seed() -> None:
    first, again = (list(islice(kills.moments(np.random.default_rng(3)), 400)) for _ in range(2))
    assert first == again
    for of, most in kills.WAYS.items():
        shares = [moment.share for moment in first if moment.of == of]
        assert len(shares) == 200 and abs(np.mean(shares) - most / 2) < 0.1
        assert 0 <= min(shares) < 0.05 * most and 0.95 * most < max(shares) < most


def test_a_command_that_fails_ends_the_study_with_what_it_said(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"status 2:(?s:.*)there is no engine 'llvm'"):
        kills.finish(partial(kills.sample_command, 1, ("--engine", "llvm")), tmp_path)


# --- the committed report ---------------------------------------------------------------------------

TEXT = (REPORT / "trials.json").read_text(encoding="utf-8")
TRIALS = kills.read_trials(TEXT)


def test_the_page_is_what_the_trials_make() -> None:
    assert kills.json_text(TRIALS) == TEXT
    assert (REPORT / "README.md").read_text(encoding="utf-8") == kills.readme(TRIALS)


@pytest.mark.parametrize("engine", sorted({trial.engine for trial in TRIALS}))
def test_25_kills_in_every_phase_left_no_trace(engine: str) -> None:
    own = [trial for trial in TRIALS if trial.engine == engine]
    struck = [kill for trial in own for kill in trial.kills]
    assert all(trial.is_sound for trial in own) and len(struck) >= 25
    phases = Counter(kill.phase for kill in struck)
    assert phases[kills.SAMPLING] >= 8 and phases[kills.STARTING] >= 2 and phases[kills.COMPLETE] >= 1
