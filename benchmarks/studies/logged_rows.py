"""Numbers of the tools' logs beside ours by the same definition and the exact values, as rows of a table."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import logged_precision as precision
import numpy as np
import torch
from logged_definitions import Entry, Layout
from logged_precision import Precision, Tokens
from torch import Tensor
from transformers import AutoModelForCausalLM

from opo_eval.scoring import OutputHead, last_hidden, output_head, token_stats
from opo_eval.tiny import checkpoint_path

POLICY, REFERENCE = "late", "early"
N_REDRAWS = 1000
Answer = Mapping[str, Any]
"""Of a tool: arrays by name."""
Question = Mapping[str, Any]
Row = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Setting:
    """One way to run a tool on the responses of one temperature."""

    tool: str
    how: str
    temperature: float
    entries: tuple[Entry, ...]
    precision: Precision | None = None
    """Of what follows the last hidden states; None: float32 from beginning to end."""
    rounded: str = ""
    """The same in words."""
    from_logits: Precision | None = None
    """The same of TRL's function for logits, where that is asked for too."""
    micro_batches: int = 1
    options: dict[str, Any] = field(default_factory=dict)
    trainer: str = ""

    @property
    def name(self) -> str:
        """Unlike that of any other setting."""
        return f"{self.tool} {self.how} at {self.temperature:g}"


# --- ours -------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Own:
    """The exact values at every token of a question, from a float32 backbone: [N] float64, nats."""

    tokens: Tokens
    hidden: Tensor
    """[N, H] float32"""
    kl: Tensor
    entropy_at_1: Tensor
    log_p: Tensor
    """[N, V]"""
    log_q: Tensor

    def moments(self, entry: Entry) -> tuple[Tensor, Tensor]:
        """Mean and variance of what an estimator gives, over all tokens that could have been drawn: [N]."""
        assert entry.estimator is not None
        p, values = self.log_p.exp(), entry.estimator(self.log_p, self.log_q)
        mean = (p * values).sum(dim=-1)
        return mean, (p * (values - mean[:, None]) ** 2).sum(dim=-1)

    def redrawn(self, entry: Entry) -> Tensor:
        """What it gives for tokens drawn anew, each in the place where it stands: [N, N_REDRAWS]."""
        assert entry.estimator is not None
        values = entry.estimator(self.log_p, self.log_q)
        generator = torch.Generator().manual_seed(0)
        places = torch.multinomial(self.log_p.exp(), N_REDRAWS, replacement=True, generator=generator)
        return values.gather(-1, places)


def own(asked: Question) -> Own:
    """Score the responses of a question."""
    (hidden, head), (ref_hidden, ref_head) = (scored(asked, name) for name in (POLICY, REFERENCE))
    targets, temperature = targets_of(asked), asked["temperature"]
    found = token_stats(
        hidden, head, targets, ref_hidden=ref_hidden, ref_head=ref_head, temperature=temperature
    )
    log_p, log_q = (
        (one.logits(h, torch.float64) / temperature).log_softmax(dim=-1)
        for one, h in ((head, hidden), (ref_head, ref_hidden))
    )
    assert found.kl is not None
    return Own(
        hidden=hidden,
        tokens=Tokens(entropy=found.entropy, logprob=found.logprob, ref_logprob=found.ref_logprob),
        kl=found.kl,
        entropy_at_1=token_stats(hidden, head, targets).entropy,
        log_p=log_p,
        log_q=log_q,
    )


@torch.no_grad()
def scored(asked: Question, checkpoint: str) -> tuple[Tensor, OutputHead]:
    """Hidden states [N, H] from which the responses' tokens are predicted, and the head."""
    model = AutoModelForCausalLM.from_pretrained(checkpoint_path(checkpoint)).eval()
    rows = [
        last_hidden(model, torch.tensor([prompt + response]))[0, len(prompt) - 1 : -1]
        for prompt, response in zip(asked["prompts"], asked["responses"], strict=True)
    ]
    head = output_head(model)
    return torch.cat(rows), OutputHead(head.weight.detach())


def targets_of(asked: Question) -> Tensor:
    """All tokens of all responses, [N]."""
    return torch.tensor([token for response in asked["responses"] for token in response])


def layout_of(asked: Question, answer: Answer) -> Layout:
    """How a tool laid the tokens out; verl's sums do not depend on micro-batches."""
    lengths = torch.tensor([len(response) for response in asked["responses"]])
    micro_batch = answer.get("micro_batch", np.zeros(len(lengths), dtype=int))
    return Layout(lengths=lengths, width=asked["width"], micro_batch=torch.from_numpy(micro_batch))


def in_precision(setting: Setting, answer: Answer, asked: Question) -> Tokens:
    """What the tool's hidden states come to with its roundings, by our functions."""
    assert setting.precision is not None
    rest = targets_of(asked), asked["temperature"]
    policy = setting.precision(torch.from_numpy(answer["hidden"]), head_of(POLICY), *rest)
    reference = setting.precision(torch.from_numpy(answer["ref_hidden"]), head_of(REFERENCE), *rest)
    return Tokens(entropy=policy.entropy, logprob=policy.logprob, ref_logprob=reference.logprob)


@cache
def head_of(checkpoint: str) -> Tensor:
    """The weight of a checkpoint's head, [V, H]."""
    return AutoModelForCausalLM.from_pretrained(checkpoint_path(checkpoint)).lm_head.weight.detach()


# --- rows -------------------------------------------------------------------------------------------


def logged_rows(setting: Setting, answer: Answer, asked: Question, ours: Own) -> Iterator[Row]:
    """Of each number that the tool logged."""
    layout, logged = layout_of(asked, answer), json.loads(str(answer["logged"]))
    tokens = ours.tokens if setting.precision is None else in_precision(setting, answer, asked)
    for entry in setting.entries:
        value = entry.value(tokens, layout)
        yield {
            "tool": setting.tool,
            "version": str(answer["version"]),
            "setting": setting.how,
            "temperature": setting.temperature,
            "precision": "float32" if setting.precision is None else "bfloat16",
            "quantity": "KL" if entry.is_kl else "entropy",
            "logged_as": entry.name,
            "options": entry.options,
            "definition": entry.definition,
            "value": logged[entry.key],
            "ours": value,
            "difference": logged[entry.key] - value,
            "exact": float((ours.kl if entry.is_kl else ours.tokens.entropy).mean()),
            **(of_kl(entry, ours, layout) if entry.is_kl else of_entropy(setting, answer, asked, ours)),
            "why": entry.why,
            "rounded": setting.rounded,
            "responses": len(layout.lengths),
            "tokens": int(layout.lengths.sum()),
        }


def of_kl(entry: Entry, ours: Own, layout: Layout) -> Row:
    """What an estimator gives on average, how widely it strays, and where the sampled tokens took it."""
    weights, (mean, variance) = entry.weights(layout), ours.moments(entry)
    expected, error = float(weights @ mean), float((weights**2) @ variance) ** 0.5
    off = (entry.value(ours.tokens, layout) - expected) / error if error else 0.0
    below = weights @ ours.redrawn(entry) < weights @ ours.kl
    return {
        "expected": expected,
        "standard_error": error,
        "standard_errors_off": off,
        "redraws_below": float(below.double().mean()),
    }


def of_entropy(setting: Setting, answer: Answer, asked: Question, ours: Own) -> Row:
    """The exact mean at temperature 1, and what of the difference comes from where."""
    weight, temperature = head_of(POLICY), setting.temperature
    row: Row = {"exact_at_1": float(ours.entropy_at_1.mean())}
    if setting.precision is None:
        form = precision.float32_difference(ours.hidden, weight, temperature)
        return row | {"of_float32_difference": float((form - ours.tokens.entropy).mean())}
    hidden = torch.from_numpy(answer["hidden"])
    step = precision.exact if setting.precision is precision.exact else precision.bfloat16_logits
    at = {"of_its_logits": temperature}
    if setting.precision in precision.ROUND_TEMPERATURE:
        at["at_rounded_temperature"] = float(precision.to_bfloat16(torch.tensor(temperature)))
    targets = targets_of(asked)
    return row | {name: float(step(hidden, weight, targets, t).entropy.mean()) for name, t in at.items()}


def token_rows(setting: Setting, answer: Answer, asked: Question, ours: Own) -> Iterator[Row]:
    """Of each number that the tool made of every token."""
    same = ours.tokens if setting.precision is None else in_precision(setting, answer, asked)
    for name in ("entropy", "logprob", "ref_logprob"):
        yield _token_row(setting, name, answer[name], getattr(same, name), getattr(ours.tokens, name))
    if setting.from_logits is not None:
        name, hidden = "entropy_from_logits", torch.from_numpy(answer["hidden"])
        found = setting.from_logits(hidden, head_of(POLICY), targets_of(asked), setting.temperature)
        yield _token_row(setting, name, answer[name], found.entropy, ours.tokens.entropy)


def _token_row(setting: Setting, name: str, answered: np.ndarray, same: Tensor, exact: Tensor) -> Row:
    theirs = torch.from_numpy(answered).double()
    off, cost = theirs - same, theirs - exact
    return {
        "tool": setting.tool,
        "setting": setting.how,
        "temperature": setting.temperature,
        "quantity": name,
        "equal": float((off == 0).double().mean()),
        "largest": float(off.abs().max()),
        "mean": float(off.mean()),
        "largest_from_exact": float(cost.abs().max()),
        "mean_from_exact": float(cost.mean()),
        "zero": int((theirs == 0).sum()),
        "zero_exactly": int((exact == 0).sum()),
    }
