"""A policy small enough to train in a second, and settings to train it with."""

from pathlib import Path
from typing import Any

import torch
from transformers import Qwen2Config, Qwen2ForCausalLM

from opo_eval.rl.config import TrainConfig
from opo_eval.tiny import checkpoint_path
from opo_eval.tiny.tokenizer import build_tokenizer


def small_policy(dtype: torch.dtype = torch.float32, seed: int = 0, *, tied: bool = True) -> Qwen2ForCausalLM:
    """Qwen2 of 30,000 parameters with random weights, over the tiny model's tokens."""
    config = Qwen2Config(
        vocab_size=len(build_tokenizer()),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        intermediate_size=64,
        max_position_embeddings=128,
        initializer_range=0.3,
        tie_word_embeddings=tied,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Qwen2ForCausalLM._from_config(config, dtype=dtype).eval()


def tiny_config(out: Path, **settings: Any) -> TrainConfig:
    """A few quick steps of the shipped tiny model."""
    base = {
        "model": str(checkpoint_path("late")),
        "problems": "tiny-arith",
        "n_problems": 64,
        "out": out,
        "think": "none",
        "steps": 4,
        "problems_per_step": 4,
        "group_size": 4,
        "max_tokens": 32,
        "learning_rate": 1e-3,
        "threads": 1,
        "kl_every": 1,
        "workers": 1,
        "save_every": 2,
    }
    return TrainConfig.from_mapping({**base, **settings})
