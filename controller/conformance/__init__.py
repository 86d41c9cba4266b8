"""What every strategy must get right, as checks that a test calls: for the table of strategies, and for one's own.

A strategy of the table is tested by being in it. One of a user's own is tested by a class, in a file that pytest
collects::

    from controller.conformance.suite import StrategySuite

    class TestMine(StrategySuite):
        strategy = "path/to/mine.py:mine"      # or a name of the table
        timelines = Path(__file__).parent      # where its golden timeline lies; None for none

A check takes a `toys.Toy` (the strategy with a model and a workload of toy size) and gives complaints, none when all
is well:

- `values.wrong_values`: it generates or trains what the plain run does, in program order and as far backwards as the
  edges of its plans allow, on memory that holds no number until somebody writes one;
- `tiers.unreported_full_tiers`: with one byte too few in any tier that it uses, the run ends with the tier and the
  bytes that are missing;
- `conservation.lost_bytes`: ports carry out and in what plans move, and every tier holds at the end what was placed;
- `timeline.timeline_text`: the schedule as text, to be reviewed and kept in a file.
"""
