"""What crosses a process boundary, and how it is checked.

Nothing here trusts its input: a name is checked before it becomes a path, a size before it becomes memory
(`checks.py`). Device specs travel as plain data (`specs.py`), arrays as their bits (`arrays.py`), commands as columns
of numbers (`commands.py`), errors as a status and a message by one table (`status.py`). No pickle.
"""
