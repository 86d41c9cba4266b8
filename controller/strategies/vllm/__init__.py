"""Serving from GPU memory alone as vLLM does: a paged KV cache, and recomputation of what had to leave it.

``course.py`` says which requests every iteration holds; ``recompute.py`` makes plans of the iterations.
"""
