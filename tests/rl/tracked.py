"""What trackers have on disk, read back: TensorBoard's and trackio's by their own, W&B's by its records."""

import json
import os
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

BLOCK, HEADER = 2**15, 7


def curves(out: Path) -> dict[str, list[tuple[int, float]]]:
    """Points of every curve as TensorBoard shows them."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    shown = EventAccumulator(str(out / "tensorboard"), size_guidance={"scalars": 0})
    shown.Reload()
    return {name: [(e.step, e.value) for e in shown.Scalars(name)] for name in shown.Tags()["scalars"]}


def wandb_records(path: Path) -> Iterator[Any]:
    """Records of a W&B file: blocks of 32 KiB in LevelDB's log format after a header of seven bytes."""
    from wandb.proto.wandb_internal_pb2 import Record

    data, at, record = path.read_bytes(), HEADER, b""
    assert data[:4] == b":W&B"
    while at + HEADER <= len(data):
        if BLOCK - at % BLOCK < HEADER:
            at += BLOCK - at % BLOCK
            continue
        _, length, kind = struct.unpack_from("<IHB", data, at)
        record += data[at + HEADER : at + HEADER + length]
        at += HEADER + length
        if kind in (1, 4):  # whole, or the last part
            yield Record.FromString(record)
            record = b""


def history(out: Path) -> list[list[tuple[str, dict[str, float]]]]:
    """For each process that tracked, in order, the run's id and the values of every step."""
    paths = sorted(out.glob("wandb/offline-run-*/*.wandb"), key=lambda path: path.stat().st_mtime_ns)
    return [[(path.stem.removeprefix("run-"), _values(row)) for row in _rows(path)] for path in paths]


def _rows(path: Path) -> Iterator[Any]:
    return (r.history for r in wandb_records(path) if r.WhichOneof("record_type") == "history")


def _values(row: Any) -> dict[str, float]:
    names = {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in row.item}
    return {name: value for name, value in names.items() if name not in ("_timestamp", "_runtime")}


READ_TRACKIO = """
import json, trackio
from trackio.sqlite_storage import SQLiteStorage
runs = list(trackio.Api().runs("opo-eval"))
logs = {run.name: SQLiteStorage.get_logs("opo-eval", run.name, run_id=run.id) for run in runs}
print(json.dumps({run.name: {"config": run.config, "logs": logs[run.name]} for run in runs}, default=str))
"""


def trackio_runs(folder: Path) -> dict[str, dict[str, Any]]:
    """By run of a folder of trackio its `config` and its `logs`, as trackio itself reads them."""
    # In a process of its own: trackio has one folder a process.
    done = subprocess.run(
        [sys.executable, "-c", READ_TRACKIO],
        env=os.environ | {"TRACKIO_DIR": str(folder)},
        capture_output=True,
        text=True,
        check=True,
    )
    runs = json.loads(done.stdout)
    for run in runs.values():
        run["logs"] = [{name: log[name] for name in log if name != "timestamp"} for log in run["logs"]]
    return runs
