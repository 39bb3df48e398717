"""In what a published number and ours can differ beside the method: how each was measured."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from opo_eval.records import MetricRow, MetricTable, RunSettings, SamplingSettings
from opo_eval.report.names import one_line
from opo_eval.report.published import PublishedProtocol

NOT_STATED, NOT_KNOWN = "not stated", "not known"
_GRADER = re.compile(r"grader:\[(.*?)\]")
_LENIENT = re.compile(r"\|lenient:\d")
_TEXT = re.compile(r"(tok:.*?)(?:\|sampling:.*)?$")
_DIGEST = re.compile(r"[0-9a-f]{40,}")
_LIMIT = 80


@dataclass(frozen=True, slots=True, kw_only=True)
class Aspect:
    """Something that decides what a number means, there and here."""

    name: str
    there: str
    here: str

    @property
    def is_open(self) -> bool:
        """Whether one of the two is not known, so that nobody can say whether they differ."""
        return self.there == NOT_STATED or self.here == NOT_KNOWN

    @property
    def differs(self) -> bool:
        """Whether both are known and are not the same."""
        return not self.is_open and self.there != self.here


def aspects(
    there: PublishedProtocol,
    table: MetricTable,
    row: MetricRow,
    settings: RunSettings | None,
    n_checkpoints: int,
) -> tuple[Aspect, ...]:
    """All of them for one number. settings: of its run; n_checkpoints: of which it is the mean."""
    pairs = {
        "start of training": (there.model, _start(settings)),
        "problems": (str(there.problems), str(len(table.problem_ids))),
        "n": (_stated(there.n), str(table.n)),
        **_drawn(there, settings.sampling if settings else None),
        **_prompted(settings),
        **_read(there, table, row),
        "checkpoints": (_stated(there.checkpoints), str(n_checkpoints)),
    }
    return tuple(Aspect(name=name, there=a, here=b) for name, (a, b) in pairs.items())


def _stated(value: object) -> str:
    return NOT_STATED if value is None else str(value)


def _start(settings: RunSettings | None) -> str:
    """A name on a hub; a digest is not one."""
    start = settings.checkpoint.start if settings else None
    return NOT_KNOWN if start is None or _DIGEST.fullmatch(start) else one_line(start.rpartition("/")[2])


def _drawn(there: PublishedProtocol, here: SamplingSettings | None) -> dict[str, tuple[str, str]]:
    return {
        "temperature": (f"{there.temperature:g}", f"{here.temperature:g}" if here else NOT_KNOWN),
        "top-p": (f"{there.top_p:g}", f"{here.top_p:g}" if here else NOT_KNOWN),
        "most tokens": (f"{there.max_tokens:,}", f"{here.max_tokens:,}" if here else NOT_KNOWN),
    }


def _prompted(settings: RunSettings | None) -> dict[str, tuple[str, str]]:
    prompting = settings.prompting if settings else None
    return {
        "template": (NOT_STATED, one_line(prompting.name) if prompting else NOT_KNOWN),
        "think section": (NOT_STATED, settings.think.value if settings else NOT_KNOWN),
    }


def _read(there: PublishedProtocol, table: MetricTable, row: MetricRow) -> dict[str, tuple[str, str]]:
    """How responses became a number: by a grader, or by looking at their tokens."""
    if grader := _GRADER.search(row.signature):
        return {"grader": (_stated(there.grader), _grader(grader[1], table))}
    text = _TEXT.search(row.signature)
    return {"tokens and counting": (NOT_STATED, one_line(text[1], _LIMIT) if text else NOT_KNOWN)}


def _grader(signature: str, table: MetricTable) -> str:
    """Its name, and how often Math-Verify over the whole response says otherwise, where that was asked."""
    name = one_line(signature.partition("|")[0].partition(":")[0])
    disagree = table.counts.get("strict_lenient_disagree")
    if disagree is None or not _LENIENT.search(signature):
        return name
    return f"{name} ({disagree} of {table.counts['samples']} verdicts are not Math-Verify's)"


def differing(found: tuple[Aspect, ...]) -> Iterator[str]:
    """`n: 8 there, 16 here`, for what is known to differ."""
    return (f"{a.name}: {a.there} there, {a.here} here" for a in found if a.differs)


def open_ones(found: tuple[Aspect, ...]) -> Iterator[str]:
    """`template: not stated there`, for what nobody can compare."""
    for aspect in (aspect for aspect in found if aspect.is_open):
        stated = aspect.there != NOT_STATED
        yield f"{aspect.name}: {aspect.there} there, {aspect.here} here" if stated else aspect.name
