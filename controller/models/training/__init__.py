"""Training of a decoder on devices: what a strategy that moves parameters, activations and gradients builds plans from.

The strategy owns where bytes lie and moves them; a layer is emitted over a script, forward and backward (`layer.py`).

    from controller.models.training import ADAM, adam, parts

    model = parts(shape)                      # Part: embedding, layers.0, ..., head; each with a FlatLayout
    part.layout.buffer("cpu0", "dram", "p32.layers.0", "fp32")      # parameters, gradients, moments: one layout
    part.layout.tensors(flat)                 # every tensor of a flat buffer by name, as weights of a `Block`
    part.content(weights.tensor)              # values of a flat buffer (live); part.named(array) the way back

    x, made = forward(s, block, x, keep={"qkv": buffer})            # made["mid"]: any activation, as a value
    backward(s, block, {"x": x, "qkv": buffer}, gradient, gradients)          # makes again what is not there
    adam(s, p32, g16, m, v, step=symbol("step"), copy=p16)

`controller.offload.training_gpu.TrainingGpu` puts these together for one batch on one GPU, with the ends of the model
(`loss.py`). What to keep: `activation_kinds` (bytes of each kind), `kind_flop` (work of each), `recompute_flop` (work
that a set of kept kinds leaves), `layer_forward_flop`, `layer_backward_flop`. ``attention`` is kept together with
``lse`` (fp32, `lse_bytes`). ids and targets are int64 (batch, seq). A tied head writes its gradient into the token
table's; only after `embed_backward` is the embedding's gradient whole.
"""

from controller.models.training.activations import (
    ActivationKind,
    activation_kinds,
    all_activation_bytes,
    kind_flop,
    layer_backward_flop,
    layer_forward_flop,
    lse_bytes,
    recompute_flop,
)
from controller.models.training.initial import InitialWeights, draw_tokens
from controller.models.training.layer import LSE, Activations, backward, forward
from controller.models.training.layout import (
    FlatLayout,
    Part,
    embedding_layout,
    head_layout,
    layer_layout,
    parts,
)
from controller.models.training.loss import LOGITS_BYTES
from controller.models.training.optimizer import ADAM, AdamSettings, adam

__all__ = [
    "ADAM",
    "LOGITS_BYTES",
    "LSE",
    "ActivationKind",
    "Activations",
    "AdamSettings",
    "FlatLayout",
    "InitialWeights",
    "Part",
    "activation_kinds",
    "adam",
    "all_activation_bytes",
    "backward",
    "draw_tokens",
    "embedding_layout",
    "forward",
    "head_layout",
    "kind_flop",
    "layer_backward_flop",
    "layer_forward_flop",
    "layer_layout",
    "lse_bytes",
    "parts",
    "recompute_flop",
]
