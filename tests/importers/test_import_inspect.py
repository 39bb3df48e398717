"""An .eval file that inspect_ai wrote, and the metrics that it computed and keeps in it."""

import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from opo_eval.errors import InputError
from opo_eval.importers import Imported, inspect_ai
from opo_eval.problems import load_problems
from opo_eval.records import Finish, Verdict
from opo_eval.store import RunDir

Read = Callable[..., Imported]
Value = Callable[..., float]


@pytest.fixture
def log(logs: Path) -> Path:
    (path,) = (logs / "inspect").glob("*.eval")
    return path


def members(log: Path) -> dict[str, Any]:
    with zipfile.ZipFile(log) as archive:
        names = [name for name in archive.namelist() if name.endswith(".json")]
        return {name: json.loads(inspect_ai._member(archive, name)) for name in names}


def rewritten(log: Path, change: Callable[[str, Any], Any], to: Path) -> Path:
    """The log with every member changed (None leaves it out), packed as older versions of inspect do."""
    with zipfile.ZipFile(to, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members(log).items():
            if (changed := change(name, content)) is not None:
                archive.writestr(name, json.dumps(changed))
    return to


def with_samples(log: Path, change: Callable[[Any], object], to: Path) -> Path:
    def change_sample(name: str, content: Any) -> Any:
        if name.startswith("samples/"):
            change(content)
        return content

    return rewritten(log, change_sample, to)


def test_every_printed_metric_is_reproduced(log: Path, read: Read, value: Value) -> None:
    scores = members(log)["header.json"]["results"]["scores"]
    printed = {score["reducer"]: score["metrics"]["accuracy"]["value"] for score in scores}
    ((run, n),) = read(log).runs.items()
    assert n == 32 and 0 < printed["mean"] < printed["pass_at_4"]
    assert value(run, "pass@1", "source:pattern") == pytest.approx(printed["mean"], abs=1e-12)
    assert value(run, "pass@4") == pytest.approx(printed["pass_at_4"], abs=1e-12)


def test_what_is_logged_of_a_response_is_kept(log: Path, read: Read) -> None:
    (path,) = read(log).runs
    run = RunDir(path)
    logged = {
        (content["input"], content["epoch"] - 1): content["output"]
        for name, content in members(log).items()
        if name.startswith("samples/")
    }
    asked = {problem.id: problem.prompt for problem in run.problems()}
    assert path.parts[-1] == "tiny_arith" and run.manifest.settings.checkpoint.name == "hf/late"
    for sample in run.samples():
        output = logged.pop((asked[sample.problem_id], sample.index))
        assert sample.text == output["completion"]
        assert output["choices"][0]["stop_reason"] == "unknown" and sample.finish is None
        # inspect's own provider counts the padding of a batch, so all responses of one have the same number.
        assert sample.n_tokens is None and output["usage"]["output_tokens"] > len(sample.text.encode())
    assert not logged


def test_ends_and_token_counts_of_other_providers_are_kept(log: Path, tmp_path: Path, read: Read) -> None:
    def change(name: str, content: Any) -> Any:
        if name == "header.json":
            content["eval"]["model"] = "vllm/late"
        elif name.startswith("samples/"):
            content["output"]["usage"]["output_tokens"] = content["epoch"]
            content["output"]["choices"][0]["stop_reason"] = (
                "stop",
                "max_tokens",
                "model_length",
                "unknown",
            )[content["epoch"] - 1]
        return content

    (path,) = read(rewritten(log, change, tmp_path / "vllm.eval")).runs
    ends = {(sample.index, sample.n_tokens, sample.finish) for sample in RunDir(path).samples()}
    assert ends == {(0, 1, Finish.STOP), (1, 2, Finish.LENGTH), (2, 3, Finish.LENGTH), (3, 4, None)}


def test_problems_join_with_a_set(log: Path, read: Read) -> None:
    (path,) = read(log, problems="tiny-arith", checkpoint="late").runs
    assert path.parts[-2:] == ("late", "tiny-arith")
    assert {p.id for p in RunDir(path).problems()} == {p.id for p in load_problems("tiny-arith")[:8]}


def test_reasoning_is_put_back_and_hidden_reasoning_is_counted(log: Path, tmp_path: Path, read: Read) -> None:
    def change(sample: Any) -> None:
        parts: list[dict[str, Any]] = [
            {"type": "reasoning", "reasoning": "sum"},
            {"type": "text", "text": "\\boxed{1}"},
        ]
        if sample["epoch"] == 1:
            parts[0] |= {"redacted": True, "reasoning": "gAAAA"}
        sample["output"]["choices"][0]["message"]["content"] = parts

    done = read(with_samples(log, change, tmp_path / "reasoning.eval"))
    (path,) = done.runs
    texts = {sample.index: sample.text for sample in RunDir(path).samples()}
    assert texts[0] == "\\boxed{1}" and texts[1] == "<think>sum</think>\\boxed{1}"
    assert "the reasoning of 8 responses is encrypted, and left out" in done.notes


def test_a_failed_sample_could_not_be_graded(log: Path, tmp_path: Path, read: Read) -> None:
    def change(sample: Any) -> None:
        if sample["epoch"] == 1:
            sample |= {"error": {"message": "lost"}, "scores": None, "output": {"choices": []}}

    (path,) = read(with_samples(log, change, tmp_path / "failed.eval")).runs
    failed = [sample for sample in RunDir(path).samples() if sample.index == 0]
    assert {(sample.text, sample.finish) for sample in failed} == {("", Finish.ABORTED)}
    verdicts = {(grade.index, grade.verdict is Verdict.GRADER_ERROR) for grade in RunDir(path).grades()}
    assert verdicts == {(0, True), (1, False), (2, False), (3, False)}


def test_partial_credit_is_no_verdict_until_it_is_said_what_counts(
    log: Path, tmp_path: Path, read: Read, value: Value
) -> None:
    def change(sample: Any) -> None:
        sample["scores"]["pattern"]["value"] = "P" if sample["epoch"] < 4 else "C"

    path = with_samples(log, change, tmp_path / "partial.eval")
    done = read(path, checkpoint="a")
    assert not list(RunDir(next(iter(done.runs))).grades())
    assert "the score 'pattern' is left out: it is 0.5 of some response" in done.notes[0]
    (run,) = read(path, checkpoint="b", correct_from=0.75).runs
    assert value(run, "pass@1") == 0.25


def test_conversations_are_asked_by_their_last_user_turn(log: Path, tmp_path: Path, read: Read) -> None:
    def change(sample: Any) -> None:
        turns = [{"role": "system", "content": "Add."}, {"role": "user", "content": sample["input"]}]
        sample["input"] = turns

    (path,) = read(with_samples(log, change, tmp_path / "chat.eval"), problems="tiny-arith").runs
    assert len(RunDir(path).problems()) == 8


def test_other_versions_and_unfinished_files_are_refused(log: Path, tmp_path: Path, read: Read) -> None:
    def newer(name: str, content: Any) -> Any:
        return content | {"version": 3} if name == "header.json" else content

    with pytest.raises(InputError, match="of version 3 of inspect's log format, and version 2 can be read"):
        read(rewritten(log, newer, tmp_path / "newer.eval"))
    unfinished = rewritten(log, lambda name, c: None if name == "header.json" else c, tmp_path / "begun.eval")
    with pytest.raises(InputError, match=r"has no header.json, so its evaluation has not ended"):
        read(unfinished)


def test_several_targets_are_no_gold(log: Path, tmp_path: Path, read: Read) -> None:
    path = with_samples(log, lambda sample: sample.update(target=["1", "2"]), tmp_path / "targets.eval")
    with pytest.raises(InputError, match=r"gold .* is \['1', '2'\], it has to be text or a number"):
        read(path)
    (run,) = read(path, problems="tiny-arith").runs
    assert RunDir(run).problems()[0].answer == "-14"


def test_damage_is_found(log: Path, tmp_path: Path, read: Read) -> None:
    damaged = Path(shutil.copy(log, tmp_path / "damaged.eval"))
    with zipfile.ZipFile(log) as archive:
        entry = archive.getinfo("header.json")
    bytes_ = bytearray(damaged.read_bytes())
    middle = entry.header_offset + 60 + entry.compress_size // 2
    bytes_[middle] ^= 0xFF
    damaged.write_bytes(bytes_)
    with pytest.raises(InputError, match=r"header.json (is damaged|is not JSON)"):
        read(damaged)
    with zipfile.ZipFile(log) as archive:
        archive.getinfo("header.json").CRC ^= 1
        with pytest.raises(InputError, match=r"header.json is damaged .its checksum differs"):
            inspect_ai._member(archive, "header.json")
    damaged.write_bytes(b"PK nothing")
    with pytest.raises(InputError, match=r"is not an .eval file that can be read"):
        read(damaged, format="inspect")
