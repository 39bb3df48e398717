"""Ten steps of TRL's own GRPOTrainer by an export; in_trainers.py runs it in an environment that has TRL.

    python in_trainers_trl.py EXPORT STEPS ANSWER.json

The trainer is the one that the export's own script makes, watched: what it is rewarded for, the advantages
that come of it, and the gradient of its loss with respect to every log-probability.
"""

import importlib.util
import json
import sys
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from transformers import PrinterCallback

QUIET = {
    "use_cpu": True,
    "save_strategy": "no",
    "log_completions": False,
    "report_to": "none",
    "disable_tqdm": True,
}


class Watched:
    """A trainer's reward function, and what the trainer does next."""

    def __init__(self, trainer: Any) -> None:
        self.trainer, self.steps = trainer, []
        self._reward = trainer.reward_funcs[0]
        self._calls = {name: getattr(trainer, name) for name in self._NAMES}
        trainer.reward_funcs[0] = self.reward
        for name in self._NAMES:
            setattr(trainer, name, getattr(self, name.lstrip("_")))

    _NAMES = (
        "_generate_and_score_completions",
        "_compute_loss",
        "_get_per_token_logps_and_entropies",
    )

    def reward(self, prompts: list[Any], completions: list[Any], **columns: Any) -> list[float | None]:
        """The exported reward; what it was asked and what it said is kept."""
        values = self._reward(prompts, completions, **columns)
        self.steps.append(
            {
                "ids": columns["id"],
                "golds": columns["answer"],
                "texts": [completion[-1]["content"] for completion in completions],
                "rewards": values,
                "micro_batches": [],
            }
        )
        return values

    def generate_and_score_completions(self, inputs: Any) -> Any:
        """As TRL does, before it shuffles the responses."""
        batch = self._calls["_generate_and_score_completions"](inputs)
        self.steps[-1]["advantages"] = batch["advantages"].tolist()
        self.steps[-1]["lengths"] = batch["completion_mask"].sum(dim=1).tolist()
        self.steps[-1]["prompts"] = [
            ids[mask.bool()].tolist()
            for ids, mask in zip(batch["prompt_ids"], batch["prompt_mask"], strict=True)
        ]
        return batch

    def compute_loss(self, model: Any, inputs: Any) -> Any:
        """As TRL does, of one micro-batch."""
        self._now = {"lengths": inputs["completion_mask"].sum(dim=1).tolist()}
        self._now["advantages"] = inputs["advantages"].tolist()
        self.steps[-1]["micro_batches"].append(self._now)
        return self._calls["_compute_loss"](model, inputs)

    def get_per_token_logps_and_entropies(self, *arguments: Any, **options: Any) -> Any:
        """As TRL does; the gradient of what it gives is kept, where there is one."""
        found = self._calls["_get_per_token_logps_and_entropies"](*arguments, **options)
        if found[0].requires_grad:
            now = self._now
            found[0].register_hook(lambda grad: now.update(gradient=grad.tolist()))
        return found


def exported(folder: Path) -> Any:
    """The export's script as a module."""
    spec = importlib.util.spec_from_file_location("exported_train", folder / "train.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def main(export: str, steps: str, answer: str) -> None:
    """Train, and write what was seen."""
    torch.set_num_threads(1)
    with TemporaryDirectory() as out:
        trainer = exported(Path(export)).trainer(output_dir=out, max_steps=int(steps), **QUIET)
        trainer.remove_callback(PrinterCallback)
        watched = Watched(trainer)
        trainer.train()
    log = [entry for entry in trainer.state.log_history if "loss" in entry]
    facts = {"version": version("trl"), "trainer": type(trainer).__mro__[0].__name__}
    Path(answer).write_text(json.dumps({**facts, "log": log, "steps": watched.steps}))


if __name__ == "__main__":
    main(*sys.argv[1:])
