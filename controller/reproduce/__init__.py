"""Published tables as data, and the runner that runs our side of every row and prints the error.

One file a paper, one line in `table.py`. A row says what was published, with its mark (P read in the text, PF read off
a figure), and how our value comes from runs; a run is a request like any other, executed as declared. A row that a knob
was set from is marked ``calibration`` and counts in no target. A miss is printed as a miss.
"""
