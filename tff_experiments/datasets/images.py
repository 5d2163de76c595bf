"""Images as this project keeps them: uint8, one value in 0 .. 255 per pixel."""

import numpy as np


def as_uint8(pixels: np.ndarray) -> np.ndarray:
    """Turns float pixels in [0, 1] into uint8 where that loses nothing, else into float32.

    EMNIST's pixels are multiples of 1/255, so that a quarter of the memory holds them exactly.
    """
    scaled = np.rint(np.asarray(pixels, np.float32) * 255)
    if np.abs(scaled / np.float32(255) - pixels).max(initial=0) < 1e-6:
        return scaled.astype(np.uint8)
    return np.asarray(pixels, np.float32)
