"""A model on the chips that it will run on: formats that they cannot multiply in are converted instead."""

from __future__ import annotations

from dataclasses import replace

from controller.models.shape import ModelShape
from controller.topology.schema import Topology
from node.hardware.nearest import choose_matrix, nearest_with_peak


def on_hardware(shape: ModelShape, topology: Topology) -> ModelShape:
    """The shape with weights that are converted to 16 bits where a GPU has no peak for products in 8 bits.

    Servers do the same (vLLM's Marlin kernels on chips before 8.9), and say so: so does the note.
    """
    quantization = shape.quantization
    if quantization is None or not quantization.activations:
        return shape
    dtype = "fp8" if quantization.kind == "fp8" else "int8"
    for device in topology.of_kind("gpu"):
        peaks = choose_matrix(device.spec)
        if peaks is not None and dtype not in peaks:
            note = (
                f"{device.spec.product} has no peak for products in {dtype}: weights are converted and products run in "
                f"{shape.dtype}; {nearest_with_peak(peaks, dtype)} for products in {dtype}"
            )
            return replace(shape, quantization=replace(quantization, activations=""), notes=(*shape.notes, note))
    return shape
