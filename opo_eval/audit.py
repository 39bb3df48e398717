"""Any table of texts → how diverse they are: no gold, no model and no grades.

Texts of one group answer the same thing. Groups are measured as problems are, at the same number of texts
each, and compared between the values of a column (models, temperatures, checkpoints) where there is one.
"""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from opo_eval.differences import compare_tables
from opo_eval.errors import UsageError
from opo_eval.family import adjust
from opo_eval.findings import Corpus, Findings, find_repetition
from opo_eval.metrics import METRICS, measure_groups
from opo_eval.metrics.core import MetricSettings
from opo_eval.metrics.near_duplicates import bands
from opo_eval.metrics.ngrams import require_order
from opo_eval.metrics.vocabulary import Vocabulary
from opo_eval.progress import Progress
from opo_eval.records import Comparison, GradedSample, Group, MetricTable, Problem, Sample, Think
from opo_eval.texts import (
    Accounting,
    Groups,
    Text,
    TextTable,
    account,
    choose_n,
    group_sizes,
    read_texts,
    table_stem,
)
from opo_eval.wording import counted, some_of

AUDITED = ("self_bleu", "distinct_n", "compression_ratio", "repetition", "looping", "characters")
"""Families of `METRICS` that need texts only."""
SELF_BLEU = "self_bleu"
SAID = (SELF_BLEU, "distinct_4", "compression_ratio", "looping", "characters")
"""With Rep-n, what reports put into words."""
_QUOTED_GROUPS, _QUOTED_TEXTS = 5, 2


@dataclass(frozen=True, kw_only=True)
class AuditOptions:
    """What a user may choose about an audit."""

    n: int | None = None
    """Texts a group that are compared; default: the size of the smallest group of two or more."""
    tokenize: str = "13a"
    rep_order: int = 5
    phrase_order: int = 8
    """Tokens of the shortest phrase."""
    near: float = 0.8
    """Jaccard similarity from which on two texts are near-duplicates."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QuotedGroup:
    """A group and some of its texts."""

    group: str
    self_bleu: float
    texts: tuple[Text, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditedValue:
    """Everything about the texts of one compared value."""

    value: str
    accounting: Accounting
    table: MetricTable | None
    """None where no group has n texts."""
    findings: Findings
    """In all its texts, whichever are compared."""
    least_diverse: tuple[QuotedGroup, ...]
    """The groups of highest Self-BLEU."""


@dataclass(frozen=True, kw_only=True)
class Audit:
    """What an audit's report is drawn from."""

    path: str
    """Where the table was read from."""
    file: str
    """The table's name, without the folder."""
    sha256: str
    columns: Mapping[str, str]
    """`text`, `group` and `by` → the column."""
    options: AuditOptions
    n: int
    """Texts a group that were compared."""
    n_rows: int
    n_without_value: int
    """Rows that say nothing in the column that is compared by."""
    values: tuple[AuditedValue, ...]
    """In the order of the file; the first that has a table is the baseline."""
    comparisons: tuple[Comparison, ...]
    """Of every other value with the baseline, over the groups that both have."""
    notes: tuple[str, ...]
    """What a reader has to know before the numbers, one sentence each."""

    @property
    def tables(self) -> tuple[MetricTable, ...]:
        """Of all values that have one."""
        return tuple(value.table for value in self.values if value.table)


def audit_file(
    path: str | os.PathLike[str],
    *,
    text: str,
    group: str,
    by: str | None = None,
    options: AuditOptions | None = None,
    quiet: bool = False,
) -> Audit:
    """Audit the texts in column `text`, by the values of column `by` where one is given.

    Raises InputError for a table that cannot be read, a column that is not there and groups that cannot
    be compared; UsageError for options that are out of range.
    """
    options = options or AuditOptions()
    _check(options)
    texts = read_texts(path, text=text, group=group, by=by)
    n, notes = choose_n(texts, options.n, group)
    values = _audit_values(texts, n, options, quiet=quiet)
    tables = [value.table for value in values if value.table]
    return Audit(
        path=os.fspath(path),
        file=texts.file,
        sha256=texts.sha256,
        columns={"text": text, "group": group} | ({"by": by} if by else {}),
        options=options,
        n=n,
        n_rows=texts.n_rows,
        n_without_value=sum(texts.left_out.get("", {}).values()),
        values=tuple(values),
        comparisons=tuple(_comparisons(tables, options)),
        notes=(*notes, *_unlike(values, n)),
    )


def _comparisons(tables: Sequence[MetricTable], options: AuditOptions) -> list[Comparison]:
    """Of every other table with the first; the tests of what the report puts into words are one family."""
    found = [row for other in tables[1:] for row in compare_tables(tables[0], other)]
    said = (*SAID, f"rep_{options.rep_order}")
    return adjust(found, [row.metric for row in found if row.metric in said])


def _check(options: AuditOptions) -> None:
    """What can be refused before anything is read."""
    bands(options.near)
    require_order("--rep-order", options.rep_order)
    require_order("--phrase-order", options.phrase_order)
    if options.n is not None and options.n < 2:
        raise UsageError(f"-n {options.n} leaves nothing to compare: Self-BLEU needs 2 texts a group or more")


# --- every value ------------------------------------------------------------------------------------


def _audit_values(texts: TextTable, n: int, options: AuditOptions, *, quiet: bool) -> list[AuditedValue]:
    vocabulary = Vocabulary(options.tokenize)
    n_texts = sum(group_sizes(texts))
    with Progress("tokenizing", n_texts, unit="texts", quiet=quiet) as progress:
        corpora = {value: Corpus(groups, vocabulary, progress) for value, groups in texts.groups.items()}
    # Numpy does nearly all of the searching and lets go of Python's lock meanwhile.
    with (
        ThreadPoolExecutor(1) as searcher,
        Progress("measuring and searching", 2 * n_texts, unit="texts", quiet=quiet) as progress,
    ):
        search = searcher.submit(_search, corpora.values(), options, progress)
        tables = [_measure(texts, value, vocabulary, n, options, progress) for value in texts.groups]
        findings = search.result()
    return [
        AuditedValue(
            value=value,
            accounting=account(groups, texts.left_out.get(value, {}), n),
            table=table,
            findings=found,
            least_diverse=tuple(_least_diverse(table, groups)) if table else (),
        )
        for (value, groups), table, found in zip(texts.groups.items(), tables, findings, strict=True)
    ]


def _search(corpora: Iterable[Corpus], options: AuditOptions, progress: Progress) -> list[Findings]:
    return [
        find_repetition(corpus, phrase_order=options.phrase_order, near=options.near, progress=progress)
        for corpus in corpora
    ]


def _measure(
    texts: TextTable, value: str, vocabulary: Vocabulary, n: int, options: AuditOptions, progress: Progress
) -> MetricTable | None:
    groups = texts.groups[value]
    large = {name: own for name, own in groups.items() if len(own) >= n}
    progress.advance(sum(map(len, groups.values())) - sum(map(len, large.values())))
    if not large:
        return None
    settings = MetricSettings(n=n, tokenize=vocabulary, rep_order=options.rep_order, think=Think.NONE)
    as_groups = _as_groups(table_stem(texts.file), value, large, progress)
    return measure_groups(as_groups, settings, {name: METRICS[name] for name in AUDITED})


def _as_groups(benchmark: str, value: str, groups: Groups, progress: Progress) -> Iterator[Group]:
    """The groups as `measure_groups` takes them: a group stands for a problem that nobody put."""
    for name, texts in groups.items():
        samples = (
            Sample(checkpoint=value, problem_id=name, index=index, text=text.text)
            for index, text in enumerate(texts)
        )
        yield Group(
            checkpoint=value,
            problem=Problem(id=name, source_id=name, benchmark=benchmark, prompt="", answer=""),
            samples=tuple(GradedSample(sample=sample, grade=None) for sample in samples),
        )
        progress.advance(len(texts))


def _least_diverse(table: MetricTable, groups: Groups) -> Iterator[QuotedGroup]:
    statistic = next(s for s in table.statistics if s.metric == SELF_BLEU)
    scores = np.array(statistic.numerators)
    defined = np.flatnonzero(np.array(statistic.denominators) > 0)
    for i in defined[np.argsort(-scores[defined], kind="stable")][:_QUOTED_GROUPS]:
        name = table.problem_ids[i]
        yield QuotedGroup(group=name, self_bleu=float(scores[i]), texts=groups[name][:_QUOTED_TEXTS])


# --- what differs between values beside their texts -------------------------------------------------


def _unlike(values: Sequence[AuditedValue], n: int) -> Iterator[str]:
    without = [value.value for value in values if value.table is None]
    if without:
        yield f"No group of {some_of(without)} has {n} texts, so no metric is shown there."
    tables = [value.table for value in values if value.table]
    if any(set(table.problem_ids) != set(tables[0].problem_ids) for table in tables):
        sizes = some_of([f"{table.checkpoint} {len(table.problem_ids)}" for table in tables])
        yield (
            f"The groups that are compared are not the same everywhere ({sizes}), so values are over "
            "different groups; differences are over those that both sides have."
        )
    counts = {value.value: value.findings.near.n_texts for value in values}
    if len(set(counts.values())) > 1:
        spelled = some_of([f"{name} {counted(count, 'text')}" for name, count in counts.items()])
        yield (
            f"There are unequal numbers of texts ({spelled}): the more there are, the more have a "
            "near-duplicate."
        )
