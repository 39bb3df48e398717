"""The command line as a user types it: the whole chain, and one sentence for every wrong call."""

import json
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from builders import problem, write_run

from opo_eval.cli import VERBS, run
from opo_eval.report.figures import FIGURES
from opo_eval.samplers.checkpoints import model_sha256
from opo_eval.store import RunDir
from opo_eval.tiny import TINY_CHECKPOINTS, checkpoint_path

SUMS = [{"question": f"{a}+{a}=", "answer": str(2 * a), "level": str(a % 2)} for a in range(1, 5)]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to work in, with a small problem file and generations of two checkpoints."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sums.jsonl").write_text("".join(json.dumps(row) + "\n" for row in SUMS))
    rows = [
        {"problem": s["question"], "gold": s["answer"], "text": f"so \\boxed{{{n}}}", "model": m}
        for s in SUMS
        for m, n in [("early", 4), ("early", 6), ("late", s["answer"]), ("late", 4)]
    ]
    (tmp_path / "logs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return tmp_path


def imported(*more: str) -> int:
    columns = ["response=text", "checkpoint=model"]
    return run(["import", "logs.jsonl", "--map", *columns, "--think", "none", "--benchmark", "sums", *more])


def test_from_generations_to_a_report(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert imported() == 0
    assert run(["grade", "runs"]) == 0
    assert run(["measure", "runs/late/sums"]) == 0
    assert run(["compare", "runs", "--name", "sums"]) == 0
    said = capsys.readouterr().out
    assert "runs/early/sums: 8 samples added" in said
    assert "8 samples graded (2 correct, 6 wrong)" in said
    assert "pass@2" in said and "report: reports/sums/report.md" in said
    rows = json.loads((here / "runs/late/sums/metrics.json").read_text())["tables"][0]["rows"]
    assert {r["metric"]: r["value"] for r in rows if r["subset"] == "all"}["pass@2"] == 1
    assert all(len(line) <= 80 for line in said.splitlines() if line.startswith(("pass@", "self_bleu")))


def test_grading_again_does_nothing_and_another_limit_grades_anew(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    imported()
    assert run(["grade", "runs/late"]) == 0
    assert run(["grade", "runs/late"]) == 0
    assert "0 samples graded (none); 8 were graded before" in capsys.readouterr().out
    assert run(["grade", "runs/late", "--timeout", "3"]) == 0
    assert len(RunDir("runs/late/sums").index().grades) == 2


def test_a_torn_tail_is_repaired_with_a_word(here: Path) -> None:
    imported()
    torn = here / "runs/late/sums/samples.jsonl.zst"
    torn.write_bytes(torn.read_bytes()[:-5])
    command = [sys.executable, "-m", "opo_eval", "grade", "runs/late", "--strict-only"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0 and "7 samples graded" in done.stdout
    said = done.stderr.splitlines()[0]
    assert said.startswith("opo-eval: warning: runs/late/sums/samples.jsonl.zst: the last write was cut off")


def test_the_users_own_verifier(here: Path) -> None:
    imported()
    (here / "mine.py").write_text("def always(gold, response):\n    return True\n")
    assert run(["grade", "runs/early", "--verifier", "mine.py:always"]) == 0
    grades = list(RunDir("runs/early/sums").grades())
    assert {g.verdict for g in grades} == {"correct"}
    assert all(g.grader.startswith("own:opo_eval_verifier_mine.always:") for g in grades)


@pytest.mark.usefixtures("one_figure")
def test_eval_of_real_checkpoints_continues_and_grows(
    here: Path, data_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("one", "two"):
        (here / name).symlink_to(data_dir / "tiny_lm_stories260k")
    command = [
        "eval",
        "one",
        "two",
        "--benchmark",
        "sums.jsonl",
        "--think",
        "none",
        "--max-tokens",
        "12",
        "--engine",
        "hf",
        "--quiet",
    ]
    assert run([*command, "-n", "2"]) == 0
    before = list(RunDir("runs/one/sums").samples())
    assert run([*command, "-n", "3"]) == 0
    after = list(RunDir("runs/one/sums").samples())
    assert after[: len(before)] == before and len(after) == 12
    assert (here / "reports/eval/report.md").is_file()
    assert "not distinguishable" in capsys.readouterr().out
    assert run([*command, "-n", "3", "--temperature", "0.5"]) == 1
    assert "sampling.temperature was 1.0, now 0.5" in capsys.readouterr().err


def test_eval_tells_early_from_late(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    checkpoints = [str(checkpoint_path(name)) for name in TINY_CHECKPOINTS]
    flags = "--benchmark tiny-arith -n 4 --think none --max-tokens 128 --batch-size 256"
    assert run(["eval", *checkpoints, *flags.split()]) == 0
    said = capsys.readouterr().out
    assert "late is better than early on pass@1" in said
    figures = {path.name for path in (here / "reports/eval/figures").iterdir()}
    # Each checkpoint was trained once, they are not steps of one training run that is known, and neither
    # was scored.
    undrawn = {"arm_differences", "over_steps", "over_steps_differences"}
    undrawn |= {"kl_against_accuracy", "entropy_along_response"}
    drawn = FIGURES.keys() - undrawn
    assert figures == {f"{name}_tiny-arith.{suffix}" for name in drawn for suffix in ("png", "svg")}


@pytest.mark.usefixtures("one_figure")
def test_a_training_run_is_swept_against_its_start(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Two real models as steps 9 and 10 of a training run that says it began from the first of them."""
    early, late = (checkpoint_path(name) for name in ("early", "late"))
    (here / "opo_seed0").mkdir()
    training = {"schema": "opo_eval.training/1", "config": {"method": "opo", "seed": 0, "model": "early"}}
    row = training | {"model_sha256": model_sha256(str(early))}
    (here / "opo_seed0/config.json").write_text(json.dumps(row))
    for step, source in ((10, late), (9, early)):
        (here / f"opo_seed0/step_{step}").symlink_to(source)
    (here / "start").symlink_to(early)
    flags = "--benchmark sums.jsonl -n 2 --think none --max-tokens 8 --quiet --engine hf --last 2"
    assert run(["eval", "opo_seed0/step_10", "opo_seed0", "--reference", "start", *flags.split()]) == 0
    assert sorted(path.name for path in (here / "runs").iterdir()) == [
        "opo_seed0_step10",
        "opo_seed0_step9",
        "start",
    ]
    settings = RunDir("runs/opo_seed0_step10/sums").manifest.settings.checkpoint
    assert (settings.method, settings.train_seed, settings.step) == ("opo", 0, 10)
    report = (here / "reports/eval/report.md").read_text()
    assert "The reference is start; training began from it, so it is step 0 of opo_seed0." in report
    assert "| opo_seed0 | pass@1 | % | 9, 10 | " in report
    assert "Tokens generated: " in capsys.readouterr().out
    assert run(["eval", "opo_seed0", *flags.split(), "--baseline", "start"]) == 2
    (here / "young").mkdir()
    (here / "young/config.json").write_text(json.dumps(training))
    assert run(["sample", "young", "--benchmark", "sums.jsonl"]) == 2
    assert "young is a training run without checkpoints yet" in capsys.readouterr().err


def test_problems_are_listed_and_validated(
    here: Path, data_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["problems", "list"]) == 0
    assert capsys.readouterr().out.split() == ["math500", "aime24", "aime25", "tiny-arith"]
    assert run(["problems", "validate", "sums.jsonl"]) == 0
    assert "4 of 4 golds accepted, fast paths off" in capsys.readouterr().out
    assert run(["problems", "fetch", "aime24", "--problems-from", str(data_dir)]) == 0
    assert "aime24: 30 problems, sha256 " in capsys.readouterr().out


@pytest.mark.parametrize(("name", "count"), [("math500", 500), ("aime24", 30), ("aime25", 30)])
def test_every_gold_of_the_built_in_sets_is_accepted(
    data_dir: Path, name: str, count: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["problems", "validate", name, "--problems-from", str(data_dir)]) == 0
    assert f"{count} of {count} golds accepted, fast paths off" in capsys.readouterr().out


def test_a_gold_that_will_not_parse_fails_validation_by_name(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "odd.jsonl").write_text('{"id": "x1", "problem": "p", "answer": "$"}\n')
    assert run(["problems", "validate", "odd.jsonl"]) == 1
    said = capsys.readouterr()
    assert "x1: the gold '$' is not accepted as its own answer" in said.out
    assert "1 gold of odd.jsonl cannot be graded against" in said.err


def test_show_prints_problems_and_samples(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    imported()
    run(["grade", "runs"])
    capsys.readouterr()
    assert run(["show", "runs/late/sums"]) == 0
    assert capsys.readouterr().out.count("2/2") == 1
    assert run(["show", "runs/late/sums", "2+2="]) == 0
    assert "sample 1; correct (equal_text, lenient correct), answer '4'" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("command", "status", "message"),
    [
        ("import nowhere.jsonl", 1, "nowhere.jsonl"),
        ("import logs.jsonl --map response=txet", 1, "no column 'txet' (did you mean 'text'?)"),
        ("import logs.jsonl --map response", 2, "--map takes ROLE=COLUMN, not 'response'"),
        ("import logs.jsonl --think loudly", 2, "think cannot be 'loudly'"),
        ("grade nowhere", 1, "nowhere is not a run directory"),
        ("grade", 2, "give at least one run directory"),
        ("grade runs --answer bottom", 2, "no answer place 'bottom': choose one of boxed"),
        ("grade runs --timeout -1", 2, "timeout_s must be more than 0"),
        ("grade runs --verifier nonsense", 2, "--verifier takes module:function or file.py:function"),
        ("grade runs --verifier no_such_module:f", 1, "cannot be imported"),
        ("measure runs -n 9", 1, "has 2 samples of early, fewer than n = 9"),
        ("measure runs --tokenize shred", 2, "shred"),
        ("measure runs --smooth butter", 2, "no smoothing 'butter': use one of exp"),
        ("measure runs --grader nobody", 2, "--grader 'nobody' fits 0 graders"),
        ("compare runs runs --name x", 1, "are both early on sums"),
        ("compare runs --name x --baseline ealry", 2, "did you mean 'early'"),
        ("eval nowhere --benchmark sums.jsonl", 1, "there is no checkpoint directory nowhere"),
        ("eval runs --benchmark sums.jsonl", 1, "is not a checkpoint directory"),
        ("eval runs --benchmark mth500", 2, "no benchmark 'mth500' (did you mean 'math500'?)"),
        ("eval runs --benchmark sums.jsonl --engine warp", 2, "there is no engine 'warp'"),
        ("eval --benchmark sums.jsonl", 2, "give at least one checkpoint"),
        ("show runs/early/sums p9", 1, "has no problem 'p9'"),
        ("show runs", 2, "runs holds 2 runs: give one of them, such as runs/early/sums or runs/late/sums"),
        ("compare runs --name ../runs", 2, "--name '../runs' cannot name a report"),
        ("measure runs -n 0", 2, "n must be at least 1 sample a problem, not 0"),
        ("sample . --benchmark sums.jsonl", 1, "is not a checkpoint directory"),
        ("problems validate nonsense", 2, "there is no benchmark 'nonsense'"),
    ],
)
def test_a_wrong_call_is_one_sentence(
    here: Path, capsys: pytest.CaptureFixture[str], command: str, status: int, message: str
) -> None:
    imported()
    capsys.readouterr()
    assert run(command.split()) == status
    said = capsys.readouterr().err
    assert message in said
    assert said.startswith("opo-eval: ") and said.count("\n") == 1 and "Traceback" not in said


def test_wrong_usage_exits_with_2_and_names_the_option() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "opo_eval", "measure", "x", "--colour", "red"], capture_output=True, text=True
    )
    assert done.returncode == 2
    assert "--colour" in done.stdout + done.stderr and "Traceback" not in done.stdout + done.stderr


@pytest.mark.parametrize("verb", VERBS)
def test_every_option_of_every_verb_has_help(verb: str) -> None:
    done = subprocess.run([sys.executable, "-m", "opo_eval", verb, "--help"], capture_output=True, text=True)
    assert done.returncode == 0 and f"opo-eval {verb}" in done.stdout


def test_a_full_disk_keeps_what_was_graded(here: Path) -> None:
    problems = tuple(problem(i) for i in range(40))
    write_run(here / "runs/c/sums", problems, {p.source_id: ["so \\boxed{4}"] * 20 for p in problems})

    def allow_100_kilobytes() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))

    command = [sys.executable, "-m", "opo_eval", "grade", "runs/c/sums", "--strict-only"]
    done = subprocess.run(command, capture_output=True, text=True, preexec_fn=allow_100_kilobytes)
    assert done.returncode == 1 and "make room and give the same command again" in done.stderr
    assert "Traceback" not in done.stderr
    kept = len(list(RunDir("runs/c/sums").grades()))
    assert 0 < kept < 800
    again = subprocess.run(command, capture_output=True, text=True)
    assert f"{kept} were graded before" in again.stdout
    assert len(list(RunDir("runs/c/sums").grades())) == 800


def test_output_into_a_closed_pipe_is_no_error(here: Path) -> None:
    imported()
    command = f"{sys.executable} -m opo_eval show runs/late/sums | head -1"
    done = subprocess.run(command, shell=True, capture_output=True, text=True, env=os.environ)
    assert done.stdout.startswith("late on sums") and not done.stderr
