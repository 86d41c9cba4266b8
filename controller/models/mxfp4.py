"""Values of mxfp4 blocks: 32 numbers of 4 bits with one power of two.

Source: Open Compute Project, Microscaling Formats (MX) Specification 1.0, sections 5.2 and 5.3.3: E2M1 elements and an
E8M0 scale, 2**(byte - 127).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

E2M1 = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, -0.0, -0.5, -1.0, -1.5, -2.0, -3.0, -4.0, -6.0)
"""Value of each pattern of four bits."""
SCALE_BIAS = 127


def values_of_blocks(blocks: npt.NDArray[Any], scales: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The values (..., 32 g), float32, of g blocks a row.

    Args:
        blocks: uint8 (..., g, 16), the first of two numbers in the low bits.
        scales: uint8 (..., g).
    """
    table = np.array(E2M1, np.float32)
    values = np.empty((*blocks.shape[:-1], 2 * blocks.shape[-1]), np.float32)
    values[..., 0::2], values[..., 1::2] = table[blocks & 15], table[blocks >> 4]
    values *= np.exp2(scales.astype(np.float32) - SCALE_BIAS)[..., None]
    return values.reshape(*blocks.shape[:-2], -1)
