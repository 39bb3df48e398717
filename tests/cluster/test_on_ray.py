"""Samplers and graders in actors of a real Ray: what one process draws and how it grades, whoever dies.

All in one file, because tests of one file share the Ray.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import psutil
import pytest
from builders import problem, write_run
from samplers.engines import HELD_OUT

from opo_eval.errors import EngineError, InputError, UsageError
from opo_eval.grading import Grader, Outcome
from opo_eval.grading.run import grade_run, load_verifier, make_grader
from opo_eval.records import Checkpoint, Grade, Reason, Sample, Think, Verdict
from opo_eval.samplers import make_sampler, plan_requests, sample_run
from opo_eval.store import RunDir
from opo_eval.tiny import checkpoint_path

ray = pytest.importorskip("ray")
from opo_eval.cluster.crew import Crew  # noqa: E402
from opo_eval.cluster.replica import Replica, in_bursts  # noqa: E402
from opo_eval.samplers.ray_actor import load_sampler  # noqa: E402

LATE = str(checkpoint_path("late"))
OPTIONS = {"template": "tiny", "max_tokens": 32}
SMALL = {**OPTIONS, "batch_size": 4}
"""Batches in which the work is long enough to be killed in the middle."""
N = 2
_PATIENCE_S = 120


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """Of a cluster with two processors."""
    from ray.cluster_utils import Cluster

    node = {"num_cpus": 2, "num_gpus": 0, "object_store_memory": 2**27, "include_dashboard": False}
    node |= {"include_log_monitor": False, "no_monitor": True}
    cluster = Cluster(initialize_head=True, head_node_args=node)
    try:
        yield cluster.address
    finally:
        ray.shutdown()
        cluster.shutdown()


def killing_one(crew: Crew[Any, Any], answers: Iterable[Any], killed: list[psutil.Process]) -> Iterator[Any]:
    """The answers of a crew, one of whose processes is killed by its id when it has answered for the first
    time; its children are noted, too."""
    for answer in answers:
        if not killed:
            process = psutil.Process(crew._places[-1].about.pid)  # it was heard last
            killed += [process, *process.children(recursive=True)]
            os.kill(process.pid, signal.SIGKILL)
        yield answer


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def are_gone(processes: Iterable[psutil.Process]) -> bool:
    return not any(is_running(process) for process in processes)


def is_running(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


# --- samplers ---------------------------------------------------------------------------------------


def drawn(path: Path, sampler: Any) -> RunDir:
    return sample_run(path, sampler, Checkpoint(name="late"), HELD_OUT, n=N, think=Think.NONE, quiet=True)


def samples(run: RunDir) -> list[Sample]:
    return sorted(run.samples(), key=lambda sample: (sample.problem_id, sample.index))


def test_the_set_is_that_of_one_process_though_a_replica_is_killed(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = make_sampler("hf", LATE, **OPTIONS)
    two = make_sampler("ray", LATE, replicas=2, replica_engine="hf", ray_address=address, **SMALL)
    crew, generate, killed = two._crew, two.generate, []
    monkeypatch.setattr(two, "generate", lambda requests: killing_one(crew, generate(requests), killed))
    lost = r"replica \d on \S+ was lost with [1-9]\d* responses in flight \(its process ended\): another is"
    with pytest.warns(match=lost):
        run = drawn(tmp_path / "two", two)
    alone = drawn(tmp_path / "one", one)
    assert samples(run) == samples(alone)
    assert run.manifest.settings == alone.manifest.settings
    assert [each.manifest.provenance[0].n_devices for each in (run, alone)] == [2, 1]
    assert two.prompt_ids(HELD_OUT[0]) == one.prompt_ids(HELD_OUT[0])
    left = [psutil.Process(place.about.pid) for place in crew._places if place.about]
    assert left and killed[0] not in left
    refuses_another_checkpoint_on_another_node(two)
    two.close()
    wait_until(lambda: are_gone(left))


def refuses_another_checkpoint_on_another_node(sampler: Any) -> None:
    place = sampler._crew.loaded()
    place.about = replace(place.about, settings=replace(sampler.settings, model_sha256="another"))
    with pytest.raises(EngineError, match=r"replica \d on .* would draw otherwise .* on .*: see that both"):
        sampler._refuse_unlike(place)


def test_a_place_whose_actors_all_die_is_given_up(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*_: Any) -> None:
        """The first time at once, then with what a broken GPU says."""
        if not (tmp_path / "died").exists():
            (tmp_path / "died").touch()
            os._exit(1)
        raise RuntimeError("CUDA error: an illegal memory access\nsecond line")

    monkeypatch.setattr("opo_eval.samplers.ray_engine.load_sampler", die)
    lost = r"replica 1 was lost with 0 responses in flight \(its process ended\): another is"
    said = r"\(RuntimeError: CUDA error: an illegal memory access\)"
    given_up = rf"{said}, 3 times in a row, and no other is left; what was done"
    with (
        pytest.warns(match=lost),
        pytest.warns(match=rf"{said}: another is loaded in its place"),
        pytest.raises(EngineError, match=given_up),
    ):
        make_sampler("ray", LATE, ray_address=address)


def test_a_refusal_comes_through_as_it_is(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise UsageError("there is no such engine")

    monkeypatch.setattr("opo_eval.samplers.ray_engine.load_sampler", refuse)
    with pytest.raises(UsageError, match=r"^there is no such engine$"):
        make_sampler("ray", LATE, ray_address=address)


def test_a_replica_answers_with_what_its_sampler_refuses() -> None:
    replica = Replica()
    replica.load(load_sampler, "hf", LATE, {**OPTIONS, "template": "{problem}" * 99})
    requests = plan_requests(HELD_OUT[:2], 2, 0)
    refused = [replica.ask("room", HELD_OUT[0]), *replica.work("generate", requests, 0)]
    assert [type(each) for each in refused] == [EngineError] * 2
    assert "tokens and the model takes 256: choose a shorter template" in str(refused[0])


def test_a_replica_whose_engine_broke_down_raises() -> None:
    class Broken:
        def generate(self, _: Any) -> Iterator[Any]:
            raise EngineError("vLLM stopped: no reason") from RuntimeError("engine died")
            yield

    replica = Replica()
    replica.load(lambda: (Broken(), None))
    with pytest.raises(EngineError, match="vLLM stopped"):
        list(replica.work("generate", [], 0))


def test_answers_come_together_that_come_soon_after_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    now = iter([0.0, 0.1, 0.3, 0.3, 0.4, 0.6, 0.6, 0.7])
    clock = SimpleNamespace(monotonic=lambda: next(now))
    monkeypatch.setattr("opo_eval.cluster.replica.time", clock)
    assert list(in_bursts("abcde", 0.25)) == [["a", "b"], ["c", "d"], ["e"]]
    monkeypatch.undo()
    assert list(in_bursts("abc", 0)) == [["a"], ["b"], ["c"]]


def test_more_replicas_than_the_cluster_has_room_for_are_refused(address: str) -> None:
    with pytest.raises(UsageError, match="3 replicas with 1 CPU each do not fit into 1 node with room for 2"):
        make_sampler("ray", LATE, replicas=3, ray_address=address)
    with pytest.raises(UsageError, match=r"3 graders with 1 CPU each do not fit .* room for 2: lower --gr"):
        make_grader(graders=3, ray_address=address)
    with pytest.raises(UsageError, match="graders cannot be 0: it has to be at least 1"):
        make_grader(graders=0, ray_address=address)


def test_a_process_is_in_one_cluster_at_a_time(address: str) -> None:
    with pytest.raises(UsageError, match=r"this process is in the Ray at \S+ and cannot join the one at 127"):
        make_sampler("ray", LATE, ray_address="127.0.0.1:1")


# --- graders ----------------------------------------------------------------------------------------

FRACTIONS = tuple(replace(problem(n), answer=rf"\frac{{{n}}}{{7}}") for n in range(1, 21))
ANSWERS = (
    *(rf"it is \boxed{{{n}/7}}" for n in range(1, 8)),
    r"\boxed{\frac{2}{14}}",
    r"\boxed{\text{none}}",
    "no box, 3/7",
    r"\boxed{}",
    r"\boxed{\frac{3}{7",
)


@pytest.fixture
def fractions(tmp_path: Path) -> RunDir:
    """A run with answers that are right, wrong, not there and not to be read."""
    texts = {asked.source_id: ANSWERS for asked in FRACTIONS}
    return write_run(tmp_path / "fractions", FRACTIONS, texts)


def grades(run: RunDir) -> list[Grade]:
    return sorted(run.grades(), key=lambda grade: (grade.problem_id, grade.index))


def test_grades_are_those_of_one_process_though_a_grader_is_killed(
    address: str, fractions: RunDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    with make_grader(graders=2, ray_address=address, think="none", timeout_s=30.0) as two:
        crew, grade, killed = two._crew, two.grade, []
        monkeypatch.setattr(two, "grade", lambda items: killing_one(crew, grade(items), killed))
        lost = r"grader \d on \S+ was lost with [1-9]\d* responses in flight \(its process ended\): another"
        with pytest.warns(match=lost):
            done = grade_run(fractions, two, quiet=True)
        from_two = grades(fractions)
        with pytest.raises(InputError, match="a gold is empty: every problem needs an answer"):
            two.check_golds([" "])
        left = [psutil.Process(place.about.pid) for place in crew._places if place.about]
    (fractions.path / "grades.jsonl").unlink()
    with Grader(think="none", timeout_s=30.0, workers=1) as one:
        assert grade_run(fractions, one, quiet=True).verdicts == done.verdicts
    assert from_two == grades(fractions) and len(from_two) == len(FRACTIONS) * len(ANSWERS)
    assert len(done.verdicts) >= 3
    wait_until(lambda: are_gone([*left, *killed]))


def test_a_hostile_answer_is_graded_there_as_here(address: str) -> None:
    def judge(gold: str, response: str) -> bool:
        if response == "hang":
            time.sleep(1000)
        return bool(bytearray(8 << 30)) if response == "swell" else response == gold

    responses = ["3", "hang", "swell", "4", "3"]
    settings = {"verifier": judge, "timeout_s": 1.0, "workers": 1}
    outcomes = graded(make_grader(ray_address=address, **settings), responses)
    assert outcomes == graded(make_grader(**settings), responses)
    assert [(outcome.verdict, outcome.reason) for outcome in outcomes] == [
        (Verdict.CORRECT, Reason.OWN_VERIFIER),
        (Verdict.TIMED_OUT, Reason.TIME_LIMIT),
        (Verdict.GRADER_ERROR, Reason.MEMORY_LIMIT),
        (Verdict.WRONG, Reason.OWN_VERIFIER),
        (Verdict.CORRECT, Reason.OWN_VERIFIER),
    ]


def graded(grader: Grader, responses: Sequence[str]) -> list[Outcome]:
    with grader:
        found = dict(grader.grade((place, "3", text) for place, text in enumerate(responses)))
    return [found[place] for place in range(len(responses))]


def test_a_grader_of_another_version_is_refused(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("opo_eval.grading.grader.GRADER_VERSION", 99)
    said = r"grader 1 on \S+ grades as strict:\d+\|.*, and this process as strict:99\|.*: install the same"
    with make_grader(ray_address=address) as grader, pytest.raises(EngineError, match=said):
        grader.check_golds(["3"])


def test_graders_get_what_the_nodes_have() -> None:
    from opo_eval.grading.ray_grader import _reserved

    head, worker = {"CPU": 0.0}, {"CPU": 32.0, "GPU": 8.0}
    assert [(r.n, r.cpus, r.gpus) for r in (_reserved([head, worker, worker], n) for n in (None, 8))] == [
        (2, 32, 0),
        (8, 8, 0),
    ]


# --- interrupted ------------------------------------------------------------------------------------


def marked(mark: str) -> list[psutil.Process]:
    """Processes that have it in their environment, of whatever parents."""
    found = []
    for process in psutil.process_iter():
        try:
            if mark in process.environ().values() and is_running(process):
                found.append(process)
        except psutil.Error:
            continue
    return found


def test_control_c_keeps_what_arrived_and_leaves_no_process(fractions: RunDir, tmp_path: Path) -> None:
    verifier = tmp_path / "slow.py"
    verifier.write_text("import time\n\n\ndef slow(gold, text):\n    return time.sleep(0.1) is None\n")
    words = f"grade {fractions.path} --graders 1 --workers 1 --verifier {verifier}:slow --quiet"
    mark = str(uuid4())
    process = subprocess.Popen(
        [sys.executable, "-m", "opo_eval", *words.split()],
        env=os.environ | {"OPO_EVAL_TEST": mark},
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    wait_until(lambda: process.poll() is not None or n_lines(fractions) > 1)  # header first
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to all that are in the foreground
    _, said = process.communicate(timeout=_PATIENCE_S)
    assert process.returncode == 130 and said == (
        "opo-eval: interrupted; give the same command again to continue\n"
    )
    wait_until(lambda: not marked(mark))
    kept = grades(fractions)
    assert 0 < len(kept) < len(FRACTIONS) * len(ANSWERS)
    with Grader(think="none", verifier=load_verifier(f"{verifier}:slow")) as here:
        assert kept[0].grader == here.signature


def n_lines(run: RunDir) -> int:
    return sum(path.read_bytes().count(b"\n") for path in run.path.glob("grades.jsonl*"))
