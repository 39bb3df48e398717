"""From sums over slices of the vocabulary to the statistics of the whole distribution.

With x the logits of a model, a = (x − max x) / T, b the same of the reference and s = Σ e^a:

    log p(target) = a_target − log s
    H(p)          = log s − Σ e^a·a / s
    KL(p‖q)       = Σ e^a·(a − b) / s_a + log s_b − log s_a

A slice was summed with its own largest logit in place of max x. How far that lies behind makes its sums part
of those above: e^a takes the factor exp(behind / T), and every a and b gains its model's behind / T.
"""

import torch
from torch import Tensor

from opo_eval.scoring.chunks import check_top
from opo_eval.scoring.tiles import FAR, Sums


def statistics_of(sums: Sums) -> list[dict[str, Tensor]]:
    """Fields of TokenStatistics, [t] each, at each temperature.

    Raises InputError for logits that are no distribution.
    """
    top = sums.top.amax(dim=1)
    check_top(top)
    behind = (sums.top - top[:, None]).clamp_(min=-FAR)
    return [_statistics(sums, i, sums.chosen - top, behind) for i in range(len(sums.temperatures))]


def _statistics(sums: Sums, i: int, chosen: Tensor, behind: Tensor) -> dict[str, Tensor]:
    temperature, total = sums.temperatures[i], sums.total[i]
    factor = (behind / temperature).exp_()
    n_top, rest = _top_and_rest(factor, total, sums.others[i])
    log_sum = n_top.log() + (rest / n_top).log1p()  # a rest of 1e-17 would be lost in a plain sum
    moment = (factor * (sums.moment[i] + behind * total)).sum(dim=1) / temperature
    logprob, entropy = chosen / temperature - log_sum, log_sum - moment / (n_top + rest)
    found = {"logprob": logprob[0], "entropy": entropy[0]}
    if len(total) == 2:
        cross = (factor * (sums.cross[i] + (behind[0] - behind[1]) * total)).sum(dim=1) / temperature
        found |= {"ref_logprob": logprob[1], "ref_entropy": entropy[1]}
        found |= _divergences(cross / (n_top + rest), _log_ratio(n_top, rest), sums.gap)
    return found


def _divergences(mean_gap: Tensor, log_ratio: Tensor, gap: Tensor) -> dict[str, Tensor]:
    """KL in both directions from a − b, expected under each model, log s_b − log s_a and the extreme gaps."""
    reference_excludes, policy_excludes = gap[1].amax(dim=0) > FAR / 2, gap[0].amin(dim=0) < -FAR / 2
    kl, reverse_kl = mean_gap[0] + log_ratio, -mean_gap[1] - log_ratio
    return {
        # Rounding alone would make them less than 0.
        "kl": kl.clamp_(min=0.0).masked_fill_(reference_excludes, torch.inf),
        "reverse_kl": reverse_kl.clamp_(min=0.0).masked_fill_(policy_excludes, torch.inf),
    }


def _top_and_rest(factor: Tensor, total: Tensor, others: Tensor) -> tuple[Tensor, Tensor]:
    """Σ e^a of each model as the number of its largest logits and what the others add, [models, t] each."""
    holds_top = factor == 1
    n_top = torch.where(holds_top, total - others, 0.0).sum(dim=1).round_()
    return n_top, (factor * torch.where(holds_top, others, total)).sum(dim=1)


def _log_ratio(n_top: Tensor, rest: Tensor) -> Tensor:
    """log s_b − log s_a, [t]; of two nearly equal sums without the rounding of their logarithms."""
    difference = (n_top[1] - n_top[0]) + (rest[1] - rest[0])
    smaller = (n_top + rest).amin(dim=0)
    return (difference.abs() / smaller).log1p_().copysign_(difference)
