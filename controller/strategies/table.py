"""The table of strategies: a system of the literature is one file beside it and one entry here."""

from __future__ import annotations

from pathlib import Path

from controller.errors import BadWorkload, UnknownStrategy
from controller.models.shape import ModelShape
from controller.nearest import nearest
from controller.strategies.entry import TRAINING, Strategy
from controller.strategies.of_your_own import strategy_of_file

STRATEGIES: dict[str, Strategy] = {
    entry.name: entry
    for entry in (
        Strategy(
            "instinfer",
            "KV cache and decode attention in computational storage drives, the rest on the GPU",
            "controller.strategies.instinfer:instinfer",
            "a6000_csd",
            "controller.strategies.instinfer:InstInferOptions",
            reference="controller.models.plain_sparf:reference",
            takes=("experts", "kv_type"),
        ),
        Strategy(
            "flexgen",
            "KV cache on an SSD, brought to the GPU through host memory layer by layer",
            "controller.strategies.flexgen:flexgen",
            "a6000_ssd",
            "controller.strategies.flexgen:FlexGenOptions",
            takes=("experts", "kv_type"),
        ),
        Strategy(
            "flexgen_sparq",
            "as flexgen, and only the channels and tokens that SparQ attention chooses are fetched (virtual)",
            "controller.strategies.flexgen_sparq:flexgen_sparq",
            "a6000_ssd",
            "controller.strategies.flexgen_sparq:FlexGenSparqOptions",
            has_values=False,
        ),
        Strategy(
            "deepspeed",
            "KV cache in host memory, brought to the GPU by pageable copies layer by layer",
            "controller.strategies.deepspeed:deepspeed",
            "a6000_ssd",
            "controller.strategies.deepspeed:DeepSpeedOptions",
            takes=("experts", "kv_type"),
        ),
        Strategy(
            "dram_kv",
            "KV cache in pinned host memory, the next layer fetched while one computes",
            "controller.strategies.dram_kv:dram_kv",
            "a6000_ssd",
            takes=("experts", "kv_type"),
        ),
        Strategy(
            "cxl_kv",
            "KV cache on CXL memory cards, fetched by the GPU layer by layer",
            "controller.strategies.cxl_kv:cxl_kv",
            "offload_h100",
            takes=("experts", "kv_type"),
        ),
        Strategy(
            "gpu_only",
            "KV cache and everything else in GPU memory",
            "controller.strategies.gpu_only:gpu_only",
            "a6000_ssd",
            "controller.strategies.gpu_only:GpuOnlyOptions",
            takes=("experts", "capacity", "latents", "sinks", "kv_type"),
        ),
        Strategy(
            "expert_parallel",
            "experts of a mixture distributed over devices, attention on each over its own sequences",
            "controller.strategies.expert_parallel:expert_parallel",
            "dgx_h100",
            "controller.strategies.expert_parallel:ExpertParallelOptions",
            takes=("experts", "latents", "sinks", "kv_type"),
        ),
        Strategy(
            "vllm_recompute",
            "paged KV cache in GPU memory, requests that it cannot hold preempted and recomputed (virtual)",
            "controller.strategies.vllm_recompute:vllm_recompute",
            "a6000_ssd",
            "controller.strategies.vllm_recompute:VllmRecomputeOptions",
            has_values=False,
            takes=("kv_type",),
        ),
        Strategy(
            "lamina",
            "KV cache and decode attention on memory devices behind a network, batches staggered in rotation",
            "controller.strategies.lamina:lamina",
            "lamina",
            "controller.strategies.lamina:LaminaOptions",
            takes=("kv_type",),
        ),
        Strategy(
            "vllm_tp",
            "tensor-parallel GPUs with attention on each over its own heads, the baseline of lamina",
            "controller.strategies.vllm_tp:vllm_tp",
            "lamina",
            "controller.strategies.vllm_tp:TensorParallelOptions",
            takes=("kv_type",),
        ),
        Strategy(
            "fuyou",
            "training with states, parameters and activations on SSDs, the optimizer beside the backward pass",
            "controller.strategies.fuyou:fuyou",
            "server_4090",
            "controller.strategies.fuyou:FuyouOptions",
            TRAINING,
        ),
        Strategy(
            "zero_infinity",
            "training with states on SSDs, copies in turn with kernels, the optimizer as a stage of its own",
            "controller.strategies.zero_infinity:zero_infinity",
            "server_4090",
            task=TRAINING,
        ),
        Strategy(
            "zero_offload",
            "training with states in host memory and block inputs on the GPU, the optimizer as a stage of its own",
            "controller.strategies.zero_offload:zero_offload",
            "server_4090",
            task=TRAINING,
        ),
        Strategy(
            "colossalai",
            "as zero_offload, by pageable copies (Gemini)",
            "controller.strategies.colossalai:colossalai",
            "server_4090",
            task=TRAINING,
        ),
        Strategy(
            "flashneuron",
            "training with the model in GPU memory and activations on SSDs",
            "controller.strategies.flashneuron:flashneuron",
            "server_4090",
            task=TRAINING,
        ),
        Strategy(
            "cxl_finetune",
            "training with states, weights and checkpoints in DRAM and on CXL cards, Adam on the CPU",
            "controller.strategies.cxl_finetune:cxl_finetune",
            "cxl_finetune",
            "controller.strategies.cxl_finetune:CxlFinetuneOptions",
            TRAINING,
        ),
        Strategy(
            "train_gpu_only",
            "training with model, states and activations in GPU memory, replicated and cut over several GPUs if asked",
            "controller.strategies.train_gpu_only:train_gpu_only",
            "a6000_ssd",
            "controller.strategies.train_gpu_only:TrainGpuOnlyOptions",
            TRAINING,
        ),
    )
}


_PARTS = {
    "experts": "experts", "capacity": "a capacity of experts", "latents": "latent attention",
    "sinks": "attention sinks", "kv_type": "a KV cache of another type than it computes in",
}  # fmt: skip


def check_model(strategy: Strategy, shape: ModelShape) -> None:
    """Refuses models with parts that `strategy` does not take; a user's own file may do what it likes.

    Raises:
        BadWorkload: names the part and the strategies that take the model.
    """
    missing = [part for part in shape.parts if part not in strategy.takes]
    if not missing or strategy.declared is None:
        return
    hint = ", or write --expert-capacity none to drop nothing" if "capacity" in missing else ""
    able = [entry.name for entry in STRATEGIES.values() if set(shape.parts) <= set(entry.takes)]
    raise BadWorkload(
        f"{shape.name} has {' and '.join(_PARTS[part] for part in missing)}, which {strategy.name} does not take; "
        f"run it with {' or '.join(able)}, or choose another --model{hint}"
    )


def lookup(name: str) -> Strategy:
    """The strategy called `name`, or the function behind ``path/to/file.py:function``.

    Raises:
        UnknownStrategy: neither; names the nearest one, or what is wrong with the file.
    """
    if name in STRATEGIES:
        return STRATEGIES[name]
    path, colon, function = name.rpartition(":")
    if colon and path.endswith(".py"):
        return strategy_of_file(Path(path), function)
    if name.endswith(".py"):
        raise UnknownStrategy(f"{name} is a file: write {name}:FUNCTION, with the function of it that is the strategy")
    hint = nearest(name, STRATEGIES)
    raise UnknownStrategy(f"no strategy {name!r}; {hint} (one of your own is path/to/file.py:function)")
