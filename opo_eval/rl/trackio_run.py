"""A run of trackio, in a process of its own: see `TrackioWriter`.

trackio has one folder and one current run a process, and prints to standard output as it pleases. Here it is
told on standard input, a line of JSON each: the arguments of `trackio.init`, those of `log` for every step,
and null at the end. Standard output has one line once it has begun: empty, or why it cannot.
"""

import json
import sys
from collections.abc import Iterator
from contextlib import redirect_stdout
from io import StringIO
from typing import Any


def main() -> None:
    """Track one run, up to its end or that of the process which tells of it."""
    told, answers = _told(), sys.stdout
    with redirect_stdout(StringIO()):
        run = _begun(next(told), answers)
        for arguments in told:
            run.log(**arguments)
        run.finish()


def _told() -> Iterator[dict[str, Any]]:
    for line in sys.stdin:
        if (message := json.loads(line)) is None:
            return
        yield message


def _begun(settings: dict[str, Any], answers: Any) -> Any:
    try:
        import trackio

        run = trackio.init(**settings)
    except Exception as error:  # whatever stops it is one sentence to who started it
        print(" ".join(f"{type(error).__name__}: {error}".split())[:200], file=answers, flush=True)
        sys.exit(1)
    print(file=answers, flush=True)
    return run


if __name__ == "__main__":
    main()
