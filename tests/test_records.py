"""Records survive the trip to JSON and back, and refuse what they do not know."""

import orjson
import pytest
from builders import grade, problem, sample, settings

from opo_eval.records import (
    Finish,
    Grade,
    Interval,
    Manifest,
    MetricTable,
    Problem,
    ProblemStatistics,
    RunSettings,
    Sample,
    SampleOutcomes,
    Verdict,
    from_dict,
)
from opo_eval.store import dump_record

EXAMPLES = [
    problem(1, level="3"),
    sample(problem(1), 0, token_ids=(1, 2), n_tokens=2, seed=5),
    sample(problem(1), 0, finish=None),
    grade(problem(1), 0),
    settings([problem(1)]),
    Manifest(settings=settings([problem(1)]), provenance=(), n_target=4, wall_time_s=1.5),
    Interval(low=0.0, high=1.0, level=0.95, kind="k"),
    MetricTable(
        checkpoint="c",
        benchmark="b",
        n=1,
        problem_ids=("p",),
        rows=(),
        statistics=(
            ProblemStatistics(
                metric="rep_5",
                numerators=(3.0,),
                denominators=(9.0,),
                spreads=((1.0, 0.5, 2.0, 1.0),),
                n_samples=(2,),
                n_samples_left_out=(0,),
            ),
        ),
        outcomes=SampleOutcomes(
            problem=(0, 0),
            index=(0, 1),
            verdict=(Verdict.CORRECT, None),
            finish=(Finish.STOP, None),
            characters=(5, 6),
            tokens=(2, None),
        ),
        counts={"samples": 1},
    ),
]


@pytest.mark.parametrize("record", EXAMPLES, ids=lambda record: type(record).__name__)
def test_a_record_survives_json(record: object) -> None:
    assert from_dict(type(record), orjson.loads(dump_record(record))) == record


@pytest.mark.parametrize(
    ("cls", "row", "message"),
    [
        (Problem, {"id": "a", "colour": "red"}, "Problem has no field 'colour'"),
        (Problem, {"id": "a"}, "missing"),
        (Problem, {"id": 3}, "Problem.id cannot be 3"),
        (Sample, {"finish": "melted"}, "'melted' is not a valid Finish"),
        (Sample, {"token_ids": "abc"}, "Sample.token_ids cannot be 'abc'"),
        (Grade, {"verdict": None}, "None is not a valid Verdict"),
        (RunSettings, {"checkpoint": []}, "RunSettings.checkpoint cannot be"),
    ],
)
def test_what_a_record_cannot_hold_is_named(cls: type, row: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        from_dict(cls, row)


def test_an_integer_is_taken_for_a_float_and_not_the_reverse() -> None:
    assert from_dict(Interval, {"low": 0, "high": 1, "level": 0.95, "kind": "k"}).low == 0.0
    with pytest.raises(ValueError, match=r"Sample.index cannot be 1.5"):
        from_dict(Sample, {"index": 1.5})


def test_a_lone_surrogate_is_written_as_a_replacement() -> None:
    line = dump_record(sample(problem(1), 0, "bad \ud800 text"))
    assert orjson.loads(line)["text"] == "bad ? text"
