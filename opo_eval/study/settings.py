"""What a study is: one training configuration, arms that differ from it, seeds, and how all is evaluated.

    name = "miniature"
    title = "The paper's study in miniature"
    out = "runs/miniature"          # training runs and evaluations; not kept
    report = "reports/miniature"    # pages, figures, tables
    seeds = [0, 1, 2, 3, 4]

    [train]                         # settings of `opo-eval train` that all arms share
    model = "late"                  # a shipped tiny checkpoint, or a checkpoint directory
    problems = "tiny-arith"

    [evaluation]                    # see `Evaluation`
    benchmark = "tiny-arith"

    [arms.opo]                      # what this arm has otherwise
    label = "OPO"
    method = "opo"

Paths are taken from the folder in which the study is run.
"""

import re
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Any

from opo_eval.errors import UsageError
from opo_eval.rl.config import Method, TrainConfig, converted, read_toml
from opo_eval.samplers.options import check_range
from opo_eval.wording import listed

START = "start"
"""Name of the checkpoint that every run begins from."""
_NAME = re.compile(r"[a-z0-9_]+")
_COUNTS = ("problems", "samples_last", "samples", "samples_before", "last")
_OWN = ("out", "seed")
"""Settings of a training run that the study gives each."""
_OF_ARMS = (
    "method", "alpha", "insist", *(field.name for field in fields(Method)),
    "steps", "problems_per_step", "group_size", "max_tokens", "learning_rate", "schedule", "warmup_steps",
    "weight_decay", "gradient_clip",
    "kl_every", "save_every", "state_every", "micro_batch_tokens", "gradient_checkpointing", "rollout_batch",
)  # fmt: skip
"""What arms may have otherwise: the method, its schedule and its housekeeping. All else, such as the
problems, the prompt and the reward, is one for all, and so is the evaluation, which asks as training asks."""


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """How the checkpoints of every run are sampled, graded and measured."""

    benchmark: str
    """Problems that no run is trained on: one of the training's `benchmarks`, so that this is checked."""
    problems: int | None = None
    """How many; of tiny-arith up to 1,024, of which the benchmark is the first 64. Default: all of them."""
    samples_last: int = 64
    """A problem, of each run's last checkpoint and of the start."""
    samples: int = 16
    """A problem, of each run's last few checkpoints. What depends on the number of samples, such as
    Self-BLEU, is measured on so many of `samples_last` too; pass@k is estimated from all."""
    samples_before: int = 16
    """A problem, of the checkpoints before those: their pass@1 is all that is looked at."""
    temperature: float = 1.0
    max_tokens: int = 64
    """Of a response."""
    seed: int = 0
    """Base seed, the same for all checkpoints."""
    batch_size: int = 1024
    """Responses drawn together."""
    tokenize: str = "char"
    """Tokenizer of the diversity metrics."""
    last: int = 5
    """The few: checkpoints at a run's end whose mean is reported beside the last one's."""
    lift: float = 0.3
    """Training has worked where pass@1 rises over the start's by so much ..."""
    loss: float = 0.02
    """... and pass@k, at k = `samples`, falls by no more than so much: its interval over seeds and problems
    ends above."""


@dataclass(frozen=True, kw_only=True)
class RunPlan:
    """One training run: an arm and a seed."""

    arm: str
    seed: int
    config: TrainConfig

    @property
    def name(self) -> str:
        """As folders and messages have it."""
        return f"{self.arm}_seed{self.seed}"

    @property
    def saved_steps(self) -> tuple[int, ...]:
        """Steps after which there is a checkpoint, the last step among them."""
        every, last = self.config.save_every, self.config.steps
        return (*range(every, last, every), last)


@dataclass(frozen=True, kw_only=True)
class Study:
    """A comparison of training methods over training seeds."""

    name: str
    out: Path
    """Folder of training runs and evaluations."""
    report: Path
    """Folder of the report."""
    seeds: tuple[int, ...]
    train: Mapping[str, Any]
    """Settings that all arms share."""
    arms: Mapping[str, Mapping[str, Any]]
    """Arm → settings that it has otherwise."""
    labels: Mapping[str, str]
    """Arm → its name in print."""
    evaluation: Evaluation
    title: str
    """Of the report."""
    rebuild: str = ""
    """Command that makes the report again, printed in it."""
    plans: tuple[RunPlan, ...] = field(init=False)
    """Seed after seed, so that an interrupted study has few seeds of all arms, not all seeds of few."""

    def __post_init__(self) -> None:
        _check_arms(self)
        plans = tuple(self._plan(arm, seed) for seed in self.seeds for arm in self.arms)
        object.__setattr__(self, "plans", plans)
        _check_held_out(self.evaluation, plans[0].config)

    @classmethod
    def from_mapping(cls, settings: Mapping[str, Any]) -> "Study":
        """A study from a decoded TOML file; UsageError for what is missing, unknown or out of range."""
        given = converted(_StudyFile, settings, "a study")
        needed = [field.name for field in fields(_StudyFile) if field.default is MISSING]
        for name in needed:
            if name not in given:
                raise UsageError(f"the study has no {name!r}: it takes {listed(needed)}")
        file = _StudyFile(**given)
        arms = {name: dict(own) for name, own in file.arms.items()}
        labels = {name: own.pop("label", name) for name, own in arms.items()}
        return cls(
            name=file.name,
            out=file.out,
            report=file.report,
            seeds=file.seeds,
            train=file.train,
            arms=arms,
            labels=labels,
            evaluation=_evaluation(file.evaluation),
            title=file.title or file.name,
            rebuild=file.rebuild,
        )

    @property
    def start(self) -> str:
        """The checkpoint that every run begins from: a directory or a hub name."""
        return self.plans[0].config.model

    def plans_of(self, arm: str) -> list[RunPlan]:
        """The runs of an arm, in the order of their seeds."""
        return [plan for plan in self.plans if plan.arm == arm]

    def _plan(self, arm: str, seed: int) -> RunPlan:
        settings = {**self.train, **self.arms[arm]}
        settings["model"] = _start_path(settings.get("model", ""))
        out = self.out / "training" / f"{arm}_seed{seed}"
        try:
            config = TrainConfig.from_mapping({**settings, "out": out, "seed": seed}).checked()
        except UsageError as error:
            raise UsageError(f"arm {arm!r}: {error}") from None
        return RunPlan(arm=arm, seed=seed, config=config)


@dataclass(frozen=True, kw_only=True)
class _StudyFile:
    """A study as its file has it."""

    name: str
    out: Path
    report: Path
    seeds: tuple[int, ...]
    train: Mapping[str, Any]
    evaluation: Mapping[str, Any]
    arms: Mapping[str, Mapping[str, Any]]
    title: str = ""
    rebuild: str = ""


def read_study(path: Path) -> Study:
    """A study from its TOML file; InputError where it cannot be read, UsageError for what does not fit."""
    return Study.from_mapping(read_toml(path))


def _start_path(name: str) -> str:
    """The directory of a shipped tiny checkpoint; any other name as it is."""
    from opo_eval.tiny import TINY_CHECKPOINTS, checkpoint_path

    return str(checkpoint_path(name)) if name in TINY_CHECKPOINTS else name


def _evaluation(settings: Mapping[str, Any]) -> Evaluation:
    given = converted(Evaluation, settings, "an evaluation")
    if "benchmark" not in given:
        raise UsageError("the evaluation has no benchmark: name the problems that the checkpoints answer")
    evaluation = Evaluation(**given)
    for name in _COUNTS:
        if (value := getattr(evaluation, name)) is not None and value < 1:
            raise UsageError(f"{name} of the evaluation cannot be {value!r}: it has to be at least 1")
    check_range(
        temperature=evaluation.temperature,
        max_tokens=evaluation.max_tokens,
        batch_size=evaluation.batch_size,
    )
    if evaluation.samples_last < evaluation.samples:
        raise UsageError(
            f"samples_last {evaluation.samples_last} of the evaluation is less than samples "
            f"{evaluation.samples}: the last checkpoints are compared at as many as the others have"
        )
    return evaluation


def _check_held_out(evaluation: Evaluation, config: TrainConfig) -> None:
    if evaluation.benchmark not in config.benchmarks:
        raise UsageError(
            f"the evaluation's benchmark {evaluation.benchmark!r} is not among the training's benchmarks "
            f"({listed(config.benchmarks)}), so its problems may be trained on: add it there"
        )


def _check_arms(study: Study) -> None:
    if not study.arms or not study.seeds or len(set(study.seeds)) < len(study.seeds):
        raise UsageError(
            f"{len(study.arms)} arms with the seeds {list(study.seeds)} are no study: it takes one arm or "
            "more, and seeds that differ"
        )
    for arm, own in study.arms.items():
        if not _NAME.fullmatch(arm) or arm == START:
            raise UsageError(
                f"{arm!r} cannot name an arm: use small letters, digits and _, and not {START!r}"
            )
        for name in _OWN:
            if name in own or name in study.train:
                raise UsageError(f"the study gives every run its {name}: leave {name} out of arm {arm!r}")
        if not isinstance(study.labels[arm], str):
            raise UsageError(f"the label of arm {arm!r} cannot be {study.labels[arm]!r}: give a text")
    labels = [START, *study.labels.values()]
    if len(set(labels)) < len(labels):
        raise UsageError(f"arms need labels that differ, and none that is {START!r}: {listed(labels[1:])}")
    _check_shared(study)


def _check_shared(study: Study) -> None:
    shared = {field.name for field in fields(TrainConfig)} - set(_OF_ARMS)
    for arm, own in study.arms.items():
        if found := [name for name in own if name in shared]:
            raise UsageError(f"all arms share one {listed(found)}: give it under [train], not in arm {arm!r}")
