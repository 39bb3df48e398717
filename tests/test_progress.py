"""What is shown of long work on a terminal and elsewhere, and what is not of short work."""

import sys

import pytest

from opo_eval import progress
from opo_eval.progress import Progress


class Clock:
    """Seconds that pass when they are told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(progress.time, "monotonic", made)
    return made


def work(clock: Clock, n: int, seconds: float, **options: object) -> None:
    with Progress("reading", n, unit="lines", **options) as shown:
        for _ in shown.watch(range(n)):
            clock.now += seconds


def test_short_work_is_one_line(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    work(clock, 4, 0.5)
    assert capsys.readouterr().err == "reading: 4/4 lines (2.0/s)\n"


def test_long_work_is_a_line_every_ten_seconds(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    work(clock, 5, 6.0)
    assert capsys.readouterr().err.splitlines() == [
        "reading: 2/5 lines (0.2/s, 0:18 left)",
        "reading: 4/5 lines (0.2/s, 0:06 left)",
        "reading: 5/5 lines (0.2/s)",
    ]


@pytest.mark.parametrize(("seconds", "lines"), [(0.7, 0), (0.8, 1)])
def test_what_is_done_soon_enough_shows_nothing(
    clock: Clock, capsys: pytest.CaptureFixture[str], seconds: float, lines: int
) -> None:
    work(clock, 4, seconds, after_s=3.0)
    assert len(capsys.readouterr().err.splitlines()) == lines


@pytest.mark.parametrize("terminal", [False, True])
def test_quiet_shows_nothing(
    clock: Clock, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, terminal: bool
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal)
    work(clock, 4, 20.0, quiet=True)
    assert capsys.readouterr().err == ""


def test_a_terminal_gets_a_bar_once_it_takes_long(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[int] = []

    class Bar:
        def __init__(self, what: str, total: int) -> None:
            assert (what, total) == ("reading", 4)

        def show(self, done: int) -> None:
            shown.append(done)

        def close(self) -> None:
            shown.append(-1)

    monkeypatch.setattr(progress, "_Bar", Bar)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    work(clock, 4, 1.0, after_s=3.0)
    assert shown == [3, 4, -1]
    shown.clear()
    work(clock, 4, 1.0)
    assert shown == [0, 1, 2, 3, 4, -1]


def test_the_real_bar_draws(
    clock: Clock, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    work(clock, 4, 1.0)
    assert "reading" in capsys.readouterr().err
