"""Scoring runs: what a policy, and a reference, say of every token that was sampled.

    what is asked ─► plan (which models, prompt, vocabulary, temperatures; every refusal)
                        └─► samples that are missing ─► chunks ─► a model at a time ─► token_stats.jsonl

`options` says what may be asked. `models` finds the two models, `prompt` what they read before a response,
`vocabulary` whether they speak of the same tokens; `plan` puts that together for a run. `texts` reads the
samples, `resident` holds one model at a time, `passes` scores texts with it, `workers` does so in several
processes, `run` writes what is missing and `summary` says what came out.
"""

from collections.abc import Iterator, Sequence

from opo_eval.errors import EngineError
from opo_eval.score.options import ScoreOptions
from opo_eval.store import RunDir

__all__ = ["ScoreOptions", "score_runs"]


def score_runs(runs: Sequence[RunDir], options: ScoreOptions, *, quiet: bool = False) -> Iterator[str]:
    """Score what is missing of every run; yields sentences for a person.

    Raises UsageError, EngineError or InputError for what cannot be scored, before anything is written;
    StoreError where another process writes to a run.
    """
    try:
        from opo_eval.score.run import score_all
    except ModuleNotFoundError as error:
        raise EngineError(
            f"scoring needs {error.name}, which is not installed: pip install 'opo-eval[train]'"
        ) from None
    yield from score_all(runs, options, quiet=quiet)
