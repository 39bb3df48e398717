"""What a training run is asked to do: one flat table, from TOML or from flags, checked before any work.

A method is an advantage estimator with the loss that its source trains it with (`METHODS`). What a method
settles can be given otherwise only where that does not contradict its name.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from enum import StrEnum
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from opo_eval.errors import InputError, UsageError
from opo_eval.records import Think
from opo_eval.wording import listed, nearest


class Aggregation(StrEnum):
    """How the terms of single tokens become one loss."""

    SEQUENCE_SUM = "sequence-sum"
    """Sum over a response's tokens, mean over responses: Eq. 11 of arXiv 2505.23585."""
    SEQUENCE_MEAN = "sequence-mean"
    """Mean over a response's tokens, mean over responses: Eq. 3 there, GRPO as published."""
    TOKEN_MEAN = "token-mean"
    """Mean over all tokens of the mini-batch."""


class Schedule(StrEnum):
    """How the learning rate goes on after the warm-up."""

    CONSTANT = "constant"
    LINEAR = "linear"
    COSINE = "cosine"


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """An advantage estimator and the loss around it."""

    advantage: str
    """Name in `opo_eval.rl.advantages.ADVANTAGES`."""
    aggregation: Aggregation = Aggregation.SEQUENCE_SUM
    mini_batches: int = 1
    """Updates a rollout; 1 is exact on-policy training."""
    clip: float = 0.0
    """Of the probability ratio, to 1 ± clip; 0: not clipped."""
    entropy_coefficient: float = 0.0
    kl_coefficient: float = 0.0
    """Of KL(policy‖start), by k3 on the drawn tokens."""


_ALL_OF_IT = tuple(field.name for field in fields(Method))

METHODS: dict[str, Method] = {
    "opo": Method(advantage="opo"),
    "opo_loo": Method(advantage="opo_loo"),
    "opo_batch": Method(advantage="opo_batch"),
    "opo_power": Method(advantage="opo_power"),
    "grpo": Method(advantage="grpo", aggregation=Aggregation.SEQUENCE_MEAN),
    "grpo_loose": Method(
        advantage="grpo",
        aggregation=Aggregation.SEQUENCE_MEAN,
        mini_batches=2,
        clip=0.2,
        entropy_coefficient=0.001,
    ),
    "dr_grpo": Method(advantage="dr_grpo"),
    "rloo": Method(advantage="rloo"),
    "reinforce": Method(advantage="reinforce"),
    "reinforce_pp": Method(advantage="reinforce_pp"),
}
"""Name → method. Loose GRPO's numbers are those of arXiv 2505.23585, §4.1: two mini-batches of 128, clip 0.2,
entropy bonus 0.001. All but GRPO share OPO's aggregation: they differ from it by their estimator only."""

DEFINED_BY: dict[str, tuple[str, ...]] = {
    **{name: _ALL_OF_IT for name in METHODS if name.startswith("opo")},
    "grpo": ("advantage", "mini_batches"),
}
"""What cannot be given otherwise without leaving the method; of methods not named here, the advantage."""

NEEDS_A_GROUP = ("opo", "opo_loo", "opo_power", "grpo", "dr_grpo", "rloo")
"""Estimators whose advantages are all 0 in groups of one."""


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """Settings of a training run; None: as the method has it."""

    model: str = ""
    """Checkpoint directory or hub name of the starting policy."""
    problems: str = ""
    """tiny-arith, skywork-or1, or a file of problems with golds."""
    problems_from: Path | None = None
    """File or folder that a named set is read from."""
    out: Path = Path("training")
    """Directory of the run: config.json, training.jsonl, step_000020/, state.pt."""
    method: str = "opo"
    """opo, opo_loo, opo_batch, opo_power, grpo (strict), grpo_loose, dr_grpo, rloo, reinforce or
    reinforce_pp."""
    seed: int = 0
    """Of the choice and order of problems and of every response."""

    steps: int = 100
    """Rollouts."""
    problems_per_step: int = 32
    """Problems of a rollout."""
    group_size: int = 8
    """Responses a problem."""
    learning_rate: float = 1e-6
    """AdamW's highest."""
    schedule: Schedule = Schedule.CONSTANT
    """Of the learning rate after the warm-up: constant, linear or cosine, the last two to zero."""
    warmup_steps: int = 0
    """Steps over which the learning rate rises."""
    weight_decay: float = 0.0
    """AdamW's."""
    gradient_clip: float = 1.0
    """Highest norm of the gradient; 0: any."""

    advantage: str | None = None
    """Another estimator than the method's."""
    alpha: float | None = None
    """Of opo_power: weights are length^(2 alpha); 0.5 is OPO."""
    aggregation: Aggregation | None = None
    """sequence-sum, sequence-mean or token-mean."""
    mini_batches: int | None = None
    """Updates a rollout; 1 is exact on-policy training."""
    clip: float | None = None
    """Of the probability ratio, to 1 ± clip; 0: not clipped."""
    entropy_coefficient: float | None = None
    """Of an entropy bonus."""
    kl_coefficient: float | None = None
    """Of a penalty KL(policy‖start), by k3."""
    insist: bool = False
    """Train although settings contradict the method's name."""

    temperature: float = 1.0
    """Of the rollouts, and of every log-probability, entropy and KL of the run."""
    max_tokens: int = 1024
    """Of a response."""
    template: str | None = None
    """Name or text of the prompt template; default: what the problems are usually asked with."""
    system: str | None = None
    """System message, for models whose chat template has one."""
    response_prefix: str = ""
    """Text that the response begins with, such as `<think>`."""
    no_chat: bool = False
    """Leave out the tokenizer's chat template."""
    think: Think = Think.TAGGED
    """How a think section begins: tagged (in the response), prefilled (in the prompt) or none."""

    answer: str = "boxed"
    """Where the answer stands: boxed, answer-tag, hash or final-answer."""
    timeout: float = 5.0
    """Wall-clock limit of each verdict, in seconds."""
    workers: int | None = None
    """Grading processes; default: one a processor."""
    reward: str | None = None
    """Your own reward instead of grading, `module:function` or `file.py:function`."""

    n_problems: int | None = None
    """Problems to train on; default: all of a file, 4,096 generated ones of tiny-arith."""
    difficulty_samples: int = 0
    """Responses a problem by which all-right and all-wrong problems are left out beforehand; 0: none are."""
    benchmarks: tuple[str, ...] = ("math500", "aime24", "aime25")
    """No training problem may be in these."""
    allow_overlap: bool = False
    """Leave out training problems that are in the benchmarks, instead of refusing to train."""

    dtype: str = "float32"
    """Of the arithmetic: float32, or bfloat16 with weights and optimiser in float32."""
    device: str | None = None
    """Default: a GPU where there is one."""
    threads: int | None = None
    """CPU threads of torch; another number may change the last bits of the weights."""
    gradient_checkpointing: bool = False
    """Compute activations again in the backward pass instead of keeping them."""
    micro_batch_tokens: int | None = None
    """Tokens, padding included, whose activations are held at once; default: 2,048 on a CPU, where few pads
    and a full cache are worth more than width, 8,192 on a GPU."""
    rollout_engine: str | None = None
    """What draws the responses: hf, the default, with the model that learns; or vllm, which rounds in its own
    way, so that a continued run need not end in the same bits."""
    rollout_gpu_memory: float = 0.4
    """Share of the GPU's memory that vllm may take beside the model that learns."""
    rollout_batch: int = 256
    """Responses that hf draws together."""
    kl_every: int = 2
    """Steps between measurements of KL to the starting policy, each a forward pass of it; 0: never."""
    save_every: int = 20
    """Steps between checkpoints."""
    state_every: int | None = None
    """Steps between states to continue from; default: with every checkpoint."""
    log_to: tuple[str, ...] = ()
    """tensorboard, wandb, trackio."""

    @classmethod
    def from_mapping(cls, settings: Mapping[str, Any]) -> "TrainConfig":
        """Settings by name; UsageError for an unknown name or a value of another type."""
        return cls(**converted(cls, settings, "a training run"))

    @classmethod
    def from_toml(cls, path: Path) -> "TrainConfig":
        """Settings of a TOML file; InputError where it cannot be read."""
        return cls.from_mapping(read_toml(path))

    def settled(self) -> Method:
        """The method with what these settings give otherwise."""
        given = {
            field.name: getattr(self, field.name)
            for field in fields(Method)
            if getattr(self, field.name) is not None
        }
        return replace(METHODS[self.method], **given)

    def checked(self) -> "TrainConfig":
        """These settings; UsageError for the first that is out of range or contradicts another."""
        if self.method not in METHODS:
            raise UsageError(
                f"there is no method {self.method!r}{nearest(self.method, METHODS)}: choose one of "
                f"{', '.join(METHODS)}"
            )
        _check_ranges(self)
        _check_batches(self)
        if not self.insist:
            _refuse_contradictions(self)
        return self


def read_toml(path: Path) -> dict[str, Any]:
    """A TOML file; InputError where there is none or it is not TOML."""
    try:
        return tomllib.loads(path.read_text())
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}; give the path of a TOML file") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is not TOML: {error}") from None


# --- values -----------------------------------------------------------------------------------------


def converted(cls: type, settings: Mapping[str, Any], of: str) -> dict[str, Any]:
    """The settings by name as the fields of a dataclass have them.

    Raises UsageError for an unknown name or a value of another type. of: what they are settings of, in words.
    """
    hints = get_type_hints(cls)
    for name in settings:
        if name not in hints:
            raise UsageError(f"{name!r} is no setting of {of}{nearest(name, hints)}")
    return {name: _convert(name, hints[name], value) for name, value in settings.items()}


def _convert(name: str, hint: Any, value: Any) -> Any:
    kinds = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
    if value is None and NoneType in kinds:
        return None
    kind = next(kind for kind in kinds if kind is not NoneType)
    if get_origin(kind) is tuple:
        (item_kind, _) = get_args(kind)
        return tuple(_convert(name, item_kind, item) for item in _expect(name, (list, tuple), value))
    if get_origin(kind) is Mapping:
        (_, item_kind) = get_args(kind)
        return {key: _convert(f"{name}.{key}", item_kind, v) for key, v in _expect(name, dict, value).items()}
    if kind is Any:
        return value
    if kind is Path:
        return Path(_expect(name, (str, Path), value))
    if issubclass(kind, StrEnum):
        return _member(name, kind, value)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    return _expect(name, kind, value)


def _member(name: str, kind: type[StrEnum], value: Any) -> StrEnum:
    try:
        return kind(value)
    except ValueError:
        raise UsageError(f"{name} cannot be {value!r}: choose one of {', '.join(kind)}") from None


def _expect(name: str, kind: Any, value: Any) -> Any:
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        wanted = " or ".join(k.__name__ for k in (kind if isinstance(kind, tuple) else (kind,)))
        raise UsageError(f"{name} cannot be {value!r:.80}: it has to be of type {wanted}")
    return value


# --- what does not fit ------------------------------------------------------------------------------

_LEAST_ONE = (
    "steps",
    "problems_per_step",
    "group_size",
    "max_tokens",
    "rollout_batch",
    "save_every",
)
_LEAST_ONE_OR_NONE = ("threads", "workers", "n_problems", "state_every", "mini_batches", "micro_batch_tokens")
_LEAST_ZERO = ("warmup_steps", "weight_decay", "gradient_clip", "difficulty_samples", "kl_every", "seed")
_LEAST_ZERO_OR_NONE = ("clip", "entropy_coefficient", "kl_coefficient", "alpha")
_POSITIVE = ("learning_rate", "temperature", "timeout")
_CHOICES = {"dtype": ("float32", "bfloat16"), "rollout_engine": (None, "hf", "vllm")}


def _check_ranges(config: TrainConfig) -> None:
    for names, fits, allowed in (
        (("model", "problems"), bool, "given"),
        (_LEAST_ONE, lambda value: value >= 1, "at least 1"),
        (_LEAST_ONE_OR_NONE, lambda value: value is None or value >= 1, "at least 1"),
        (_LEAST_ZERO, lambda value: 0 <= value < float("inf"), "0 or more"),
        (_LEAST_ZERO_OR_NONE, lambda value: value is None or 0 <= value < float("inf"), "0 or more"),
        (_POSITIVE, lambda value: 0 < value < float("inf"), "more than 0"),
    ):
        for name in names:
            if not fits(getattr(config, name)):
                raise UsageError(f"{name} cannot be {getattr(config, name)!r}: it has to be {allowed}")
    for name, choices in _CHOICES.items():
        if getattr(config, name) not in choices:
            raise UsageError(f"{name} cannot be {getattr(config, name)!r}: choose one of {listed(choices)}")


def _check_batches(config: TrainConfig) -> None:
    method = config.settled()
    if config.problems_per_step % method.mini_batches:
        raise UsageError(
            f"{config.problems_per_step} problems a step cannot be divided into {method.mini_batches} "
            "mini-batches: give a multiple as problems_per_step"
        )
    if config.group_size == 1 and method.advantage in NEEDS_A_GROUP:
        raise UsageError(
            f"in groups of one every advantage of {method.advantage} is 0 and nothing is learnt: give a "
            "group_size of 2 or more, or the method reinforce, reinforce_pp or opo_batch"
        )
    if config.schedule is not Schedule.CONSTANT and config.warmup_steps >= config.steps:
        raise UsageError(
            f"warmup_steps {config.warmup_steps} leaves nothing of {config.steps} steps for the "
            f"{config.schedule} schedule: give fewer"
        )
    if config.alpha is not None and method.advantage != "opo_power":
        raise UsageError(f"alpha belongs to opo_power and means nothing to {method.advantage}: leave it out")


def _refuse_contradictions(config: TrainConfig) -> None:
    own, settled = METHODS[config.method], config.settled()
    for name in DEFINED_BY.get(config.method, ("advantage",)):
        if getattr(own, name) != getattr(settled, name):
            raise UsageError(
                f"{name} {getattr(settled, name)!s} contradicts method {config.method}, which has "
                f"{getattr(own, name)!s}: leave it out, choose another method, or give --insist"
            )
    if settled.clip and settled.mini_batches == 1:
        raise UsageError(
            f"clip {settled.clip} does nothing with one update a rollout, where every ratio is 1: leave it "
            "out, or give mini_batches of 2 or more"
        )
