"""The nouns of offloading: where the model, its KV cache and its states lie, and how they travel.

``gpu_model.py`` puts the weights on the GPUs of a topology and runs prompts through them; ``scratch.py`` keeps the
buffers of scripts placed.
"""
