"""The nouns of offloading: where the model, its KV cache and its states lie, and how they travel.

``gpu_model.py`` puts the weights on the GPUs of a topology and runs prompts through them; ``scratch.py`` keeps the
buffers of scripts placed.

**Decoding.** `generation.py` is the loop around a decoder (`decoding.py`). KV caches lie in GPU memory (`kv_cache.py`,
`piece_cache.py` by heads), in main memory or on drives behind it (`kv_streaming.py`), or on drives that compute
(`drive_cache.py`, spread by `kv_spread.py`, attended by `storage_attention.py`). `fixed_batch.py` decodes over
tensor-parallel GPUs, with attention at home or on memory devices (`attention_side.py`), batches taking turns as
`rotation.py` says.

**Training.** A system says where states lie and what a step does; `train.py` is the loop around it. One batch on one
GPU is a `TrainingGpu`, on the ranks of a tensor-parallel group a `TrainingRanks`; what a GPU holds of a model larger
than its memory is `passing_gpu.py` (parts in turn, activations that leave) or `working_layers.py` (two layers). States
are resident (`resident.py`), in main memory (`host_home.py`, `host_memory.py` with CXL cards), or on drives
(`drive_optimizer.py`), where Adam takes them by `sub_groups.py`. Tensors in pieces over drives or memory nodes are
`striped.py`; requests of all drives as one `drive_array.py`; what comes ahead of its use and goes back after it
`streamed.py`; activations that leave a GPU and return `swapped.py`, chosen by `swap_planner.py`. Frameworks in which
kernels, copies and drives take turns share `in_turns.py`.
"""
