"""What tests of figures and tables for a paper share: settings of runs, curves, and names that hurt."""

from collections.abc import Mapping, Sequence
from typing import Any

from report.handmade import compared, interval, row, table

from opo_eval.records import (
    Better,
    Checkpoint,
    Comparison,
    Interval,
    MetricRow,
    MetricTable,
    Prompting,
    RunSettings,
    SamplingSettings,
    Think,
    Unit,
)
from opo_eval.report.paper.data import Followed, Source
from opo_eval.report.training_data import Curve, Path, Point
from opo_eval.report.views import BenchmarkView, benchmark_views

HOSTILE = r"""a_1 & $x^2$ 50% #1 {b} \input{/etc/passwd} ~ <i> | "q" `q' --- [z] * ?` fi é ﬁ 模型 """
LONG = "checkpoint_" * 18
"""198 characters."""


def views_of(
    tables: Sequence[MetricTable], comparisons: Sequence[Comparison] = (), **fields: Any
) -> tuple[BenchmarkView, ...]:
    return benchmark_views(compared(tables, comparisons, **fields))


def settings(checkpoint: str = "early", benchmark: str = "sums", **fields: Any) -> RunSettings:
    """Drawn at temperature 0.6, as the paper's."""
    of_checkpoint = {name: fields.pop(name) for name in ("method", "step", "start") if name in fields}
    drawn = {"temperature": 0.6, "top_p": 1.0, "max_tokens": 32_768}
    drawn |= {name: fields.pop(name) for name in tuple(drawn) if name in fields}
    sampling = SamplingSettings(engine="hf", top_k=0, base_seed=0, dtype="float32", **drawn)
    prompting = Prompting(name="boxed", template="{problem}", sha256="0")
    defaults: dict[str, Any] = {
        "dataset_sha256": "0", "think": Think.TAGGED, "prompting": prompting, "sampling": sampling,
    }  # fmt: skip
    who = Checkpoint(name=checkpoint, **of_checkpoint)
    return RunSettings(checkpoint=who, benchmark=benchmark, **(defaults | fields))


def over_seeds(low: float, high: float) -> Interval:
    return interval(low, high, "training seeds")


def curve(arm: str, quantity: str, **fields: Any) -> Curve:
    """Three blocks of five steps, two seeds."""
    means = {"reward": (0.3, 0.5, 0.7), "kl_start": (0.0, 0.02, 0.05), "entropy": (0.3, 0.2, 0.1)}[quantity]
    defaults: dict[str, Any] = {
        "steps": (3.0, 8.0, 13.0),
        "means": means,
        "intervals": tuple(over_seeds(mean - 0.01, mean + 0.01) for mean in means),
        "n_seeds": 2,
        "block": 5,
    }
    return Curve(arm=arm, quantity=quantity, **(defaults | fields))


def path(arm: str, *places: tuple[float, float]) -> Path:
    """One run through these places: (KL, pass@1) each."""
    points = tuple(Point(step=10 * i, kl=kl, pass_at_1=share) for i, (kl, share) in enumerate(places))
    return Path(arm=arm, runs=(points,), means=points)


def followed(arms: Sequence[str] = ("grpo", "opo"), **fields: Any) -> Followed:
    """Every quantity and a path of each."""
    defaults: dict[str, Any] = {
        "source": Source.ROLLOUTS,
        "curves": tuple(curve(arm, name) for arm in arms for name in ("reward", "kl_start", "entropy")),
        "paths": tuple(path(arm, (0.0, 0.3), (0.02, 0.5), (0.05, 0.6)) for arm in arms),
    }
    return Followed(**(defaults | fields))


def scored(checkpoint: str, kl: float | None, pass_at_1: float | None, **fields: Any) -> MetricTable:
    """A table with KL, entropy and pass@1, as far as they are given."""
    values: Mapping[str, Any] = {} if pass_at_1 is None else {"pass@1": (pass_at_1, 0.2, 0.9)}
    rows = [] if kl is None else [nats(checkpoint, "kl", kl), nats(checkpoint, "entropy", 1 - kl)]
    return table(checkpoint, values, rows=rows, **fields)


def nats(checkpoint: str, metric: str, value: float) -> MetricRow:
    kind = {"unit": Unit.NATS, "better": Better.NEITHER, "checkpoint": checkpoint, "family": metric}
    return row(metric, (value, value - 0.001, value + 0.001), **kind)
