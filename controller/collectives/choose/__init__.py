"""Choosing by the model: candidates are timed on the virtual executor, and the fastest is taken, with the reason."""
