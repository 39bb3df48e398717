"""The OPO trainer and its rivals: sample, reward, compare, update, again.

    problems ──► rollout (a sampler) ──► rewards (the grader) ──► advantages ──► update ──► next step

Everything random is drawn from seeds that depend on the run's seed, the step, the problem and the index
alone, so an interrupted run goes on as if nothing had happened.
"""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from math import cos, pi
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers.utils.logging import disable_progress_bar

from opo_eval.errors import ElsewhereError, OpoEvalError, StoreError
from opo_eval.progress import Progress
from opo_eval.records import Checkpoint, TrainingStep, Verdict
from opo_eval.rl.advantages import ADVANTAGES
from opo_eval.rl.clock import Clock
from opo_eval.rl.config import Schedule, TrainConfig
from opo_eval.rl.data import TrainingData, filter_data, load_data
from opo_eval.rl.interruption import asked_to_stop
from opo_eval.rl.processes import Processes, join
from opo_eval.rl.recording import record_step
from opo_eval.rl.rewards import GradeReward, Reward, load_reward
from opo_eval.rl.rollout import Rollout, problems_of_step, roll_out, rows_of, steps_per_epoch
from opo_eval.rl.run import FollowedRun, TrainingRun
from opo_eval.rl.setup import describe, make_grader, make_policy, make_sampler
from opo_eval.rl.sharding import load_model, load_optimizer, whole_tree
from opo_eval.rl.steps import checkpoint_name
from opo_eval.rl.update import Sums, Update, split_groups
from opo_eval.rl.writers import check_names, make_writers, scalars
from opo_eval.samplers import Sampler
from opo_eval.wording import counted

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Trained:
    """What a call of `train` came to."""

    path: Path
    data: TrainingData
    steps: tuple[TrainingStep, ...]
    """Taken now."""
    n_before: int
    """Taken before."""
    is_main: bool = True
    """Whether this process speaks for the run."""

    def sentences(self) -> list[str]:
        """What happened, for a person; of several processes one says it."""
        if not self.is_main:
            return []
        before = f"; {self.n_before} were taken before" if self.n_before else ""
        said = [*self.data.sentences, f"{self.path}: {counted(len(self.steps), 'step')} taken{before}"]
        if len(self.steps) > 1:
            first, last = self.steps[0], self.steps[-1]
            said.append(
                f"mean reward {_number(first.reward)} at step {first.step}, "
                f"{_number(last.reward)} at step {last.step}; entropy {_number(first.entropy)}, "
                f"then {_number(last.entropy)}; KL to the start {_last_kl(self.steps)}"
            )
        return said


def _last_kl(steps: Sequence[TrainingStep]) -> str:
    """Not every step measures it."""
    measured = [step for step in steps if step.kl_start is not None]
    if not measured:
        return "not measured"
    return f"{_number(measured[-1].kl_start)} nats a token at step {measured[-1].step}"


def _number(value: float | None) -> str:
    return "not measured" if value is None else f"{value:.3g}"


def train(config: TrainConfig, *, quiet: bool = False) -> Trained:
    """Train, or continue a run in `config.out`.

    Raises UsageError for settings that do not fit, StoreError where the directory holds another run,
    OpoEvalError where a loss is not finite; what was saved before is kept.
    """
    disable_progress_bar()  # transformers' own, which would break into ours at every checkpoint
    processes = join(config.device)
    with ExitStack() as stack:
        config = processes.agree(config.checked)
        if config.threads:
            torch.set_num_threads(config.threads)
        quiet = quiet or not processes.is_main
        open_run = TrainingRun if processes.is_main else FollowedRun
        run = stack.enter_context(processes.agree(lambda: open_run(config.out)))
        trainer = stack.enter_context(
            processes.agree(lambda: Trainer(config, run, quiet=quiet, processes=processes))
        )
        n_before = trainer.done
        steps = trainer.run_steps(quiet=quiet)
    processes.close()
    return Trained(
        path=config.out,
        data=trainer.data,
        steps=tuple(steps),
        n_before=n_before,
        is_main=processes.is_main,
    )


class Trainer:
    """A policy, its optimiser and where they are in a run; a context manager."""

    def __init__(
        self,
        config: TrainConfig,
        run: TrainingRun,
        *,
        quiet: bool = False,
        processes: Processes | None = None,
    ) -> None:
        self.config, self.run, self.method = config, run, config.settled()
        self.processes = processes or Processes()
        check_names(config.log_to)  # before hours of filtering
        self.policy, self.tokenizer = self.processes.agree(lambda: make_policy(config, self.processes))
        self.optimizer = torch.optim.AdamW(
            self.policy.model.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay
        )
        self.done = self.n_updates = 0
        with ExitStack() as opened:
            self.grader = opened.enter_context(make_grader(config))
            self.reward: Reward = load_reward(config.reward) if config.reward else GradeReward(self.grader)
            self.data, self.sampler = self._load(quiet)
            opened.callback(self.sampler.close)
            description = describe(config, self.data, self.sampler, self.processes)
            self.processes.agree(
                lambda: run.begin(description, may_grow=config.schedule is Schedule.CONSTANT)
            )
            self._restore(self.processes.agree(run.restore))
            names = config.log_to if self.processes.is_main else ()
            self.writers = make_writers(names, config.out, asdict(config))
            for writer in self.writers:
                opened.callback(writer.close)
            self._opened = opened.pop_all()

    def __enter__(self) -> "Trainer":
        return self

    def __exit__(self, *_: object) -> None:
        self._opened.close()

    def _load(self, quiet: bool) -> tuple[TrainingData, Sampler]:
        config = self.config
        loaded = load_data(config)
        steps_per_epoch(len(loaded.problems), config.problems_per_step)
        sampler = make_sampler(config, self.policy, self.tokenizer, loaded.problems[0].benchmark)
        data = self.processes.broadcast(
            lambda: filter_data(loaded, config, sampler, self.grader, quiet=quiet)
        )
        steps_per_epoch(len(data.problems), config.problems_per_step)
        return data, sampler

    # --- the loop -----------------------------------------------------------------------------------

    def run_steps(self, *, quiet: bool = False) -> list[TrainingStep]:
        """Take the steps that are left; on an interruption, finish the step in flight and keep it."""
        steps = []
        left = range(self.done + 1, self.config.steps + 1)
        what = f"training {self.config.method}"
        asking = asked_to_stop(patient=self.processes.size > 1)
        with asking as asked, Progress(what, len(left), unit="steps", quiet=quiet) as progress:
            for number in progress.watch(left):
                steps.append(self.take_step(number))
                if any(self.processes.all_gather(asked)):
                    self._save_state()
                    raise KeyboardInterrupt if self.processes.is_main else ElsewhereError("interrupted")
        return steps

    def take_step(self, number: int) -> TrainingStep:
        """One rollout, what is learnt from it, and what is due to be saved."""
        clock = Clock()
        with clock("rollout"):
            rollout = self._roll_out(number)
        with clock("reward"):
            earned, verdicts = self.processes.broadcast(lambda: self._score(rollout))
            rewards = rollout.by_group(earned)
        with clock("update"):
            sums, rate = self._learn(number, rollout, rewards, clock)
        self.done = number
        step = record_step(
            number,
            self.config,
            rollout,
            rewards,
            verdicts=verdicts,
            sums=sums,
            learning_rate=rate,
            n_updates=self.n_updates,
            seconds=clock.seconds,
        )
        # The line comes first: a state without its line could not be completed, a line too many is cut off.
        self.processes.agree(lambda: self._report(step))
        self._save(number)
        return step

    def _roll_out(self, number: int) -> Rollout:
        config = self.config
        problems = problems_of_step(self.data.problems, number, config.problems_per_step, config.seed)
        self.policy.refresh()
        return roll_out(
            self.sampler,
            problems,
            group_size=config.group_size,
            seed=config.seed,
            step=number,
            processes=self.processes,
        )

    def _score(self, rollout: Rollout) -> tuple[list[float], Sequence[Verdict] | None]:
        """Rewards and, where the grader gave them, its verdicts."""
        rewards = self.reward(*rollout.texts())
        return rewards, self.reward.verdicts if isinstance(self.reward, GradeReward) else None

    def _report(self, step: TrainingStep) -> None:
        self.run.append(step)
        for writer in self.writers:
            writer.add(step.step, scalars(step))

    def _learn(self, number: int, rollout: Rollout, rewards: Floats, clock: Clock) -> tuple[Sums, float]:
        config, method = self.config, self.method
        options = {} if config.alpha is None else {"alpha": config.alpha}
        advantages = ADVANTAGES[method.advantage](rewards, rollout.lengths, **options)
        checkpoint = Checkpoint(
            name=f"step {number - 1}", method=config.method, train_seed=config.seed, step=number - 1
        )
        episodes = rollout.episodes(checkpoint, rewards, advantages)
        mini_batches = split_groups(config.problems_per_step, config.group_size, method.mini_batches)
        rows = self.processes.agree(
            lambda: rows_of(rollout, episodes, self.sampler.prompt_ids, mini_batches, method.aggregation)
        )
        rate = config.learning_rate * rate_factor(number, config)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        update = Update(
            policy=self.policy,
            optimizer=self.optimizer,
            method=method,
            gradient_clip=config.gradient_clip,
            micro_batch_tokens=config.micro_batch_tokens or _micro_batch(self.policy.device),
            rows=rows,
            against_start=_measures_kl(number, config.kl_every),
            clock=clock,
        )
        try:
            sums = update.run(mini_batches)
        except ElsewhereError:
            raise
        except OpoEvalError as error:
            raise OpoEvalError(f"step {number} of {config.out}: {error}{self._kept()}") from None
        self.n_updates += method.mini_batches
        return sums, rate

    # --- what is kept -------------------------------------------------------------------------------

    def _save(self, number: int) -> None:
        # The state comes first: a continued run writes the checkpoint that is missing, from its weights.
        if self._is_due(number, self.config.state_every or self.config.save_every):
            self._save_state()
        if self._is_due(number, self.config.save_every):
            self._save_checkpoint(number)

    def _is_due(self, number: int, every: int) -> bool:
        return number == self.config.steps or number % every == 0

    def _save_checkpoint(self, number: int) -> None:
        weights = whole_tree(self.policy.model.state_dict(keep_vars=True), keep=self.processes.is_main)

        def write(path: Path) -> None:
            self.policy.model.save_pretrained(path, state_dict=weights)
            self.tokenizer.save_pretrained(path)

        self.processes.agree(lambda: self.run.save_checkpoint(number, write))

    def _save_state(self) -> None:
        state = {
            "step": self.done,
            "n_updates": self.n_updates,
            "model": self.policy.model.state_dict(keep_vars=True),
            "optimizer": self.optimizer.state_dict(),
        }
        whole_state = whole_tree(state, keep=self.processes.is_main)
        self.processes.agree(lambda: self.run.save_state(whole_state))

    def _restore(self, state: dict[str, Any] | None) -> None:
        _refuse_other_states(
            self.processes.all_gather(lambda: state["step"] if state else 0), self.config.out
        )
        if state is not None:
            load_model(self.policy.model, state["model"])
            load_optimizer(self.optimizer, state["optimizer"])
            self.done, self.n_updates = state["step"], state["n_updates"]
            is_there = self.processes.broadcast((self.config.out / checkpoint_name(self.done)).exists)
            if self._is_due(self.done, self.config.save_every) and not is_there:
                self._save_checkpoint(self.done)

    def _kept(self) -> str:
        saved = sorted(self.config.out.glob("step_*"))
        return f"; the last checkpoint before that is {saved[-1]}" if saved else ""


def _refuse_other_states(steps: Sequence[int], out: Path) -> None:
    if len(set(steps)) > 1:
        raise StoreError(
            f"the processes find {out} at different steps ({', '.join(map(str, steps))}): give an out on a "
            "file system that all machines share"
        )


def _micro_batch(device: torch.device) -> int:
    # Wider ones hold more activations than most GPUs have room for, from 0.5 billion parameters on.
    return 2_048 if device.type == "cpu" else 8_192


def rate_factor(step: int, config: TrainConfig) -> float:
    """Share of the highest learning rate that a step, counted from 1, is taken with."""
    if step <= config.warmup_steps:
        return step / config.warmup_steps
    done = (step - 1 - config.warmup_steps) / max(1, config.steps - config.warmup_steps)
    return _AFTER_WARMUP[config.schedule](done)


_AFTER_WARMUP = {
    Schedule.CONSTANT: lambda done: 1.0,
    Schedule.LINEAR: lambda done: 1.0 - done,
    Schedule.COSINE: lambda done: (1 + cos(pi * done)) / 2,
}


def _measures_kl(step: int, every: int) -> bool:
    return every > 0 and (step - 1) % every == 0
