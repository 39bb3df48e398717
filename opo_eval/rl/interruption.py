"""Stopping between steps: what a step has cost is not thrown away."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def asked_to_stop(*, patient: bool = False) -> Iterator[Callable[[], bool]]:
    """In here an interrupt or a termination only makes the yielded function true; a second one stops at once.

    patient: a second one does not; a cluster's scheduler signals every process, and torchrun hands on what it
    was sent itself. Outside the main thread signals cannot be taken, so the function stays false.
    """
    asked = threading.Event()

    def note(number: int, frame: FrameType | None) -> None:
        if asked.is_set() and not patient:
            raise KeyboardInterrupt
        asked.set()

    if threading.current_thread() is not threading.main_thread():
        yield asked.is_set
        return
    before = {number: signal.signal(number, note) for number in _SIGNALS}
    try:
        yield asked.is_set
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
