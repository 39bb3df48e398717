"""Scoring in two processes at once."""

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from score.runs import EARLY, numbers, records, scored

from opo_eval.errors import EngineError, UsageError
from opo_eval.score import ScoreOptions, run, workers
from opo_eval.score.passes import Done, Job
from opo_eval.score.plan import plan
from opo_eval.score.texts import TextReader
from opo_eval.score.workers import Workers
from opo_eval.scoring.packing import Text
from opo_eval.store import RunDir

Copy = Callable[..., RunDir]


class Shared(Workers):
    """Two processes that outlive a call: they take seconds to start."""

    def close(self) -> None:
        if self._processes and not all(process.is_alive() for process in self._processes):
            super().close()


def asked(it: RunDir, **options: Any) -> tuple[Job, list[Text]]:
    """What a run is scored with, and all its texts."""
    task = plan(it, ScoreOptions(**options))
    reader = TextReader(it, task.prompter(), n_vocab=task.job.n_vocab, window=task.window)
    return task.job, list(reader.texts(it.sample_keys()))


@pytest.fixture(scope="module")
def two() -> Iterator[Shared]:
    shared = Shared(2)
    yield shared
    Workers.close(shared)


def test_two_processes_score_what_one_does_but_for_rounding(
    copy: Copy, two: Shared, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, both = copy("one"), copy("both")
    scored(one, reference=EARLY)
    sizes = []
    monkeypatch.setattr(run, "Workers", lambda n: sizes.append(n) or two)
    said = scored(both, reference=EARLY, data_parallel=2, hidden_gb=150 * 64 * 4 / 1e9, per_token=True)
    assert sizes == [2] and ": 18 samples with " in said[0]
    assert records(one).keys() == records(both).keys()
    for key, stats in records(one).items():
        np.testing.assert_allclose(numbers(stats), numbers(records(both)[key]), rtol=1e-5, atol=1e-6)
    assert "18 were scored before" in scored(both, reference=EARLY, data_parallel=2, per_token=True)[0]


def test_both_have_a_share(copy: Copy, two: Shared) -> None:
    job, texts = asked(copy(), reference=EARLY)
    done = list(two.score(job, texts))
    # Two processes with two passes of one batch each.
    assert len(done) == 4 and sum(each.n_read for each in done) == 2 * len(texts)
    assert sorted(len(each.records) for each in done)[:2] == [0, 0]


def test_a_process_that_dies_is_named_and_what_was_written_stays(
    copy: Copy, two: Shared, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "Workers", lambda n: two)
    it = copy()
    processes = list(two._processes)
    processes[1].kill()
    processes[1].join()
    with pytest.raises(EngineError, match=r"scoring process 2 of 2 ended with exit status -9; what was"):
        scored(it, reference=EARLY, data_parallel=2)
    assert not any(process.is_alive() for process in processes)
    assert len(list(it.token_stats())) <= 36
    assert not scored(it, reference=EARLY)[0].startswith("18 ") and len(records(it)) == 36


# --- what a process does, done in this one ----------------------------------------------------------


class Pipe:
    """Hands out requests, keeps the answers, and then is a pipe whose other end has gone."""

    def __init__(self, *requests: object) -> None:
        self.requests, self.answers = list(requests), list[object]()

    def recv(self) -> object:
        if not self.requests:
            raise EOFError
        return self.requests.pop(0)

    def send(self, answer: object) -> None:
        self.answers.append(answer)


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., list[object]]]:
    """Runs `_serve` on requests and returns its answers; what it changes in the process is put back."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    handler, threads = signal.getsignal(signal.SIGINT), torch.get_num_threads()

    def answers(*requests: object) -> list[object]:
        pipe = Pipe(*requests)
        workers._serve(pipe, "7", 2)
        assert os.environ["CUDA_VISIBLE_DEVICES"] == "7"
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
        return pipe.answers

    yield answers
    signal.signal(signal.SIGINT, handler)
    torch.set_num_threads(threads)


def test_a_process_answers_until_its_parent_has_gone(copy: Copy, serve: Callable[..., list[object]]) -> None:
    job, texts = asked(copy())
    first, end, second, last = serve((job, texts[:3]), (job, texts[3:]))
    assert isinstance(first, Done) and isinstance(second, Done) and end is last is None
    assert len(first.records) == 2 * 3 and len(second.records) == 2 * 15


@pytest.mark.usefixtures("serve")
def test_a_process_whose_parent_was_killed_ends(copy: Copy) -> None:
    class Broken(Pipe):
        def send(self, answer: object) -> None:
            raise BrokenPipeError

    pipe = Broken(asked(copy()), asked(copy("again")))
    workers._serve(pipe, "", 1)
    assert len(pipe.requests) == 1


def test_a_refusal_travels_to_the_parent(copy: Copy, serve: Callable[..., list[object]]) -> None:
    job, texts = asked(copy())
    lost = replace(job, policy=replace(job.policy, path="/nowhere/at/all"))
    [refusal] = serve((lost, texts))
    assert isinstance(refusal, EngineError) and "there is no checkpoint directory" in str(refusal)

    class Answering(Workers):
        def _start(self) -> None:
            ours, self.theirs = multiprocessing.Pipe()
            self._pipes = [ours]
            self.theirs.send(refusal)

    with pytest.raises(EngineError, match="there is no checkpoint directory /nowhere/at/all"):
        list(Answering(1).score(lost, texts))


def test_no_processes_are_refused() -> None:
    with pytest.raises(UsageError, match="data_parallel cannot be 0: it has to be at least 1"):
        ScoreOptions(data_parallel=0)
