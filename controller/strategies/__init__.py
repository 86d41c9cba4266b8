"""Offloading strategies: one published system a file, reading like its pseudocode.

A strategy is a program (see `controller.program.run`): a generator that places buffers, submits plans and reacts.
It says where bytes lie, who computes and what may overlap; it never says how long anything takes. Decoding strategies
make an `OffloadedDecoder` and hand it to the loop in `controller/offload/generation.py`.

A new strategy is one file and one line in `table.py`. One of your own needs neither:
``windtunnel run my_file.py:mine``.
"""
