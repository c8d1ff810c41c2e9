"""Where a network is cut between edge and server, and what its features weigh on the wire.

A cut is known from the network alone (``conf/model/split/<model>.yaml``); how long either part takes is the
share of its arithmetic times the device's dense latency. That is a stand-in for layer times, which the papers
do not give: early layers are bound by memory and take longer than their share.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from profiler.latency import Cut, Profile
from traces.errors import InputError

MESSAGE_BYTES = 8  # number of tensors, bits a value
TENSOR_BYTES = 24  # four dimensions as u32, scale and zero point as float32
FLOAT_BITS = 32


def inner_cuts(cuts: Sequence[Cut]) -> list[Cut]:
    """The cuts with work on both sides: neither the input nor the output.

    Raises:
        InputError: there is none.
    """
    inner = [cut for cut in cuts if 0.0 < cut.arithmetic_share < 1.0]
    if not inner:
        raise InputError(
            f"model: expected a network with a cut inside it, found {len(cuts)} cuts at its ends"
        )
    return inner


def cut_after(cuts: Sequence[Cut], layer: str) -> Cut:
    """The inner cut after a layer.

    Raises:
        InputError: no such cut; those that exist are named.
    """
    inner = inner_cuts(cuts)
    for cut in inner:
        if cut.after == layer:
            return cut
    names = ", ".join(cut.after for cut in inner)
    raise InputError(f"system.after: expected a layer to cut after, one of {names}, found {layer!r}")


def feature_bytes(cut: Cut, bits: int = FLOAT_BITS) -> int:
    """Bytes of the features at a cut at `bits` a value, headers included; nothing is compressed."""
    return MESSAGE_BYTES + cut.tensors * TENSOR_BYTES + -(-cut.elements * bits // 8)


def fastest_cut(
    cuts: Sequence[Cut], edge_dense_s: float, cloud_dense_s: float, bandwidth_bps: float, bits: int
) -> Cut:
    """The inner cut of the smallest latency, T_e + T_t + T_c (Neurosurgeon's criterion)."""
    return min(
        inner_cuts(cuts),
        key=lambda cut: sum(_stages_s(cut, edge_dense_s, cloud_dense_s, bandwidth_bps, bits)),
    )


def most_even_cut(
    cuts: Sequence[Cut], edge_dense_s: float, cloud_dense_s: float, bandwidth_bps: float, bits: int
) -> Cut:
    """The inner cut of the smallest bottleneck, max(T_e, T_t, T_c); of equals, the faster one.

    A pipeline's throughput is its slowest stage's, and the others idle meanwhile: the pipeline's bubbles.
    """

    def cost(cut: Cut) -> tuple[float, float]:
        stages_s = _stages_s(cut, edge_dense_s, cloud_dense_s, bandwidth_bps, bits)
        return max(stages_s), sum(stages_s)

    return min(inner_cuts(cuts), key=cost)


def _stages_s(
    cut: Cut, edge_dense_s: float, cloud_dense_s: float, bandwidth_bps: float, bits: int
) -> tuple[float, float, float]:
    share = cut.arithmetic_share
    return share * edge_dense_s, 8.0 * feature_bytes(cut, bits) / bandwidth_bps, (1.0 - share) * cloud_dense_s


def highest_precision(
    size_bytes: Callable[[int], float], min_bits: int, max_bits: int, bandwidth_bps: float, limit_s: float
) -> int:
    """The most bits with which a message takes at most `limit_s`; `min_bits` where none does."""
    for bits in range(max_bits, min_bits, -1):
        if 8.0 * size_bytes(bits) <= limit_s * bandwidth_bps:
            return bits
    return min_bits


def time_shares(cuts: Sequence[Cut], profile: Profile) -> dict[str, float]:
    """The share of a device's dense latency up to each cut.

    Where the profile has times of the network's own layers, which it has if it was measured with the network
    that runs, they are taken; otherwise shares of arithmetic stand in for them.

    Args:
        cuts: of the network that runs, from the input to the output; named after its layers, of which the
            profile's may be parts (`stage8.0` of `stage8`).
        profile: of the device.
    """
    inner = [cut.after for cut in cuts[1:]]
    layers = profile.layers or ()
    owners = [_owner(layer.name, inner) for layer in layers]
    if set(inner) - set(owners):
        return {cut.after: cut.arithmetic_share for cut in cuts}
    spent = dict.fromkeys([cuts[0].after, *inner], 0.0)
    waiting_s = 0.0  # of layers between stages, such as an upsampling: they belong to the next one
    for layer, owner in zip(layers, owners, strict=True):
        waiting_s += layer.seconds
        if owner is not None:
            spent[owner] += waiting_s
            waiting_s = 0.0
    total_s = sum(spent.values())
    done_s, shares = 0.0, {}
    for name, seconds in spent.items():
        done_s += seconds
        shares[name] = done_s / total_s
    shares[inner[-1]] = 1.0
    return shares


def _owner(layer: str, stages: Sequence[str]) -> str | None:
    return next((stage for stage in stages if layer == stage or layer.startswith(f"{stage}.")), None)
