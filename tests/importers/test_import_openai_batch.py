"""Batch output that a server wrote of a file of requests."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from opo_eval.errors import InputError, UsageError
from opo_eval.importers import Imported
from opo_eval.problems import load_problems
from opo_eval.records import Finish
from opo_eval.store import RunDir

Read = Callable[..., Imported]


@pytest.fixture
def folder(tmp_path: Path, logs: Path) -> Path:
    """A copy of the log, to be changed."""
    return Path(shutil.copytree(logs / "openai-batch", tmp_path / "batch"))


@pytest.fixture
def settings(folder: Path) -> dict[str, Any]:
    return {"requests": folder / "requests.jsonl", "problems": "tiny-arith", "template": "tiny"}


def rows_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_every_choice_is_a_sample_of_its_request(folder: Path, settings: dict[str, Any], read: Read) -> None:
    done = read(folder / "results.jsonl", **settings)
    ((path, n),) = done.runs.items()
    assert n == 32 and path.parts[-2:] == ("late", "tiny-arith") and not done.unjoined
    problems = load_problems("tiny-arith")[:8]
    assert RunDir(path).problems() == problems
    answers = {
        row["custom_id"]: row["response"]["body"]["choices"] for row in rows_of(folder / "results.jsonl")
    }
    finishes = {"stop": Finish.STOP, "length": Finish.LENGTH}
    expected = [
        (problem.id, choice["index"], choice["message"]["content"] or "", finishes[choice["finish_reason"]])
        for problem in problems
        for choice in answers[f"request-{problem.source_id}"]
    ]
    samples = list(RunDir(path).samples())
    assert [(s.problem_id, s.index, s.text, s.finish) for s in samples] == expected
    assert {sample.finish for sample in samples} == {Finish.STOP, Finish.LENGTH}
    assert all(sample.n_tokens is None for sample in samples)  # the log counts those of a request


def test_requests_that_ask_the_same_are_samples_of_one_problem(
    folder: Path, settings: dict[str, Any], read: Read
) -> None:
    """One choice a request, answered in another order: numbered by the order of the requests."""
    requests, answers = rows_of(folder / "requests.jsonl"), rows_of(folder / "results.jsonl")
    split_requests, split_answers = [], []
    for request, answer in zip(requests, answers, strict=True):
        for choice in answer["response"]["body"]["choices"]:
            custom_id = f"{request['custom_id']}-{choice['index']}"
            body = {**answer["response"]["body"], "choices": [choice | {"index": 0}]}
            body["usage"] = {"completion_tokens": 7}
            split_requests.append(request | {"custom_id": custom_id})
            split_answers.append(
                answer | {"custom_id": custom_id, "response": answer["response"] | {"body": body}}
            )
    (whole,) = read(folder / "results.jsonl", **settings, checkpoint="whole").runs
    write(folder / "requests.jsonl", split_requests)
    write(folder / "results.jsonl", split_answers[::-1])
    (split,) = read(folder / "results.jsonl", **settings, checkpoint="split").runs
    texts = [[(s.problem_id, s.index, s.text) for s in RunDir(run).samples()] for run in (whole, split)]
    assert texts[0] == texts[1]
    assert {sample.n_tokens for sample in RunDir(split).samples()} == {7}


def test_failed_requests_are_left_out_and_named(folder: Path, settings: dict[str, Any], read: Read) -> None:
    answers = rows_of(folder / "results.jsonl")
    answers[0] |= {"response": None, "error": {"code": "batch_expired", "message": "too late"}}
    answers[1]["response"] |= {"status_code": 500, "body": {}}
    done = read(write(folder / "results.jsonl", answers), **settings)
    named = f"{answers[0]['custom_id']}, {answers[1]['custom_id']}"
    assert list(done.runs.values()) == [24] and done.notes == [f"left out: 2 requests that failed ({named})"]


def test_completions_are_read_as_well(folder: Path, settings: dict[str, Any], read: Read) -> None:
    requests, answers = rows_of(folder / "requests.jsonl"), rows_of(folder / "results.jsonl")
    for request, answer in zip(requests, answers, strict=True):
        request["body"]["prompt"] = request["body"].pop("messages")[0]["content"]
        body = answer["response"]["body"]
        body["object"] = "text_completion"
        for choice in body["choices"]:
            choice["text"] = choice.pop("message")["content"]
    write(folder / "requests.jsonl", requests)
    done = read(write(folder / "results.jsonl", answers), **settings)
    assert list(done.runs.values()) == [32]


@pytest.mark.parametrize("field", ["reasoning", "reasoning_content"])
def test_a_think_section_is_put_back(folder: Path, settings: dict[str, Any], read: Read, field: str) -> None:
    answers = rows_of(folder / "results.jsonl")
    answers[0]["response"]["body"]["choices"][0]["message"] |= {field: "sum", "content": "\\boxed{1}"}
    (path,) = read(write(folder / "results.jsonl", answers), **settings).runs
    assert next(RunDir(path).samples()).text == "<think>sum</think>\\boxed{1}"


def test_what_the_log_does_not_say_is_asked_for(folder: Path, settings: dict[str, Any], read: Read) -> None:
    with pytest.raises(UsageError, match="name the file of requests with --requests"):
        read(folder / "results.jsonl")
    with pytest.raises(InputError, match="no column for the gold answer"):
        read(folder / "results.jsonl", requests=settings["requests"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda row: row["response"]["body"].update(object="response"),
            "is a 'response', and only chat.comp",
        ),
        (
            lambda row: row.update(custom_id="other"),
            r"answers 1 request that the file of --requests lacks \(oth",
        ),
        (
            lambda row: row["response"]["body"]["choices"][0]["message"].update(tool_calls=[{}]),
            "calls tools instead of answering",
        ),
    ],
)
def test_other_answers_are_refused(
    folder: Path, settings: dict[str, Any], read: Read, change: Callable[[Any], object], message: str
) -> None:
    answers = rows_of(folder / "results.jsonl")
    change(answers[0])
    with pytest.raises(InputError, match=message):
        read(write(folder / "results.jsonl", answers), **settings)


def test_a_request_twice_is_refused(folder: Path, settings: dict[str, Any], read: Read) -> None:
    requests = rows_of(folder / "requests.jsonl")
    write(folder / "requests.jsonl", [*requests, requests[0]])
    with pytest.raises(InputError, match="line 9 repeats the custom_id 'request-0/0'"):
        read(folder / "results.jsonl", **settings)
