"""The verdicts under ANTLR 4.9.3, which verl needs, and under 4.13.2 are the same.

Left alone, math-verify judges percentages differently: the parser that latex2sympy2_extended has for 4.9.3
lacks an accessor which its conversion asks for before it comes to them. The workers supply it.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from opo_eval.records import Reason

ROOT = Path(__file__).resolve().parents[2]
RUNTIMES = ("4.9.3", "4.13.2")


@pytest.fixture(scope="module")
def reports(data_dir: Path) -> dict[str, dict]:
    return {runtime: verdicts_under(runtime, data_dir) for runtime in RUNTIMES}


def verdicts_under(runtime: str, data_dir: Path) -> dict:
    folder = ROOT / ".cache" / "antlr" / runtime
    if not (folder / "antlr4").is_dir():
        pytest.fail(f"no ANTLR runtime in {folder}: run `make set-up`")
    program = Path(__file__).with_name("antlr_verdicts.py")
    done = subprocess.run(
        [sys.executable, str(program), str(data_dir)],
        env=os.environ | {"PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_the_runtime_is_the_one_meant(runtime: str, reports: dict[str, dict]) -> None:
    version, place = reports[runtime]["runtime"].split(" ", 1)
    assert version == runtime
    assert Path(place).is_relative_to(ROOT / ".cache" / "antlr" / runtime)


def test_the_verdicts_are_the_same(reports: dict[str, dict]) -> None:
    one, other = (reports[runtime]["verdicts"] for runtime in RUNTIMES)
    assert one.keys() == other.keys()
    assert len(one) > 560 + 2 * 195 + 200
    assert {key: (one[key], other[key]) for key in one if one[key] != other[key]} == {}


def test_a_percentage_is_a_number_under_both(reports: dict[str, dict]) -> None:
    assert {reports[runtime]["verdicts"]["a half"][0] for runtime in RUNTIMES} == {Reason.EQUIVALENT}


def test_the_verdicts_are_the_parser_s(reports: dict[str, dict]) -> None:
    reasons = {reason for reason, _ in reports[RUNTIMES[0]]["verdicts"].values()}
    assert {Reason.EQUIVALENT, Reason.NOT_EQUIVALENT, Reason.UNPARSED_ANSWER} <= reasons
    assert not reasons & {Reason.EQUAL_TEXT, Reason.EQUAL_INTEGER, Reason.TIME_LIMIT, Reason.WORKER_DIED}
