"""The section on entropy and KL: one grid a benchmark, and what its numbers are."""

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from math import exp

from opo_eval.records import Interval, MetricRow, MetricTable, Unit
from opo_eval.report.grid import NONE, UNDEFINED, Grid, without_empty_columns
from opo_eval.report.names import one_line
from opo_eval.report.token_metrics import (
    ENTROPY,
    ESTIMATES,
    KL,
    LOG_PERPLEXITY,
    OWN_TEMPERATURE,
    REVERSE_KL,
    TokenMetric,
    temperatures,
    token_metric,
)
from opo_eval.report.values import with_interval
from opo_eval.report.views import BenchmarkView, metric_rows, rows_of
from opo_eval.scorers import NO_REFERENCE, OWN, scored_with, scorer_in
from opo_eval.wording import some_of

FIGURES = ("kl_against_accuracy", "entropy_along_response")
_LARGEST = 20.0
"""Logarithm of the largest perplexity that is written out."""
_NAMED_AT_MOST = 6
_NAME_LIMIT = 60
_SAMPLED = "sampled"
"""In place of a prompt that is the run's own."""
_DRAWN = re.compile(r"\|T:([\d.e+-]+)\|top_p:")
_COLUMNS = {
    "entropy": TokenMetric(ENTROPY),
    "of correct": TokenMetric(ENTROPY, "correct"),
    "of wrong": TokenMetric(ENTROPY, "wrong"),
    "at forking tokens": TokenMetric(ENTROPY, "forking"),
    "KL to the reference": TokenMetric(KL),
    "reverse KL": TokenMetric(REVERSE_KL),
    **{name.removeprefix("kl_"): TokenMetric(name) for name in ESTIMATES},
    "perplexity": TokenMetric(LOG_PERPLEXITY),
}
"""Column → the number under it, or its logarithm."""
_MEANS = (
    "Entropy and KL are means over tokens, in nats; perplexity is exp of the mean of -ln p of the drawn "
    "tokens. Forking tokens are the fifth of each response at which entropy is highest. Temperature divides "
    "the logits of both models: at 1 they are as the models give them"
)
_ESTIMATES = (
    "KL(policy‖reference) is exact, over the whole vocabulary. Beside it stand the estimates from the drawn "
    "tokens alone that training frameworks log: k1 (verl's kl), k2 (verl's mse), k3 (verl's low_var_kl and "
    "TRL's kl). They estimate it where the policy drew the tokens at that temperature, without top-p and "
    "top-k."
)


def is_scored(table: MetricTable) -> bool:
    """Whether it has token statistics."""
    return bool(temperatures(table))


def token_metrics(tables: Sequence[MetricTable]) -> list[str]:
    """The names of the numbers that the grid shows."""
    return [of._replace(temperature=at).name for at in _all_temperatures(tables) for of in _COLUMNS.values()]


def scored_alike(tables: Sequence[MetricTable]) -> bool:
    """Whether those that are scored have the same reference, precision and the like."""
    return len({_spelled(_settings(table)) for table in tables if is_scored(table)}) < 2


# --- the grid ---------------------------------------------------------------------------------------


def token_grid(view: BenchmarkView) -> Grid:
    """A row a temperature, 1 first, and checkpoint; one that is not scored has a row without numbers."""
    rows = (_row(view, table, at) for at in _all_temperatures(view.tables) for table in _at(view.tables, at))
    without = (_row(view, table, NONE) for table in view.tables if not is_scored(table))
    return without_empty_columns(Grid(("temperature", "checkpoint", "scored", *_COLUMNS), (*rows, *without)))


def _all_temperatures(tables: Sequence[MetricTable]) -> list[str]:
    found = {temperature for table in tables for temperature in temperatures(table)}
    return sorted(found, key=lambda at: (at != OWN_TEMPERATURE, float(at)))


def _at(tables: Sequence[MetricTable], temperature: str) -> list[MetricTable]:
    return [table for table in tables if temperature in temperatures(table)]


def _row(view: BenchmarkView, table: MetricTable, temperature: str) -> tuple[str, ...]:
    found, named = rows_of(table), {statistics.metric for statistics in table.statistics}
    metrics = (of._replace(temperature=temperature) for of in _COLUMNS.values())
    cells = (_cell(of, found.get(of.name), of.name in named) for of in metrics)
    return temperature, view.checkpoints[table.checkpoint], _scored(table), *cells


def _cell(of: TokenMetric, row: MetricRow | None, is_named: bool) -> str:
    """is_named: whether the table has the number on some problem or says that it is undefined on all."""
    if row is None:
        return UNDEFINED if is_named else NONE
    if of.quantity == LOG_PERPLEXITY:
        return _perplexity(row.value, row.interval)
    return with_interval(row.value, row.interval, row.unit)


def _perplexity(log: float, interval: Interval | None) -> str:
    """From its logarithm, whose interval it has."""
    if max(log, interval.high if interval else log) > _LARGEST:
        return f"exp({with_interval(log, interval, Unit.NATS)})"
    # Of nats it has the digits: 1.0004 is another perplexity than 1.
    ends = interval and Interval(
        low=exp(interval.low), high=exp(interval.high), level=interval.level, kind=interval.kind
    )
    return with_interval(exp(log), ends, Unit.NATS)


# --- what the numbers are ---------------------------------------------------------------------------


def token_sentences(view: BenchmarkView) -> Iterator[str]:
    """What was scored with what, and what the columns are."""
    yield f"{_MEANS}{_drawn_at(view)}."
    if any(its and its.quantity == KL for its in map(token_metric, metric_rows(view))):
        yield _ESTIMATES
    yield f"Scored with {_with_what(view)}. {_how_many(view)}"


def scored_sentence(table: MetricTable) -> str:
    """`scored: 32 of 32 samples, with reference start@5e6f7a8b, float32, ...`: for a terminal."""
    settings = _settings(table)
    return f"scored: {_scored(table)} samples{f', with {_spelled(settings)}' if settings else ''}"


def _drawn_at(view: BenchmarkView) -> str:
    signatures = (row.signature for table in view.tables for row in table.rows)
    drawn = {match[1] for match in map(_DRAWN.search, signatures) if match}
    return f", and the responses were drawn at {', '.join(sorted(drawn, key=float))}" if drawn else ""


def _with_what(view: BenchmarkView) -> str:
    """The models' settings; of which checkpoints, where they differ."""
    whose: dict[str, list[str]] = defaultdict(list)
    for table in filter(is_scored, view.tables):
        whose[_spelled(_settings(table))].append(view.checkpoints[table.checkpoint])
    if len(whose) == 1:
        return next(iter(whose))
    return "; ".join(f"{said} ({some_of(names, _NAMED_AT_MOST)})" for said, names in whose.items())


def _settings(table: MetricTable) -> dict[str, str]:
    """What it was scored with, as far as its signatures say."""
    signatures = (row.signature for row in table.rows if token_metric(row.metric))
    scorer = next(filter(None, map(scorer_in, signatures)), None)
    return scored_with(scorer) if scorer else {}


def _spelled(settings: Mapping[str, str]) -> str:
    shown = {name: one_line(value, _NAME_LIMIT) for name, value in settings.items()}
    if "reference" not in shown:
        return shown.get("scorer", "a scorer that is not known")
    said = [f"reference {shown['reference']}" if shown["reference"] != NO_REFERENCE else "no reference"]
    said += [shown["dtype"], f"a vocabulary of {shown['vocab']} tokens"]
    said += [f"prompt {shown['prompt']}"] if shown["prompt"] != _SAMPLED else []
    said += [f"policy {shown['policy']}"] if shown["policy"] != OWN else []
    return ", ".join(said)


def _how_many(view: BenchmarkView) -> str:
    """Of which checkpoints not every sample is scored."""
    lacking = [table for table in view.tables if _n_scored(table) < table.counts["samples"]]
    if not lacking:
        return f"All {sum(table.counts['samples'] for table in view.tables):,} samples are scored."
    said = [f"{view.checkpoints[table.checkpoint]} {_scored(table)}" for table in lacking]
    return (
        f"Not every sample is scored, and the numbers are of those that are: {some_of(said, _NAMED_AT_MOST)}."
    )


def _scored(table: MetricTable) -> str:
    return f"{_n_scored(table)} of {table.counts['samples']}"


def _n_scored(table: MetricTable) -> int:
    return table.counts.get("scored", 0)
