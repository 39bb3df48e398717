"""What scoring a run came to, for a person."""

from collections.abc import Iterator, Mapping
from math import fsum

from opo_eval.per_token import FOLDER
from opo_eval.records import TokenStats
from opo_eval.score.plan import Task
from opo_eval.wording import counted


def sentences_of(task: Task, n_tokens: Mapping[tuple[str, int], int], n_before: int) -> Iterator[str]:
    """What was scored now, and the means a token over all that this scorer has scored in the run.

    n_tokens: of every sample that was scored now. n_before: samples that were scored before.
    """
    job = task.job
    beside = f" beside {job.reference_name}" if job.reference_name else ""
    before = f"; {n_before} were scored before" if n_before else ""
    yield (
        f"{task.run.path}: {counted(len(n_tokens), 'sample')} with {sum(n_tokens.values()):,} tokens scored "
        f"by {job.policy.name}{beside}{before}"
    )
    by_temperature: dict[float, list[TokenStats]] = {t: [] for t in job.temperatures}
    for stats in task.run.token_stats():
        if stats.scorer == job.scorer and stats.temperature in by_temperature:
            by_temperature[stats.temperature].append(stats)
    for temperature, stats in by_temperature.items():
        if stats:
            yield f"at temperature {temperature:g}, mean a token in nats: {_means(task, temperature, stats)}"
    yield f"scorer {job.scorer}"
    if job.per_token:
        yield f"the numbers of every token are in {task.run.path / FOLDER}"


def _means(task: Task, temperature: float, scored: list[TokenStats]) -> str:
    reference = task.job.reference_name
    sums = {"entropy": [stats.entropy_sum for stats in scored]}
    if reference is not None:
        sums[f"KL to {reference}"] = [stats.kl_sum for stats in scored]
        sums["reverse KL"] = [stats.reverse_kl_sum for stats in scored]
    if reference is not None and temperature == task.drawn_at:
        sums["k1"] = [stats.logprob_sum - stats.ref_logprob_sum for stats in scored]
        sums["k2"] = [stats.kl_k2_sum for stats in scored]
        sums["k3"] = [stats.kl_k3_sum for stats in scored]
    n_tokens = sum(stats.n_tokens for stats in scored)
    return ", ".join(f"{name} {fsum(values) / n_tokens:.4g}" for name, values in sums.items())
