"""A step of training: TRL's GRPOTrainer against ours, taking turns in one process.

Needs trl 1.16.0, best in an environment of its own: `pip install torch==2.13.0 trl==1.16.0 -c constraints.txt
-e .[train]`.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean, median
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from _tables import duration, machine, markdown_table, repeats_from_command_line, write_report
from datasets import Dataset
from transformers import AutoModelForCausalLM, AutoTokenizer, PrinterCallback, TrainerCallback
from transformers.utils.logging import disable_progress_bar
from trl import GRPOConfig, GRPOTrainer

from opo_eval.problems import TEMPLATES, render
from opo_eval.records import Problem, Think, TrainingStep
from opo_eval.rl.config import TrainConfig
from opo_eval.rl.run import TrainingRun
from opo_eval.rl.trainer import Trainer
from opo_eval.tiny import checkpoint_path

PROBLEMS, GROUP, MAX_TOKENS = 32, 8, 64
LEARNING_RATE = 1e-6
"""Small, so that the last step writes responses as long as the first one's."""
WARM_UP = 2
PEER_BATCHES = (256, 64, 32)
"""Responses that the peer puts through the model together; the fastest of these is compared."""
PEER, LIKE, FULL = "TRL", "opo_eval", "opo_eval, all measured"
OURS: dict[str, dict[str, Any]] = {
    LIKE: {"reward": f"{__file__}:box_reward", "kl_every": 0},
    FULL: {"kl_every": 1},
}
"""Contestants of ours, with what each has otherwise than by default."""
PHASES = ("rollout", "reward", "reference", "update")


class Setting(NamedTuple):
    """A race, and how much faster ours has to be."""

    name: str
    checkpoint: str
    temperature: float
    ends: bool
    at_least: float


SETTINGS = (
    Setting("every response runs to the limit", "late", 1.0, ends=False, at_least=1.3),
    Setting("all end before half of the limit", "late", 1.0, ends=True, at_least=2.0),
    Setting("most end early, a few run to the limit", "early", 2.0, ends=True, at_least=2.0),
)


def box_reward(problems: Sequence[Problem], texts: Sequence[str]) -> list[float]:
    """1 for a text with its problem's answer in a box: the reward of both, at no cost to speak of."""
    return [_is_boxed(problem.answer, text) for problem, text in zip(problems, texts, strict=True)]


def peer_box_reward(completions: Sequence[str], answer: Sequence[str], **_: Any) -> list[float]:
    """The same as the peer calls it."""
    return [_is_boxed(gold, text) for gold, text in zip(answer, completions, strict=True)]


def _is_boxed(answer: str, text: str) -> float:
    return float(rf"\boxed{{{answer}}}" in text)


@dataclass
class Race:
    """Wall-clock seconds of each step by contestant, and what the steps of ours say of themselves."""

    seconds: dict[str, list[float]] = field(default_factory=dict)
    steps: dict[str, list[TrainingStep]] = field(default_factory=dict)

    def median(self, name: str) -> float:
        """Median seconds a step once all are warm."""
        return median(self.seconds[name][WARM_UP:])

    def phases(self, name: str) -> dict[str, float]:
        """Median seconds of each phase of a step of ours."""
        steps = self.steps[name][WARM_UP:]
        return {phase: median(step.seconds[phase] for step in steps) for phase in steps[0].seconds}

    def length(self, name: str) -> float:
        """Mean tokens of the responses of ours."""
        return fmean(step.length for step in self.steps[name][WARM_UP:])

    def truncated(self, name: str) -> float:
        """Share of the responses of ours that ran into the limit."""
        return fmean(step.truncated for step in self.steps[name][WARM_UP:])


class TakingTurns(TrainerCallback):
    """Lets each of ours take a step after every step of the peer."""

    def __init__(self, ours: Mapping[str, Trainer]) -> None:
        self._ours = ours
        self.race = Race({name: [] for name in (PEER, *ours)}, {name: [] for name in ours})

    def on_train_begin(self, *_: Any, **__: Any) -> None:
        """Start the peer's clock."""
        self._started = time.perf_counter()

    def on_step_end(self, *_: Any, **__: Any) -> None:
        """Stop it, let ours take a step each, and start it again."""
        self.race.seconds[PEER].append(time.perf_counter() - self._started)
        for name, trainer in self._ours.items():
            started = time.perf_counter()
            self.race.steps[name].append(trainer.take_step(trainer.done + 1))
            self.race.seconds[name].append(time.perf_counter() - started)
        self._started = time.perf_counter()


def write_checkpoint(folder: Path, setting: Setting) -> None:
    """A tiny checkpoint; where no response is to end, with an end-of-text token that it cannot write."""
    source = checkpoint_path(setting.checkpoint)
    model, tokenizer = AutoModelForCausalLM.from_pretrained(source), AutoTokenizer.from_pretrained(source)
    if not setting.ends:
        tokenizer.add_special_tokens({"eos_token": "<|never|>"})
        assert tokenizer.eos_token_id >= model.config.vocab_size
        model.generation_config.eos_token_id = model.config.eos_token_id = tokenizer.eos_token_id
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


@contextmanager
def our_trainer(checkpoint: Path, out: Path, setting: Setting, **options: Any) -> Iterator[Trainer]:
    """Ours, which steps when it is told to and saves nothing but its log."""
    config = TrainConfig(
        model=str(checkpoint),
        problems="tiny-arith",
        n_problems=PROBLEMS,
        problems_per_step=PROBLEMS,
        group_size=GROUP,
        max_tokens=MAX_TOKENS,
        temperature=setting.temperature,
        method="dr_grpo",
        learning_rate=LEARNING_RATE,
        think=Think.NONE,
        steps=10**6,
        save_every=10**6,
        out=out,
        **options,
    ).checked()
    with TrainingRun(out) as run, Trainer(config, run, quiet=True) as trainer:
        yield trainer


def peer_trainer(
    checkpoint: Path, out: Path, setting: Setting, problems: Sequence[Problem], *, batch: int, steps: int
) -> GRPOTrainer:
    """TRL's, with the same model, prompts, reward, loss and optimiser, and nothing to slow it down."""
    rows = [{"prompt": render(TEMPLATES["tiny"], problem), "answer": problem.answer} for problem in problems]
    return GRPOTrainer(
        model=AutoModelForCausalLM.from_pretrained(checkpoint),
        processing_class=AutoTokenizer.from_pretrained(checkpoint),
        reward_funcs=peer_box_reward,
        train_dataset=Dataset.from_list(rows),
        args=GRPOConfig(
            output_dir=str(out),
            per_device_train_batch_size=batch,
            gradient_accumulation_steps=PROBLEMS * GROUP // batch,
            num_generations=GROUP,
            max_completion_length=MAX_TOKENS,
            temperature=setting.temperature,
            max_steps=steps,
            learning_rate=LEARNING_RATE,
            lr_scheduler_type="constant",
            beta=0.0,
            scale_rewards="none",
            loss_type="dr_grpo",
            bf16=False,
            gradient_checkpointing=False,
            use_cpu=True,
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
            logging_strategy="no",
        ),
    )


def run_race(setting: Setting, batch: int, repeats: int) -> Race:
    """Steps of all in turns."""
    with TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        checkpoint = folder / "checkpoint"
        write_checkpoint(checkpoint, setting)
        ours = {
            contestant: stack.enter_context(our_trainer(checkpoint, folder / contestant, setting, **options))
            for contestant, options in OURS.items()
        }
        problems, steps = ours[LIKE].data.problems, WARM_UP + repeats
        peer = peer_trainer(checkpoint, folder / PEER, setting, problems, batch=batch, steps=steps)
        turns = TakingTurns(ours)
        peer.add_callback(turns)
        peer.remove_callback(PrinterCallback)
        peer.train()
    return turns.race


def fastest(races: Mapping[int, Race]) -> int:
    """The batch with which the peer was fastest against ours in the same minutes."""
    return min(races, key=lambda batch: races[batch].median(PEER) / races[batch].median(LIKE))


def time_row(setting: Setting, batch: int, race: Race) -> tuple[object, ...]:
    """One row of the table of times."""
    peer, like = race.median(PEER), race.median(LIKE)
    times = (duration(race.median(name)) for name in (PEER, LIKE, FULL))
    drawn = f"{race.length(LIKE):.1f}", f"{100 * race.truncated(LIKE):.1f} %"
    return setting.name, *drawn, batch, *times, f"{peer / like:.2f}×"


def phase_row(setting: Setting, name: str, race: Race) -> tuple[object, ...]:
    """One row of the table of phases."""
    phases = race.phases(name)
    return setting.name, name, *(duration(phases[phase]) if phase in phases else "" for phase in PHASES)


def all_times(races: Mapping[Setting, Mapping[int, Race]]) -> str:
    """The table of all races."""
    header = ["responses", "mean tokens", "at the limit", "TRL's batch", PEER, LIKE, FULL, "ratio"]
    return markdown_table(
        header,
        [time_row(s, batch, race) for s, of_batch in races.items() for batch, race in of_batch.items()],
    )


def all_phases(best: Mapping[Setting, Race]) -> str:
    """The table of phases."""
    rows = [phase_row(setting, name, race) for setting, race in best.items() for name in (LIKE, FULL)]
    return markdown_table(["responses", "", *PHASES], rows)


def summary(best: Mapping[Setting, Race]) -> str:
    """The table of ratios that were wanted."""
    rows = [
        (setting.name, f"{race.median(PEER) / race.median(LIKE):.2f}×", f"{setting.at_least:g}×")
        for setting, race in best.items()
    ]
    return markdown_table(["responses", "ratio", "at least"], rows)


def main() -> None:
    """Race and write the report."""
    repeats = repeats_from_command_line(__doc__ or "", default=9)
    disable_progress_bar()
    races = {
        setting: {batch: run_race(setting, batch, repeats) for batch in PEER_BATCHES} for setting in SETTINGS
    }
    best = {setting: of_batch[fastest(of_batch)] for setting, of_batch in races.items()}
    write_report(
        "trainer",
        [
            "# Speed: a step of training",
            f"TRL's GRPOTrainer against ours: the tiny model, {PROBLEMS} problems × {GROUP} responses of at "
            f"most {MAX_TOKENS} tokens, the Dr. GRPO loss without reference policy, one AdamW update a step "
            "with the same rate and clipping, float32, the same prompts, and the same reward, which looks "
            "for the answer in a box. In one process and taking turns, step by step; wall clock on an "
            f"otherwise idle machine, medians of {repeats} steps after {WARM_UP} to warm up. To run every "
            "response to the limit, both get an end-of-text token that the model cannot write.",
            summary(best),
            "The peer's time depends on how many responses it puts through the model together "
            "(`per_device_train_batch_size`, the rest by gradient accumulation): the batch that serves it "
            f"best counts above. `{LIKE}` measures what TRL measures too; `{FULL}` is ours with its "
            "defaults, the evaluation's grader as reward and the exact KL to the starting policy. "
            "Times are of a step:",
            all_times(races),
            "Where ours goes:",
            all_phases(best),
            machine(["torch", "transformers", "trl"]),
        ],
    )


if __name__ == "__main__":
    main()
