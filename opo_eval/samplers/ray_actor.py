"""What a sampler on Ray is in its actor's process: an engine, and what it says of itself."""

import os
import socket
from collections.abc import Mapping
from typing import Any

from opo_eval.samplers.base import Sampler
from opo_eval.samplers.engines import choose_engine, make_sampler
from opo_eval.samplers.remote import About


def load_sampler(engine: str | None, checkpoint: str, settings: Mapping[str, Any]) -> tuple[Sampler, About]:
    """Make a sampler; engine: None for the one that suits the checkpoint here."""
    name = engine or choose_engine(checkpoint)[0]
    sampler = make_sampler(name, checkpoint, **settings)
    about = About(
        prompting=sampler.prompting,
        settings=sampler.settings,
        device=sampler.device,
        n_devices=sampler.n_devices,
        host=socket.gethostname(),
        pid=os.getpid(),
    )
    return sampler, about
