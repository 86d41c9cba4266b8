"""The command line: thin. A command turns words into values, calls one function, and hands the result to a report.

`main` knows every command by name and one line, so that ``windtunnel --help`` imports none of them; a command imports
what it needs when it is run.
"""
