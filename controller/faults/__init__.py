"""Failures as data: what breaks how and when, from whatever source, and what that means at an instant.

On the command line a fault of a link is a text (`schedule.py`): ``--fail 'up0-1@2 ms:5 ms'``, ``--degrade
'up1-0=0.5@0 s'``. Several go into a file (`file.py`) for ``--faults FILE.yaml``, where every part can break:

    faults:
      - {link: up0-1, at: 2 ms}                       # fails for good
      - {link: up0-2, at: 2 ms, until: 5 ms}          # fails, and comes back
      - {link: up1-0, at: 0 s, capacity: 0.5}         # keeps half of its capacity
      - {target: gpu3, kind: slow, severity: 1.6, at: 1 s, for: 10 s}
      - {target: "host:node1", kind: dead, at: 5 s}   # KIND:NAME where a name alone means several parts
      - {target: up0-1, kind: loss, severity: 0.01, at: 0 s, for: 9 s, shape: {flips: {on: 1 s, off: 2 s, seed: 7}}}

`windtunnel topology show NAME` lists devices and links; tiers and ports are ``DEVICE.NAME``, and a rack is called
after the switch that all links of its hosts end at. `kinds.py` says what every kind strikes, what its severity means
and what becomes of running work. A shape is ``step``, ``{ramp: {rise: 5 s}}``, ``{on_off: {on: 1 s, off: 2 s}}`` or
``{flips: {on: 1 s, off: 2 s, seed: 7}}``, whose lengths are exponential. Times are device time since the start of a
run, or of each call of a collective.

`timeline.py` checks the faults of a run against its topology, `effects.py` says what they mean at an instant, as
ratios, latencies, and sets of what is dead or frozen. `sources` reads traces of others, and draws faults from rates.
What a run does about a fault is up to its executor: flows move to equal paths, programs are told of lost devices
(`Run.faults`), or the run ends with the name of what is gone.
"""
