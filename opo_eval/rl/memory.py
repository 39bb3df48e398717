"""Memory that ran out, as one sentence."""

from collections.abc import Iterator
from contextlib import contextmanager

from opo_eval.errors import OpoEvalError
from opo_eval.samplers.hf import is_out_of_memory


@contextmanager
def memory_explained(what: str, advice: str) -> Iterator[None]:
    """Turn torch's want of memory into an OpoEvalError: "`what` does not fit into memory: `advice`"."""
    try:
        yield
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        raise OpoEvalError(f"{what} does not fit into memory: {advice}") from None
