"""Matrices that a method of quantisation leaves as they are, by our names."""

from __future__ import annotations

from controller.models.huggingface.keys import Config

NAMES = {
    "q_proj": "q", "k_proj": "k", "v_proj": "v", "o_proj": "o", "gate_proj": "gate", "up_proj": "up",
    "down_proj": "down",
}  # fmt: skip
"""Names of transformers -> ours, of what a method may leave as it is."""
OF_EVERY_LAYER = {
    "model.layers.*.self_attn": ("q", "k", "v", "o"), "model.layers.*.mlp.router": (), "model.embed_tokens": (),
}  # fmt: skip
"""Patterns of transformers -> our names of the matrices that they leave as they are, where those may be quantised."""
_NEVER = (
    "router",
    "gate",
    "norm",
    "embed",
    "vision",
    "visual",
    "audio",
    "multi_modal",
    "mm_projector",
    "shared_expert_gate",
)
"""Parts of names of what is never quantised here, or not run."""


def skipped(config: Config, *keys: str) -> tuple[str, ...]:
    """Names within a layer of the matrices that `keys` list; ``lm_head`` is ``head``."""
    names: list[str] = []
    layers: set[str] = set()
    for key in keys:
        for name in config.optional(key) or ():
            text = str(name)
            last = text.rstrip("$").rpartition(".")[2]
            if name in OF_EVERY_LAYER:
                names.extend(OF_EVERY_LAYER[name])
            elif "lm_head" in text:
                names.append("head")
            elif last in NAMES and "layers." not in text:
                names.append(NAMES[last])
            elif last in _NEVER or any(part in text for part in ("vision", "visual", "audio", "multi_modal", "norm")):
                continue
            elif text.startswith(("model.layers.", "re:", "language_model.")) or last in NAMES:
                layers.add(key)
    for key in sorted(layers):
        config.note(f"{key} names matrices of single layers or patterns, which are counted as quantised")
    return tuple(dict.fromkeys(names))
