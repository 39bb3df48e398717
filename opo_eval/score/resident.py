"""The one model that is in memory, and the output heads that outlast it."""

import gc
from dataclasses import replace
from typing import Any

import torch

from opo_eval.samplers.checkpoints import load, load_checkpoint
from opo_eval.score.models import Model
from opo_eval.scoring import OutputHead, check_head, output_head


class Resident:
    """Loads models one at a time: one is freed, but for its output head, before the next is read."""

    def __init__(self) -> None:
        self.model: Model | None = None
        """The one that is loaded."""
        self._loaded: Any = None
        self._heads: dict[Model, OutputHead] = {}
        if load.cache_info().currsize:  # what sampling in this process left in memory
            load.cache_clear()
            _collect()

    def load(self, model: Model, *, beside: Model | None = None) -> Any:
        """The model, loaded; of the one that was, the head is kept where it is `beside`.

        Raises EngineError where it cannot be loaded, or its logits are not those of its head.
        """
        if model != self.model:
            self.free(keep=beside)
            loaded, _ = load_checkpoint(model.path, model.dtype, model.device, model.adapter)
            check_head(loaded)
            self.model, self._loaded, self._heads[model] = model, loaded, output_head(loaded)
        return self._loaded

    def head(self, model: Model, n_vocab: int) -> OutputHead:
        """Output head of the model that is loaded, or of the one beside it, without its padding rows."""
        return replace(self._heads[model], vocab_size=n_vocab)

    def free(self, *, keep: Model | None = None) -> None:
        """Give the model's memory back, but for the head of `keep`."""
        self._heads = {model: head for model, head in self._heads.items() if model == keep}
        if self.model is not None:
            self.model = self._loaded = None
            _collect()


def _collect() -> None:
    gc.collect()  # a model's parts refer to one another in circles
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
