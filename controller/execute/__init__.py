"""Three executors for one plan, and programs that react on any of them.

`virtual.py` times: `template.py` compiles a plan into arrays of engine activities (a kernel and its launch by the host
are two), `ledger.py` sums up what every resource did, `spans.py` records the timeline. `live.py` runs: `dispatch.py`
turns a plan into one batch of commands per node, which wait for each other without the controller in between. A live
run submits every plan to both, with the same sizes, so `time_s` is virtual time always and `paced_s` stands beside it.
`local.py` does the same without nodes: it computes the values of every plan in this process.
`drive.py` lets programs go on as what they wait for happens; `survey.py` asks a program for its plans without running.

Nothing here computes a duration: costs come from `node.hardware` and `controller.fabric`, times from the engine.
A node paces itself from the same functions on its own op; no node is told when the virtual run would have ended.
"""
