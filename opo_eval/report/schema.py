"""JSON Schemas of the metrics.json of a report and of a run, made from the records that are written there.

Draft 2020-12. What a field means is its docstring; names that mean the same in every record are explained
here. No other fields are allowed, so that a new one takes a new number of the version.
"""

import ast
import inspect
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import is_dataclass
from enum import StrEnum
from functools import cache
from itertools import pairwise
from textwrap import dedent
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from opo_eval.compare import ComparedRuns
from opo_eval.measure import METRICS_SCHEMA
from opo_eval.records import REPORT_SCHEMA, MetricTable
from opo_eval.report.data import dump

DOCUMENTS = ("report", "run")
_Schema = dict[str, Any]

_DRAFT = "https://json-schema.org/draft/2020-12/schema"
_ABOUT = (
    "Shares are from 0 to 1. What is undefined is left out or null, never 0. Arrays that go by problem or by "
    "sample have one entry for each, in the same order. Times and machines are in manifest.json."
)
_SAME_EVERYWHERE = {
    "a": "Name of the checkpoint or arm that is compared with.",
    "b": "Name of the checkpoint or arm that is compared.",
    "benchmark": "Name of the problem set.",
    "better": "Which direction is an improvement.",
    "characters": "Length of each response in characters.",
    "checkpoint": "Name of the checkpoint.",
    "checkpoints": "Names of the checkpoints, one a training seed.",
    "curves": "One for every training run, benchmark and metric.",
    "delta": "value_b less value_a, on the problems on which both are defined.",
    "denominators": "One a problem.",
    "high": "Upper end, in the unit of the value.",
    "index": "Number of each sample among those of its problem, from 0.",
    "kind": "Over what it is taken, in words.",
    "level": "How often such intervals hold the true value, as a share: 0.95.",
    "low": "Lower end, in the unit of the value.",
    "means": "One for every training run, benchmark and metric.",
    "metric": "Name of the metric, such as pass@4.",
    "name": "Name of the arm: its method.",
    "notes": "What a reader has to know before the numbers, one sentence each.",
    "numerators": "One a problem.",
    "outcomes": "What every sample came to.",
    "problem_ids": "Ids of the problems, in the order of everything that goes by problem.",
    "rows": "The metrics over all problems and over each subset.",
    "series": "Name of the training run.",
    "signature": "All that the number depends on, in one line: numbers of two signatures cannot be compared.",
    "statistics": "What the metrics are computed from, by problem.",
    "step": "Training step.",
    "steps": "Training steps that the mean is over.",
    "tables": "One for every checkpoint and benchmark.",
    "unit": "What the value counts.",
    "value": "In the unit of the metric; a share from 0 to 1.",
    "value_a": "Value of a, in the unit of the metric.",
    "value_b": "Value of b, in the unit of the metric.",
}
"""Field → what it means in every record whose own docstring does not say it."""


def schema_json(document: str) -> bytes:
    """The JSON Schema of the metrics.json of a `report` (`compare`, `eval`) or of a `run` (`measure`)."""
    return dump(report_schema() if document == "report" else run_schema())


def report_schema() -> _Schema:
    """Of what `compare` and `eval` write."""
    hints = {name: hint for name, hint in get_type_hints(ComparedRuns).items() if name != "runs"}
    described = _properties(ComparedRuns, hints)
    # Without training runs that are followed over their steps there is no word of them.
    return _document(REPORT_SCHEMA, "a report", described, hints.values(), optional={"over_steps"})


def run_schema() -> _Schema:
    """Of what `measure` writes."""
    hint = tuple[MetricTable, ...]
    described = {"tables": {"description": "One: the run's.", **_of(hint)}}
    return _document(METRICS_SCHEMA, "a run", described, [hint])


def _document(
    version: str, of: str, properties: _Schema, hints: Iterable[Any], optional: Collection[str] = ()
) -> _Schema:
    number = {"description": "Which fields there are: another version has others.", "const": version}
    return {
        "$schema": _DRAFT,
        "title": f"metrics.json of {of}, {version}",
        "description": _ABOUT,
        **_object({"schema": number, **properties}, optional),
        "$defs": {cls.__name__: _definition(cls) for cls in _reached(hints)},
    }


def _definition(cls: type) -> _Schema:
    if issubclass(cls, StrEnum):
        return {"description": _meaning(cls), "enum": [member.value for member in cls]}
    about, _ = _docstrings(cls)
    return {"description": about, **_object(_properties(cls, get_type_hints(cls)))}


def _object(properties: _Schema, optional: Collection[str] = ()) -> _Schema:
    return {
        "type": "object",
        "properties": properties,
        "required": [name for name in properties if name not in optional],
        "additionalProperties": False,
    }


def _properties(cls: type, hints: Mapping[str, Any]) -> _Schema:
    _, said = _docstrings(cls)
    said = _SAME_EVERYWHERE | said
    return {name: {"description": said[name], **_of(hint)} for name, hint in hints.items()}


# --- types ------------------------------------------------------------------------------------------

_PLAIN = {str: "string", float: "number", int: "integer", type(None): "null"}


def _of(hint: Any) -> _Schema:
    """What JSON has for a value of this type."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        return {"anyOf": [_of(each) for each in arguments]}
    if origin is tuple:
        return _array(arguments)
    if origin is not None:
        return {"type": "object", "additionalProperties": _of(arguments[1])}
    return {"type": _PLAIN[hint]} if hint in _PLAIN else {"$ref": f"#/$defs/{hint.__name__}"}


def _array(arguments: tuple[Any, ...]) -> _Schema:
    if arguments[-1] is ...:
        return {"type": "array", "items": _of(arguments[0])}
    places = [_of(each) for each in arguments]
    return {"type": "array", "prefixItems": places, "items": False, "minItems": len(places)}


def _reached(hints: Iterable[Any]) -> list[type]:
    """Records and enums that values of these types hold, at any depth."""
    found: set[type] = set()
    waiting = list(hints)
    while waiting:
        hint = waiting.pop()
        waiting += get_args(hint)
        if isinstance(hint, type) and hint not in found and (is_dataclass(hint) or _is_enum(hint)):
            found.add(hint)
            waiting += get_type_hints(hint).values() if is_dataclass(hint) else ()
    return sorted(found, key=lambda cls: cls.__name__)


def _is_enum(hint: type) -> bool:
    # `tuple[int, ...]` is a type, and no class.
    return get_origin(hint) is None and issubclass(hint, StrEnum)


# --- words ------------------------------------------------------------------------------------------


@cache
def _docstrings(cls: type) -> tuple[str, dict[str, str]]:
    """What a class says of itself and of each of its fields or members."""
    (parsed,) = ast.parse(dedent(inspect.getsource(cls))).body
    return _plain(ast.get_docstring(parsed) or ""), dict(_of_fields(parsed))


def _of_fields(parsed: ast.ClassDef) -> Iterator[tuple[str, str]]:
    for field, after in pairwise(parsed.body):
        match field, after:
            case (
                ast.AnnAssign(target=ast.Name(name)) | ast.Assign(targets=[ast.Name(name)]),
                ast.Expr(ast.Constant(str(said))),
            ):
                yield name, _plain(said)


def _meaning(cls: type[StrEnum]) -> str:
    about, said = _docstrings(cls)
    members = (f"{member.value}: {said[member.name]}" for member in cls if member.name in said)
    return " ".join([about, *members])


def _plain(docstring: str) -> str:
    return re.sub(r"\bNone\b", "null", " ".join(docstring.split()))
