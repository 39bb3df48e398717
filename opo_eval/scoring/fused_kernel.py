"""Triton kernels behind `opo_eval.scoring.fused`: logits stay in registers, sums over them go to memory.

`sum_tiles` multiplies some tokens of a text with some of the vocabulary and reduces this tile of logits to a
few sums a token; `merge_masses` and `merge_distances` bring the tiles together in float64. At one token let x
and y be the logits of policy and reference divided by the temperature, and in a tile a = x − max x,
b = y − max y and d = y − x − centre. The sums are

    rest   = Σ e^a without one of the largest      first  = Σ e^a·d
    moment = Σ e^a·a                               second = Σ e^a·(e^d − 1 − d)

for the policy, and for the reference those of b, and those of e^a·e^d and −d in place of e^a and d. With p
and q the probabilities and δ = log q − log p, KL(p‖q) = Σ p·(e^δ − 1 − δ), since Σ p·e^δ = Σ q = 1: no term
is negative, and all are of second order in δ. In a tile p = m·e^a and q = n·e^a·e^d for some m and n. So
δ = d + κ with κ = log n − log m, and

    Σ p·(e^δ − 1 − δ) = n·second + (n − m)·first + (n − m − m·κ)·(1 + rest)
                      = Σ q − Σ p − m·first − κ·Σ p

exactly. Where the models are close the first is a sum of terms of second order: rounding in float32 costs a
divergence a share of itself, be it ever so small. The second is for tiles in which they are far apart. The
exponential is a polynomial, good to 2**-23, because the processor's own is good to 2**-22.
"""

import triton
import triton.language as tl

LOWEST = tl.constexpr(-1e20)
"""What logits of −inf count as, and those past the vocabulary: −inf less −inf would be no number."""
LARGEST_POWER = tl.constexpr(4e6)
"""Powers of 2 that `sum_tiles` can sum, of either sign."""
_FAR = tl.constexpr(1e19)  # two logits are this far apart if one of them is −inf
_OFF_CENTRE = tl.constexpr(20.0)  # most by which d may be moved, so that e^d stays a float32
_LN2 = tl.constexpr(0.6931471805599453)
_LOG2E = tl.constexpr(1.4426950408889634)
_ROUNDER = tl.constexpr(12582912.0)  # 1.5·2**23: around it float32 is integers, in its lowest bits
_LEAST_POWER = tl.constexpr(-125.0)  # stands for all below: the exponent of a float32 ends at −126

# The program that was checked on a device is then the one that runs, whatever the sizes.
_SIZES = ["n_tokens", "n_vocab", "width", "ref_width", "n_temperatures", "n_tiles"]


@triton.jit(do_not_specialize=_SIZES)
def sum_tiles(
    hidden,
    weight,
    ref_hidden,
    ref_weight,
    targets,
    rates,
    tops,
    chosen,
    excluded,
    centres,
    sums,
    n_tokens,
    n_vocab,
    width,
    ref_width,
    n_temperatures,
    HAS_REFERENCE: tl.constexpr,
    BLOCK_T: tl.constexpr,
    BLOCK_V: tl.constexpr,
    BLOCK_H: tl.constexpr,
):
    """Sums of a tile of BLOCK_T tokens by BLOCK_V of the vocabulary.

    hidden, weight: descriptors of [T, H] and [V, H], and the reference's. targets: [T]. rates: float64
    [temperatures], what logits are multiplied with. tops: float32 [models, tiles, T], the largest logit.
    chosen: float32 [models, T], the logit of the target. excluded: int8 [models, T], set to 1 where the
    reference, and where the policy, gives −inf to what the other does not. centres: float32
    [temperatures, tiles, T]. sums: float32 [temperatures, models, fields, tiles, T]; fields are rest, moment
    and, with a reference, first, second.
    """
    tile, rows = tl.program_id(1), tl.program_id(0) * BLOCK_T + tl.arange(0, BLOCK_T)
    mask = rows < n_tokens
    place, size = tile * n_tokens + rows, tl.num_programs(1) * n_tokens
    target = tl.load(targets + rows, mask=mask, other=-1) - tile * BLOCK_V
    n_columns = n_vocab - tile * BLOCK_V

    x = _product(hidden, weight, width, BLOCK_T, BLOCK_V, BLOCK_H)
    x = _checked(x, chosen + rows, target, n_columns, BLOCK_V)
    top = tl.max(x, axis=1)
    tl.store(tops + place, top, mask=mask)
    if HAS_REFERENCE:
        y = _product(ref_hidden, ref_weight, ref_width, BLOCK_T, BLOCK_V, BLOCK_H)
        y = _checked(y, chosen + n_tokens + rows, target, n_columns, BLOCK_V)
        ref_top = tl.max(y, axis=1)
        tl.store(tops + size + place, ref_top, mask=mask)
        tl.store(excluded + rows, 1, mask=mask & (tl.min(y - x, axis=1) < -_FAR))
        tl.store(excluded + n_tokens + rows, 1, mask=mask & (tl.max(y - x, axis=1) > _FAR))
        for i in range(n_temperatures):
            to = sums + 8 * i * size + place
            _sum_both(x, y, top, ref_top, tl.load(rates + i), centres + i * size + place, to, size, mask)
    else:
        for i in range(n_temperatures):
            _sum_one(x, top, tl.load(rates + i), sums + 2 * i * size + place, size, mask)


@triton.jit
def _product(hidden, weight, width, BLOCK_T: tl.constexpr, BLOCK_V: tl.constexpr, BLOCK_H: tl.constexpr):
    row, column = tl.program_id(0) * BLOCK_T, tl.program_id(1) * BLOCK_V
    logits = tl.zeros((BLOCK_T, BLOCK_V), tl.float32)
    for k in range(0, width, BLOCK_H):
        logits = tl.dot(hidden.load([row, k]), weight.load([column, k]).T, logits)
    return logits


@triton.jit
def _checked(x, to, target, n_columns, BLOCK_V: tl.constexpr):
    """Logits without −inf and without those past the vocabulary, once the target's is in memory."""
    columns = tl.arange(0, BLOCK_V)[None, :]
    is_here = (target >= 0) & (target < BLOCK_V)
    if tl.max(is_here.to(tl.int32)) == 1:
        tl.store(to, tl.sum(tl.where(target[:, None] == columns, x, 0.0), axis=1), mask=is_here)
    x = tl.maximum(x, LOWEST, propagate_nan=tl.PropagateNan.ALL)
    if n_columns < BLOCK_V:
        x = tl.where(columns < n_columns, x, LOWEST)
    return x


@triton.jit
def _sum_one(x, top, rate, to, size, mask):
    rate, rate_low = _split(rate * _LOG2E)
    at_top = _exp2(top, rate, rate_low, _origin(top, rate))
    none = tl.zeros_like(top)
    e, a = _exp2(x, rate, rate_low, _origin(top, rate)[:, None])
    _store_mass(to, size, _add_mass((none, none, none), e, a, at_top), at_top, mask)


@triton.jit
def _sum_both(x, y, top, ref_top, rate, centres, to, size, mask):
    xs, ys = _slices(x), _slices(y)
    nats, nats_low = _split(rate)
    rate, rate_low = _split(rate * _LOG2E)
    centre = _centre(xs, ys, top, ref_top, rate)
    tl.store(centres, centre, mask=mask)
    origin, ref_origin = _origin(top, rate), _origin(ref_top, rate)
    at_top = _exp2(top, rate, rate_low, origin)
    at_ref_top = _exp2(ref_top, rate, rate_low, ref_origin)
    apart = (origin - ref_origin).to(tl.float64) * _LN2 - centre
    apart = tl.exp(tl.minimum(apart, 2 * _OFF_CENTRE)).to(tl.float32)
    none = tl.zeros_like(top)
    mass, ref_mass, distance = (none, none, none), (none, none, none), (none, none, none, none)
    for j in tl.static_range(4):
        # 0, which the compiler cannot know: it would work on all slices at once, and run out of registers.
        zero = tl.where(distance[3] < LOWEST, 1.0, 0.0)
        x, y = xs[j] + zero[:, None], ys[j] + zero[:, None]
        e, a = _exp2(x, rate, rate_low, origin[:, None])
        f, b = _exp2(y, rate, rate_low, ref_origin[:, None])
        mass = _add_mass(mass, e, a, at_top)
        ref_mass = _add_mass(ref_mass, f, b, at_ref_top)
        d = _distance(x, y, nats, nats_low, centre[:, None])
        distance = _add_distance(distance, e, f * apart[:, None], d)
    _store_mass(to, size, mass, at_top, mask)
    _store_mass(to + 4 * size, size, ref_mass, at_ref_top, mask)
    tl.store(to + 2 * size, distance[0] / at_top[0], mask=mask)
    tl.store(to + 3 * size, distance[1] / at_top[0], mask=mask)
    tl.store(to + 6 * size, distance[2] / at_top[0], mask=mask)
    tl.store(to + 7 * size, distance[3] / at_top[0], mask=mask)


@triton.jit
def _centre(xs, ys, top, ref_top, rate):
    """About the mean of y − x in nats, weighted with √(p·q): the sums keep what differs from it."""
    half, apart = rate / 2, (ref_top - top) * rate
    behind = (top + ref_top) * half
    total, weighted = tl.zeros_like(top) + 1e-30, tl.zeros_like(top)
    for j in tl.static_range(4):
        weight = tl.exp2(xs[j] * half + (ys[j] * half - behind[:, None]))
        total += tl.sum(weight, axis=1)
        weighted += tl.sum(weight * (ys[j] * rate - xs[j] * rate - apart[:, None]), axis=1)
    return (apart + tl.minimum(tl.maximum(weighted / total, -_OFF_CENTRE), _OFF_CENTRE)) * _LN2


@triton.jit
def _slices(x):
    """Four slices [BLOCK_T, BLOCK_V / 4] of columns."""
    left, right = _halves(x)
    return _halves(left) + _halves(right)


@triton.jit
def _halves(x):
    return tl.split(tl.permute(tl.reshape(x, (x.shape[0], 2, x.shape[1] // 2)), (0, 2, 1)))


@triton.jit
def _split(x):
    """A float64 as the sum of two float32."""
    high = x.to(tl.float32)
    return high, (x - high.to(tl.float64)).to(tl.float32)


@triton.jit
def _origin(top, rate):
    """_ROUNDER less the power of the largest logit, an integer."""
    power = tl.maximum(top * rate, -LARGEST_POWER)
    return -tl.floor(power + 0.5) + _ROUNDER


@triton.jit
def _exp2(x, rate, rate_low, origin):
    """2**t to a unit in the last place, and t = x·(rate + rate_low) − (_ROUNDER − origin), up to ½."""
    x = tl.maximum(x, (-origin + (_ROUNDER + _LEAST_POWER)) / rate, propagate_nan=tl.PropagateNan.ALL)
    rounded = tl.fma(x, rate, origin)
    f = tl.fma(x, rate_low, tl.fma(x, rate, origin - rounded))
    # Of all such polynomials the one that is nearest to 2**f on [−½, ½]: 2e-9.
    e = tl.fma(f, 0.00015353362, 0.0013398875)
    e = tl.fma(e, f, 0.00961843692)
    e = tl.fma(e, f, 0.0555033237)
    e = tl.fma(e, f, 0.240226477)
    e = tl.fma(e, f, 0.693147182)
    e = tl.fma(e, f, 1.0)
    bits = e.to(tl.int32, bitcast=True) + (rounded.to(tl.int32, bitcast=True) << 23)
    return bits.to(tl.float32, bitcast=True), (rounded - _ROUNDER) + f


@triton.jit
def _add_mass(mass, e, a, at_top):
    """Add Σ e, Σ e without the largest, Σ e·(a − the largest a)."""
    total, others, moment = mass
    e_top, a_top = at_top
    total += tl.sum(e, axis=1)
    others += tl.sum(tl.where(e < e_top[:, None], e, 0.0), axis=1)
    moment += tl.sum(e * (a - a_top[:, None]), axis=1)
    return total, others, moment


@triton.jit
def _store_mass(to, size, mass, at_top, mask):
    total, others, moment = mass
    e_top, _ = at_top
    n_top = tl.floor((total - others) / e_top + 0.5)
    tl.store(to, others / e_top + (n_top - 1), mask=mask)
    tl.store(to + size, moment / e_top * _LN2, mask=mask)


@triton.jit
def _distance(x, y, rate, rate_low, centre):
    """(y − x)·(rate + rate_low) − centre, of which only the last step is rounded (Knuth's two-sum)."""
    high = y - x
    back = high - y
    low = (y - (high - back)) - (x + back)
    return tl.fma(high, rate, -centre) + tl.fma(high, rate_low, low * rate)


@triton.jit
def _add_distance(distance, e, f, d):
    """Add Σ e·d and Σ e·(e^d − 1 − d) of e, f = e·e^d and d, and the same of f, e and −d."""
    first, second, ref_first, ref_second = distance
    square = d * d
    even = tl.fma(square, 1 / 3628800, 1 / 40320)
    even = tl.fma(even, square, 1 / 720)
    even = tl.fma(even, square, 1 / 24)
    even = tl.fma(even, square, 1 / 2)
    odd = tl.fma(square, 1 / 362880, 1 / 5040)
    odd = tl.fma(odd, square, 1 / 120)
    odd = tl.fma(odd, square, 1 / 6) * d
    is_near = tl.abs(d) < 1
    first += tl.sum(e * d, axis=1)
    second += tl.sum(tl.where(is_near, e * square * (even + odd), (f - e) - e * d), axis=1)
    ref_first -= tl.sum(f * d, axis=1)
    ref_second += tl.sum(tl.where(is_near, f * square * (even - odd), f * d - (f - e)), axis=1)
    return first, second, ref_first, ref_second


@triton.jit(do_not_specialize=_SIZES)
def merge_masses(
    tops,
    highest,
    rates,
    sums,
    masses,
    n_tokens,
    n_tiles,
    n_fields,
    BLOCK_T: tl.constexpr,
    BLOCK_N: tl.constexpr,
):
    """Rest and moment over all tiles, of BLOCK_T tokens at one temperature and under one model.

    highest: [models, T], the largest of tops. sums: what `sum_tiles` wrote, of n_fields. masses: float64
    [temperatures, models, 2, T].
    """
    rows = tl.program_id(0) * BLOCK_T + tl.arange(0, BLOCK_T)
    rate, model, n_models = tl.load(rates + tl.program_id(1)), tl.program_id(2), tl.num_programs(2)
    place, size = tl.program_id(1) * n_models + model, n_tiles * n_tokens
    highest = _read(highest + model * n_tokens + rows, rows < n_tokens)
    tops, sums = tops + model * size, sums + place * n_fields * size
    none = tl.zeros((BLOCK_T,), tl.float64)
    n_top, others, moment = none, none, none
    for start in range(0, n_tiles, BLOCK_N):
        at, inside = _tiles(start, rows, n_tokens, n_tiles, BLOCK_N)
        behind = _behind(tops + at, highest, rate, inside)
        factor, rest = tl.exp(behind), _read(sums + at, inside)
        n_top += tl.sum(tl.where(behind < 0, 0.0, 1.0), axis=0)
        others += tl.sum(tl.where(behind < 0, factor, 0.0) + factor * rest, axis=0)
        moment += tl.sum(factor * (_read(sums + size + at, inside) + behind * (1 + rest)), axis=0)
    masses += 2 * place * n_tokens + rows
    tl.store(masses, others + (n_top - 1), mask=rows < n_tokens)
    tl.store(masses + n_tokens, moment, mask=rows < n_tokens)


@triton.jit(do_not_specialize=_SIZES)
def merge_distances(
    tops,
    highest,
    rates,
    centres,
    sums,
    masses,
    divergences,
    n_tokens,
    n_tiles,
    BLOCK_T: tl.constexpr,
    BLOCK_N: tl.constexpr,
):
    """KL(p‖q) and KL(q‖p) of BLOCK_T tokens at one temperature: divergences, float64 [temperatures, 2, T]."""
    rows, i = tl.program_id(0) * BLOCK_T + tl.arange(0, BLOCK_T), tl.program_id(1)
    size, rate, is_token = n_tiles * n_tokens, tl.load(rates + i), rows < n_tokens
    centres, sums, masses = centres + i * size, sums + 8 * i * size, masses + 4 * i * n_tokens + rows
    ref_tops, ref_sums = tops + size, sums + 4 * size
    ref_highest = _read(highest + n_tokens + rows, is_token)
    highest = _read(highest + rows, is_token)
    log_sum = tl.log(1 + _read(masses, is_token))[None, :]
    ref_log_sum = tl.log(1 + _read(masses + 2 * n_tokens, is_token))[None, :]
    none = tl.zeros((BLOCK_T,), tl.float64)
    kl, reverse_kl = none, none
    for start in range(0, n_tiles, BLOCK_N):
        at, inside = _tiles(start, rows, n_tokens, n_tiles, BLOCK_N)
        total, ref_total = 1 + _read(sums + at, inside), 1 + _read(ref_sums + at, inside)
        log_m = _behind(tops + at, highest, rate, inside) - log_sum
        ref_log_m = _behind(ref_tops + at, ref_highest, rate, inside) - ref_log_sum
        log_n = _behind(tops + at, ref_highest, rate, inside) - ref_log_sum + _read(centres + at, inside)
        m, n, kappa = tl.exp(log_m), tl.exp(tl.minimum(log_n, 600.0)), log_n - log_m
        p, q = m * total, tl.exp(ref_log_m) * ref_total
        # Σ e^a·e^d is Σ e^b but for the centre, which is none where one model has nothing but −inf.
        off_centre = ref_log_m - log_n
        has_centre = tl.abs(off_centre) < 2 * _OFF_CENTRE
        ref_total *= tl.exp(tl.minimum(off_centre, 2 * _OFF_CENTRE))
        kl += _divergence(sums + 2 * size + at, size, inside, total, p, q, m, n, kappa, has_centre)
        at += 2 * size
        reverse_kl += _divergence(ref_sums + at, size, inside, ref_total, q, p, n, m, -kappa, has_centre)
    divergences += 2 * i * n_tokens + rows
    tl.store(divergences, kl, mask=is_token)
    tl.store(divergences + n_tokens, reverse_kl, mask=is_token)


@triton.jit
def _tiles(start, rows, n_tokens, n_tiles, BLOCK_N: tl.constexpr):
    tiles = start + tl.arange(0, BLOCK_N)[:, None]
    return tiles * n_tokens + rows[None, :], (tiles < n_tiles) & (rows < n_tokens)[None, :]


@triton.jit
def _read(at, mask):
    return tl.load(at, mask=mask, other=0.0).to(tl.float64)


@triton.jit
def _behind(tops, highest, rate, mask):
    """(a tile's largest logit − the largest of all)·rate."""
    return (tl.load(tops, mask=mask, other=LOWEST).to(tl.float64) - highest[None, :]) * rate


@triton.jit
def _divergence(at, size, mask, total, p, q, m, n, kappa, has_centre):
    """Σ p·(e^δ − 1 − δ) over tiles, in the form with the smaller terms; p, q are of whole tiles."""
    first, second = _read(at, mask), _read(at + size, mask)
    by_second, by_first, by_mass = n * second, (n - m) * first, ((n - m) - m * kappa) * total
    is_near = has_centre & (tl.abs(by_second) + tl.abs(by_first) + tl.abs(by_mass) < p + q)
    return tl.sum(tl.where(is_near, by_second + by_first + by_mass, q - p - m * first - kappa * p), axis=0)
