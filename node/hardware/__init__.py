"""What devices are and how long they take: pure functions of shapes and a spec, without clock, wire or tensors.

Reading order: `units` (text to base units), `device` (frozen specs), `sheet` and `reader` (YAML to a spec), `catalog`
(where sheets are), `operation` and `operations/` (what a kernel demands), `cost` (how long it takes alone), with one
module a family: `gemm`, `attention`, `elementwise`, `optimizer`, `selection`; `traffic` for bytes on tiers and
`transfer` for copies. Beside them: `cache` (what a repeated kernel or a device's write finds in the last-level cache),
`launch` and `issue` (starts on a stream and in a graph, the host that launches), `power` (what a limit leaves of a
peak, energy), `flash` (drives by request and depth), `drive_engine` (attention in a
drive), `dram` (host memory and CXL by mix and load) and `link` (links and NICs by message size).

Three rules. A constant lives in a sheet with value, kind and source, or, where it belongs to the software of a whole
device class, in the module of its model with the data that it was fitted to. A model says in its docstring what it
is, whose it is, where it holds and what it leaves out. A device that lacks a constant gets the plain roofline, never
a guess.
"""
