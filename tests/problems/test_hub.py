"""The hub, offline: its cache as huggingface_hub lays it out, and the sentences where that has nothing."""

import hashlib
import io
import json
import os
import subprocess
import sys

import pandas
import pytest

from opo_eval.errors import InputError
from opo_eval.problems import BENCHMARKS, dataset_sha256, load_problems
from opo_eval.problems.hub import fetch

# In a process of its own, because huggingface_hub reads its environment once, when it is imported.
SCRIPT = """
import json, sys
from opo_eval.errors import OpoEvalError
from opo_eval.problems import dataset_sha256, load_problems
for name in sys.argv[1:]:
    try:
        problems = load_problems(name)
        source_ids = [problem.source_id for problem in problems]
        print(json.dumps([len(problems), dataset_sha256(problems), source_ids]))
    except OpoEvalError as error:
        print(json.dumps(str(error)))
"""


def put_in_cache(cache, file, data):
    """Blob, snapshot link and reference of one file, as a download leaves them; `main` has moved on since."""
    repository = cache / f"datasets--{file.repository.replace('/', '--')}"
    blob = repository / "blobs" / hashlib.sha256(data).hexdigest()
    link = repository / "snapshots" / file.revision / file.path
    for folder in (blob.parent, link.parent, repository / "refs"):
        folder.mkdir(parents=True, exist_ok=True)
    blob.write_bytes(data)
    link.symlink_to(os.path.relpath(blob, link.parent))
    (repository / "refs" / "main").write_text("0" * 40)


def as_parquet(rows):
    """Columns and trailing newline as in MathArena's repositories."""
    columns = {
        "problem_idx": [row["number"] for row in rows],
        "problem": [f"{row['problem']}\n" for row in rows],
        "answer": [row["answer"] for row in rows],
    }
    buffer = io.BytesIO()
    pandas.DataFrame(columns).to_parquet(buffer)
    return buffer.getvalue()


def load_offline(cache, *names):
    environment = {name: value for name, value in os.environ.items() if name != "OPO_EVAL_DATA"}
    environment |= {"HF_HUB_OFFLINE": "1", "HF_HUB_CACHE": str(cache)}
    result = subprocess.run(
        [sys.executable, "-c", SCRIPT, *names], env=environment, capture_output=True, text=True, check=True
    )
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_sets_from_the_hubs_cache(tmp_path, data_dir, rows_of):
    math500, aime24, aime25 = (BENCHMARKS[name].hub for name in ("math500", "aime24", "aime25"))
    put_in_cache(tmp_path, math500[0], (data_dir / "math500/math500.jsonl").read_bytes())
    put_in_cache(tmp_path, aime24[0], as_parquet(rows_of("aime24")[:15]))
    put_in_cache(tmp_path, aime24[1], as_parquet(rows_of("aime24")[15:]))
    put_in_cache(tmp_path, aime25[0], as_parquet(rows_of("aime25")))
    loaded = load_offline(tmp_path, *BENCHMARKS)
    for name, (count, sha256, source_ids) in zip(BENCHMARKS, loaded, strict=True):
        local = load_problems(name, source=data_dir)
        assert (count, sha256) == (len(local), dataset_sha256(local))
        assert source_ids == [problem.source_id for problem in local]


def test_what_is_said_without_a_cache_and_of_a_leaky_copy_in_it(tmp_path, rows_of):
    rows = rows_of("aime25")
    rows[0]["problem"] += " The answer is 70."
    put_in_cache(tmp_path, BENCHMARKS["aime25"].hub[0], as_parquet(rows))
    absent, leaky = load_offline(tmp_path, "math500", "aime25")
    assert absent.startswith(
        "test.jsonl of HuggingFaceH4/MATH-500 at 6e4ed1a2a79af7d8630a6b768ec859cb5af4d3be"
    )
    assert "neither in the hub's cache nor could it be fetched" in absent
    assert "give a local file or folder as the source, or set OPO_EVAL_DATA" in absent and "\n" not in absent
    assert "is not the published aime25 (30 problems of 30; 1 missing: 2025-I-1; 1 extra: train-" in leaky


def test_what_is_said_without_huggingface_hub(monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(
        InputError, match=r"needs huggingface_hub: pip install 'opo-eval\[hub\]', or give a local file"
    ):
        fetch(BENCHMARKS["aime25"].hub[0])


def test_every_revision_is_a_commit():
    for benchmark in BENCHMARKS.values():
        assert all(len(file.revision) == 40 and int(file.revision, 16) for file in benchmark.hub)
