"""A question about experts: the layer of one rank, from routed rows to rows brought home.

Model: rows are dealt to experts (each expert passes over the tokens, which come from memory again once they outgrow
the last-level cache), multiplied, activated, multiplied again and brought home, one kernel after the other.
`ROUTING_KERNELS` small ones before sort rows by expert and find where those of each begin; each pays the start of
a kernel, and little else.
Source: TensorRT-LLM, cutlass_kernels/moe_gemm (maps, sorting, prefix sums, addresses of the grouped products, expand,
product, activation, product, finalise).
Valid for: balanced routing, experts whose products one kernel deals out together.
Not modelled: activations fused into the product; routing by a power law, whose recipe is not public.
"""

from __future__ import annotations

from dataclasses import replace
from functools import reduce
from typing import Final

from controller.devices.predict.question import (
    Column,
    Prediction,
    Question,
    Sizes,
    ask_kernel,
    number,
    one_after_the_other,
)
from controller.errors import BadQuestion
from node.hardware.device import DeviceSpec
from node.hardware.launch import graph_start_s
from node.hardware.operation import ITEM_BYTES, Demand, TensorType
from node.hardware.operations import complete_attributes, operation
from node.hardware.operations.experts import gathered_dims

ROUTING_KERNELS: Final = 5
"""Small kernels before the rows move: two maps, a sort of two passes, addresses."""


def moe(spec: DeviceSpec, dtype: str, sizes: Sizes) -> Prediction:
    """The expert layer of one rank under balanced routing, without gate and communication."""
    names = ("num_tokens", "hidden_size", "inter_size", "topk", "num_experts", "moe_tp_size", "moe_ep_size")
    tokens, hidden, inner, chosen, experts, shares, ranks = (number(sizes, name) for name in names)
    if sizes["distribution"] != "balanced":
        raise BadQuestion(
            f"distribution is {sizes['distribution']!r}; only 'balanced' routing is modelled, since no recipe of the "
            f"others is public"
        )
    if inner % shares or experts % ranks or chosen > experts:
        raise BadQuestion(
            f"inter_size is {inner} with moe_tp_size {shares}, num_experts {experts} with moe_ep_size {ranks} and topk "
            f"{chosen}; the first two must be multiples of the second, and topk at most num_experts"
        )
    inner //= shares
    rows = max(1, tokens * chosen // ranks)  # of this rank
    # 8-bit products give 16-bit results.
    item, out = ITEM_BYTES[dtype], max(2, ITEM_BYTES[dtype])
    weights = 3.0 * min(rows, experts // ranks) * hidden * inner * item
    products = tuple(
        _product(rows, experts // ranks, columns, length, dtype, weights)
        for columns, length in ((2 * inner, hidden), (hidden, inner))
    )
    here = min(tokens, rows)
    dealt = _moved(here * hidden * item, rows * hidden * item)
    kernels = (
        replace(dealt, dims=gathered_dims(here, rows, here * hidden * item)),
        products[0],
        _moved(2 * rows * inner * out, rows * inner * item),
        products[1],
        _moved(rows * hidden * out, tokens * hidden * out),
    )
    answers = [ask_kernel(spec, kernel) for kernel in kernels]
    whole = reduce(one_after_the_other, answers)
    routing_s = ROUTING_KERNELS * graph_start_s(spec)
    parts = {**whole.parts, "start": whole.parts["start"] + routing_s}
    return replace(
        answers[1],
        time_s=whole.time_s + routing_s,
        bound=max(parts, key=parts.__getitem__),
        parts=parts,
        flop=sum(product.flop for product in products),
        moved_bytes=answers[1].moved_bytes + answers[3].moved_bytes,
    )


def _product(rows: int, experts: int, columns: int, length: int, dtype: str, weight_bytes: float) -> Demand:
    """One product for each expert that has rows; a benchmark comes back after both products' weights."""
    x, w = TensorType((rows, length), dtype), TensorType((experts, columns, length), dtype)
    out = TensorType((rows, columns), "bf16" if ITEM_BYTES[dtype] == 1 else dtype)
    entry = operation("grouped_linear")
    demand = entry.demand((x, w, TensorType((experts,), "int64")), (out,), complete_attributes(entry, {}))
    near = float(sum(demand.reads) + sum(demand.writes))
    return replace(demand, dims={**demand.dims, "span": weight_bytes, "near_span": near})


def _moved(read_bytes: int, written_bytes: int) -> Demand:
    return Demand("elementwise", (read_bytes + written_bytes) / 2.0, (read_bytes,), (written_bytes,), "fp32", "vector")


EXPERTS: Final = (
    Question(
        "moe",
        "The expert layer of one rank under balanced routing, without gate and communication.",
        (
            Column("num_tokens", "tokens of all ranks that share the experts", short=("tokens",)),
            Column("hidden_size", "width of a token", short=("hidden",)),
            Column("inter_size", "width within an expert", short=("inter",)),
            Column("topk", "experts of a token"),
            Column("num_experts", "experts of the layer", short=("experts",)),
            Column("moe_tp_size", "ranks that share each expert", 1, short=("tp",)),
            Column("moe_ep_size", "ranks that the experts are spread over", 1, short=("ep",)),
            Column("distribution", "of rows over experts", "balanced", word=True),
        ),
        moe,
    ),
)
