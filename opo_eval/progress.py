"""A progress bar with a rate and the remaining time on a terminal, plain lines elsewhere."""

import sys
import time
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import Self, TypeVar

Item = TypeVar("Item")
_LINE_EVERY_S = 10.0


class Progress:
    """Counts done work on standard error; a context manager. `quiet` shows nothing."""

    def __init__(
        self, what: str, total: int, *, unit: str = "", quiet: bool = False, after_s: float = 0.0
    ) -> None:
        """after_s: what is done within so many seconds shows nothing."""
        self.what, self.total, self.unit, self.quiet, self.after_s = what, total, unit, quiet, after_s
        self.done = 0
        self._started = self._last_line = time.monotonic()
        self._bar: _Bar | None = None
        self._show()

    def advance(self, n: int = 1) -> None:
        """Say that n more are done."""
        self.done += n
        self._show()

    def watch(self, items: Iterable[Item]) -> Iterator[Item]:
        """Pass items through, counting each once it has been worked on."""
        for item in items:
            yield item
            self.advance()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar:
            self._bar.close()
        elif self.done and self._is_shown():
            self._say()

    def _is_shown(self) -> bool:
        return not self.quiet and time.monotonic() - self._started >= self.after_s

    def _show(self) -> None:
        if not self._is_shown():
            return
        if sys.stderr.isatty():
            self._bar = self._bar or _Bar(self.what, self.total)
            self._bar.show(self.done)
        elif self.done < self.total and time.monotonic() - self._last_line > _LINE_EVERY_S:
            self._say()

    def _say(self) -> None:
        now = time.monotonic()
        rate = self.done / max(now - self._started, 1e-9)
        left = (self.total - self.done) / rate if rate else 0.0
        speed = _spell_rate(rate) + (f", {_spell_seconds(left)} left" if self.done < self.total else "")
        counted = f"{self.done}/{self.total}{self.unit and ' ' + self.unit}"
        print(f"{self.what}: {counted} ({speed})", file=sys.stderr)
        self._last_line = now


class _Bar:
    """The terminal's bar; rich is loaded only where there is a terminal."""

    def __init__(self, what: str, total: int) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as RichProgress

        self._progress = RichProgress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
            console=Console(stderr=True),
        )
        self._progress.start()
        self._task = self._progress.add_task(what, total=total, rate="")

    def show(self, done: int) -> None:
        self._progress.update(self._task, completed=done)
        speed = self._progress.tasks[0].speed
        if speed:
            self._progress.update(self._task, rate=_spell_rate(speed))

    def close(self) -> None:
        self._progress.stop()


def _spell_rate(per_second: float) -> str:
    return f"{per_second:.1f}/s" if per_second >= 0.1 else f"{1 / max(per_second, 1e-9):.0f} s each"


def _spell_seconds(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
