"""Device models against the world, in three steps of which each knows only those before it.

`predict` asks the models of `node.hardware` one question at a time, `validate` holds their answers against measurements
that others made, and `calibrate` turns measurements into constants of a sheet.
"""
