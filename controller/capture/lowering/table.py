"""Name of a call to the kernels that it launches."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from controller.capture.lowering import attention, products
from controller.capture.lowering import streams_of_bytes as passes
from controller.capture.lowering.bytes_of import pointwise, whole, written
from controller.capture.trace import CallSignature
from node.hardware.operation import Demand

Rule = Callable[[CallSignature], list[Demand]]


def _names(text: str) -> list[str]:
    return text.split()


POINTWISE = _names(
    """
    abs add add_ addcdiv addcdiv_ addcmul addcmul_ bitwise_and bitwise_not bitwise_or ceil clamp clamp_ clamp_min
    clamp_max cos div div_ dropout eq erf exp exp_ expm1 floor fmod ge gelu gelu_backward gt hardtanh isfinite isinf
    isnan le leaky_relu lerp lerp_ log log1p log2 logical_and logical_not logical_or lt masked_fill masked_fill_
    maximum minimum mish mul mul_ ne neg neg_ pow pow_ reciprocal reciprocal_ relu relu_ remainder round rsqrt
    rsqrt_ rsub sigmoid sigmoid_ sigmoid_backward sign silu silu_ silu_backward sin softplus sqrt sqrt_ square sub
    sub_ tanh tanh_backward threshold_backward tril tril_ triu triu_ trunc where xlogy native_dropout
    native_dropout_backward bernoulli bernoulli_ polar complex mish_backward
    """
)
COPIES = _names(
    """
    _to_copy cat clone constant_pad_nd contiguous flip repeat roll slice_backward slice_scatter
    split_with_sizes_copy stack select_backward select_scatter unfold_backward native_channel_shuffle tile
    """
)
REDUCTIONS = _names(
    """
    all amax amin any argmax argmin count_nonzero cumprod cumsum linalg_vector_norm logsumexp max mean median min
    norm prod std sum topk sort var var_mean aminmax histc bincount kthvalue searchsorted
    """
)
FILLS = _names(
    """
    arange eye exponential_ fill_ full full_like normal_ ones ones_like rand rand_like randint randn randn_like
    randperm scalar_tensor uniform_ zero_ zeros zeros_like new_zeros new_ones new_full linspace random_ log_normal_
    """
)
ATTENTIONS = (
    "_scaled_dot_product_flash_attention", "_scaled_dot_product_efficient_attention",
    "_scaled_dot_product_cudnn_attention", "_flash_attention_forward", "_efficient_attention_forward",
)  # fmt: skip
_FOREACH = "_foreach_"

RULES: Mapping[str, Rule] = {
    **dict.fromkeys((f"aten.{name}" for name in POINTWISE), pointwise),
    **dict.fromkeys((f"aten.{name}" for name in COPIES), whole),
    **dict.fromkeys((f"aten.{name}" for name in REDUCTIONS), passes.reduced),
    **dict.fromkeys((f"aten.{name}" for name in FILLS), written),
    **dict.fromkeys((f"aten.{name}" for name in ATTENTIONS), attention.forward),
    **dict.fromkeys((f"aten.{name}_backward" for name in ATTENTIONS[:3]), attention.backward),
    "flex_attention": attention.flex_forward,
    "flex_attention_backward": attention.flex_backward,
    "aten.mm": products.mm,
    "aten.bmm": products.bmm,
    "aten.addmm": products.addmm,
    "aten.baddbmm": products.baddbmm,
    "aten._scaled_mm": products.scaled_mm,
    "aten._grouped_mm": products.grouped_mm,
    "aten.convolution": products.convolution,
    "aten.dot": products.dot,
    "aten.copy_": passes.copied,
    "aten._softmax": passes.softmax,
    "aten._log_softmax": passes.softmax,
    "aten._safe_softmax": passes.softmax,
    "aten._softmax_backward_data": passes.softmax_backward,
    "aten._log_softmax_backward_data": passes.softmax_backward,
    "aten.nll_loss_forward": passes.loss,
    "aten.nll_loss_backward": passes.loss_backward,
    "aten.embedding": passes.gathered,
    "aten.index": passes.gathered,
    "aten.index_select": passes.gathered,
    "aten.gather": passes.gathered,
    "aten.embedding_dense_backward": passes.scattered_rows,
    "aten.index_put_": passes.put,
    "aten.index_add_": passes.put,
    "aten.index_add": passes.put,
    "aten.scatter": passes.put,
    "aten.scatter_": passes.put,
    "aten.scatter_add_": passes.put,
    "aten.scatter_add": passes.put,
    "aten.native_layer_norm": passes.norm_forward,
    "aten._fused_rms_norm": passes.norm_forward,
    "aten.native_layer_norm_backward": passes.norm_backward,
    "aten._fused_rms_norm_backward": passes.norm_backward,
    "aten._fused_adamw_": passes.fused_adam,
    "aten._fused_adam_": passes.fused_adam,
    "aten._fused_sgd_": passes.over_lists,
    "aten._foreach_copy_": passes.copied_lists,
    "aten._foreach_norm": passes.norms_of_lists,
    "aten._amp_foreach_non_finite_check_and_unscale_": passes.over_lists,
    "fsdp.all_gather_copy_in": passes.gathered_in,
    "fsdp.split_with_sizes_copy": passes.split_out,
    "fsdp.chunk_cat": passes.cut_and_joined,
    "aten._chunk_cat": passes.cut_and_joined,
}
"""Name without its overload to its rule; lists of tensors that are not here go by `over_lists`."""


def rule_of(name: str) -> Rule | None:
    """The rule for a call, by its name with the overload; None where the table lacks it."""
    base = ".".join(name.split(".")[:2])
    if base in RULES:
        return RULES[base]
    return passes.over_lists if _FOREACH in base else None
