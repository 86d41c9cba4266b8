"""What each measuring tool prints, one tool a file: all its versions and launchers that are known.

A reader returns the constants that the output tells and says of each which line it is and of how much of the machine.
What was measured of more than one device (several jobs, sockets, drives, hosts) is brought to one, or refused: a figure
of the whole must not become the constant of a part. A new tool is one file and one line in `pasted.py`.
"""
