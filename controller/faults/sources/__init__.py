"""Where faults come from, beside the command line and the YAML files of the package: traces of others, and rates.

Each module gives `Fault`s of a topology; `controller.faults.timeline` checks them.
"""
