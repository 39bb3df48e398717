"""Sampling into a run directory; the same call continues an interrupted one."""

from pathlib import Path

from opo_eval.errors import UsageError
from opo_eval.problems import dataset_sha256
from opo_eval.progress import Progress
from opo_eval.provenance import current_provenance
from opo_eval.records import Checkpoint, Problem, RunSettings, Sample, Think
from opo_eval.samplers.base import Generation, Sampler, plan_requests
from opo_eval.store import RunDir, RunWriter, begun_run


def sample_run(
    path: Path,
    sampler: Sampler,
    checkpoint: Checkpoint,
    problems: tuple[Problem, ...],
    *,
    n: int,
    think: Think,
    quiet: bool = False,
) -> RunDir:
    """Draw what is missing of n samples a problem into `path`; samples are written as they finish.

    Raises StoreError where the run was made with other settings or another process writes to it.
    """
    # Neither a wrong n nor a checkpoint that does not load must leave a run behind.
    plan_requests(problems, n, sampler.settings.base_seed)
    if begun_run(path) is None:
        sampler.start()
    _refuse_open_thought(sampler, problems[0], think)
    settings = RunSettings(
        checkpoint=checkpoint,
        benchmark=problems[0].benchmark,
        dataset_sha256=dataset_sha256(problems),
        think=think,
        prompting=sampler.prompting,
        sampling=sampler.settings,
    )
    provenance = current_provenance(sampler.device, sampler.n_devices)
    with RunWriter(path, settings, problems, provenance=provenance, n_target=n) as writer:
        requests = plan_requests(problems, n, sampler.settings.base_seed, writer.samples.keys)
        what = f"sampling {checkpoint.name} on {problems[0].benchmark}"
        with Progress(what, len(requests), unit="samples", quiet=quiet) as progress, writer.timed():
            for generation in sampler.generate(requests):
                writer.append_samples([sample_of(checkpoint, generation)])
                progress.advance()
    return RunDir(path)


def _refuse_open_thought(sampler: Sampler, problem: Problem, think: Think) -> None:
    # Unsaid, the unclosed thought of a truncated response would be taken for its committed answer.
    prompt = sampler.prompt_text(problem)
    if prompt.rfind("<think>") > prompt.rfind("</think>") and think is not Think.PREFILLED:
        raise UsageError(
            f"the prompt opens a think section, so the response does not: give --think prefilled, not {think}"
        )


def sample_of(checkpoint: Checkpoint, generation: Generation) -> Sample:
    """The record of what was drawn."""
    return Sample(
        checkpoint=checkpoint.name,
        problem_id=generation.request.problem.id,
        index=generation.request.index,
        seed=generation.request.seed,
        text=generation.text,
        token_ids=generation.token_ids,
        finish=generation.finish,
        n_tokens=generation.n_tokens,
    )
