"""Replicas in actors of a real Ray: the set that one process draws, whoever dies."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from samplers.engines import HELD_OUT

from opo_eval.errors import EngineError, UsageError
from opo_eval.records import Checkpoint, Sample, Think
from opo_eval.samplers import Generation, Request, make_sampler, plan_requests, sample_run
from opo_eval.store import RunDir, find_runs
from opo_eval.tiny import checkpoint_path

ray = pytest.importorskip("ray")
from opo_eval.samplers.ray_actor import Replica  # noqa: E402

LATE = str(checkpoint_path("late"))
OPTIONS = {"template": "tiny", "max_tokens": 32}
SMALL = {**OPTIONS, "batch_size": 4}
"""Batches in which the work is long enough to be killed in the middle."""
N = 3
_PATIENCE_S = 120


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """Of a cluster with two processors."""
    from ray.cluster_utils import Cluster

    node = {"num_cpus": 2, "num_gpus": 0, "object_store_memory": 2**27, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args=node)
    try:
        yield cluster.address
    finally:
        ray.shutdown()
        cluster.shutdown()


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> RunDir:
    """What one process draws."""
    return drawn(tmp_path_factory.mktemp("alone") / "run", make_sampler("hf", LATE, **OPTIONS))


def drawn(path: Path, sampler: Any) -> RunDir:
    return sample_run(path, sampler, Checkpoint(name="late"), HELD_OUT, n=N, think=Think.NONE, quiet=True)


def samples(run: RunDir) -> list[Sample]:
    return sorted(run.samples(), key=lambda sample: (sample.problem_id, sample.index))


class KilledOnce:
    """A sampler on Ray, one of whose processes is killed when it has answered for the first time."""

    def __init__(self, sampler: Any) -> None:
        self.sampler, self.killed = sampler, None

    def __getattr__(self, name: str) -> Any:
        return getattr(self.sampler, name)

    def generate(self, requests: Sequence[Request]) -> Iterator[Generation]:
        for generation in self.sampler.generate(requests):
            if self.killed is None:
                self._kill(self.sampler._places[-1])  # it was heard last
            yield generation

    def _kill(self, place: Any) -> None:
        self.killed = place.about.pid
        os.kill(self.killed, signal.SIGKILL)


def is_running(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


def wait_until(condition: Any) -> None:
    deadline = time.monotonic() + _PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


# --- one that dies ----------------------------------------------------------------------------------


def test_the_set_is_that_of_one_process_though_a_replica_is_killed(
    address: str, alone: RunDir, tmp_path: Path
) -> None:
    two = KilledOnce(make_sampler("ray", LATE, replicas=2, replica_engine="hf", ray_address=address, **SMALL))
    lost = r"replica \d on \S+ was lost with [1-9]\d* responses in flight \(its process ended\): another is"
    with pytest.warns(match=lost):
        run = drawn(tmp_path / "run", two)
    assert samples(run) == samples(alone)
    assert run.manifest.settings == alone.manifest.settings
    assert [each.manifest.provenance[0].n_devices for each in (run, alone)] == [2, 1]
    processes = {place.about.pid for place in two._places if place.about}
    assert processes and two.killed not in processes
    assert two.prompt_ids(HELD_OUT[0]) == make_sampler("hf", LATE, **OPTIONS).prompt_ids(HELD_OUT[0])
    refuses_another_checkpoint_on_another_node(two)
    two.close()
    wait_until(lambda: not any(map(is_running, processes)))


def refuses_another_checkpoint_on_another_node(sampler: Any) -> None:
    about = replace(sampler._about, settings=replace(sampler.settings, model_sha256="another"))
    with pytest.raises(EngineError, match=r"replica \d on .* would draw otherwise .* on .*: see that both"):
        sampler._refuse_unlike(sampler._places[0], about)


def test_a_place_whose_actors_all_die_is_given_up(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Dies:
        """The first time at once, then with what a broken GPU says."""

        def load(self, *_: Any) -> None:
            if not (tmp_path / "died").exists():
                (tmp_path / "died").touch()
                os._exit(1)
            raise RuntimeError("CUDA error: an illegal memory access\nsecond line")

    monkeypatch.setattr("opo_eval.samplers.ray_engine.Replica", Dies)
    said = r"\(RuntimeError: CUDA error: an illegal memory access\)"
    with (
        pytest.warns(
            match=r"replica 1 was lost with 0 responses in flight \(its process ended\): another is"
        ),
        pytest.warns(match=rf"{said}: another is loaded in its place"),
        pytest.raises(
            EngineError, match=rf"{said}, 3 times in a row, and no other is left; what was sampled"
        ),
    ):
        make_sampler("ray", LATE, ray_address=address)


# --- refusals ---------------------------------------------------------------------------------------


def test_a_refusal_comes_through_as_it_is(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    class Refuses:
        def load(self, *_: Any) -> Any:
            return Replica().load("none", LATE, {})

    monkeypatch.setattr("opo_eval.samplers.ray_engine.Replica", Refuses)
    with pytest.raises(UsageError, match="there is no engine 'none': choose one of auto, hf, vllm"):
        make_sampler("ray", LATE, ray_address=address)


def test_a_replica_answers_with_what_its_sampler_refuses() -> None:
    replica = Replica()
    replica.load("hf", LATE, {**OPTIONS, "template": "{problem}" * 99})
    refused = [replica.ask("room", HELD_OUT[0]), *replica.generate(plan_requests(HELD_OUT[:2], 2, 0))]
    assert [type(each) for each in refused] == [EngineError] * 2
    assert "tokens and the model takes 256: choose a shorter template" in str(refused[0])


def test_a_replica_whose_engine_broke_down_raises() -> None:
    class Broken:
        def generate(self, _: Any) -> Iterator[Any]:
            raise EngineError("vLLM stopped: no reason") from RuntimeError("engine died")
            yield

    replica = Replica()
    replica._sampler = Broken()
    with pytest.raises(EngineError, match="vLLM stopped"):
        list(replica.generate([]))


def test_more_replicas_than_the_cluster_has_room_for_are_refused(address: str) -> None:
    with pytest.raises(UsageError, match="3 replicas with 1 CPU each do not fit into 1 node with room for 2"):
        make_sampler("ray", LATE, replicas=3, ray_address=address)


def test_a_process_is_in_one_cluster_at_a_time(address: str) -> None:
    with pytest.raises(UsageError, match=r"this process is in the Ray at \S+ and cannot join the one at 127"):
        make_sampler("ray", LATE, ray_address="127.0.0.1:1")


# --- interrupted ------------------------------------------------------------------------------------


def marked(mark: str) -> list[int]:
    """Processes that have it in their environment, of whatever parents."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            if mark.encode() in (path / "environ").read_bytes() and is_running(int(path.name)):
                found.append(int(path.name))
        except OSError:
            continue
    return found


def test_control_c_keeps_what_arrived_and_leaves_no_process(alone: RunDir, tmp_path: Path) -> None:
    mark = f"OPO_EVAL_TEST={uuid4()}"
    words = (
        f"sample {LATE} --benchmark tiny-arith -n {N} --think none --template tiny --max-tokens 32 --quiet"
    )
    words += f" --engine ray --replicas 1 --replica-engine hf --batch-size 4 --out {tmp_path}"
    process = subprocess.Popen(
        [sys.executable, "-m", "opo_eval", *words.split()],
        env=os.environ | dict([mark.split("=")]),
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    wait_until(lambda: process.poll() is not None or n_lines(tmp_path) > 1)  # the first is the header
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to all that are in the foreground
    _, said = process.communicate(timeout=_PATIENCE_S)
    assert process.returncode == 130 and said == (
        "opo-eval: interrupted; give the same command again to continue\n"
    )
    wait_until(lambda: not marked(mark))
    (begun,) = find_runs(tmp_path)
    assert 0 < len(samples(begun)) < len(samples(alone))
    assert samples(continued_alone(begun)) == samples(alone)


def n_lines(folder: Path) -> int:
    return sum(path.read_bytes().count(b"\n") for path in folder.rglob("samples.jsonl*"))


def continued_alone(begun: RunDir) -> RunDir:
    """The rest, in one process: a run is its engine's, whichever machines that worked on."""
    sampler, checkpoint = make_sampler("hf", LATE, **OPTIONS), begun.manifest.settings.checkpoint
    return sample_run(begun.path, sampler, checkpoint, HELD_OUT, n=N, think=Think.NONE, quiet=True)
