"""Rollouts by vLLM: the policy's weights go through a folder into the engine before each of them.

Where the build can load other weights into a running engine it does; on a CPU a new one is started, which
takes seconds. The log-probabilities that come with the tokens are vLLM's and are kept as such: the policy's
own are always computed by the model that learns, and the gap between the two is a column of every step
(`kl_rollout_k1`, `kl_rollout_k3`).
"""

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from opo_eval.records import Problem, Prompting, SamplingSettings
from opo_eval.rl.policy import Policy
from opo_eval.samplers import Generation, Request
from opo_eval.samplers.vllm import VLLMSampler
from opo_eval.samplers.vllm_engine import close_engine


class VLLMRollouts:
    """A Sampler whose model learns between its calls: it follows each `refresh` of the policy.

    folder: for the weights on their way; it is removed by `close`. options: of a `VLLMSampler`. Raises
    EngineError where vLLM cannot load the policy.
    """

    def __init__(self, policy: Policy, tokenizer: Any, folder: Path, **options: Any) -> None:
        self._policy, self._tokenizer, self._folder = policy, tokenizer, folder
        self._options = {**options, "dtype": str(policy.dtype).removeprefix("torch."), "logprobs": True}
        self._n_loaded = 0
        self._load()
        policy.followers.append(self._load)

    def close(self) -> None:
        """End the engine and remove the folder."""
        self._policy.followers.remove(self._load)
        close_engine()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _load(self) -> None:
        # Two names in turn: an engine is told from another by the folder that it was loaded from.
        path = self._folder / str(self._n_loaded % 2)
        shutil.rmtree(path, ignore_errors=True)
        self._policy.rollout_model.save_pretrained(path)
        self._tokenizer.save_pretrained(path)
        self._sampler = VLLMSampler(str(path), **self._options)
        self._sampler.start()
        self._n_loaded += 1

    @property
    def prompting(self) -> Prompting:
        """Template and chat template in use."""
        return self._sampler.prompting

    @property
    def settings(self) -> SamplingSettings:
        """All that decides what is drawn; the weights, which change, have no hash."""
        return replace(self._sampler.settings, model_sha256=None)

    @property
    def device(self) -> str:
        """What vLLM runs on."""
        return self._sampler.device

    @property
    def n_devices(self) -> int:
        """GPUs that share the layers."""
        return self._sampler.n_devices

    def prompt_text(self, problem: Problem) -> str:
        """All that the model reads before it answers."""
        return self._sampler.prompt_text(problem)

    def prompt_ids(self, problem: Problem) -> list[int]:
        """Token ids of the whole prompt."""
        return self._sampler.prompt_ids(problem)

    def room(self, problem: Problem) -> int:
        """Tokens that a response to it may have."""
        return self._sampler.room(problem)

    def start(self) -> None:
        """Nothing: each refresh of the policy does."""

    def generate(self, requests: Sequence[Request]) -> Iterator[Generation]:
        """Yield generations with vLLM's log-probabilities, in the order in which they finish."""
        yield from self._sampler.generate(requests)
