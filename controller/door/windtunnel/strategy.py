"""What a strategy of your own is written with.

    from windtunnel.strategy import GpuModel, KvCache, Place, decode, fetched_blocks

`windtunnel help strategy` shows how; the docstring of each says what it takes.
"""

from controller.offload.decoding import decode
from controller.offload.fetched_blocks import fetched_blocks
from controller.offload.gpu_model import GpuModel
from controller.offload.kv_cache import KvCache, Tokens
from controller.offload.streamed import Streamed
from controller.plan.ops import Buffer
from controller.plan.script import Place, Script, Value

__all__ = [
    "Buffer",
    "GpuModel",
    "KvCache",
    "Place",
    "Script",
    "Streamed",
    "Tokens",
    "Value",
    "decode",
    "fetched_blocks",
]
