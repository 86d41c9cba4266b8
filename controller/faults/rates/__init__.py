"""How often what breaks: published rates by name, and failures drawn from them.

`published.py` has the sets, with their sources; `draw.py` draws instants from one: exponential or Weibull gaps, bursts
with one cause, servers that fail far more often than others (lemons), and repairs that do not help, after which the
server soon fails again.
"""
