"""Which checkpoints are training runs of one method that differ by seed only."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from opo_eval.errors import UsageError
from opo_eval.records import Checkpoint
from opo_eval.wording import counted, listed, nearest


@dataclass(frozen=True, kw_only=True)
class Arm:
    """Training runs of one method that differ by seed only."""

    name: str
    checkpoints: tuple[str, ...]


def choose_arms(
    checkpoints: Mapping[str, Checkpoint], wanted: Mapping[str, tuple[str, ...]] | None, baseline: str
) -> tuple[Arm, ...]:
    """The arms of the checkpoints, by name, the baseline's first.

    wanted: arm → its checkpoints; default: those whose records say that they differ in `train_seed` only.
    Raises UsageError for an arm of fewer than two checkpoints, of what is not there, or of another arm's.
    """
    if wanted is None:
        arms = _arms_by_seed(checkpoints.values())
    else:
        _refuse_unknown(wanted, checkpoints)
        arms = [Arm(name=name, checkpoints=tuple(its)) for name, its in wanted.items()]
    return tuple(sorted(arms, key=lambda arm: baseline not in arm.checkpoints))


def _arms_by_seed(checkpoints: Iterable[Checkpoint]) -> list[Arm]:
    """Checkpoints that say of which method, step and seed they are, and differ by seed only."""
    alike: dict[tuple[str, int | None], dict[int, str]] = defaultdict(dict)
    for checkpoint in checkpoints:
        if checkpoint.method is not None and checkpoint.train_seed is not None:
            seeds = alike[checkpoint.method, checkpoint.step]
            _refuse_same_seed(checkpoint, seeds.get(checkpoint.train_seed))
            seeds[checkpoint.train_seed] = checkpoint.name
    several = {key: seeds for key, seeds in alike.items() if len(seeds) > 1}
    steps = Counter(method for method, _ in several)
    return [
        Arm(
            name=method if steps[method] == 1 else f"{method} step {step}",
            checkpoints=tuple(seeds[seed] for seed in sorted(seeds)),
        )
        for (method, step), seeds in several.items()
    ]


def _refuse_same_seed(checkpoint: Checkpoint, other: str | None) -> None:
    if other not in (None, checkpoint.name):
        raise UsageError(
            f"{other} and {checkpoint.name} are both {checkpoint.method} with training seed "
            f"{checkpoint.train_seed}: say with --arm {checkpoint.method}=... which runs make the arm"
        )


def _refuse_unknown(arms: Mapping[str, tuple[str, ...]], checkpoints: Mapping[str, Checkpoint]) -> None:
    arm_of: dict[str, str] = {}
    for arm, members in arms.items():
        if len(set(members)) < 2:
            raise UsageError(
                f"--arm {arm}={','.join(members)} has {counted(len(set(members)), 'checkpoint')}: an arm "
                "takes 2 training seeds or more, since one does not say how much the seed matters"
            )
        for name in members:
            _refuse_missing(arm, name, list(checkpoints))
            if arm_of.setdefault(name, arm) != arm:
                raise UsageError(
                    f"--arm {arm} and --arm {arm_of[name]} both name {name}: give it to one of them"
                )


def _refuse_missing(arm: str, name: str, known: list[str]) -> None:
    if name not in known:
        raise UsageError(
            f"--arm {arm} names {name!r}, which is none of the checkpoints{nearest(name, known)}: "
            f"{listed(known)}"
        )
