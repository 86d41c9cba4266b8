"""The door for Python: what ``import windtunnel`` gives to notebooks and scripts.

    import pandas, windtunnel

    found = windtunnel.run("instinfer", model="opt-13b", batch=64, overrides={"csd.count": 4})
    found.time_s, found.tokens_per_s, found.to_dict()["by_resource"]

    table = windtunnel.collective("all_reduce", topology="dgx_h100", algorithm="ring,tree", max_bytes="1M")
    rows = windtunnel.compare("dram_kv@offload_h100", "instinfer@offload_h100", sweep={"batch": [16, 64]})
    pandas.DataFrame(rows.rows())

The package `windtunnel` is here and ships at the top of the wheel. Words and defaults are those of the command line;
own options of a strategy are further keywords (``mini_batches=3``). Wrong input raises `windtunnel.UserError`, a run
that ends badly `windtunnel.RunError`; memory that runs out is a result.
"""
