"""Request streams: how long prompts and answers are, and which requests a saturated server holds at once.

`lengths.py` draws streams with the means of published traces, `files.py` reads traces of one's own, and `saturated.py`
says which requests run in every decode iteration when a memory of a given size is kept full. Nothing here knows how
long an iteration takes: that is for plans and executors.
"""
