"""DeepSeek V2 and V3: latent attention, shared experts, and dense layers at the beginning."""

from __future__ import annotations

import json

from controller.models.expert_shape import ExpertShape
from controller.models.huggingface.decoder import rotary
from controller.models.huggingface.keys import Config
from controller.models.huggingface.mixtures import choice
from controller.models.huggingface.positions import rotation
from controller.models.latent_shape import LatentShape
from controller.models.shape import ModelShape
from node.hardware.rope_scaling import yarn_mscale

_SERVING = ("ep_size", "head_dim", "qk_head_dim", "aux_loss_alpha", "seq_aux", "num_local_experts")
"""Keys that repeat others or speak of training."""


def read_deepseek_v2(config: Config) -> ModelShape:
    """The shape of a DeepSeek-V2 model: a softmax gate."""
    config.only("scoring_func", "softmax", "only 'softmax' is supported for deepseek_v2")
    method = config.optional("topk_method") or "greedy"
    if method not in ("greedy", "group_limited_greedy"):
        raise config.refuse(f"'topk_method' is {method!r}, expected 'greedy' or 'group_limited_greedy'")
    return _deepseek(config, _Gate("softmax", method != "greedy", 1, False, False, 1.0))


def read_deepseek_v3(config: Config) -> ModelShape:
    """The shape of a DeepSeek-V3 or R1 model: a sigmoid gate with a bias for choosing."""
    config.only("scoring_func", "sigmoid", "only 'sigmoid' is supported for deepseek_v3")
    config.only("topk_method", "noaux_tc", "only 'noaux_tc' is supported for deepseek_v3")
    shape = _deepseek(config, _Gate("sigmoid", True, 2, True, True, 2.5))
    if config.optional("num_nextn_predict_layers"):
        config.note("num_nextn_predict_layers: the layers that predict further tokens are left out")
    return shape


class _Gate:
    """What the two versions choose differently."""

    def __init__(
        self, score: str, grouped: bool, group_top: int, bias: bool, normalise: bool, scale: float
    ) -> None:  # fmt: skip
        self.score, self.grouped, self.group_top = score, grouped, group_top
        self.bias, self.normalise, self.scale = bias, normalise, scale


def _deepseek(config: Config, gate: _Gate) -> ModelShape:
    for key in _SERVING:
        config.optional(key)
    theta, factor = rotation(config)
    nope, rope = config.integer("qk_nope_head_dim"), config.integer("qk_rope_head_dim")
    if config.flag("attention_bias", False):
        raise config.refuse("'attention_bias' is true, which is not supported for latent attention")
    if config.optional("moe_layer_freq") not in (None, 1):
        raise config.refuse("'moe_layer_freq' is not 1; only models with experts in every later layer are supported")
    if not config.flag("rope_interleave", True):
        config.note("rope_interleave: false, which orders what rotates otherwise")
    if rope % 2:
        raise config.refuse(f"'qk_rope_head_dim' is {rope}, expected an even number, because pairs rotate")
    fields = rotary(config, "deepseek") | {"head_dim": nope, "attention_scale": (nope + rope) ** -0.5}
    fields["kv_heads"] = fields["heads"]
    if config.rope_scaling:
        found = json.loads(config.rope_scaling)
        if found["rope_type"] == "yarn" and found.get("mscale_all_dim"):
            fields["attention_scale"] *= yarn_mscale(found["factor"], found["mscale_all_dim"]) ** 2
    query_rank = 0 if config.optional("q_lora_rank") is None else config.integer("q_lora_rank")
    latent = LatentShape(config.integer("kv_lora_rank"), rope, config.integer("v_head_dim"), query_rank)
    return ModelShape(
        **fields, rope_theta=theta, rope_factor=factor, latent=latent, experts=_experts(config, gate, fields["layers"])
    )


def sigmoid_experts(config: Config, layers: int, count: int, scale: float) -> ExpertShape:
    """Experts that are chosen as in DeepSeek-V3, in a family whose keys have these defaults."""
    return _experts(config, _Gate("sigmoid", True, 2, True, True, scale), layers, count)


def _experts(config: Config, gate: _Gate, layers: int, experts: int = 256) -> ExpertShape:
    count, chosen = choice(config, "n_routed_experts", "num_experts_per_tok", experts, 8)
    groups = config.integer("n_group", 1) if gate.grouped else 1
    kept = config.integer("topk_group", groups) if gate.grouped else 1
    for key in ("n_group", "topk_group"):
        config.optional(key)
    if count % groups or kept > groups or chosen > count // groups * kept:
        raise config.refuse(
            f"'n_group' is {groups}, 'topk_group' {kept}: {count} experts do not divide so that {chosen} can be chosen"
        )
    width, first = config.integer("moe_intermediate_size"), config.optional("first_k_dense_replace") or 0
    if not isinstance(first, int) or isinstance(first, bool) or not 0 <= first <= layers:
        raise config.refuse(f"'first_k_dense_replace' is {first!r}, expected 0 to the {layers} layers")
    shared = config.optional("n_shared_experts") or 0
    if not isinstance(shared, int) or isinstance(shared, bool) or shared < 0:
        raise config.refuse(f"'n_shared_experts' is {shared!r}, expected a whole number of 0 or more")
    return ExpertShape(
        count, chosen, width, shared_intermediate=shared * width, first_dense=first, score=gate.score,
        normalise=config.flag("norm_topk_prob", gate.normalise),
        scale=config.number("routed_scaling_factor", gate.scale), groups=groups, kept_groups=kept,
        group_top=min(gate.group_top, count // groups), choice_bias=gate.bias,
    )  # fmt: skip
