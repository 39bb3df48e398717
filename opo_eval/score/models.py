"""Which two models a run is scored with, and whether the policy is the one that drew it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from opo_eval.errors import EngineError, InputError, UsageError
from opo_eval.lineage import checkpoints_of
from opo_eval.records import RunSettings
from opo_eval.samplers.checkpoints import (
    chosen_device,
    chosen_dtype,
    hub_revision,
    load_config,
    model_sha256,
    refuse_no_adapter,
)
from opo_eval.score.options import ScoreOptions
from opo_eval.store import RunDir

_SHOWN = 8
"""Digits of a digest that tell models apart in a signature and in sentences."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A checkpoint with its adapter, how it is loaded, and what is known of it before."""

    name: str = field(compare=False)
    path: str
    """Directory or hub name."""
    adapter: str | None
    sha256: str | None
    """Of a directory; None for a hub name."""
    adapter_sha256: str | None
    revision: str | None
    """Commit of a hub name."""
    dtype: str
    device: str
    n_rows: int
    """Of its output head."""
    width: int
    """Of its hidden states."""
    window: int | None
    """Longest text that it takes, in tokens; None where it does not say."""

    @property
    def digest(self) -> str | None:
        """What tells its weights from others', its adapter aside."""
        return self.sha256 or self.revision

    @property
    def signature(self) -> str:
        """`late@1a2b3c4d`: the same on every machine."""
        return _signed(self.name, self.digest, self.adapter_sha256)

    def has_weights_of(self, other: "Model") -> bool:
        """Whether it is known to be the same model, wherever it lies."""
        own, its = ((model.digest, model.adapter_sha256) for model in (self, other))
        return self.digest is not None and own == its

    def drew(self, settings: RunSettings) -> bool | None:
        """Whether it is the model that drew a run; None where that cannot be told."""
        drew = _digests_of(settings)
        return None if drew is None or self.sha256 is None else (self.sha256, self.adapter_sha256) == drew


def policy_of(run: RunDir, options: ScoreOptions) -> Model:
    """The model whose probabilities are asked for: what drew the run, or what the user says.

    Raises UsageError where nothing says which, EngineError where it is not there, InputError where it is not
    what drew the run and the user did not name it.
    """
    settings = run.manifest.settings
    path = options.checkpoint or _recorded_path(run, settings)
    model = _find(path, options.adapter, _name(path), options)
    is_named = bool(options.checkpoint or options.adapter)
    if model.drew(settings) is False and not is_named:
        raise _other_weights(run, model, settings)
    is_own = model.drew(settings) or not is_named
    return replace(model, name=settings.checkpoint.name) if is_own else model


def reference_of(policy: Model, options: ScoreOptions) -> Model | None:
    """The model that the policy is compared with, in the policy's number type; None where none is asked."""
    if options.reference is None:
        return None
    checkpoint = checkpoints_of([], options.reference)[0]
    path = str(checkpoint.path)
    return _find(path, options.reference_adapter, checkpoint.name, replace(options, dtype=policy.dtype))


def standing(run: RunDir, policy: Model) -> Iterator[str]:
    """What a person has to know of how the policy stands to the run; nothing where it drew it."""
    settings = run.manifest.settings
    if policy.drew(settings) is False:
        yield (
            f"{run.path} was drawn by {_drawer(settings)} and is scored off-policy, by {policy.signature}: "
            "on tokens that are not its own, where k1, k2 and k3 do not estimate KL"
        )
    if policy.drew(settings) is None:
        yield f"{run.path} does not say which weights drew it: it is taken that {policy.signature} did"


def refuse_mixed(runs: Sequence[RunDir], options: ScoreOptions) -> None:
    """Raise UsageError where one policy was named for runs that several drew."""
    flag = "--checkpoint" if options.checkpoint else "--adapter" if options.adapter else None
    drawn = {_digests_of(run.manifest.settings) or run.manifest.settings.checkpoint.name: run for run in runs}
    if flag and len(drawn) > 1:
        a, b = ((run.path, _drawer(run.manifest.settings)) for run in list(drawn.values())[:2])
        raise UsageError(
            f"{flag} names one policy, but {a[0]} was drawn by {a[1]} and {b[0]} by {b[1]}: leave it out, so "
            "that each run is scored by its own, or score them one at a time"
        )


def _find(path: str, adapter: str | None, name: str, options: ScoreOptions) -> Model:
    device = chosen_device(options.device)
    text = load_config(path).get_text_config()
    if adapter is not None:
        refuse_no_adapter(adapter)
    return Model(
        name=name,
        path=path,
        adapter=adapter,
        sha256=model_sha256(path),
        adapter_sha256=model_sha256(adapter) if adapter else None,
        revision=hub_revision(path),
        dtype=chosen_dtype(path, options.dtype, device),
        device=device,
        n_rows=text.vocab_size,
        width=text.hidden_size,
        window=_window(text),
    )


def _window(config: Any) -> int | None:
    """Longest text that a model takes, where rotary positions are stretched (YaRN) the stretched one."""
    plain = getattr(config, "max_position_embeddings", None)
    rope = getattr(config, "rope_parameters", None) or {}
    stretched = (rope.get("factor") or 1) * (rope.get("original_max_position_embeddings") or 0)
    return None if plain is None else max(plain, int(stretched))


def _name(path: str) -> str:
    found = checkpoints_of([path])
    if len(found) > 1:
        raise UsageError(
            f"--checkpoint {path} is a training run with {len(found)} checkpoints: give one of them"
        )
    return found[0].name


def _digests_of(settings: RunSettings) -> tuple[str, str | None] | None:
    """Of the model that drew a run, and of its adapter; None where nobody knows."""
    sampling = settings.sampling
    if sampling is None or sampling.model_sha256 is None:
        return None
    return sampling.model_sha256, sampling.adapter_sha256


def _drawer(settings: RunSettings) -> str:
    """The model that drew a run, as a signature would have it."""
    return _signed(settings.checkpoint.name, *(_digests_of(settings) or (None, None)))


def _signed(name: str, digest: str | None, adapter: str | None) -> str:
    own = f"{name}@{digest[:_SHOWN]}" if digest else name
    return f"{own}+adapter@{adapter[:_SHOWN]}" if adapter else own


def _recorded_path(run: RunDir, settings: RunSettings) -> str:
    path, sampling = settings.checkpoint.path, settings.sampling
    if path is None:
        raise UsageError(f"{run.path} does not say where the checkpoint lies that drew it: give --checkpoint")
    was_directory = sampling is not None and sampling.model_sha256 is not None
    if was_directory and not Path(path).is_dir():  # and no name to look for on the hub
        raise EngineError(
            f"{run.path} was drawn by the checkpoint directory {path}, and there is none: say where it lies "
            "with --checkpoint"
        )
    return path


def _other_weights(run: RunDir, model: Model, settings: RunSettings) -> InputError:
    assert settings.sampling is not None
    if settings.sampling.model_sha256 == model.sha256:
        return InputError(
            f"{run.path} was drawn with a LoRA adapter (sha256 {settings.sampling.adapter_sha256}): give its "
            "directory with --adapter"
        )
    return InputError(
        f"{run.path} was drawn by {_drawer(settings)}, and {model.path} now has other weights "
        f"({model.signature}): give the ones that drew it with --checkpoint, or this path, to score "
        "off-policy"
    )
