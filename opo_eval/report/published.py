"""Tables 1 to 4 of the OPO paper (arXiv 2505.23585v2, pages 6 and 8) as data, with how they were measured.

Percentages are kept as they are printed: two digits after the point, some rounded and some truncated.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

SOURCE = "arXiv 2505.23585v2"
PROBLEMS = {"MATH-500": 500, "AIME 2024": 30, "AIME 2025": 30}
SAMPLES = {"MATH-500": 8, "AIME 2024": 16, "AIME 2025": 16}
"""Responses a problem and checkpoint (section 4.1)."""
CHECKPOINTS = {"SFT": 1}
"""A trained arm is the mean of the last five checkpoints of its one run. That SFT is one checkpoint is
inferred: the paper does not say so, the counts agree."""
TRAINED_CHECKPOINTS = 5

_TABLE_1 = {
    "MATH-500": {
        "Off-Policy": "92.97 95.60 97.14 98.20",
        "On-Policy": "93.90 96.21 97.43 98.16",
    },
    "AIME 2024": {
        "Off-Policy": "53.50 65.62 73.92 78.07 80.00",
        "On-Policy": "55.42 66.60 74.37 78.81 81.33",
    },
    "AIME 2025": {
        "Off-Policy": "36.21 44.05 51.60 59.02 66.67",
        "On-Policy": "38.37 46.58 53.65 58.54 62.66",
    },
}
_TABLE_2 = {
    "MATH-500": {
        "SFT": "94.80 96.61 97.63 98.40",
        "GRPO": "95.10 96.64 97.51 98.16",
        "OPO": "95.26 97.00 97.91 98.52",
    },
    "AIME 2024": {
        "SFT": "66.04 75.72 80.13 81.65 83.33",
        "GRPO": "67.96 75.54 79.62 81.67 83.33",
        "OPO": "68.50 76.10 80.06 82.12 84.00",
    },
    "AIME 2025": {
        "SFT": "46.88 57.39 68.13 76.89 83.33",
        "GRPO": "50.21 61.45 70.96 77.64 81.33",
        "OPO": "50.00 60.88 70.37 78.02 85.33",
    },
}
PASS_AT_K = {1: _TABLE_1, 2: _TABLE_2}
"""Table → benchmark → method → pass@1, 2, 4, ... in percent, as printed."""
DIVERSITY = {
    3: {
        "Off-Policy": {"Rep-5": "18.11 25.71 27.27", "Self-BLEU": "74.45 69.60 69.99"},
        "On-Policy": {"Rep-5": "15.56 19.75 20.74", "Self-BLEU": "61.80 62.54 63.76"},
    },
    4: {
        "GRPO": {"Rep-5": "14.82 22.62 22.71", "Self-BLEU": "66.70 64.53 63.89"},
        "OPO": {"Rep-5": "14.70 22.08 21.84", "Self-BLEU": "66.76 64.01 63.20"},
    },
}
"""Table → method → metric → the three benchmarks in the order of `PROBLEMS`, in percent; lower is better."""

REP_5, SELF_BLEU = "rep_5_per_sequence", "self_bleu"
_METRICS = {"Rep-5": REP_5, "Self-BLEU": SELF_BLEU}
"""As the paper calls them → as they are called here: its Rep-5 weighs every response alike."""
TITLES: Mapping[int, str] = MappingProxyType(
    {
        1: "Table 1: exact on-policy and off-policy GRPO, pass@k",
        2: "Table 2: OPO and GRPO, exact on-policy, pass@k",
        3: "Table 3: exact on-policy and off-policy GRPO, Rep-5 and Self-BLEU",
        4: "Table 4: OPO and GRPO, Rep-5 and Self-BLEU",
    }
)
_HEADLINES = {1: ("On-Policy", ("Off-Policy",)), 2: ("OPO", ("GRPO", "SFT"))}
_HEADLINES |= {3: _HEADLINES[1], 4: ("OPO", ("GRPO",))}
"""Table → the method that the paper holds to be better, and than which."""
_STARTS = {1: "DeepSeek-R1-Distill-Qwen-7B", 2: "a model fine-tuned on long reasoning, not named"}
_STARTS |= {3: _STARTS[1], 4: _STARTS[2]}


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedCell:
    """One number of the paper."""

    table: int
    benchmark: str
    """As the paper names it."""
    method: str
    metric: str
    """As it is called here: `pass@1`, `rep_5_per_sequence`, `self_bleu`."""
    printed: str
    """In percent."""

    @property
    def value(self) -> float:
        """In percent."""
        return float(self.printed)


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedProtocol:
    """How a cell was measured (section 4.1); None where the paper does not say."""

    model: str
    """That training started from."""
    problems: int
    n: int | None
    """Responses a problem and checkpoint."""
    temperature: float = 0.6
    top_p: float = 1.0
    max_tokens: int = 32_768
    grader: str | None
    checkpoints: int | None
    """Of one training run, that the number is the mean of."""


def published_cells() -> Iterator[PublishedCell]:
    """Every number of Tables 1 to 4, in their order."""
    for table, benchmarks in PASS_AT_K.items():
        for benchmark, methods in benchmarks.items():
            for method, cells in methods.items():
                named = {"table": table, "benchmark": benchmark, "method": method}
                for i, printed in enumerate(cells.split()):
                    yield PublishedCell(**named, metric=f"pass@{2**i}", printed=printed)
    for table, methods in DIVERSITY.items():
        for i, benchmark in enumerate(PROBLEMS):
            for method, metrics in methods.items():
                named = {"table": table, "benchmark": benchmark, "method": method}
                for metric, cells in metrics.items():
                    yield PublishedCell(**named, metric=_METRICS[metric], printed=cells.split()[i])


def protocol(cell: PublishedCell) -> PublishedProtocol:
    """How a cell was measured."""
    graded = cell.table in PASS_AT_K
    return PublishedProtocol(
        model=_STARTS[cell.table],
        problems=PROBLEMS[cell.benchmark],
        n=SAMPLES[cell.benchmark] if graded else None,
        grader="Math-Verify" if graded else None,
        checkpoints=CHECKPOINTS.get(cell.method, TRAINED_CHECKPOINTS) if graded else None,
    )


def beaten_by(cell: PublishedCell) -> list[str]:
    """The methods that the paper holds to be worse than this cell's and whose number here is not worse.

    Empty where what the paper holds is so, and for the methods that it holds to be worse.
    """
    better, worse = _HEADLINES[cell.table]
    if cell.method != better:
        return []
    sign = 1 if cell.table in PASS_AT_K else -1
    place = (cell.table, cell.benchmark, cell.metric)
    others = {c.method: c for c in published_cells() if (c.table, c.benchmark, c.metric) == place}
    return [name for name in worse if sign * (cell.value - others[name].value) <= 0]


def published_methods() -> list[str]:
    """The methods of the tables, in the order in which they first appear."""
    return list(dict.fromkeys(cell.method for cell in published_cells()))
