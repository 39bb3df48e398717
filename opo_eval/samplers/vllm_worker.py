"""What vLLM's worker has to say of its weights beside what it says by itself."""

from typing import Any


class WeightSums:
    """Mixed into vLLM's worker, on whose side the weights are."""

    model_runner: Any

    def squared_weights(self) -> float:
        """Sum of the squares of all parameters."""
        return squared(self.model_runner.get_model().parameters())


def squared(tensors: Any) -> float:
    """Sum of the squares of tensors, in float64: the same however they are cut and joined."""
    return sum(float(tensor.detach().double().square().sum()) for tensor in tensors)
