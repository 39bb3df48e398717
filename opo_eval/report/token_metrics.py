"""The names of the numbers that a scorer's token statistics give, taken apart."""

import re
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from opo_eval.records import MetricTable

ENTROPY, KL, REVERSE_KL, LOG_PERPLEXITY = "entropy", "kl", "reverse_kl", "log_perplexity"
ESTIMATES = ("kl_k1", "kl_k2", "kl_k3")
OWN_TEMPERATURE = "1"
"""At which a model's logits are as they are."""
_NAME = re.compile(
    r"(?P<quantity>entropy|kl|reverse_kl|log_perplexity|kl_k[123])"
    r"(?:_(?P<part>correct|wrong|forking|tenth_\d+))?(?:_t(?P<temperature>[\d.e+-]+))?"
)


class TokenMetric(NamedTuple):
    """Which number it is."""

    quantity: str
    part: str = ""
    """Of the tokens it is of: `correct`, `forking`, `tenth_3`; empty where it is of all."""
    temperature: str = OWN_TEMPERATURE

    @property
    def name(self) -> str:
        """As tables name it: `kl_correct_t0.6`."""
        at = "" if self.temperature == OWN_TEMPERATURE else f"t{self.temperature}"
        return "_".join(filter(None, (self.quantity, self.part, at)))


def token_metric(name: str) -> TokenMetric | None:
    """The metric's name taken apart; None for one that is not of token statistics."""
    found = _NAME.fullmatch(name)
    if found is None:
        return None
    return TokenMetric(found["quantity"], found["part"] or "", found["temperature"] or OWN_TEMPERATURE)


def is_of_a_part(name: str) -> bool:
    """Whether it is a number over a part of the tokens, which leaves out the others by definition."""
    found = token_metric(name)
    return found is not None and bool(found.part)


def temperatures(table: MetricTable) -> list[str]:
    """Those that a checkpoint is scored at, from low to high."""
    found = (token_metric(row.metric) for row in table.rows)
    return sorted({its.temperature for its in found if its}, key=float)


def shared_temperature(tables: Sequence[MetricTable], quantity: str) -> str | None:
    """The temperature at which most of them have the quantity, 1 before others; None where none has."""
    found = Counter(
        its.temperature
        for table in tables
        for its in {token_metric(row.metric) for row in table.rows}
        if its and (its.quantity, its.part) == (quantity, "")
    )
    return max(found, key=lambda at: (found[at], at == OWN_TEMPERATURE, -float(at)), default=None)
