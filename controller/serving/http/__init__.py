"""An OpenAI-compatible endpoint over the serving loop.

`ServingEngine` runs the loop in a thread of its own, with requests that come while it runs; `app.py` has the routes on
starlette, `bodies.py` what clients may send, `prometheus.py` the metrics under vLLM's names. With a live model tokens
are computed; otherwise they are placeholders that come when those of a virtual run would, stretched by a pace.
"""
