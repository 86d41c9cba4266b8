"""Training strategies without a folder of their own, and what every training program does alike (`loop.py`)."""
