"""Image files as an array, decoded when they are needed."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Sequence
from importlib import import_module
from numbers import Integral
from pathlib import Path
from typing import Any

import numpy as np

from skganem.core.data.dataset import chunk_rows
from skganem.core.data.lazy import LazyArray
from skganem.core.runtime.serialization import new_file

#: Names of image files end so: formats of single images that Pillow always reads.
SUFFIXES = {".bmp", ".gif", ".jpeg", ".jpg", ".pbm", ".pgm", ".png", ".pnm", ".ppm", ".tif", ".tiff", ".webp"}
#: What follows height and width in an image's shape, by its mode.
CHANNELS: dict[str, tuple[int, ...]] = {"L": (), "RGB": (3,)}
#: Of the decoded images in a cache: to be raised where a change of the code makes others of the same files.
VERSION = 1
#: What stands behind the images in a cache, before their key.
MARK = b"skganem.ImageFiles"


class ImageFiles(LazyArray):
    """An array of the images in files, which are decoded when it is indexed.

    Estimators take it as X. It needs the package Pillow.

    Read more in the :ref:`user guide <not_in_memory>`.

    Parameters
    ----------
    paths : iterable of str or path-like, str or path-like
        The files; or a folder, for all image files in it and in the folders below it, sorted. Files and folders
        whose names begin with a dot are left out.
    size : tuple (height, width)
        The size that images are brought to, by bicubic interpolation. Their aspect ratio is not kept.
    mode : {"L", "RGB"}, default="L"
        "L" makes gray images, "RGB" images with 3 channels.
    cache : str or path-like, default=None
        A file to which the decoded images are written once, in the format of ``numpy.save``. All later reading is from this
        memory map. Another `ImageFiles` of the same files, size and mode finds it again. If a file has changed, the cache is
        written anew. Without a cache, a fit decodes each file ten times or more, and a few thousand files a hundred times.

    Attributes
    ----------
    paths : list of str
        The files, in order.
    shape : tuple of int
        ``(n_samples, height, width)``, or ``(n_samples, height, width, 3)``.
    dtype : dtype
        uint8.

    Raises
    ------
    ImportError
        If Pillow is missing.
    OSError
        If a folder or a file is missing, or, when it is decoded, if a file is no image or broken. The error names the file.
    ValueError
        If there are no image files, a parameter is not as above, or `cache` is an existing file of other content.

    See Also
    --------
    DatasetArray : Data sets of torch and Hugging Face.

    Notes
    -----
    Images are turned as their EXIF orientation says. Transparent pixels become white. Gray values of 16 bits are divided by
    257, so that 65535 becomes 255. Of several frames, the first counts. Color profiles are ignored.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> import numpy as np
    >>> from PIL import Image
    >>> from skganem import ImageFiles
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     for i in range(3):
    ...         Image.fromarray(np.full((20, 30), i, np.uint8)).save(Path(folder) / f"{i}.png")
    ...     X = ImageFiles(folder, size=(8, 8))
    ...     last = X[2]
    >>> X.shape
    (3, 8, 8)
    >>> int(last.max())
    2
    """

    def __init__(
        self,
        paths: Iterable[str | os.PathLike[str]] | str | os.PathLike[str],
        size: tuple[int, int],
        *,
        mode: str = "L",
        cache: str | os.PathLike[str] | None = None,
    ) -> None:
        pillow("Image")
        if mode not in CHANNELS:
            raise ValueError(f"mode must be one of {list(CHANNELS)}, got {mode!r}.")
        if not (isinstance(size, Sequence) and len(size) == 2 and all(isinstance(n, Integral) and n > 0 for n in size)):
            raise ValueError(f"size must be (height, width), got {size!r}.")
        if isinstance(paths, (str, os.PathLike)):
            self.paths = image_files(Path(paths))
        else:
            self.paths = [str(os.fsdecode(path)) for path in paths]
        if not self.paths:
            raise ValueError(f"There are no image files in {paths}.")
        self.mode, self.cache = mode, None if cache is None else Path(cache).resolve()
        self.shape, self.dtype = (len(self.paths), int(size[0]), int(size[1]), *CHANNELS[mode]), np.dtype(np.uint8)
        self._decoded = self._open_cache()

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_decoded"}  # of which pickle would copy all

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._decoded = self._open_cache()

    def _read(self, key: slice | np.ndarray) -> np.ndarray:
        if self._decoded is not None:
            return np.asarray(self._decoded[key])
        return self._decode(range(key.start, key.stop) if isinstance(key, slice) else key.tolist())

    def _decode(self, positions: Sequence[int]) -> np.ndarray:
        images = np.empty((len(positions), *self.shape[1:]), self.dtype)
        for image, position in zip(images, positions, strict=True):
            image[...] = read_image(self.paths[position], self.shape[1], self.shape[2], self.mode)
        return images

    def _open_cache(self) -> np.ndarray | None:
        """Return the memory map of the cache, which is written if it is not there or not that of these files."""
        if self.cache is None:
            return None
        tail = MARK + self._key()
        found = open_cache(self.cache, self.shape, tail)
        if found is None:
            self._write(self.cache, tail)
            found = open_cache(self.cache, self.shape, tail)
        if found is None:
            raise ValueError(f"Another process has just written other images to cache={str(self.cache)!r}. Take another file.")
        return found

    def _key(self) -> bytes:
        """Return a checksum of everything on which the decoded images depend."""
        total = hashlib.sha256(repr((VERSION, self.shape, self.mode)).encode())
        for path in self.paths:
            about = os.stat(path)
            total.update(repr((os.path.abspath(path), about.st_size, about.st_mtime_ns)).encode())
        return total.hexdigest().encode()

    def _write(self, cache: Path, tail: bytes) -> None:
        cache.parent.mkdir(parents=True, exist_ok=True)
        header = {"descr": "|u1", "fortran_order": False, "shape": self.shape}
        rows, n = chunk_rows(self.shape), len(self)
        with new_file(cache) as file:
            np.lib.format.write_array_header_1_0(file, header)
            for start in range(0, n, rows):
                file.write(self._decode(range(start, min(n, start + rows))).data)
            file.write(tail)  # numpy.load does not look behind the values


def image_files(folder: Path) -> list[str]:
    """Return the paths of all image files below a folder, sorted."""
    if not folder.is_dir():
        raise NotADirectoryError(f"{folder} is no folder. Pass a folder, or a list of image files.")
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
    return [str(path) for path in files if not any(name.startswith(".") for name in path.relative_to(folder).parts)]


def open_cache(path: Path, shape: tuple[int, ...], tail: bytes) -> np.ndarray | None:
    """Map the images of a cache that ends with `tail`; None if there is no file, or it is the cache of others.

    Raises
    ------
    ValueError
        If the file is no cache, and would be lost.
    """
    if not path.exists():
        return None
    with path.open("rb") as file:
        end = file.seek(0, os.SEEK_END) - len(tail)
        file.seek(max(0, end))
        found = file.read()
        if not found.startswith(MARK):
            raise ValueError(f"cache={str(path)!r} is a file that ImageFiles has not written. Delete it, or take another file.")
        start = end - int(np.prod(shape))
        return np.memmap(file, np.uint8, "r", start, shape) if found == tail else None


def read_image(path: str, height: int, width: int, mode: str) -> np.ndarray:
    """Decode a file to an image of the given size and mode.

    Raises
    ------
    OSError
        If that is impossible; it names the file.
    """
    Image = pillow("Image")
    try:
        with Image.open(path) as opened:
            image = to_mode(opened, mode)
        if image.size != (width, height):
            image = image.resize((width, height), Image.Resampling.BICUBIC)
        return np.asarray(image)
    except Exception as error:  # of many kinds, most of which do not name the file
        raise OSError(f"{path} can't be read as an image: {error}") from error


def to_mode(image: Any, mode: str) -> Any:
    """Return an image of Pillow's in mode "L" or "RGB", upright, on white."""
    Image, format_ = pillow("Image"), image.format
    image = pillow("ImageOps").exif_transpose(image)
    if image.mode.startswith("I;16") or (image.mode == "I" and format_ == "PPM"):  # which Pillow scales to 16 bits
        image = Image.fromarray(((np.asarray(image).astype(np.uint32) + 128) // 257).astype(np.uint8))
    if image.mode in ("I", "F"):
        raise ValueError("its pixels have 32 bits, in a range that is not known; convert it to 8 or 16 bits.")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return (image if image.mode in ("1", "L") else image.convert("RGB")).convert(mode)


def pillow(module: str) -> Any:
    """Import a module of Pillow, or say how to get it."""
    try:
        return import_module(f"PIL.{module}")
    except ImportError as error:
        raise ImportError("Image files need the package Pillow: python -m pip install pillow.") from error
