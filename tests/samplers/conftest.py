"""Of the shipped tiny checkpoint, once: a vLLM server that answers for it, and what the engine hf draws."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from opo_eval.tiny import checkpoint_path

START_S = 300
CHAT = "{% for m in messages %}{{ m.content }}{% if m.role == 'user' %}={% endif %}{% endfor %}"
"""What the server makes of a conversation: the same that the template `tiny` makes of a problem."""


@pytest.fixture(scope="session")
def hf_pass_rates() -> np.ndarray:
    """Share of 16 responses of the engine hf that are correct, problem by problem; others shall agree."""
    from samplers.engines import HELD_OUT, pass_rates  # torch, which other tests below do not need

    from opo_eval.samplers import plan_requests
    from opo_eval.samplers.hf import HFSampler

    late = HFSampler(str(checkpoint_path("late")), template="tiny", max_tokens=64, batch_size=1024)
    return pass_rates(late.generate(plan_requests(HELD_OUT, 16, 0)))


@pytest.fixture(scope="session")
def vllm_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of the server, which serves the checkpoint `late` as `tiny-late`."""
    folder = tmp_path_factory.mktemp("vllm")
    (folder / "chat.jinja").write_text(CHAT)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with (folder / "log").open("wb") as log:
        process = _start(port, folder, log.fileno())
        try:
            _await_start(process, port, folder / "log")
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            _end(process)


def _start(port: int, folder: Path, log: int) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server"]
    command += ["--model", str(checkpoint_path("late")), "--served-model-name", "tiny-late"]
    command += ["--host", "127.0.0.1", "--port", str(port), "--chat-template", str(folder / "chat.jinja")]
    command += ["--dtype", "float32", "--max-model-len", "256", "--enforce-eager"]
    environment = os.environ | {"VLLM_CPU_KVCACHE_SPACE": "1"}
    # A session of its own, so that the end reaches the engine's process, too.
    return subprocess.Popen(
        command, cwd=folder, env=environment, stdout=log, stderr=log, start_new_session=True
    )


def _await_start(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + START_S
    while process.poll() is None and time.monotonic() < deadline:
        with suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5):
            return
        time.sleep(0.5)
    pytest.fail(f"the vLLM server did not start:\n{log.read_text(errors='replace')[-2000:]}")


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    with suppress(subprocess.TimeoutExpired):
        process.wait(60)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
