"""One model and workload on many machines and schemes: what each gives, costs, burns and wears.

`candidates.py` names the schemes (a strategy on a topology), `question.py` crosses them with the values of a sweep,
`measure.py` makes a row of a finished run, `pool.py` runs many at once on processes, `ray_pool.py` on a Ray cluster,
and `store.py` keeps finished rows so that a grid that was broken off goes on where it stopped. Every time comes from
executing the strategy's plans on the declared hardware, every price from `prices.yaml` with its source; what has no
published price has none here.
"""
