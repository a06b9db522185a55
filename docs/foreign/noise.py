"""Images of nothing, data/noise.npz (grey) and data/noise-rgb.npz, in the form that array reads (docs/data.md).

python docs/foreign/noise.py
"""

from pathlib import Path

import numpy as np

SHAPES = {"noise": (1, 28, 28), "noise-rgb": (3, 32, 32)}

if __name__ == "__main__":
    Path("data").mkdir(exist_ok=True)
    for name, shape in SHAPES.items():
        images = np.random.default_rng(0).integers(0, 256, (9000, *shape), dtype=np.uint8)
        np.savez(f"data/{name}.npz", images=images, split=np.repeat(["train", "test"], [7000, 2000]))
