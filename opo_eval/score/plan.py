"""What a run is scored with: models, prompt, vocabulary, temperatures; and every refusal before the work."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice

from opo_eval.records import RunSettings
from opo_eval.samplers.checkpoints import load_tokenizer
from opo_eval.samplers.options import PromptOptions
from opo_eval.samplers.prompts import Prompter
from opo_eval.score.models import Model, policy_of, reference_of, refuse_mixed, standing
from opo_eval.score.options import ScoreOptions
from opo_eval.score.passes import Job
from opo_eval.score.prompt import Prompt, prompt_of
from opo_eval.score.vocabulary import refuse_other_texts, refuse_other_tokens, shared_rows
from opo_eval.store import RunDir

_PROBED = 8
"""Samples whose token ids, where they have any, have to read as their text."""
_tokenizer = lru_cache(maxsize=2)(load_tokenizer)


@dataclass(frozen=True, kw_only=True)
class Task:
    """A run and how it is scored."""

    run: RunDir
    job: Job
    prompt: PromptOptions
    """How the run's problems were put to a model."""
    window: int | None
    """Tokens that fit into both models."""
    drawn_at: float | None
    """Temperature at which the policy drew the run, where k1, k2 and k3 estimate KL; None where it did not,
    or nobody knows."""
    notes: tuple[str, ...]
    """What a person has to know of it."""

    def prompter(self) -> Prompter:
        """Puts problems to the policy, as they were put to what drew the run."""
        return Prompter(_tokenizer(self.job.policy.path), **self.prompt)


def plan_all(runs: Sequence[RunDir], options: ScoreOptions) -> list[Task]:
    """How each run is scored. Raises what `score_runs` raises for what cannot be."""
    refuse_mixed(runs, options)
    return [plan(run, options) for run in runs]


def plan(run: RunDir, options: ScoreOptions) -> Task:
    """How a run is scored."""
    policy = policy_of(run, options)
    reference = reference_of(policy, options)
    own = _tokenizer(policy.path)
    prompt = prompt_of(run, policy, own, options)
    if not policy.drew(run.manifest.settings):
        refuse_other_texts(run.path, islice(run.samples(), _PROBED), policy, own)
    n_vocab, notes = policy.n_rows, [*standing(run, policy), *prompt.notes]
    if reference is not None:
        n_vocab, more = _agreement(policy, reference, prompt)
        notes += more
    windows = [model.window for model in (policy, reference) if model and model.window is not None]
    return Task(
        run=run,
        job=_job(policy, reference, n_vocab, prompt.signature, run.manifest.settings, options),
        prompt=prompt.options,
        window=min(windows, default=None),
        drawn_at=_drawn_at(run.manifest.settings, policy),
        notes=tuple(notes),
    )


def _agreement(policy: Model, reference: Model, prompt: Prompt) -> tuple[int, list[str]]:
    """Tokens that both models give a logit, and what a person has to know of how they differ."""
    own, other = _tokenizer(policy.path), _tokenizer(reference.path)
    refuse_other_tokens(policy, reference, own, other)
    n_vocab, notes = shared_rows(policy, reference, own)
    if Prompter(own, **prompt.options).uses_chat and own.chat_template != other.chat_template:
        notes.append(
            f"{reference.name} has {'another' if other.chat_template else 'no'} chat template: it reads the "
            f"prompt that {policy.name} has"
        )
    return n_vocab, notes


def _job(
    policy: Model,
    reference: Model | None,
    n_vocab: int,
    prompt: str,
    settings: RunSettings,
    options: ScoreOptions,
) -> Job:
    is_one = reference is not None and reference.has_weights_of(policy)
    return Job(
        policy=policy,
        reference=policy if is_one else reference,
        reference_name=reference.name if reference else None,
        scorer=_signature(policy, reference, n_vocab, prompt, settings),
        n_vocab=n_vocab,
        temperatures=_temperatures(settings, options),
        batch_tokens=options.batch_tokens,
        hidden_bytes=round(options.hidden_gb * 1e9),
        hidden_dir=options.hidden_dir,
        per_token=options.per_token,
    )


def _temperatures(settings: RunSettings, options: ScoreOptions) -> tuple[float, ...]:
    """Those that were asked for, or else 1 and the one that the run was drawn at, if it was not greedy."""
    sampling = settings.sampling
    own = (1.0, sampling.temperature) if sampling and sampling.temperature > 0 else (1.0,)
    return tuple(sorted({float(temperature) for temperature in options.temperatures or own}))


def _drawn_at(settings: RunSettings, policy: Model) -> float | None:
    sampling = settings.sampling
    return sampling.temperature if sampling and policy.drew(settings) is not False else None


def _signature(
    policy: Model, reference: Model | None, n_vocab: int, prompt: str, settings: RunSettings
) -> str:
    """What decides the numbers, but for the temperature; the same on every machine."""
    parts = [
        "exact",
        f"policy:{policy.signature}",
        f"reference:{reference.signature if reference else 'none'}",
        f"dtype:{policy.dtype}",
        f"vocab:{n_vocab}",
        f"prompt:{prompt}",
        *(["off-policy"] if policy.drew(settings) is False else []),
    ]
    return "|".join(parts)
