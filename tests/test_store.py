"""A run directory survives being killed at any instant."""

import errno
import json
import os
import random
import resource
import signal
import subprocess
import sys
import textwrap
import time
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from builders import grade, problem, sample, settings, token_stats, unpack

from opo_eval.errors import StoreError
from opo_eval.records import Checkpoint, RunSettings, Sample, Verdict
from opo_eval.store import (
    RecordFile,
    RunDir,
    RunWriter,
    TornTailWarning,
    find_runs,
    run_path,
    settings_differences,
)

PROBLEMS = (problem(1), problem(2))
PLAIN, PACKED = "samples.jsonl", "samples.jsonl.zst"


@pytest.fixture(params=[PLAIN, PACKED])
def samples_path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """The file that a run in `tmp_path` will have its samples in."""
    path = tmp_path / request.param
    if request.param == PLAIN:  # a run goes on in a plain file that is there, also where nothing is in it
        path.touch()
    return path


def open_run(path: Path, **sampling: object) -> RunWriter:
    return RunWriter(path, settings(PROBLEMS, **sampling), PROBLEMS)


def filled(path: Path) -> RunDir:
    with open_run(path) as writer:
        writer.append_samples([sample(PROBLEMS[0], i, f"text {i}\nλ") for i in range(3)])
        writer.append_grades([grade(PROBLEMS[0], 0, Verdict.WRONG)])
    return RunDir(path)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    run = filled(tmp_path)
    assert run.problems() == PROBLEMS
    assert [s.text for s in run.samples()] == ["text 0\nλ", "text 1\nλ", "text 2\nλ"]
    assert [g.verdict for g in run.grades()] == [Verdict.WRONG]
    assert run.manifest.settings == settings(PROBLEMS)


def test_every_file_names_its_schema(tmp_path: Path) -> None:
    filled(tmp_path)
    unpack(tmp_path)
    assert json.loads((tmp_path / "manifest.json").read_text())["schema"] == "opo_eval.manifest/1"
    for name in ("problems", "samples", "grades"):
        first = (tmp_path / f"{name}.jsonl").read_text().splitlines()[0]
        assert json.loads(first) == {"schema": f"opo_eval.{name}/1"}


@pytest.mark.parametrize("name", ["samples", "problems", "grades"])
def test_another_schema_version_is_refused_by_name(tmp_path: Path, name: str) -> None:
    run = filled(tmp_path)
    unpack(tmp_path)
    path = tmp_path / f"{name}.jsonl"
    path.write_text(path.read_text().replace("/1", "/7", 1))
    with pytest.raises(StoreError, match=rf"'opo_eval.{name}/7'.*reads 'opo_eval.{name}/1'"):
        list(getattr(run, name)())


def test_another_manifest_version_is_refused_by_name(tmp_path: Path) -> None:
    filled(tmp_path)
    path = tmp_path / "manifest.json"
    path.write_text(path.read_text().replace("manifest/1", "manifest/9"))
    with pytest.raises(StoreError, match=r"opo_eval.manifest/9.*use the version that wrote it"):
        _ = RunDir(tmp_path).manifest


@pytest.mark.parametrize("cut", [1, 2, 20, 60])
def test_a_torn_tail_is_repaired_with_a_word(samples_path: Path, cut: int) -> None:
    run = samples_path.parent
    with open_run(run) as writer:
        for i in range(3):
            writer.append_samples([sample(PROBLEMS[0], i, f"text {i}\nλ")])
    os.truncate(samples_path, samples_path.stat().st_size - cut)
    with pytest.warns(
        TornTailWarning, match=f"{samples_path.name}: incomplete last write of .* bytes passed"
    ):
        assert len(list(RunDir(run).samples())) == 2
    with (
        pytest.warns(TornTailWarning, match="cut off by an interruption; its .* bytes are removed"),
        open_run(run) as writer,
    ):
        writer.append_samples([sample(PROBLEMS[0], 2, "again")])
    assert [s.text for s in RunDir(run).samples()] == ["text 0\nλ", "text 1\nλ", "again"]


@pytest.mark.filterwarnings("ignore::opo_eval.store.TornTailWarning")
def test_every_prefix_of_a_file_can_be_continued(samples_path: Path) -> None:
    run = samples_path.parent
    filled(run)
    whole = samples_path.read_bytes()
    for length in range(len(whole) + 1):
        samples_path.write_bytes(whole[:length])
        with open_run(run) as writer:
            missing = [i for i in range(3) if (PROBLEMS[0].id, i) not in writer.samples.keys]
            writer.append_samples([sample(PROBLEMS[0], i, f"text {i}\nλ") for i in missing])
        assert samples_path.read_bytes() == whole


def test_a_plain_run_is_read_and_continued_as_such(tmp_path: Path) -> None:
    run = filled(tmp_path)
    before = list(run.samples())
    plain = unpack(tmp_path)
    lines = plain.read_text()
    assert list(run.samples()) == before and run.samples_path == plain
    with run.writer() as writer:
        writer.append_samples([sample(PROBLEMS[1], 0, "more")])
    assert plain.read_text().startswith(lines)
    assert json.loads(plain.read_text().splitlines()[-1])["text"] == "more"
    assert not (tmp_path / PACKED).exists()


def test_samples_in_two_files_are_refused_by_name(tmp_path: Path) -> None:
    run = filled(tmp_path)
    (tmp_path / PLAIN).touch()
    said = rf"{tmp_path} has its samples twice, in {PLAIN} and in {PACKED}: keep the one"
    for use in (run.writer, run.index, lambda: list(run.samples()), lambda: open_run(tmp_path)):
        with pytest.raises(StoreError, match=said):
            use()


def test_records_are_read_at_their_places(samples_path: Path) -> None:
    asked = [(p, i, f"{p.prompt} {i}\n" * 9_000) for i in range(4) for p in PROBLEMS]
    records = [sample(*one) for one in asked]
    with open_run(samples_path.parent) as writer:
        for start in range(0, len(records), 4):  # an append of more text than one frame has
            writer.append_samples(records[start : start + 4])
    file = RecordFile(samples_path, "samples", Sample, {"problem_id": str, "index": int})
    places = file.places()
    for order in (sorted(places), sorted(places, reverse=True), [next(iter(places))] * 3):
        read = list(file.read_at(places[key] for key in order))
        assert read == [next(r for r in records if file.key_of(r) == key) for key in order]


def test_memory_is_bounded_while_samples_are_gone_through(samples_path: Path) -> None:
    drawn = random.Random(0)
    with open_run(samples_path.parent) as writer:
        for index in range(60):
            text = "".join(drawn.choices("abcdefgh ", k=100_000))
            writer.append_samples([sample(PROBLEMS[0], index, text)])
    most, run = 2_000_000, RunDir(samples_path.parent)
    assert samples_path.stat().st_size > most
    tracemalloc.start()
    n_characters = sum(len(s.text) for s in run.samples())
    n_samples = sum(len(places) for places in run.index().samples.values())
    used = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (n_characters, n_samples) == (6_000_000, 60)
    assert used < most


def test_damage_in_the_middle_of_a_compressed_file_is_named_and_can_be_cut_out(tmp_path: Path) -> None:
    with open_run(tmp_path) as writer:
        for i in range(3):
            writer.append_samples([sample(PROBLEMS[0], i)])
    path = tmp_path / PACKED
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(data)
    with pytest.raises(
        StoreError, match=rf"{PACKED} is damaged .*restore the file, or .* and run again"
    ) as said:
        RunDir(tmp_path).writer()
    subprocess.run(str(said.value).split("`")[1], shell=True, check=True)
    with open_run(tmp_path) as writer:
        assert writer.samples.keys == {(PROBLEMS[0].id, 0), (PROBLEMS[0].id, 2)}


def test_a_damaged_line_in_the_middle_is_named_not_skipped(tmp_path: Path) -> None:
    run = filled(tmp_path)
    path = unpack(tmp_path)
    lines = path.read_text().splitlines(keepends=True)
    lines[2] = "{broken\n"
    path.write_text("".join(lines))
    with pytest.raises(StoreError, match=r"samples.jsonl:3 is damaged: not JSON"):
        list(run.samples())


@pytest.mark.parametrize("kind", ["samples", "grades", "token_stats"])
def test_a_duplicate_key_is_impossible(tmp_path: Path, kind: str) -> None:
    filled(tmp_path)
    made = {"samples": sample(PROBLEMS[0], 0), "grades": grade(PROBLEMS[0], 0)}
    record = made.get(kind) or token_stats(PROBLEMS[0], 0, [1.0])
    if kind == "token_stats":
        with open_run(tmp_path) as writer:
            writer.append_token_stats([record])
    with open_run(tmp_path) as writer:
        append = getattr(writer, f"append_{kind}")
        with pytest.raises(StoreError, match=rf"{kind}.jsonl(\.zst)? already has problem_id .*, index 0"):
            append([record])
    new = sample(PROBLEMS[1], 0)
    with open_run(tmp_path) as writer, pytest.raises(StoreError, match="already has"):
        writer.append_samples([new, new])
    assert len(list(RunDir(tmp_path).samples())) == 3


def test_a_second_writer_is_refused_with_the_first_ones_pid(tmp_path: Path) -> None:
    with open_run(tmp_path), pytest.raises(StoreError, match=rf"being written by process {os.getpid()}:"):
        open_run(tmp_path)
    open_run(tmp_path).close()


def test_a_changed_setting_is_refused_by_naming_what_differs(tmp_path: Path) -> None:
    filled(tmp_path)
    with pytest.raises(StoreError) as refused:
        open_run(tmp_path, temperature=0.7, base_seed=3)
    said = str(refused.value)
    assert "sampling.temperature was 1.0, now 0.7" in said
    assert "sampling.base_seed was 0, now 3" in said
    assert "top_p" not in said and "another --out" in said
    with open_run(tmp_path) as writer:  # and the refusal left nothing locked
        assert len(writer.samples.keys) == 3


def test_the_manifest_grows_and_never_shrinks_its_target(tmp_path: Path) -> None:
    for asked, kept in [(4, 4), (8, 8), (2, 8)]:
        RunWriter(tmp_path, settings(PROBLEMS), PROBLEMS, n_target=asked).close()
        assert RunDir(tmp_path).manifest.n_target == kept


def test_groups_join_samples_with_one_graders_verdicts(tmp_path: Path) -> None:
    with open_run(tmp_path) as writer:
        for index in (2, 0, 1):
            writer.append_samples([sample(asked, index) for asked in PROBLEMS])
        writer.append_grades([grade(PROBLEMS[0], 1), grade(PROBLEMS[0], 1, Verdict.WRONG, grader="other")])
    run = RunDir(tmp_path)
    first, second = run.groups("g")
    assert [g.sample.index for g in first.samples] == [0, 1, 2]
    assert [g.grade and g.grade.verdict for g in first.samples] == [None, Verdict.CORRECT, None]
    assert second.problem == PROBLEMS[1]
    assert list(run.index().grades) == ["g", "other"]


def scored(path: Path) -> RunDir:
    """Two scorers; the first at two temperatures, and of one sample less."""
    with open_run(path) as writer:
        writer.append_samples([sample(asked, i) for asked in PROBLEMS for i in range(2)])
        for temperature in (1.0, 0.6):
            writer.append_token_stats(
                [token_stats(PROBLEMS[0], i, [1.0, 0.5], temperature=temperature) for i in range(2)]
            )
        writer.append_token_stats([token_stats(PROBLEMS[1], 1, [2.0] * 12, kl=[0.1] * 12, scorer="t")])
    return RunDir(path)


def test_token_statistics_that_are_written_are_read_and_joined(tmp_path: Path) -> None:
    run = scored(tmp_path)
    read = list(run.token_stats())
    assert read[0] == token_stats(PROBLEMS[0], 0, [1.0, 0.5])
    assert read[-1] == token_stats(PROBLEMS[1], 1, [2.0] * 12, kl=[0.1] * 12, scorer="t")
    index = run.index()
    assert list(index.token_stats) == ["s", "t"]
    first, second = index.groups(scorer="s")
    assert [[own.temperature for own in g.token_stats] for g in first.samples] == [[0.6, 1.0]] * 2
    assert [g.token_stats for g in second.samples] == [(), ()]
    first, second = run.groups(scorer="t")
    assert [len(g.token_stats) for g in (*first.samples, *second.samples)] == [0, 0, 0, 1]
    assert all(not g.token_stats for group in run.groups() for g in group.samples)


def test_a_run_that_nobody_scored_has_no_file_for_it(tmp_path: Path) -> None:
    run = filled(tmp_path)
    assert not (tmp_path / "token_stats.jsonl").exists()
    assert list(run.token_stats()) == [] and run.index().token_stats == {}


def test_a_torn_tail_of_token_statistics_is_repaired(tmp_path: Path) -> None:
    path = scored(tmp_path).path / "token_stats.jsonl"
    whole = path.read_bytes()
    path.write_bytes(whole[:-20])
    with pytest.warns(TornTailWarning, match=r"token_stats\.jsonl: the last write was cut off"):
        writer = open_run(tmp_path)
    with writer:
        writer.append_token_stats([token_stats(PROBLEMS[1], 1, [2.0] * 12, kl=[0.1] * 12, scorer="t")])
    assert path.read_bytes() == whole


def test_a_folder_that_is_no_run_is_named_with_the_runs_below(tmp_path: Path) -> None:
    filled(tmp_path / "c" / "sums")
    assert [run.path for run in find_runs(tmp_path)] == [tmp_path / "c" / "sums"]
    with pytest.raises(StoreError, match=r"below it lie .*c/sums"):
        RunDir(tmp_path)
    with pytest.raises(StoreError, match="there is nothing at that path"):
        find_runs(tmp_path / "nowhere")


def test_names_are_made_safe_for_folders(tmp_path: Path) -> None:
    made = run_path(tmp_path, "deepseek-ai/R1 (distill)", "../../etc")
    assert made == tmp_path / "deepseek-ai__R1__distill-947a6c06" / "etc-74ccf3c5"
    assert run_path(tmp_path, "step_000400", "Qwen2.5-7B").parts[-2:] == ("step_000400", "Qwen2.5-7B")


def test_distinct_names_never_share_a_folder(tmp_path: Path) -> None:
    long = "x" * 200
    names = [
        "a/b",
        "a b",
        "a__b",
        "a/b/",
        "_a__b",
        "a\udcff",
        "a\udcfe",
        long,
        long + "y",
        "π" * 61,
        "π" * 62,
    ]
    folders = [run_path(tmp_path, name, "sums").parent.name for name in names]
    assert len(set(folders)) == len(names)
    assert max(len(folder.encode()) for folder in folders) <= 120
    assert run_path(tmp_path, "x" * 120, "sums").parent.name == "x" * 120


def test_runs_are_found_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    for step in ("step_1000", "step_200", "step_30", "base"):
        filled(tmp_path / step / "sums")
    found = [run.path.parent.name for run in find_runs(tmp_path)]
    assert found == ["base", "step_30", "step_200", "step_1000"]


def test_the_path_of_a_checkpoint_may_be_spelt_otherwise(tmp_path: Path) -> None:
    def at(path: str) -> RunSettings:
        return replace(settings(PROBLEMS), checkpoint=Checkpoint(name="c", path=path))

    RunWriter(tmp_path, at("ck"), PROBLEMS).close()
    RunWriter(tmp_path, at("./ck/"), PROBLEMS).close()
    assert settings_differences(at("ck"), replace(at("ck"), checkpoint=Checkpoint(name="d"))) == [
        "checkpoint.name was 'c', now 'd'"
    ]


def test_samples_without_a_manifest_are_not_adopted(tmp_path: Path) -> None:
    filled(tmp_path)
    (tmp_path / "manifest.json").unlink()
    with pytest.raises(
        StoreError, match=r"samples.jsonl.zst has samples, but manifest.json.* is missing: restore"
    ):
        open_run(tmp_path, temperature=0.5)
    assert not (tmp_path / "manifest.json").exists()


@pytest.mark.parametrize("name", ["samples", "grades"])
def test_a_repeated_key_is_damage_that_names_line_and_key(tmp_path: Path, name: str) -> None:
    run = filled(tmp_path)
    unpack(tmp_path)
    path = tmp_path / f"{name}.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join([*lines, lines[1]]))
    said = rf"{name}.jsonl:{len(lines) + 1} is damaged: it repeats problem_id '{PROBLEMS[0].id}', index 0"
    with pytest.raises(StoreError, match=said):
        run.writer()
    with pytest.raises(StoreError, match=said):
        list(run.groups("g"))


def test_a_sample_of_a_problem_that_is_not_there_is_named(tmp_path: Path) -> None:
    run = filled(tmp_path)
    path = tmp_path / "problems.jsonl"
    header, _, second = path.read_text().splitlines(keepends=True)
    path.write_text(header + second)
    said = rf"has samples of problem '{PROBLEMS[0].id}', which problems.jsonl lacks"
    with pytest.raises(StoreError, match=said):
        list(run.groups())
    with pytest.raises(StoreError, match=said):
        run.writer()
    assert len(list(run.samples())) == 3


@pytest.mark.parametrize("name", ["writer.lock", PACKED, "grades.jsonl", "problems.jsonl"])
def test_a_folder_in_place_of_a_file_is_one_sentence(tmp_path: Path, name: str) -> None:
    run = filled(tmp_path)
    (tmp_path / name).unlink()
    (tmp_path / name).mkdir()
    with pytest.raises(StoreError, match=rf"{name}: Is a directory; .* move that folder away"):
        run.writer()
    if name != "writer.lock":
        with pytest.raises(StoreError, match=rf"cannot read .*{name}: Is a directory"):
            list(run.groups())


def test_a_folder_in_place_of_the_manifest_is_one_sentence(tmp_path: Path) -> None:
    filled(tmp_path)
    (tmp_path / "manifest.json").unlink()
    (tmp_path / "manifest.json").mkdir()
    with pytest.raises(StoreError, match=r"cannot read .*manifest.json: Is a directory"):
        open_run(tmp_path)
    with pytest.raises(StoreError, match="is not a run directory"):
        RunDir(tmp_path)


@pytest.mark.parametrize(
    ("code", "advice"),
    [
        (errno.EACCES, "check its permissions"),
        (errno.EROFS, "check its permissions"),
        (errno.ENOSPC, "make room and give the same command again"),
        (errno.EDQUOT, "make room and give the same command again"),
    ],
)
def test_what_the_file_system_refuses_is_one_sentence_with_advice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, advice: str
) -> None:
    run = filled(tmp_path)

    def refuse(*_: object, **__: object) -> None:
        raise OSError(code, os.strerror(code))

    said = rf"{os.strerror(code)}; .*{advice}$"
    with monkeypatch.context() as patched, run.writer() as writer:
        patched.setattr(os, "write", refuse)
        with pytest.raises(StoreError, match=rf"cannot write to .*samples.jsonl.zst: {said}"):
            writer.append_samples([sample(PROBLEMS[1], 0)])
        patched.setattr(Path, "replace", refuse)
        with pytest.raises(StoreError, match=rf"cannot write .*manifest.json: {said}"), writer.timed():
            pass
    assert not list(tmp_path.glob(".manifest*"))
    with monkeypatch.context() as patched:
        patched.setattr(os, "open", refuse)
        with pytest.raises(StoreError, match=rf"cannot lock .*writer.lock: {said}"):
            run.writer()


@pytest.mark.parametrize("read", [lambda run: list(run.samples()), lambda run: run.manifest])
def test_an_unreadable_file_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, read: Callable[[RunDir], object]
) -> None:
    run = filled(tmp_path)

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(StoreError, match=r"cannot read .*: Permission denied; check its permissions"):
        read(run)


def test_a_folder_that_may_not_be_looked_into_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    filled(tmp_path)

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "is_file", refuse)
    for look in (find_runs, RunDir):
        with pytest.raises(StoreError, match="Permission denied; check its permissions"):
            look(tmp_path)


WRITER = textwrap.dedent(
    """
    import sys
    sys.path.insert(0, sys.argv[1])
    from builders import problem, sample, settings
    from opo_eval.store import RunWriter
    from test_store import TOTAL, noise
    problems = (problem(1), problem(2))
    with RunWriter(sys.argv[2], settings(problems), problems, n_target=TOTAL // 2) as writer:
        print("open", flush=True)
        for index in range(TOTAL // 2):
            for asked in problems:
                if (asked.id, index) not in writer.samples.keys:
                    writer.append_samples([sample(asked, index, noise(index))])
    """
)
TOTAL = 800


def noise(seed: int) -> str:
    """20,000 characters that compress to no less than half."""
    return random.Random(seed).randbytes(10_000).hex()


def start_writer(path: Path, **options: object) -> subprocess.Popen[str]:
    arguments = [sys.executable, "-c", WRITER, str(Path(__file__).parent), str(path)]
    return subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)


def assert_complete(run: RunDir) -> None:
    """Every sample of an uninterrupted run is there once."""
    samples = list(run.samples())
    assert len(samples) == TOTAL
    expected = {(p.id, i): noise(i) for p in PROBLEMS for i in range(TOTAL // 2)}
    assert {(s.problem_id, s.index): s.text for s in samples} == expected


@pytest.mark.filterwarnings("ignore::opo_eval.store.TornTailWarning")
def test_kill_9_at_random_moments_loses_at_most_the_work_in_flight(samples_path: Path) -> None:
    moments = random.Random(7)
    seen = 0
    for _ in range(8):
        with start_writer(samples_path.parent) as process:
            assert process.stdout and process.stdout.readline() == "open\n"
            time.sleep(moments.uniform(0, 0.05))
            process.send_signal(signal.SIGKILL)
        with open_run(samples_path.parent) as writer:
            assert len(writer.samples.keys) >= seen
            seen = len(writer.samples.keys)
    with start_writer(samples_path.parent) as process:
        process.communicate()
    assert seen > 0
    assert_complete(RunDir(samples_path.parent))


def test_a_full_disk_is_one_sentence_and_keeps_what_was_done(samples_path: Path) -> None:
    def allow_one_megabyte() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, 2**20))

    run = samples_path.parent
    with start_writer(run, preexec_fn=allow_one_megabyte) as process:
        _, said = process.communicate()
    assert "cannot write to" in said and "make room and give the same command again" in said
    kept, n_kept = samples_path.read_bytes(), len(list(RunDir(run).samples()))
    assert 2**20 - 21_000 < len(kept) <= 2**20 and n_kept >= 2**20 // 21_000
    with start_writer(run) as process:
        process.communicate()
    assert samples_path.read_bytes().startswith(kept)
    assert_complete(RunDir(run))
