"""What the figures of training are drawn from: curves over steps, and KL against pass@1."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from opo_eval.report.training_data import Curve, Path


class Source(StrEnum):
    """What entropy and KL were measured on."""

    ROLLOUTS = "training rollouts"
    SAMPLES = "samples of the checkpoints"

    @property
    def origin(self) -> str:
        """What KL is to: a scorer's reference need not be what training began from."""
        return "start" if self is Source.ROLLOUTS else "reference"


@dataclass(frozen=True, slots=True, kw_only=True)
class Followed:
    """Training runs, or arms of them, over their steps; a curve and a path of one have the same name."""

    source: Source
    temperature: str = "1"
    """At which entropy and KL of samples were scored."""
    curves: tuple[Curve, ...] = ()
    """Of reward, KL and entropy, as far as they are known."""
    paths: tuple[Path, ...] = ()
    """Checkpoints with both KL and pass@1."""
    lacking: tuple[str, ...] = ()
    """What is not drawn and why, a sentence each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PaperData:
    """All that figures of training show."""

    training: Followed = field(default_factory=lambda: Followed(source=Source.ROLLOUTS))
    """From the records of the training runs; no curves where none is at hand."""
    held_out: Mapping[str, Followed] = field(default_factory=dict)
    """Benchmark → KL, entropy and pass@1 of its checkpoints."""
