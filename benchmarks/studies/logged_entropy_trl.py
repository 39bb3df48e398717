"""What TRL's trainers log of given responses; logged_entropy.py runs it in an environment that has TRL.

    python logged_entropy_trl.py QUESTION.json ANSWER.npz

The trainer is TRL's own and takes one step, at a learning rate of 0; only its sampling is replaced, by the
responses of the question.
"""

import json
import sys
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoTokenizer, PrinterCallback
from trl import GRPOConfig, GRPOTrainer, RLOOConfig, RLOOTrainer
from trl.trainer.utils import entropy_from_logits

LOGGED = ("entropy", "kl")


@dataclass(frozen=True)
class Scored:
    """What a trainer made of each token of some responses: [B, C], and [B, C, H] for hidden."""

    input_ids: Tensor
    mask: Tensor
    logprob: Tensor
    entropy: Tensor | None
    hidden: Tensor

    def responses(self) -> Iterator[tuple[str, dict[str, Tensor]]]:
        """Each response's key and values, without padding."""
        width = self.logprob.shape[1]
        values = {"logprob": self.logprob, "entropy": self.entropy, "hidden": self.hidden}
        for i, (ids, mask) in enumerate(zip(self.input_ids, self.mask.bool(), strict=True)):
            prompt, response = ids[:-width][mask[:-width]], ids[-width:][mask[-width:]]
            kept = {name: x[i, mask[-width:]] for name, x in values.items() if x is not None}
            yield key(prompt.tolist(), response.tolist()), kept


def key(prompt: list[int], response: list[int]) -> str:
    """A response among others."""
    return f"{prompt} {response}"


class Given:
    """A trainer that is given its responses, and keeps what it makes of them."""

    def be_given(self, question: dict[str, Any]) -> None:
        """Take these prompts and responses, and begin to watch."""
        self.prompts, self.given = question["prompts"], question["responses"]
        self.policy_scored: list[Scored] = []
        self.reference_scored: list[Scored] = []
        self._hidden: list[Tensor] = []
        for model in (self.model, self.ref_model):
            model.get_decoder().register_forward_hook(self._keep_hidden)

    def _keep_hidden(self, _: Any, __: Any, output: Any) -> None:
        self._hidden.append(output.last_hidden_state.detach())

    def _generate_single_turn(self, prompt_ids: list[list[int]], *_: Any, **__: Any) -> Any:
        assert [list(ids) for ids in prompt_ids] == self.prompts, "TRL reads the prompts as other tokens"
        return (self.given, None) if isinstance(self, GRPOTrainer) else self.given

    def _get_per_token_logps_and_entropies(
        self, model: Any, input_ids: Tensor, mask: Tensor, width: int, *args: Any, **options: Any
    ) -> Any:
        self._hidden.clear()
        found = super()._get_per_token_logps_and_entropies(model, input_ids, mask, width, *args, **options)
        logprob, entropy = (None if x is None else x.detach() for x in found[:2])
        hidden = torch.cat(self._hidden)[:, -width - 1 : -1]
        scored = Scored(input_ids, mask, logprob, entropy, hidden)
        if model is self.ref_model:
            self.reference_scored.append(scored)
        elif entropy is not None:  # RLOO scores once more, for what it calls old
            self.policy_scored.append(scored)
        return found


class GivenGRPO(Given, GRPOTrainer):
    """GRPO on given responses."""


class GivenRLOO(Given, RLOOTrainer):
    """RLOO on given responses."""


TRAINERS = {"grpo": (GivenGRPO, GRPOConfig), "rloo": (GivenRLOO, RLOOConfig)}


def trained(question: dict[str, Any], out: str) -> Any:
    """The trainer after its step."""
    kind, config = TRAINERS[question["trainer"]]
    trainer = kind(
        model=AutoModelForCausalLM.from_pretrained(question["policy"]),
        processing_class=AutoTokenizer.from_pretrained(question["policy"]),
        reward_funcs=lambda completions, **_: [float(len(text)) for text in completions],
        train_dataset=Dataset.from_list([{"prompt": text} for text in question["texts"]]),
        args=config(output_dir=out, **_settings(question), **question["options"]),
    )
    reference = AutoModelForCausalLM.from_pretrained(question["reference"])
    trainer.ref_model.load_state_dict(reference.state_dict())
    trainer.remove_callback(PrinterCallback)
    trainer.be_given(question)
    torch.manual_seed(0)  # it shuffles the responses over the micro-batches
    trainer.train()
    return trainer


def _settings(question: dict[str, Any]) -> dict[str, Any]:
    n_responses, n_micro_batches = len(question["responses"]), question["micro_batches"]
    return {
        "per_device_train_batch_size": n_responses // n_micro_batches,
        "gradient_accumulation_steps": n_micro_batches,
        "num_generations": n_responses // len(question["texts"]),
        "max_completion_length": question["width"],
        "temperature": question["temperature"],
        "learning_rate": 0.0,
        "max_steps": 1,
        "logging_steps": 1,
        "shuffle_dataset": False,
        "gradient_checkpointing": False,
        "use_cpu": True,
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
    }


def answer(trainer: Any, question: dict[str, Any]) -> dict[str, Any]:
    """What was logged, and what was made of every token, in the question's order."""
    log = trainer.state.log_history[0]
    policy, batch_of = joined(trainer.policy_scored, question)
    reference, _ = joined(trainer.reference_scored, question)
    return {
        "version": version("trl"),
        "logged": json.dumps({name: log[name] for name in LOGGED}),
        "micro_batch": np.array(batch_of),
        "entropy": policy["entropy"].numpy(),
        "logprob": policy["logprob"].numpy(),
        "ref_logprob": reference["logprob"].numpy(),
        "hidden": policy["hidden"].numpy(),
        "ref_hidden": reference["hidden"].numpy(),
        "entropy_from_logits": function_entropy(trainer, policy["hidden"], question["temperature"]),
    }


def joined(batches: list[Scored], question: dict[str, Any]) -> tuple[dict[str, Tensor], list[int]]:
    """Values of all tokens in the question's order, and the micro-batch of every response."""
    found = defaultdict(list)
    for number, batch in enumerate(batches):
        for name, values in batch.responses():
            found[name].append((number, values))
    asked = zip(question["prompts"], question["responses"], strict=True)
    numbers, values = zip(*(found[key(*pair)].pop(0) for pair in asked), strict=True)
    return {name: torch.cat([one[name] for one in values]) for name in values[0]}, list(numbers)


@torch.no_grad()
def function_entropy(trainer: Any, hidden: Tensor, temperature: float) -> np.ndarray:
    """TRL's function for logits that are there, on those that the trainer's precision gives."""
    with trainer.accelerator.autocast():
        logits = trainer.model.lm_head(hidden)
    return entropy_from_logits(logits / temperature).float().numpy()


def main(question_path: str, answer_path: str) -> None:
    """Answer one question."""
    question = json.loads(Path(question_path).read_text())
    with TemporaryDirectory() as out:
        np.savez(answer_path, **answer(trained(question, out), question))


if __name__ == "__main__":
    main(*sys.argv[1:])
