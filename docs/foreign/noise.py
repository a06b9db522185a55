"""Images of nothing, data/noise.npz, in the form that the source array reads (docs/data.md).

python docs/foreign/noise.py
"""

from pathlib import Path

import numpy as np

if __name__ == "__main__":
    images = np.random.default_rng(0).integers(0, 256, (9000, 1, 28, 28), dtype=np.uint8)
    Path("data").mkdir(exist_ok=True)
    np.savez("data/noise.npz", images=images, split=np.repeat(["train", "test"], [7000, 2000]))
