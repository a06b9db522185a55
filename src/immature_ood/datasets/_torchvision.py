"""torchvision's data sets as pools of images; the one place that imports it."""

import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from fcntl import LOCK_EX, flock
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from PIL import Image

from immature_ood.config import Label
from immature_ood.config_file import StudyError
from immature_ood.datasets import Images, Pool
from immature_ood.datasets._pixels import to_image
from immature_ood.datasets.torchvision import Config, classes
from immature_ood.kinds.images import Config as ImageConfig
from immature_ood.progress import progress
from immature_ood.registry import did_you_mean
from immature_ood.storage import StorageError

__all__ = ["import_torchvision", "open_pool"]

_SCHEMAS: list[torch.library.Library] = []
NUMBERS = ("targets", "labels", "_labels", "y")  # what torchvision's classes call the numbers of all images' classes
NO_FILE = "array"  # what a picture is called that Pillow did not open: torchvision made it of an array


def import_torchvision() -> ModuleType:
    """The package, also where its compiled operators do not suit the torch that is here; no data set uses them."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            import torchvision.datasets
        except RuntimeError:  # operator torchvision::nms does not exist
            for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
                del sys.modules[name]
            _SCHEMAS.append(torch.library.Library("torchvision", "DEF"))  # ends with the last reference to it
            _SCHEMAS[0].define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
            _SCHEMAS[0].define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
            import torchvision.datasets
    found: ModuleType = torchvision
    return found


def open_pool(config: Config, arguments: Mapping[str, Any], part: str, root: Path, image: ImageConfig) -> Pool:
    """The images of a data set, downloaded to root if they are not there. Origins are "<name><part>#<number>".

    Raises StudyError if the class does not take the arguments or does not know a class of images that is chosen, and
    StorageError if its files cannot be had; reading raises StorageError for an image that cannot be read, and
    StudyError if it is no picture.
    """
    name = config.dataset
    data = _opened(name, arguments, root)

    def read(places: np.ndarray) -> Images:
        pixels, formats, resized = np.empty((len(places), *image.shape), np.uint8), [], False
        origins = [f"{name}{part}#{place}" for place in places]
        with progress(f"read {name}{part}", len(places)) as advance, _formats_noted() as noted:
            for row, place in enumerate(places.tolist()):
                noted.clear()
                pixels[row], resampled = _picture(data, place, origins[row], image)
                formats.append(noted[0] if noted else NO_FILE)
                resized |= resampled
                advance()
        return Images(pixels, origins, formats, resized)

    return Pool(len(data), read, _labels(data, config))


def _labels(data: Any, config: Config) -> list[Label] | None:
    """The name and the number of each image's class, where torchvision has them without reading any image.

    Raises StudyError if the config chooses a class that there is not.
    """
    numbers = next((found for key in NUMBERS if (found := getattr(data, key, None)) is not None), None)
    if numbers is None or len(numbers) != len(data) or np.ndim(numbers) != 1:
        return None
    names = list(map(str, getattr(data, "classes", ())))
    labels = [(*names[number : number + 1], str(number)) for number in np.asarray(numbers).tolist()]
    known = sorted({name for label in labels for name in label} | {*names})
    for key in ("classes", "without"):
        for name in getattr(config, key) or []:
            if name not in known:
                raise StudyError(f"{key}: {type(data).__name__} has no class {name!r}{did_you_mean(name, known)}")
    return labels


def _opened(name: str, arguments: Mapping[str, Any], root: Path) -> Any:
    """The data set; of two processes that want it one downloads, and the other waits."""
    known = classes()[name]
    placed = {"root": str(root), "download": True}
    given = {key: value for key, value in placed.items() if key in known.arguments} | dict(arguments)
    kind: Callable[..., Any] = getattr(import_torchvision().datasets, name)
    with _alone(root / f".{name}.lock"):
        try:
            data = kind(**given)
            len(data)  # a number that is none
        except Exception as error:  # of options, of a network, of files, of packages that a reader needs besides
            reason = " ".join(str(error).split()) or type(error).__name__
            if isinstance(error, TypeError | ValueError) and "argument" in reason:
                raise StudyError(f"options: {name}: {reason}") from error
            raise StorageError(
                f"torchvision's {name} cannot be had ({reason}); see {known.page or 'its documentation'}, put its "
                f"files below {root} as torchvision lays them out, and rerun"
            ) from error
    return data


@contextmanager
def _alone(lock: Path) -> Iterator[None]:
    """Waits until no other process opens the data set, where the folder can be written to."""
    with suppress(OSError):
        lock.parent.mkdir(parents=True, exist_ok=True)
    try:
        file = lock.open("w")
        flock(file, LOCK_EX)
    except OSError:  # it is only read, or has no locks
        yield
        return
    with file:
        yield


def _picture(data: Any, place: int, origin: str, image: ImageConfig) -> tuple[np.ndarray, bool]:
    """An image by the one resizing rule, and whether it was resampled."""
    try:
        item = data[place]
    except Exception as error:  # Pillow raises nearly everything over damaged files
        raise StorageError(f"{origin}: cannot be read ({error}); mend or download its file anew, then rerun") from error
    picture = item[0] if isinstance(item, tuple) else item
    if not isinstance(picture, Image.Image):
        raise StudyError(f"dataset: {type(data).__name__} gives {type(picture).__name__}, not pictures")
    try:
        return to_image(picture, image)
    except (ValueError, OSError) as error:
        raise StorageError(f"{origin}: cannot be read as a picture ({error}); mend its file, then rerun") from error


@contextmanager
def _formats_noted() -> Iterator[list[str]]:
    """In the block, the formats of the files that Pillow opens: torchvision's readers convert pictures, and lose it."""
    noted: list[str] = []
    plain = Image.open

    def noting(*arguments: Any, **options: Any) -> Any:
        picture = plain(*arguments, **options)
        noted.append(str(picture.format))
        return picture

    Image.open = noting
    try:
        yield noted
    finally:
        Image.open = plain
