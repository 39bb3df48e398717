"""What the trainer pays for the exact entropy and KL that it logs: the same run with and without them."""

import time
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

import torch
from _tables import REPOSITORY, duration, markdown_table
from torch import Tensor
from transformers.utils.logging import disable_progress_bar

from opo_eval.records import TrainingStep
from opo_eval.rl import trainer as trainers
from opo_eval.rl.batches import MicroBatch
from opo_eval.rl.config import TrainConfig
from opo_eval.rl.run import TrainingRun
from opo_eval.rl.trainer import Trainer
from opo_eval.rl.update import Update
from opo_eval.scoring import TokenStatistics
from opo_eval.tiny import checkpoint_path

STUDY = REPOSITORY / "benchmarks" / "studies" / "miniature.toml"
RUN_SETTINGS = ("benchmarks", "workers", "threads", "steps", "save_every", "kl_every")
"""Settings of the study that are not of a step, or are what is compared."""
WARM_UP = 2
NOTHING, ENTROPY, BOTH = "nothing", "entropy", "entropy and KL, every step"
KL_EVERY = {NOTHING: 0, ENTROPY: 0, BOTH: 1}
PHASES = ("rollout", "reward", "reference", "update")


class WithoutStatistics(Update):
    """An update that measures neither entropy nor KL."""

    def _measure(self, hidden: Tensor, batch: MicroBatch) -> TokenStatistics:
        none = torch.zeros(0)
        self.sums.add(entropy=none, rollout_k1=none, rollout_k3=none)  # each step's line asks for them
        return TokenStatistics(logprob=none, entropy=none)


@dataclass
class Race:
    """Wall-clock seconds of each step by contestant, and what the steps say of themselves."""

    seconds: dict[str, list[float]] = field(default_factory=lambda: {name: [] for name in KL_EVERY})
    steps: dict[str, list[TrainingStep]] = field(default_factory=lambda: {name: [] for name in KL_EVERY})

    def median(self, name: str) -> float:
        """Median seconds a step once all are warm."""
        return median(self.seconds[name][WARM_UP:])

    def extra(self, name: str) -> float:
        """Seconds that a contestant takes longer than the one without statistics, step against step."""
        pairs = zip(self.seconds[name][WARM_UP:], self.seconds[NOTHING][WARM_UP:], strict=True)
        return median(longer - shorter for longer, shorter in pairs)

    def share(self, name: str) -> float:
        """Of the contestant's step, what the statistics take."""
        return self.extra(name) / (self.median(NOTHING) + self.extra(name))

    def share_if_kl_every(self, n: int) -> float:
        """The same of all steps where KL is measured at one in n, and entropy at each."""
        extra = (self.extra(BOTH) + (n - 1) * self.extra(ENTROPY)) / n
        return extra / (self.median(NOTHING) + extra)

    def phase(self, name: str, phase: str) -> float | None:
        """Median seconds of a phase of a step; None where it has none."""
        found = [step.seconds[phase] for step in self.steps[name][WARM_UP:] if phase in step.seconds]
        return median(found) if found else None


def study_settings() -> dict[str, Any]:
    """Training settings that the arms of the miniature study share."""
    return tomllib.loads(STUDY.read_text())["train"]


@contextmanager
def trainer(out: Path, kl_every: int) -> Iterator[Trainer]:
    """One that steps when it is told to and saves nothing but its log."""
    settings = {key: value for key, value in study_settings().items() if key not in RUN_SETTINGS}
    settings |= {"model": str(checkpoint_path(settings["model"])), "method": "opo", "out": out}
    config = TrainConfig(**settings, kl_every=kl_every, steps=10**6, save_every=10**6).checked()
    with TrainingRun(out) as run, Trainer(config, run, quiet=True) as opened:
        yield opened


def run_race(steps: int) -> Race:
    """The same steps of all in turns, every other one in reverse order."""
    disable_progress_bar()
    torch.set_num_threads(study_settings()["threads"])
    race = Race()
    with TemporaryDirectory() as folder, ExitStack() as stack:
        opened = {
            name: stack.enter_context(trainer(Path(folder) / str(i), kl_every))
            for i, (name, kl_every) in enumerate(KL_EVERY.items())
        }
        for number in range(1, WARM_UP + steps + 1):
            for name in list(opened)[:: -1 if number % 2 else 1]:
                take_step(race, name, opened[name], number)
        assert_alike(opened)
    return race


def take_step(race: Race, name: str, opened: Trainer, number: int) -> None:
    """Time one step of one contestant."""
    update = WithoutStatistics if name == NOTHING else Update
    with patch.object(trainers, "Update", update):
        started = time.perf_counter()
        race.steps[name].append(opened.take_step(number))
        race.seconds[name].append(time.perf_counter() - started)


def assert_alike(opened: Mapping[str, Trainer]) -> None:
    """All have come to the same bits: what is logged has no part in the training."""
    weights = [list(one.policy.model.parameters()) for one in opened.values()]
    for others in weights[1:]:
        assert all(map(torch.equal, weights[0], others)), "logging changed the training"


def table(race: Race) -> str:
    """All contestants."""
    header = ("logged", "step", "more than without", "share of the step", *PHASES)
    return markdown_table(header, [row(race, name) for name in KL_EVERY])


def row(race: Race, name: str) -> tuple[object, ...]:
    """A contestant's step and its phases."""
    phases = (race.phase(name, phase) for phase in PHASES)
    cells = name, duration(race.median(name))
    more = ("", "") if name == NOTHING else (duration(race.extra(name)), f"{100 * race.share(name):.1f} %")
    return *cells, *more, *("" if spent is None else duration(spent) for spent in phases)
