"""A Ray to work on, at an address or of our own on this machine, and what each replica gets of its nodes."""

import logging
import os
import socket
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from opo_eval.errors import EngineError, UsageError
from opo_eval.wording import counted

# Ray reads it once, and would print pages about a dead worker where results are printed.
os.environ.setdefault("RAY_DEDUP_LOGS_SKIP_REGEX", "^A worker died or was killed")
import ray

_ANSWER_S = 10.0
_OBJECTS_BYTES = 2**27
"""Of a local Ray's store: what goes through it is small, or spilled to disk."""
_OF_OUR_OWN: Mapping[str, Any] = {
    "address": "local",
    "include_dashboard": False,
    "object_store_memory": _OBJECTS_BYTES,
}
_AUTO = "auto"

# --- joining ----------------------------------------------------------------------------------------

_joined: str | None = None
"""Address by which this process joined a cluster: as it was given, which may be a name."""


def join(address: str | None) -> None:
    """Join the cluster at an address, or start a Ray on this machine that ends with this process.

    address: `host:port` of a cluster's head, `auto` on one of its nodes, or None. A process that is in a
    Ray already stays in it. Raises UsageError for what is no address and for another cluster's, EngineError
    where none can be joined.
    """
    global _joined
    if ray.is_initialized():
        return _refuse_another(address)
    if address not in (None, _AUTO):
        _refuse_silent(address, *_host_and_port(address))
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    where = {"address": address} if address else _OF_OUR_OWN
    try:
        ray.init(**where, log_to_driver=False, logging_level=logging.ERROR)
    except Exception as error:  # Ray raises its own, ConnectionError, RuntimeError and ValueError
        raise EngineError(
            f"{_named(address)} cannot be used ({first_line(error)}): see that it runs, with equal versions "
            "of Ray and of Python, that this is one of its nodes, and that RAY_AUTH_MODE is set as there"
        ) from None
    _joined = address


def _named(address: str | None) -> str:
    return f"the Ray at {address}" if address else "a Ray on this machine"


def _refuse_another(address: str | None) -> None:
    current = ray.get_runtime_context().gcs_address
    if address not in (None, _AUTO, _joined, current):
        raise UsageError(
            f"this process is in the Ray at {current} and cannot join the one at {address}: use that, or "
            "call ray.shutdown() first"
        )


def _host_and_port(address: str) -> tuple[str, int]:
    host, colon, port = address.rpartition(":")
    if "/" in address or not (host and colon and port.isdecimal() and 0 < int(port) < 2**16):
        raise UsageError(
            f"{address!r} is no address of a Ray: give HOST:PORT of its head, such as 10.0.0.1:6379, or "
            "auto on one of its nodes"
        )
    return host.strip("[]"), int(port)


def _refuse_silent(address: str, host: str, port: int) -> None:
    """Ray itself would try for a minute."""
    try:
        socket.create_connection((host, port), timeout=_ANSWER_S).close()
    except OSError as error:
        raise EngineError(
            f"no Ray answers at {address} ({error}): start one there with `ray start --head --port {port}`, "
            "or leave the address out for one on this machine"
        ) from None


def first_line(error: BaseException) -> str:
    """Of what an error says, shortened; its kind where it says nothing."""
    lines = lines_of(error)
    return lines[0].rstrip(".:")[:300] if lines else type(error).__name__


def lines_of(error: BaseException) -> list[str]:
    """What an error says, without empty lines."""
    return [line.strip() for line in str(error).splitlines() if line.strip()]


# --- dividing ---------------------------------------------------------------------------------------

Resources = Mapping[str, float]
"""Of a node: name to amount, as Ray counts them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reserved:
    """How many replicas there are, and what Ray keeps for each."""

    n: int
    gpus: int
    cpus: int
    """Also the threads of its arithmetic, unless OMP_NUM_THREADS says otherwise."""


def living_nodes() -> list[Resources]:
    """The cluster's nodes that are up."""
    return [node["Resources"] for node in ray.nodes() if node["Alive"]]


def reserve(
    nodes: Sequence[Resources], n: int | None, *, gpus_each: int = 0, noun: str = "replica"
) -> Reserved:
    """What n replicas need, of what the nodes have.

    n: None for as many as there are GPUs for, or one where there is no GPU. gpus_each: 0 for replicas that
    use none. Without GPUs the processors are divided equally. noun: of the option, for one of them. Raises
    UsageError where n do not fit.
    """
    if n is not None and n < 1:
        raise UsageError(f"{noun}s cannot be {n}: it has to be at least 1")
    if gpus_each and any(node.get("GPU") for node in nodes):
        room = _room(nodes, "GPU", gpus_each)
        _refuse_crowd(n or 1, room, nodes, noun=noun, each=gpus_each, kind="GPU")
        return Reserved(n=n or room, gpus=gpus_each, cpus=1)
    return Reserved(n=n or 1, gpus=0, cpus=_cpus_each(nodes, n or 1, noun))


def _cpus_each(nodes: Sequence[Resources], n: int, noun: str) -> int:
    _refuse_crowd(n, _room(nodes, "CPU", 1), nodes, noun=noun, each=1, kind="CPU")
    most = int(max(node.get("CPU", 0) for node in nodes))
    return max(each for each in range(1, most + 1) if _room(nodes, "CPU", each) >= n)


def _room(nodes: Iterable[Resources], kind: str, each: int) -> int:
    return sum(int(node.get(kind, 0)) // each for node in nodes)


def _refuse_crowd(n: int, room: int, nodes: Sequence[Resources], *, noun: str, each: int, kind: str) -> None:
    if n > room:
        asked, there = f"{counted(n, noun)} with {counted(each, kind)} each", counted(len(nodes), "node")
        raise UsageError(
            f"{asked} do not fit into {there} with room for {room}: lower --{noun}s"
            + (" or --tensor-parallel" if each > 1 else "")
        )
