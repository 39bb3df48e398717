"""What runs in an actor of Ray: one sampler. Ray starts its process, on whichever node has room."""

import os
import socket
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from opo_eval.errors import OpoEvalError
from opo_eval.samplers.base import Generation, Request, Sampler
from opo_eval.samplers.engines import choose_engine, make_sampler
from opo_eval.samplers.remote import About


class Replica:
    """A sampler to be called from afar.

    A refusal is an answer like any other: an exception would come back wrapped in Ray's. What is raised is a
    breakdown, after which the process is not to be trusted.
    """

    def load(self, engine: str | None, checkpoint: str, settings: Mapping[str, Any]) -> About | OpoEvalError:
        """Make the sampler; engine: None for the one that suits the checkpoint here."""
        try:
            name = engine or choose_engine(checkpoint)[0]
            self._sampler: Sampler = make_sampler(name, checkpoint, **settings)
        except OpoEvalError as error:
            return _refusal(error)
        return About(
            prompting=self._sampler.prompting,
            settings=self._sampler.settings,
            device=self._sampler.device,
            n_devices=self._sampler.n_devices,
            host=socket.gethostname(),
            pid=os.getpid(),
        )

    def ask(self, method: str, *arguments: Any) -> Any:
        """What a method of the sampler returns, or the OpoEvalError that it raises."""
        try:
            return getattr(self._sampler, method)(*arguments)
        except OpoEvalError as error:
            return _refusal(error)

    def generate(self, requests: Sequence[Request]) -> Iterator[Generation | OpoEvalError]:
        """Yield generations as they finish; an OpoEvalError is the last."""
        try:
            # Ray sends into what it iterates over; `yield from` would pass that on, and iterators refuse it.
            for generation in self._sampler.generate(requests):  # noqa: UP028
                yield generation
        except OpoEvalError as error:
            yield _refusal(error)


def _refusal(error: OpoEvalError) -> OpoEvalError:
    """The error itself, unless an engine that broke down caused it: that is raised."""
    if error.__cause__ is not None:
        raise error
    return error
