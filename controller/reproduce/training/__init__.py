"""Measured training steps of public tables and logs beside the captured programs of `tests/fixtures/torch`.

`rows.csv` has the rows as they are printed, with the key of their source (`published.py` names them). `conditions.py`
turns a row into a program with arguments on a declared cluster; what the row does not say is assumed by a rule that
looks at the conditions alone, never at the result, and is printed beside the row. `steps.py` captures and times each,
`paper.py` compares.

No constant is set from a row. Rows of other software than PyTorch's own (Megatron-Core, NeMo, llm.c, MaxText) and of
devices that no sheet describes are printed with the reason why they are not run.
"""
