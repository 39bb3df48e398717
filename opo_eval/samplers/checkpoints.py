"""Loading a checkpoint with transformers, and telling two of them apart."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer
from transformers.utils import cached_file
from transformers.utils import logging as transformers_logging

from opo_eval.errors import EngineError
from opo_eval.samplers.options import DTYPES

transformers_logging.disable_progress_bar()

_DECIDING_FILES = ("*config.json", "tokenizer*", "*.jinja", "vocab*", "merges*", "*.safetensors*", "*.bin*")
_TOKENIZER_FILES = ("tokenizer*", "vocab*", "*.model", "*.tiktoken")
_HASHED_HEAD, _PIECES, _PIECE = 2**20, 256, 2**12


def chosen_device(device: str | None) -> str:
    """The device that was asked for, or else a GPU where there is one."""
    return device or ("cuda" if torch.cuda.is_available() else "cpu")


def chosen_dtype(checkpoint: str, dtype: str | None, device: str) -> str:
    """The number type that was asked for, or else float32 on a CPU and the checkpoint's own elsewhere.

    Raises EngineError where there is no checkpoint.
    """
    if dtype or device == "cpu":
        return dtype or "float32"
    own = str(load_config(checkpoint).dtype).removeprefix("torch.")
    return own if own in DTYPES else "float32"


def load_config(checkpoint: str) -> Any:
    """Configuration of a checkpoint directory or hub name; EngineError where there is none."""
    with _explained(checkpoint, ""):
        return AutoConfig.from_pretrained(checkpoint)


def load_tokenizer(checkpoint: str) -> Any:
    """Tokenizer of a checkpoint directory or hub name; EngineError where there is none."""
    with _explained(checkpoint, ""):
        return AutoTokenizer.from_pretrained(checkpoint)


def load_checkpoint(checkpoint: str, dtype: str, device: str, adapter: str | None = None) -> tuple[Any, Any]:
    """Model and tokenizer of a checkpoint directory or hub name.

    adapter: directory of a LoRA adapter that is merged into the weights. Raises EngineError where there is
    none or it cannot be loaded.
    """
    with _explained(checkpoint, f" on {device}"):
        tokenizer = AutoTokenizer.from_pretrained(checkpoint)
        model = AutoModelForCausalLM.from_pretrained(checkpoint, dtype=dtype).to(device)
    if adapter is not None:
        model = _merged(model, adapter)
    return model.eval(), tokenizer


load = lru_cache(maxsize=1)(load_checkpoint)
"""The same, kept for the next call: one checkpoint at a time, however many benchmarks it answers."""


def _merged(model: Any, adapter: str) -> Any:
    """The model with an adapter of peft merged into its weights, every tensor of it and none left over."""
    refuse_no_adapter(adapter)
    try:
        from peft import PeftConfig, PeftModel
    except ModuleNotFoundError as error:
        raise EngineError(
            f"an adapter needs {error.name}, which is not installed: pip install 'opo-eval[train]'"
        ) from None
    try:
        adapted = PeftModel(model, PeftConfig.from_pretrained(adapter))
        loaded = adapted.load_adapter(adapter, "default")
        if strange := [*loaded.missing_keys, *loaded.unexpected_keys]:
            raise ValueError(f"{strange[0]} is in only one of the two")
        return adapted.merge_and_unload()
    except Exception as error:  # of whatever kind: peft raises its own, torch's and safetensors'
        reason = str(error).split("\n")[0] or type(error).__name__
        raise EngineError(
            f"the adapter {adapter} does not fit the checkpoint: {reason}; check that it was trained from it"
        ) from None


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


def hub_revision(checkpoint: str) -> str | None:
    """Commit of a hub name's files, as they lie in the cache; None for a directory.

    Raises EngineError where there are none.
    """
    if Path(checkpoint).is_dir():
        return None
    with _explained(checkpoint, ""):
        # CACHE/models--OWNER--NAME/snapshots/COMMIT/config.json
        return Path(cached_file(checkpoint, "config.json")).parent.name


@contextmanager
def _explained(checkpoint: str, where: str) -> Iterator[None]:
    _refuse_no_checkpoint(checkpoint)
    try:
        yield
    except Exception as error:  # of whatever kind: the library raises its own, torch's and safetensors'
        reason = str(error).split("\n")[0] or type(error).__name__
        raise EngineError(
            f"{checkpoint} cannot be loaded as a checkpoint{where}: {reason}; check that config.json, "
            "the weights and the tokenizer are whole"
        ) from None


def refuse_no_adapter(adapter: str) -> None:
    """Raise EngineError for a path that is not the directory of an adapter."""
    if not (Path(adapter) / "adapter_config.json").is_file():
        raise EngineError(
            f"{adapter} is not a LoRA adapter (it has no adapter_config.json): give the folder that peft "
            "saved"
        )


def _refuse_no_checkpoint(checkpoint: str) -> None:
    folder = Path(checkpoint).expanduser()
    if folder.is_dir() and not (folder / "config.json").is_file():
        raise EngineError(
            f"{checkpoint} is not a checkpoint directory (it has no config.json): give the folder that "
            "holds config.json, the weights and the tokenizer"
        )
    if folder.is_dir() and not any(path for pattern in _TOKENIZER_FILES for path in folder.glob(pattern)):
        # transformers would make up an empty tokenizer, which turns every prompt into nothing.
        raise EngineError(
            f"{checkpoint} has no tokenizer: copy tokenizer.json and tokenizer_config.json of the model that "
            "it was trained from into it"
        )
    looks_like_path = checkpoint.startswith((".", "/", "~")) or checkpoint.count("/") != 1
    if not folder.exists() and looks_like_path:
        raise EngineError(f"there is no checkpoint directory {checkpoint}: check the path")
