"""Weights of a checkpoint as transformers and the hub lay them out, under our names.

Dense families keep their matrices as we do. Mixtures keep experts one by one (``experts.3.gate_proj``, in Mixtral
``w1``, ``w3`` and ``w2``) or as one tensor of gates above their ups (``gate_up_proj``), GPT-OSS with gate and up beside
each other and turned, in bf16 or in mxfp4. DeepSeek's queries hold what rotates behind what does not, head by head, and
what rotates in pairs of neighbours, where ours turns its halves.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from controller.errors import PreflightFailed, UnknownModel
from controller.models.checkpoint import checkpoint_names, decoder_names
from controller.models.mxfp4 import values_of_blocks
from controller.models.safetensors_file import SafetensorsFolder
from controller.models.shape import ModelShape, weight_shapes

Array = npt.NDArray[Any]

MIXTURES = ("mixtral", "qwen3_moe", "deepseek", "gpt_oss")
EXPERT_PARTS = {"gate": ("gate_proj", "w1"), "up": ("up_proj", "w3"), "down": ("down_proj", "w2")}
"""What an expert's matrices are called, in most models and in Mixtral."""


class CheckpointWeights:
    """The weights of a model in a folder with ``*.safetensors``, read when they are asked for."""

    def __init__(self, shape: ModelShape, folder: Path) -> None:
        """Opens the folder.

        Raises:
            UnknownModel: a family whose checkpoints are not known.
            PreflightFailed: no checkpoint, or one that is damaged.
        """
        self._shape = shape
        self._extents = weight_shapes(shape)
        self._names = {} if shape.family in MIXTURES else checkpoint_names(shape)
        self._file = SafetensorsFolder(folder)

    @property
    def shape(self) -> ModelShape:
        """Of the model."""
        return self._shape

    def tensor(self, name: str) -> Array:
        """The weight of that canonical name, float32.

        Raises:
            KeyError: the model has no such weight.
            PreflightFailed: the checkpoint lacks it, or holds another shape.
        """
        extents = self._extents[name]
        found = self._file.read(self._names[name]) if self._names else self._of_mixture(name)
        if found.shape != extents:
            raise PreflightFailed(
                f"{self._file.folder}: what is {name!r} here has the shape {found.shape}, and the configuration says "
                f"{extents}; take both files of one model"
            )
        return np.ascontiguousarray(found)

    def _of_mixture(self, name: str) -> Array:
        if not name.startswith("layers."):
            return self._file.read(decoder_names(name))
        _, layer, matrix, kind = name.split(".")
        at = f"model.layers.{layer}"
        if matrix in ("attn_norm", "ffn_norm"):
            part = "input_layernorm" if matrix == "attn_norm" else "post_attention_layernorm"
            return self._file.read(f"{at}.{part}.{kind}")
        if matrix in ("gate", "up", "down"):
            return self._file.read(f"{at}.mlp.{matrix}_proj.{kind}")
        if matrix.startswith(("expert_", "router", "shared_")):
            return self._of_experts(at, matrix, kind)
        if self._shape.latent is not None:
            return self._of_latents(f"{at}.self_attn", matrix)
        if matrix == "sinks":
            return self._file.read(f"{at}.self_attn.sinks")
        inner = matrix if matrix.endswith("_norm") else f"{matrix}_proj"
        return self._file.read(f"{at}.self_attn.{inner}.{kind}")

    def _of_experts(self, at: str, matrix: str, kind: str) -> Array:
        read, shape = self._file.read, self._shape
        assert shape.experts is not None, "only layers with experts are asked for theirs"
        blocks = f"{at}.block_sparse_moe"
        inner = blocks if f"{blocks}.gate.weight" in self._file else f"{at}.mlp"
        if matrix == "router":
            return read(f"{inner}.{'router' if shape.experts.clamped else 'gate'}.{kind}")
        if matrix == "router_choice":
            return read(f"{inner}.gate.e_score_correction_bias")
        if matrix.startswith("shared_"):
            return read(f"{inner}.shared_experts.{matrix.removeprefix('shared_')}_proj.{kind}")
        part = matrix.removeprefix("expert_")
        if shape.experts.clamped:
            return self._of_turned(f"{inner}.experts", part, kind)
        whole = f"{inner}.experts.{'down_proj' if part == 'down' else 'gate_up_proj'}"
        if whole in self._file:
            found = read(whole)
            return found if part == "down" else np.split(found, 2, axis=1)[("gate", "up").index(part)]
        called = EXPERT_PARTS[part][inner == blocks]
        numbers = range(shape.experts.count)
        return np.stack([read(f"{inner}.experts.{number}.{called}.{kind}") for number in numbers])

    def _of_turned(self, at: str, part: str, kind: str) -> Array:
        """A matrix of GPT-OSS: (inputs, outputs), gate and up beside each other; blocks of mxfp4 are not turned."""
        name = f"{at}.{'down_proj' if part == 'down' else 'gate_up_proj'}"
        if kind == "bias":
            whole = self._file.read(f"{name}_bias")
            return whole if part == "down" else whole[:, ("gate", "up").index(part) :: 2]
        if f"{name}_blocks" in self._file:
            whole = values_of_blocks(self._file.read(f"{name}_blocks"), self._file.read(f"{name}_scales"))
        else:
            whole = self._file.read(name).swapaxes(1, 2)
        return whole if part == "down" else whole[:, ("gate", "up").index(part) :: 2]

    def _of_latents(self, at: str, matrix: str) -> Array:
        shape, latent, read = self._shape, self._shape.latent, self._file.read
        assert latent is not None, "asked for of models with latents alone"
        plain = {
            "q_down": "q_a_proj", "q_down_norm": "q_a_layernorm", "kv_norm": "kv_a_layernorm", "o": "o_proj",
        }  # fmt: skip
        if matrix in plain:
            return read(f"{at}.{plain[matrix]}.weight")
        if matrix == "q":
            whole = read(f"{at}.{'q_b_proj' if latent.query_rank else 'q_proj'}.weight")
            by_head = whole.reshape(shape.heads, -1, whole.shape[-1])
            still, turned = by_head[:, : shape.head_dim], halves(by_head[:, shape.head_dim :])
            return np.concatenate([part.reshape(-1, whole.shape[-1]) for part in (still, turned)])
        if matrix == "kv_down":
            whole = read(f"{at}.kv_a_proj_with_mqa.weight")
            return np.concatenate([whole[: latent.kv_rank], halves(whole[None, latent.kv_rank :])[0]])
        if matrix not in ("k_up", "v_up"):
            raise UnknownModel(f"{shape.name}: no checkpoint holds {matrix!r}")
        by_head = read(f"{at}.kv_b_proj.weight").reshape(shape.heads, -1, latent.kv_rank)
        part = by_head[:, : shape.head_dim] if matrix == "k_up" else by_head[:, shape.head_dim :]
        return part.reshape(-1, latent.kv_rank)


def halves(rows: Array) -> Array:
    """Rows (heads, p, n) whose neighbours turn together, as ones whose halves do."""
    return np.concatenate([rows[:, 0::2], rows[:, 1::2]], axis=1)
