"""Sampling with Hugging Face `generate`: any checkpoint, any device, no server.

Every sample has a random generator of its own, seeded by its (problem, index), so a response does not
depend on which others share its batch, nor on when a run was interrupted (but for rounding, which in half
precision may tip a token). `generate` itself decodes
greedily: a logits processor has drawn the token beforehand.
"""

import hashlib
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import groupby, islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    GenerationConfig,
    LogitsProcessor,
    LogitsProcessorList,
)
from transformers.utils import logging as transformers_logging

from opo_eval.errors import EngineError, UsageError
from opo_eval.problems import make_prompting, render
from opo_eval.records import Finish, Problem, Prompting, SamplingSettings
from opo_eval.samplers.base import Generation, Request

transformers_logging.disable_progress_bar()

_DECIDING_FILES = ("*config.json", "tokenizer*", "*.jinja", "vocab*", "merges*", "*.safetensors*", "*.bin*")
_HASHED_HEAD, _PIECES, _PIECE = 2**20, 256, 2**12

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


class HFSampler:
    """A checkpoint directory (or hub name) loaded with transformers.

    template: name or text of the prompt template, put through the tokenizer's chat template where it
    has one (`chat=False` leaves that out). temperature 0 decodes greedily. batch_size: responses drawn
    together. Raises EngineError for a checkpoint that cannot be loaded, UsageError for settings out of
    range.
    """

    def __init__(
        self,
        checkpoint: str,
        *,
        template: str,
        system: str | None = None,
        response_prefix: str = "",
        chat: bool = True,
        temperature: float = 1.0,
        top_p: float = 1.0,
        top_k: int = 0,
        max_tokens: int = 512,
        base_seed: int = 0,
        dtype: str = "float32",
        device: str | None = None,
        batch_size: int = 64,
    ) -> None:
        _check_range(temperature, top_p, top_k, max_tokens, dtype, batch_size)
        self.device = device or ("cuda" if torch.cuda.is_available() else "cpu")
        self.batch_size = batch_size
        self._tokenizer, self._model = _load(checkpoint, DTYPES[dtype], self.device)
        self._uses_chat = chat and self._tokenizer.chat_template is not None
        self._prompting = make_prompting(
            template,
            system=system,
            response_prefix=response_prefix,
            chat_template=self._tokenizer.chat_template if self._uses_chat else None,
        )
        if system and not self._uses_chat:
            raise UsageError(
                f"{checkpoint} has no chat template for a system message: put it in the template"
            )
        self._settings = SamplingSettings(
            engine="hf",
            temperature=temperature,
            top_p=top_p,
            top_k=top_k,
            max_tokens=max_tokens,
            base_seed=base_seed,
            dtype=dtype,
            model_sha256=model_sha256(checkpoint),
        )

    @property
    def prompting(self) -> Prompting:
        """Template and chat template in use."""
        return self._prompting

    @property
    def settings(self) -> SamplingSettings:
        """All that decides what is drawn."""
        return self._settings

    def generate(self, requests: Sequence[Request]) -> Iterator[Generation]:
        """Yield generations batch by batch, longest prompts first so that a batch pads little."""
        prompts = {request.problem.id: self.prompt_ids(request) for request in requests}
        ordered = sorted(requests, key=lambda request: -len(prompts[request.problem.id]))
        # Only responses with equal room share a batch: a long prompt must not shorten another's response.
        for room, alike in groupby(ordered, lambda request: self._room(prompts[request.problem.id], request)):
            while batch := list(islice(alike, self.batch_size)):
                yield from self._generate_batch(batch, [prompts[r.problem.id] for r in batch], room)

    def prompt_text(self, problem: Problem) -> str:
        """All that the model reads before it answers."""
        text = render(self._prompting, problem)
        if self._uses_chat:
            system = [{"role": "system", "content": self._prompting.system}] if self._prompting.system else []
            text = self._tokenizer.apply_chat_template(
                [*system, {"role": "user", "content": text}], add_generation_prompt=True, tokenize=False
            )
        return text + self._prompting.response_prefix

    def prompt_ids(self, request: Request) -> list[int]:
        """Token ids of the whole prompt; special tokens are added exactly once."""
        # A chat template has written the special tokens: the tokenizer must not add them again.
        text, bare = self.prompt_text(request.problem), not self._uses_chat
        return self._tokenizer(text, add_special_tokens=bare)["input_ids"]

    @torch.inference_mode()
    def _generate_batch(
        self, batch: Sequence[Request], prompts: list[list[int]], room: int
    ) -> Iterator[Generation]:
        inputs = self._tokenizer.pad({"input_ids": prompts}, padding_side="left", return_tensors="pt")
        rows = self._model.generate(
            **inputs.to(self.device),
            do_sample=False,
            max_new_tokens=room,
            logits_processor=LogitsProcessorList([_OwnSeeds(self._settings, batch, room)]),
        )
        for request, row in zip(batch, rows[:, inputs["input_ids"].shape[1] :].tolist(), strict=True):
            yield self._generation(request, row)

    def _generation(self, request: Request, row: list[int]) -> Generation:
        ends = [position for position, token in enumerate(row) if token in self._end_ids]
        tokens = row[: ends[0] + 1] if ends else row
        return Generation(
            request=request,
            text=self._tokenizer.decode(tokens, skip_special_tokens=True),
            token_ids=tuple(tokens),
            finish=Finish.STOP if ends else Finish.LENGTH,
            n_tokens=len(tokens),
        )

    @property
    def _end_ids(self) -> set[int]:
        ends = self._model.generation_config.eos_token_id
        return set(ends) if isinstance(ends, list) else {ends}

    def _room(self, prompt: list[int], request: Request) -> int:
        window = getattr(self._model.config, "max_position_embeddings", None)
        room = min(self._settings.max_tokens, window - len(prompt) if window else self._settings.max_tokens)
        if room < 1:
            raise EngineError(
                f"the prompt of problem {request.problem.source_id} has {len(prompt)} tokens and the model "
                f"takes {window}: choose a shorter template or another model"
            )
        return room


class _OwnSeeds(LogitsProcessor):
    """Draws each row's token with the row's own generator and leaves it as the only choice."""

    def __init__(self, settings: SamplingSettings, batch: Sequence[Request], max_new_tokens: int) -> None:
        self._settings, self._step = settings, 0
        # One uniform number a token, all drawn beforehand: [rows, tokens].
        rows = [np.random.Generator(np.random.Philox(r.seed)).random(max_new_tokens) for r in batch]
        self._uniform = torch.from_numpy(np.stack(rows))

    def __call__(self, input_ids: torch.LongTensor, scores: torch.FloatTensor) -> torch.FloatTensor:
        if self._settings.temperature == 0:
            return scores
        uniform = self._uniform[:, self._step].to(scores.device)
        self._step += 1
        chosen = draw_tokens(scores, uniform, self._settings)
        only = torch.full_like(scores, -torch.inf)
        return only.scatter(1, chosen[:, None], 0.0)  # type: ignore[return-value]


def draw_tokens(logits: torch.Tensor, uniform: torch.Tensor, settings: SamplingSettings) -> torch.Tensor:
    """Invert each row's distribution at its uniform number: logits [B, V], uniform [B] → tokens [B].

    top-k keeps the k most probable tokens, top-p the fewest most probable ones that reach p.
    """
    scaled = logits.double() / settings.temperature
    restricted = settings.top_k > 0 or settings.top_p < 1
    # Sorting a vocabulary costs more than all the rest, so it is done only where an order is needed.
    ordered, tokens = torch.sort(scaled, descending=True, stable=True) if restricted else (scaled, None)
    if settings.top_k:
        ordered[:, settings.top_k :] = -torch.inf
    cumulative = torch.softmax(ordered, dim=-1).cumsum(dim=-1)
    last = (cumulative < settings.top_p).sum(dim=-1, keepdim=True).clamp(max=cumulative.shape[1] - 1)
    mass = cumulative.gather(1, last)
    position = torch.searchsorted(cumulative, uniform[:, None] * mass, right=True)
    position = position.clamp(max=cumulative.shape[1] - 1)
    return (position if tokens is None else tokens.gather(1, position))[:, 0]


def model_sha256(checkpoint: str) -> str | None:
    """Sha256 of a checkpoint directory's configuration and tokenizer, and of pieces of all its weights.

    Pieces spread over each file tell another checkpoint of the same model apart without reading tens of
    gigabytes. None for a hub name.
    """
    folder = Path(checkpoint)
    if not folder.is_dir():
        return None
    digest = hashlib.sha256()
    for path in sorted(path for pattern in _DECIDING_FILES for path in folder.glob(pattern)):
        digest.update(f"{path.name} {path.stat().st_size}\n".encode())
        with path.open("rb") as file:
            digest.update(file.read(_HASHED_HEAD))
            for offset in range(_HASHED_HEAD, path.stat().st_size, max(1, path.stat().st_size // _PIECES)):
                file.seek(offset)
                digest.update(file.read(_PIECE))
    return digest.hexdigest()


@lru_cache(maxsize=1)  # one checkpoint at a time, however many benchmarks it answers
def _load(checkpoint: str, dtype: torch.dtype, device: str) -> tuple[Any, Any]:
    _refuse_no_checkpoint(checkpoint)
    try:
        tokenizer = AutoTokenizer.from_pretrained(checkpoint)
        model = AutoModelForCausalLM.from_pretrained(checkpoint, dtype=dtype)
        model = model.to(device).eval()
    except Exception as error:  # of whatever kind: the library raises its own, torch's and safetensors'
        reason = str(error).split("\n")[0] or type(error).__name__
        raise EngineError(
            f"{checkpoint} cannot be loaded as a checkpoint on {device}: {reason}; check that config.json, "
            "the weights and the tokenizer are whole"
        ) from None
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    # A checkpoint may ask for repetition penalties and the like: what is drawn is the settings' to say.
    model.generation_config = GenerationConfig(
        eos_token_id=model.generation_config.eos_token_id, pad_token_id=tokenizer.pad_token_id
    )
    return tokenizer, model


def _refuse_no_checkpoint(checkpoint: str) -> None:
    folder = Path(checkpoint).expanduser()
    if folder.is_dir() and not (folder / "config.json").is_file():
        raise EngineError(
            f"{checkpoint} is not a checkpoint directory (it has no config.json): give the folder that "
            "holds config.json, the weights and the tokenizer"
        )
    looks_like_path = checkpoint.startswith((".", "/", "~")) or checkpoint.count("/") != 1
    if not folder.exists() and looks_like_path:
        raise EngineError(f"there is no checkpoint directory {checkpoint}: check the path")


def _check_range(
    temperature: float, top_p: float, top_k: int, max_tokens: int, dtype: str, batch_size: int
) -> None:
    rules = {
        "temperature": (temperature, 0 <= temperature < float("inf"), "0 or more"),
        "top_p": (top_p, 0 < top_p <= 1, "more than 0 and at most 1"),
        "top_k": (top_k, top_k >= 0, "0 (all tokens) or more"),
        "max_tokens": (max_tokens, max_tokens >= 1, "at least 1"),
        "batch_size": (batch_size, batch_size >= 1, "at least 1"),
        "dtype": (dtype, dtype in DTYPES, f"one of {', '.join(DTYPES)}"),
    }
    for name, (value, fits, allowed) in rules.items():
        if not fits:
            raise UsageError(f"{name} cannot be {value!r}: it has to be {allowed}")
