"""The Sampler protocol and one file per engine; an engine's library is loaded when it is chosen."""

from opo_eval.samplers.base import Generation, Request, Sampler, plan_requests, sample_seed
from opo_eval.samplers.engines import ENGINES, choose_engine, make_sampler
from opo_eval.samplers.run import sample_of, sample_run

__all__ = [
    "ENGINES",
    "Generation",
    "Request",
    "Sampler",
    "choose_engine",
    "make_sampler",
    "plan_requests",
    "sample_of",
    "sample_run",
    "sample_seed",
]
