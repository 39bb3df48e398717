"""The JSON Schema of metrics.json: what is written is valid, each field is explained and has a version."""

import copy
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from builders import grade, problem, write_run
from jsonschema import Draft202012Validator
from report.handmade import compared, comparison, curve, interval, scored_table, step_curve, table

from opo_eval.arms import Arm
from opo_eval.cli import run
from opo_eval.compare import compare_runs
from opo_eval.measure import METRICS_SCHEMA, write_metrics
from opo_eval.over_steps import LastMean, OverSteps
from opo_eval.records import REPORT_SCHEMA
from opo_eval.report.data import metrics_json
from opo_eval.report.schema import _SAME_EVERYWHERE, DOCUMENTS, report_schema, run_schema

REPORTS = Path(__file__).parents[2] / "reports"
COMMITTED = sorted(path for path in REPORTS.rglob("metrics.json") if "demo" not in path.parts)
"""A demo's is nobody's: of whichever version made it last."""
FIELDS = Path(__file__).parent / "schemas"
Node = dict[str, Any]


@pytest.fixture(scope="module")
def report() -> Node:
    """A report in which everything that can be null is, and is not."""
    difference = comparison("pass@1", (0.1, 0.05, 0.15), a="early", b="the last two")
    mean = LastMean(
        benchmark="sums",
        series="opo_seed0",
        metric="pass@1",
        steps=(20, 40),
        value=0.45,
        interval=interval(0.4, 0.5),
        difference=difference,
    )
    steps = OverSteps(
        curves=(step_curve("opo_seed0"), replace(step_curve("opo_seed1"), reference=None)),
        means=(mean, replace(mean, interval=None, difference=None)),
        notes=("One note.",),
    )
    plain = curve("early", [0.25, 1 / 3])
    parts = ("exam A", "exam A", "exam B", "exam B")
    unknown = replace(plain.outcomes, **dict.fromkeys(("verdict", "finish", "tokens"), (None,) * 32))
    spread = replace(plain.statistics[0], spreads=((0.1, 0.0, 0.0, 7.0),) * 4)
    banded = replace(plain.rows[0], band=interval(0, 1), interval_these=interval(0, 1))
    late = replace(
        plain, checkpoint="late", cluster="exam", clusters=parts, outcomes=unknown, rows=(banded,),
        statistics=(spread,), definitions={"pass@k": "One sentence."},
    )  # fmt: skip
    less = replace(comparison("pass@1", (0.1,)), p_adjusted=None, mde80=None, problems_needed=None)
    return json.loads(
        metrics_json(
            compared(
                [plain, late, scored_table("scored")],
                [less, replace(difference, interval_these=interval(0, 1), band=interval(0, 1))],
                arms=(Arm(name="opo", checkpoints=("s0", "s1")),),
                arm_comparisons=(replace(difference, n_train_seeds=2),),
                over_steps=steps,
                notes=("Another.",),
            )
        )
    )


def errors(schema: Node, document: Any) -> list[str]:
    return [error.message for error in Draft202012Validator(schema).iter_errors(document)]


def test_the_schemas_are_schemas_of_their_draft() -> None:
    for schema in (report_schema(), run_schema()):
        assert schema["$schema"] == Draft202012Validator.META_SCHEMA["$id"]
        Draft202012Validator.check_schema(schema)


def test_a_report_is_valid_with_and_without_what_may_be_missing(report: Node) -> None:
    assert errors(report_schema(), report) == []
    bare = json.loads(metrics_json(compared([table()])))
    assert "over_steps" not in bare and errors(report_schema(), bare) == []


@pytest.mark.parametrize("path", COMMITTED, ids=lambda path: path.parent.name)
def test_committed_reports_are_valid(path: Path) -> None:
    assert errors(report_schema(), thinned(json.loads(path.read_bytes()))) == []


def test_there_are_committed_reports() -> None:
    assert COMMITTED


def thinned(node: Any) -> Any:
    """The same with one value of each shape in place of a long column: the columns are most of a file."""
    if isinstance(node, dict):
        return {name: thinned(child) for name, child in node.items()}
    if isinstance(node, list):
        kept = {shape(child): child for child in node}.values() if len(node) > 9 else node
        return [thinned(child) for child in kept]
    return node


def shape(node: Any) -> Any:
    """What a schema can tell of a value: a name, or of anything else the types in it."""
    if isinstance(node, dict):
        return tuple((name, shape(child)) for name, child in node.items())
    if isinstance(node, list):
        return tuple(map(shape, node))
    return node if isinstance(node, str) else type(node)


def test_what_is_measured_is_valid(tmp_path: Path) -> None:
    problems = [problem(number, exam=str(number % 2)) for number in range(4)]
    runs = []
    for name in ("early", "late"):
        texts = {p.source_id: ["one two", f"one {name}"] for p in problems}
        runs.append(write_run(tmp_path / name, problems, texts, checkpoint=name))
        with runs[-1].writer() as writer:
            writer.append_grades([grade(p, i) for p in problems for i in range(2)])
    found = compare_runs(runs, quiet=True)
    assert errors(report_schema(), json.loads(metrics_json(found))) == []
    write_metrics(runs[0], found.tables[0])
    document = json.loads((tmp_path / "early" / "metrics.json").read_bytes())
    assert document["schema"] == METRICS_SCHEMA and errors(run_schema(), document) == []
    assert errors(run_schema(), document | {"schema": REPORT_SCHEMA})


# --- every part counts ------------------------------------------------------------------------------


def instances(report: Node) -> Iterator[tuple[Node, Node]]:
    """The report with its schema, and one record of each kind in it with that record's."""
    schema = report_schema()
    found = {tuple(node): node for node in objects(report)}
    yield schema, report
    for name, definition in schema["$defs"].items():
        if "properties" in definition:
            alone = {"$defs": schema["$defs"], "$ref": f"#/$defs/{name}"}
            yield alone, found[tuple(definition["properties"])]


def objects(node: Any) -> Iterator[Node]:
    """Every object of a document, at any depth."""
    if isinstance(node, dict):
        yield node
    for child in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from objects(child)


def mutants(node: Node) -> Iterator[tuple[str, Node]]:
    """An object with one field less, one of a type that no field has, or one more."""
    for name in node:
        yield f"{name} less", {other: node[other] for other in node if other != name}
        yield f"{name} else", node | {name: True}
        yield f"{name} more", node | {f"{name}_": node[name]}


def test_every_change_of_a_field_is_noticed(report: Node) -> None:
    accepted, n_changed = [], 0
    for schema, node in instances(report):
        validator = Draft202012Validator(schema)
        found = {name: validator.is_valid(mutant) for name, mutant in mutants(node)}
        accepted += [name for name, is_valid in found.items() if is_valid]
        n_changed += len(found)
    assert accepted == ["over_steps less"] and n_changed > 3 * 80


@pytest.mark.parametrize("word", ["low", "corect", "stop", 1])
def test_an_outcome_is_one_of_its_names(report: Node, word: Any) -> None:
    mutant = copy.deepcopy(report)
    mutant["tables"][0]["outcomes"]["verdict"][0] = word
    assert errors(report_schema(), mutant)


# --- what is said -----------------------------------------------------------------------------------


@pytest.mark.parametrize("schema", [report_schema(), run_schema()], ids=DOCUMENTS)
def test_every_field_is_explained_and_says_why_it_may_be_null(schema: Node) -> None:
    for definition in (schema, *schema["$defs"].values()):
        assert definition["description"]
        for name, field in definition.get("properties", {}).items():
            said = field["description"]
            assert len(said) > 9 and "None" not in said, name
            assert ('{"type": "null"}' in json.dumps(field)) <= ("null" in said), name


def test_no_explanation_is_without_its_field() -> None:
    definitions = report_schema()["$defs"].values()
    said = {
        field["description"]
        for each in (report_schema(), *definitions)
        for field in each.get("properties", {}).values()
    }
    assert set(_SAME_EVERYWHERE.values()) <= said


def test_the_words_are_those_of_the_records() -> None:
    definitions = report_schema()["$defs"]
    row = definitions["MetricRow"]["properties"]
    assert row["interval"] == {
        "description": "Over problems like these; null with fewer than two problems, or where all problems "
        "are alike.",
        "anyOf": [{"$ref": "#/$defs/Interval"}, {"type": "null"}],
    }
    assert definitions["Unit"]["description"].startswith("What a metric's value counts. share: 0 to 1;")
    assert definitions["Better"]["enum"] == ["higher", "lower", "neither"]


# --- versions ---------------------------------------------------------------------------------------


def fields_of(schema: Node) -> str:
    """Every field and its type, a line each, without what is said of them."""
    lines = []
    for record, definition in {"": schema, **schema["$defs"]}.items():
        lines += [f"{record}: {value}" for value in definition.get("enum", ())]
        for name, field in definition.get("properties", {}).items():
            optional = "" if name in definition["required"] else "?"
            lines.append(f"{record}.{name}{optional}: {typed(field)}")
    return "\n".join(lines) + "\n"


def typed(field: Node) -> str:
    parts = {name: part for name, part in field.items() if name != "description"}
    return json.dumps(parts, sort_keys=True).replace("#/$defs/", "")


@pytest.mark.parametrize(
    ("schema", "version"), [(report_schema(), REPORT_SCHEMA), (run_schema(), METRICS_SCHEMA)]
)
def test_a_version_has_its_fields_for_good(schema: Node, version: str) -> None:
    path = FIELDS / f"{version.replace('/', '_')}.txt"
    assert path.exists(), f"{version} is new: write its fields to {path.name}:\n{fields_of(schema)}"
    assert fields_of(schema) == path.read_text(), (
        f"metrics.json has other fields than {version} was given for good: raise the number of the version, "
        f"leave {path.name} as it is, and write the fields of the new one beside it"
    )


# --- the command ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("document", "schema"), [("report", report_schema()), ("run", run_schema())])
def test_export_prints_a_schema(document: str, schema: Node, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["export", "--schema", document]) == 0
    assert json.loads(capsys.readouterr().out) == schema


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["reports/r", "--schema", "run"], "--schema is the same for every folder: give it alone"),
        (["reports/r"], "export takes a folder and what to make of it: opo-eval export reports/NAME --to"),
        (["--to", "parquet"], "export takes a folder and what to make of it"),
    ],
)
def test_what_export_cannot_do_is_one_sentence(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["export", *words]) == 2
    assert message in capsys.readouterr().err
