"""Signs by shape, data/gtsrb-shapes.npz, from the training images in data/gtsrb.npz (docs/data.md).

Their names tell both their class and their video: up to 30 images of one sign, which stay in one split.

python docs/near/signs.py
"""

from pathlib import PurePosixPath

import numpy as np

from immature_ood.datasets.gtsrb import CLASSES

if __name__ == "__main__":
    with np.load("data/gtsrb.npz") as stored:
        of_training = stored["split"] == "train"
        images, names = stored["images"][of_training], stored["names"][of_training]
    numbers = [PurePosixPath(name).parent.name for name in names]
    videos = [name.rpartition("_")[0] for name in names]
    shapes = [CLASSES[int(number)][1] for number in numbers]
    np.savez_compressed("data/gtsrb-shapes.npz", images=images, names=names, label=shapes, unit=videos)
