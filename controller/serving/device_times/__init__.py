"""Times of iterations from plans on the declared devices of an instance.

An iteration is cut into parts, and each part is a plan of its own that the virtual executor times once for each size:
the layers over all tokens (projections, sums over the ranks, feed-forward), attention of the requests that decode,
attention of each prompt chunk over what came before it, embedding, and logits. Kernels of a device follow each other in
one queue, so that the parts add up to the iteration. Layers that are alike have one plan, counted as often as there are
such layers.

Sizes are rounded: between two that were executed, times are interpolated linearly, `grain` of them an octave (every
size up to `grain`). `Audit` executes whole iterations, uncut and unrounded, and says how far off the sum is.
"""
