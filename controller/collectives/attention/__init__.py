"""Sequence-parallel attention: one long prompt, a slice of its tokens on every rank.

`call.py` says what a call is and where its buffers lie, `layouts.py` which tokens a rank holds and what a block of
queries sees of a block of keys, `table.py` lists the schemes, one a file; `circulate.py` holds what those share that
pass keys and values round. `verify.py` holds the definition of attention against what the ranks got, `measure.py` runs
calls and tells the steps apart.

Every tensor has its tokens first, so that half of a rank's tokens is one range of bytes.
"""
