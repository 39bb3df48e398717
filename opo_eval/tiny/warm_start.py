"""Supervised warm start of the tiny model, from random weights: `python -m opo_eval.tiny.warm_start`.

Every step draws fresh synthetic solutions of tiny-arith and lowers their cross-entropy; prompts and
padding carry no loss. Writes Hugging Face checkpoint directories and `warm_start.json`, which says what
was run and how the loss fell. On one kind of CPU, a seed and a number of threads give the same bits.
"""

import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from statistics import fmean

import numpy as np
import orjson
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerFast
from transformers.utils.logging import disable_progress_bar

from opo_eval.errors import UsageError
from opo_eval.progress import Progress
from opo_eval.provenance import current_provenance
from opo_eval.store import write_atomically
from opo_eval.tiny.batches import training_batches
from opo_eval.tiny.command import run_command
from opo_eval.tiny.model import build_model, tiny_config
from opo_eval.tiny.tokenizer import build_tokenizer

RECORD_FILE = "warm_start.json"
LOSS_WINDOW = 100
"""A loss that is written down is the mean over this many steps."""


@dataclass(frozen=True, kw_only=True)
class WarmStart:
    """Train the tiny model from random weights on synthetic solutions of tiny-arith."""

    out: Path
    """Directory for the checkpoints; it must be new or empty."""
    steps: int = 4000
    """Optimiser steps."""
    save_at: tuple[int, ...] = (1500, 4000)
    """Steps after which a checkpoint is saved, as OUT/step_001500."""
    seed: int = 0
    """Of the weights and of the training data."""
    batch_size: int = 128
    """Solutions a step."""
    learning_rate: float = 5e-3
    """AdamW's highest: it rises over the warm-up steps and then falls linearly towards zero."""
    warmup_steps: int = 100
    """Steps over which the learning rate rises."""
    weight_decay: float = 0.01
    """AdamW's."""
    error_rate: float = 0.15
    """Probability that a step of a solution carries a wrong result."""
    threads: int = 1
    """CPU threads of torch; another number may change the last bits of the weights."""
    quiet: bool = False
    """Show no progress."""

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size", "threads"):
            if getattr(self, name) < 1:
                raise UsageError(f"{_flag(name)} {getattr(self, name)} must be at least 1")
        if not self.save_at or not all(1 <= step <= self.steps for step in self.save_at):
            named = _spell(self.save_at) or "without a step"
            raise UsageError(f"--save-at {named} must name steps from 1 to {self.steps}")
        if not 0 <= self.error_rate <= 1:
            raise UsageError(f"--error-rate {self.error_rate} must be a probability, from 0 to 1")


# --- training ---------------------------------------------------------------------------------------


def train(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, settings: WarmStart) -> Iterator[float]:
    """Train `model` in place; yields the loss of each step's batch, in nats a solution token.

    When a loss is yielded, `model` has already taken the step that the loss belongs to.
    """
    batches = training_batches(
        tokenizer,
        np.random.default_rng(settings.seed),
        batch_size=settings.batch_size,
        error_rate=settings.error_rate,
    )
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay, betas=(0.9, 0.95)
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: rate_factor(step, settings))
    model.train()
    for batch in islice(batches, settings.steps):
        # No attention mask: padding is on the right, where causal attention does not look.
        loss = model(input_ids=batch.input_ids, labels=batch.labels).loss
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        yield loss.item()


def rate_factor(step: int, settings: WarmStart) -> float:
    """Fraction of the highest learning rate that a step, counted from 0, is taken with."""
    rising = (step + 1) / max(1, settings.warmup_steps)
    falling = (settings.steps - step) / max(1, settings.steps - settings.warmup_steps)
    return min(1.0, rising, falling)


# --- the command ------------------------------------------------------------------------------------


def warm_start(settings: WarmStart) -> None:
    """Train, save the checkpoints and write the record; UsageError where `out` holds files already.

    Sets torch's number of threads for the whole process.
    """
    if settings.out.exists() and any(settings.out.iterdir()):
        raise UsageError(f"--out {settings.out} is not empty: name a new directory")
    torch.set_num_threads(settings.threads)
    disable_progress_bar()  # transformers' own, which would break into ours at every checkpoint
    tokenizer = build_tokenizer()
    model = build_model(tiny_config(tokenizer), settings.seed)
    losses = []
    with Progress("warm start", settings.steps, unit="steps", quiet=settings.quiet) as progress:
        for loss in progress.watch(train(model, tokenizer, settings)):
            losses.append(loss)
            if len(losses) in settings.save_at:
                save_checkpoint(model, tokenizer, settings.out / checkpoint_folder(len(losses)))
    _write_record(settings, losses)


def checkpoint_folder(step: int) -> str:
    """Name of the directory that holds the checkpoint after `step` steps."""
    return f"step_{step:06d}"


def save_checkpoint(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, path: Path) -> None:
    """Write an ordinary Hugging Face directory: configurations, `model.safetensors`, tokenizer."""
    model.save_pretrained(path)
    tokenizer.save_pretrained(path)


def _write_record(settings: WarmStart, losses: list[float]) -> None:
    device = f"cpu ({torch.backends.cpu.get_cpu_capability()}, {settings.threads} threads)"
    record = {
        "command": _command(settings),
        "provenance": asdict(current_provenance(device)),
        "loss_after_step": {
            str(step): round(fmean(losses[max(0, step - LOSS_WINDOW) : step]), 4)
            for step in sorted({*range(LOSS_WINDOW, len(losses) + 1, LOSS_WINDOW), *settings.save_at})
        },
    }
    write_atomically(settings.out / RECORD_FILE, orjson.dumps(record, option=orjson.OPT_INDENT_2))


def _command(settings: WarmStart) -> str:
    """The command with every setting spelled out, but for the place and the way of showing progress."""
    decisive = {name: value for name, value in asdict(settings).items() if name not in ("out", "quiet")}
    flags = (f"{_flag(name)} {_spell(value)}" for name, value in decisive.items())
    return " ".join(["python -m opo_eval.tiny.warm_start --out DIR", *flags])


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _spell(value: object) -> str:
    return " ".join(map(str, value)) if isinstance(value, tuple) else str(value)


if __name__ == "__main__":
    sys.exit(run_command(WarmStart, warm_start))
