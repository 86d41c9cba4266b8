"""Measuring collectives: calls become a program, and what they came to is told.

`calls` runs them on either executor, `verify` says what each must give and how many elements are wrong, `explain` what
bounds every kind of step, and `sizes` reads sizes as nccl-tests writes them. `conformance` lists what a group must get
right: every algorithm of the tables that runs on it.
"""
