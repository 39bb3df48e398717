"""Scoring runs: what is missing is read, scored and written; the same call continues an interrupted one."""

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace

from opo_eval.per_token import PerTokenWriter, per_token_keys
from opo_eval.progress import Progress
from opo_eval.score.options import ScoreOptions
from opo_eval.score.passes import Done, Scorer
from opo_eval.score.plan import Task, plan_all
from opo_eval.score.summary import sentences_of
from opo_eval.score.texts import TextReader
from opo_eval.score.workers import Workers
from opo_eval.scoring.packing import chunks
from opo_eval.store import RunDir, RunWriter


def score_all(runs: Sequence[RunDir], options: ScoreOptions, *, quiet: bool = False) -> Iterator[str]:
    """See `opo_eval.score.score_runs`."""
    tasks = plan_all(runs, options)
    n = options.data_parallel
    with closing(Workers(n) if n > 1 else Scorer()) as scorer:
        for task in tasks:
            yield from task.notes
            yield from score_run(task, scorer, quiet=quiet)


def score_run(task: Task, scorer: Scorer | Workers, *, quiet: bool = False) -> Iterator[str]:
    """Score what is missing of a run and say what came of it; results are written batch by batch."""
    reader = TextReader(task.run, task.prompter(), n_vocab=task.job.n_vocab, window=task.window)
    with task.run.writer() as writer:
        missing = Missing(task, writer)
        n_before = len(writer.samples.keys) - len(missing.samples)
        n_models, unit = len(task.job.models), "samples" if len(task.job.models) == 1 else "readings"
        total = n_models * len(missing.samples)
        job = replace(task.job, temperatures=missing.temperatures)
        with Progress(f"scoring {task.run.path}", total, unit=unit, quiet=quiet) as progress:
            for chunk in chunks(reader.texts(missing.samples), job.chunk_tokens):
                for done in scorer.score(job, chunk):
                    missing.write(done)
                    progress.advance(done.n_read)
            progress.advance(n_models * reader.left_out.total())
    yield from sentences_of(task, missing.n_tokens, n_before)
    yield from reader.sentences()


class Missing:
    """What a run lacks of a task, and where it is written."""

    def __init__(self, task: Task, writer: RunWriter) -> None:
        job = task.job
        wanted = {(*key, job.scorer, t) for key in writer.samples.keys for t in job.temperatures}
        self._writer = writer
        self._records = wanted - writer.token_stats.keys
        self._files = PerTokenWriter(task.run) if job.per_token else None
        self._arrays = wanted - per_token_keys(task.run) if job.per_token else set()
        either = self._records | self._arrays
        self.samples = {key[:2] for key in either}
        """(problem_id, index) of those that lack anything."""
        self.temperatures = tuple(sorted({key[3] for key in either}))
        """Those at which any sample lacks anything."""
        self.n_tokens: dict[tuple[str, int], int] = {}
        """Of each sample that was written."""

    def write(self, done: Done) -> None:
        """Write what was missing: arrays first, so that no record is without its arrays."""
        if not done.records:
            return
        key_of = self._writer.token_stats.file.key_of
        records = [each for each in done.records if key_of(each) in self._records]
        if self._files:
            self._files.append([arrays for arrays in done.arrays if arrays.key in self._arrays])
        self._writer.append_token_stats(records)
        self.n_tokens |= {(each.problem_id, each.index): each.n_tokens for each in done.records}
