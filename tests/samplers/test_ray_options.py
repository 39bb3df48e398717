"""What the engine ray refuses before there is a Ray."""

import pytest

from opo_eval.errors import UsageError
from opo_eval.samplers import make_sampler

pytest.importorskip("ray")


def test_options_of_other_engines_are_refused() -> None:
    with pytest.raises(UsageError, match="engine ray has no option endpoints"):
        make_sampler("ray", "a-model", endpoints=["http://host:8000"])
    with pytest.raises(UsageError, match="engine ray takes --replicas, not --data-parallel"):
        make_sampler("ray", "a-model", data_parallel=2)
    with pytest.raises(UsageError, match="replica_engine cannot be 'server': it has to be hf or vllm"):
        make_sampler("ray", "a-model", replica_engine="server")
