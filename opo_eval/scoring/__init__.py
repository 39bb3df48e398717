"""Teacher-forced scoring: exact entropy, KL divergence and log-probability of given tokens.

All of it works from a model's last hidden states and its output head, a chunk of tokens at a time:

    hidden = last_hidden(model, input_ids)[0, :-1]
    token_stats(hidden, output_head(model), input_ids[0, 1:]).entropy
"""

from importlib import import_module
from typing import Any

_HOMES = {
    "k1": "estimators",
    "k2": "estimators",
    "k3": "estimators",
    "OutputHead": "heads",
    "check_head": "heads",
    "last_hidden": "heads",
    "output_head": "heads",
    "token_logprobs": "logprobs",
    "TokenStatistics": "exact",
    "token_stats": "exact",
    "token_stats_at": "exact",
}
__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    # Loaded on first use: torch takes seconds to import.
    if name in _HOMES:
        return getattr(import_module(f"opo_eval.scoring.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'opo_eval.scoring' has no attribute {name!r}")
