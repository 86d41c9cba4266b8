"""Hugging Face's ``config.json`` as a shape: one family a file and a line in the table of `read.py`.

Keys that a family always writes are required; for the others the default is that of the family's configuration class in
transformers, because that is what an absent key means there. What a shape cannot express is refused by name. A virtual
run needs shapes alone, so what changes values and neither time nor bytes (a way of scaling positions, a factor on
logits) is a note there, and runs with values refuse it. A key that nobody reads is a note too, and none
is dropped; of the objects in it (rotation, quantisation) those keys are read that change shapes or bytes.
"""
