"""Training of a decoder on devices: what a strategy that moves parameters, activations and gradients builds plans from.

The strategy owns where bytes lie and submits transfers; the stage emits kernels on the GPU views that it is given.

    from controller.models.training import ADAM, TrainingStage, activation_kinds, emit_adam, parts

    model = parts(shape)                      # Part: embedding, layers.0, ..., head; each with a FlatLayout
    part.layout.buffer("cpu0", "dram", "p32.layers.0", "fp32")      # parameters, gradients, moments: one layout
    part.layout.view(flat, "q.weight")        # one tensor of a flat buffer, shaped; flat_view: as one axis
    part.content(weights.tensor)              # values of a flat buffer (live); part.named(array) the way back

    stage = TrainingStage(shape, "gpu0", batch=b, seq=s, dtype="fp16", saves=[(), ("qkv", "up")])
    stage.buffers                             # scratch: place with written=True
    stage.embed(build, embedding, ids, x0)
    stage.forward(build, layer, weights, x, out, saved={"qkv": view, "up": view})
    stage.loss(build, head, embedding, x_last, targets, head_gradients, embedding_gradients)
    stage.backward(build, layer, weights, x, saved, gradients)      # recomputes what is not in `saved`
    stage.embed_backward(build, ids, embedding_gradients)
    emit_adam(build, "cpu0", p32, g16, m, v, step=symbol("step"), copy=p16)

What to save: `activation_kinds` (bytes of each kind), `kind_flop` (work of each), `recompute_flop` (work that a set of
saved kinds leaves), `layer_forward_flop`, `layer_backward_flop`. ``attention`` is saved together with ``lse`` (fp32,
`lse_bytes`). ids and targets are int64 (batch, seq). A tied head writes its gradient into the token table's; only after
`embed_backward` is the embedding's gradient whole.
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
from controller.models.training.layout import (
    FlatLayout,
    Part,
    embedding_layout,
    head_layout,
    layer_layout,
    parts,
)
from controller.models.training.optimizer import ADAM, AdamSettings, emit_adam
from controller.models.training.recipe import LSE
from controller.models.training.stage import LOGITS_BYTES, TrainingStage

__all__ = [
    "ADAM",
    "LOGITS_BYTES",
    "LSE",
    "ActivationKind",
    "AdamSettings",
    "FlatLayout",
    "InitialWeights",
    "Part",
    "TrainingStage",
    "activation_kinds",
    "all_activation_bytes",
    "draw_tokens",
    "embedding_layout",
    "emit_adam",
    "head_layout",
    "kind_flop",
    "layer_backward_flop",
    "layer_forward_flop",
    "layer_layout",
    "lse_bytes",
    "parts",
    "recompute_flop",
]
