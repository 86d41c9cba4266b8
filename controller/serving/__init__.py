"""Serving: requests that share a KV cache, and what every iteration decodes."""
