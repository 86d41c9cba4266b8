"""CXL-aware fine-tuning: where offloaded tensors lie (`placement.py`), how they lie there, and the training step."""
