"""What a user may choose about scoring, and what is allowed."""

from dataclasses import dataclass
from math import isfinite
from pathlib import Path

from opo_eval.errors import UsageError
from opo_eval.samplers.options import PromptOptions, check_range


@dataclass(frozen=True, kw_only=True)
class ScoreOptions:
    """How runs are scored. Raises UsageError for a value that is not allowed."""

    checkpoint: str | None = None
    """None: each run's own."""
    reference: str | None = None
    adapter: str | None = None
    """Directory of a LoRA adapter of the checkpoint."""
    reference_adapter: str | None = None
    dtype: str | None = None
    """Of both models; None: float32 on a CPU, the checkpoint's own on a GPU."""
    device: str | None = None
    temperatures: tuple[float, ...] = ()
    """Empty: 1 and each run's own."""
    batch_tokens: int = 2**14
    """Most tokens, padding included, that a model reads at once; a longer response is read alone."""
    hidden_gb: float = 4.0
    """10⁹ bytes of hidden states that are kept between two models at most; a response with more alone."""
    hidden_dir: Path | None = None
    """Folder to keep them in instead of memory."""
    data_parallel: int = 1
    """Processes, each with a GPU of its own where there are any."""
    per_token: bool = False
    template: str | None = None
    """This and what follows: of runs whose prompt is not known."""
    system: str | None = None
    response_prefix: str | None = None
    no_chat: bool = False

    def __post_init__(self) -> None:
        check_range(batch_tokens=self.batch_tokens, data_parallel=self.data_parallel, dtype=self.dtype)
        for temperature in self.temperatures:
            if not (temperature > 0 and isfinite(temperature)):
                raise UsageError(
                    f"--temperature cannot be {temperature:g}: it has to be more than 0 and finite"
                )
        if not (self.hidden_gb > 0 and isfinite(self.hidden_gb)):
            raise UsageError(f"--hidden-gb cannot be {self.hidden_gb:g}: it has to be more than 0 and finite")
        if self.hidden_dir is not None and not self.hidden_dir.is_dir():
            raise UsageError(f"--hidden-dir {self.hidden_dir} is no folder: make it, or give another")
        if self.reference_adapter is not None and self.reference is None:
            raise UsageError("--reference-adapter was given without --reference: give both, or neither")

    @property
    def prompt_options(self) -> PromptOptions:
        """What was said of the prompt; empty where nothing was."""
        said = {"template": self.template, "system": self.system, "response_prefix": self.response_prefix}
        chosen = {name: value for name, value in said.items() if value is not None}
        return PromptOptions(**chosen, **({"chat": False} if self.no_chat else {}))
