"""Image files as an array, and the cache of their decoded images."""

import os
import pickle
import sys
import threading

import numpy as np
import pytest

from skganem import ImageFiles
from skganem.core.data import image_files as module

Image = pytest.importorskip("PIL.Image")

PIXELS = np.random.default_rng(0).integers(0, 256, (6, 10, 9), dtype=np.uint8)


@pytest.fixture
def folder(tmp_path):
    """A folder with six images, and with what is none."""
    for place, image in zip(["b/2.png", "b/10.PNG", "a/1.bmp", "a/c/0.tif", "z.png", "0.png"], PIXELS, strict=True):
        path = tmp_path / "images" / place
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(path)
    for place in ("notes.txt", ".hidden.png", ".thumbnails/0.png", "data.npy"):
        path = tmp_path / "images" / place
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"no image")
    (tmp_path / "images" / "folder.png").mkdir()
    return tmp_path / "images"


def in_order(folder):
    return [str(folder / place) for place in ("0.png", "a/1.bmp", "a/c/0.tif", "b/10.PNG", "b/2.png", "z.png")]


ORDER = [5, 2, 3, 1, 0, 4]


def one(tmp_path, image, size=(2, 2), mode="L", name="a.png", **settings):
    """Write one image, and read it as an array."""
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(tmp_path / name, **settings)
    return ImageFiles([tmp_path / name], size, mode=mode)[0]


def test_the_images_below_a_folder_are_sorted(folder):
    X = ImageFiles(folder, (10, 9))
    assert X.paths == in_order(folder)
    assert (X.shape, X.dtype, len(X), X.size) == ((6, 10, 9), np.uint8, 6, 540)
    np.testing.assert_array_equal(X[:], PIXELS[ORDER])
    np.testing.assert_array_equal(X[[4, 0, 0]], PIXELS[ORDER][[4, 0, 0]])
    assert X[:0].shape == (0, 10, 9)
    assert ImageFiles(str(folder), (10, 9)).paths == X.paths


def test_files_may_be_listed(folder):
    paths = in_order(folder)[::-2]
    for given in (paths, tuple(paths), (path for path in paths), np.array(paths), [os.fsencode(path) for path in paths]):
        X = ImageFiles(given, [10, 9])
        assert X.paths == paths
        assert all(type(path) is str for path in X.paths)
        np.testing.assert_array_equal(X[:], PIXELS[ORDER][::-2])


def test_size_and_mode(folder):
    X = ImageFiles(folder, size=(5, 12), mode="RGB")
    assert X.shape == (6, 5, 12, 3)
    expected = Image.fromarray(PIXELS[5]).convert("RGB").resize((12, 5))
    np.testing.assert_array_equal(X[0], np.asarray(expected))


@pytest.mark.parametrize(
    ("settings", "error", "what"),
    [
        ({"mode": "CMYK"}, ValueError, r"mode must be one of \['L', 'RGB'\], got 'CMYK'"),
        ({"size": 8}, ValueError, r"size must be \(height, width\), got 8"),
        ({"size": (8, 8, 3)}, ValueError, "size must be"),
        ({"size": (8, 0)}, ValueError, "size must be"),
        ({"size": (8, 8.5)}, ValueError, "size must be"),
        ({"paths": []}, ValueError, r"no image files in \[\]"),
        ({"paths": [3]}, TypeError, "os.PathLike"),
        ({"paths": "nowhere"}, OSError, "nowhere is no folder.*or a list"),
    ],
)
def test_parameters_are_checked(folder, settings, error, what):
    with pytest.raises(error, match=what):
        ImageFiles(**{"paths": folder, "size": (10, 9), **settings})


def test_a_folder_without_images_and_a_single_file_are_errors(folder):
    (folder / "empty").mkdir()
    with pytest.raises(ValueError, match=r"no image files in .*empty"):
        ImageFiles(folder / "empty", (8, 8))
    with pytest.raises(NotADirectoryError, match=r"z\.png is no folder"):
        ImageFiles(folder / "z.png", (8, 8))


@pytest.mark.parametrize("change", ["missing", "text", "cut", "empty"])
def test_a_file_that_cannot_be_read_is_named(folder, change):
    X = ImageFiles(folder, (10, 9))
    path = folder / "b" / "10.PNG"
    data = path.read_bytes()
    path.unlink()
    if change != "missing":
        path.write_bytes({"text": b"no image", "cut": data[: len(data) // 2], "empty": b""}[change])
    with pytest.raises(OSError, match=r"10\.PNG can't be read as an image"):
        X[:]
    with pytest.raises(OSError, match=r"10\.PNG"):
        ImageFiles(X.paths, (10, 9), cache=folder / "cache.npy")
    assert not list(folder.glob("*.part"))
    assert not (folder / "cache.npy").exists()
    np.testing.assert_array_equal(X[:3], PIXELS[ORDER][:3])


def test_without_pillow_the_error_says_how_to_get_it(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "PIL.Image", None)
    with pytest.raises(ImportError, match="pip install pillow"):
        ImageFiles(folder, (10, 9))


# What is in the files


def test_images_stand_upright(tmp_path):
    image = np.array([[0, 50], [100, 150], [200, 250]], np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees
    np.testing.assert_array_equal(one(tmp_path, image, (2, 3), exif=exif), np.rot90(image, -1))


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_palettes_are_looked_up(tmp_path, mode):
    color = np.array([[[250, 0, 0], [0, 250, 0]], [[0, 0, 250], [90, 90, 90]]], np.uint8)
    expected = np.asarray(Image.fromarray(color).convert(mode))
    np.testing.assert_array_equal(one(tmp_path, Image.fromarray(color).quantize(4), mode=mode), expected)


@pytest.mark.parametrize("kind", ["LA", "RGBA", "P", "L"])
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_what_is_transparent_is_white(tmp_path, kind, mode):
    gray = Image.fromarray(np.array([[0, 100], [0, 100]], np.uint8))
    if kind in ("LA", "RGBA"):
        image, settings = gray.convert(kind), {}
        image.putalpha(Image.fromarray(np.array([[255, 255], [0, 128]], np.uint8)))
        half = 177
    else:
        image, settings, half = gray if kind == "L" else gray.convert("P"), {"transparency": 0}, 100
    found = one(tmp_path, image, mode=mode, **settings)
    found = found if mode == "L" else found[..., 0]
    black = 0 if kind in ("LA", "RGBA") else 255
    assert found.tolist() == [[black, 100], [255, half]]


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.pgm"])
def test_16_bits_become_8(tmp_path, name):
    values = np.array([[0, 257], [12850, 65535]], np.uint16)
    assert one(tmp_path, values, name=name).tolist() == [[0, 1], [50, 255]]
    assert one(tmp_path, values, mode="RGB", name=name)[..., 2].tolist() == [[0, 1], [50, 255]]


@pytest.mark.parametrize("dtype", [np.float32, np.int32])
def test_values_of_an_unknown_range_are_refused(tmp_path, dtype):
    with pytest.raises(OSError, match=r"a\.tif can't be read.*range that is not known"):
        one(tmp_path, np.ones((2, 2), dtype), name="a.tif")


def test_other_modes(tmp_path):
    assert one(tmp_path, Image.fromarray(np.array([[False, True], [True, False]]))).tolist() == [[0, 255], [255, 0]]
    red = Image.new("RGB", (16, 16), (255, 0, 0))
    for converted, name in ((red.convert("CMYK"), "a.tif"), (red.convert("CMYK"), "a.jpg"), (red.convert("YCbCr"), "b.jpg")):
        assert np.abs(one(tmp_path, converted, (16, 16), "RGB", name).astype(int) - [255, 0, 0]).max() <= 3
        assert np.abs(one(tmp_path, converted, (16, 16), "L", name).astype(int) - 76).max() <= 3
    frames = [Image.fromarray(np.full((4, 4), value, np.uint8)) for value in (10, 200)]
    assert (one(tmp_path, frames[0], (4, 4), name="a.gif", save_all=True, append_images=frames[1:]) == 10).all()


# The cache


@pytest.fixture
def decoded(monkeypatch):
    """The paths of the images that are decoded."""
    paths, original = [], module.read_image
    monkeypatch.setattr(module, "read_image", lambda path, *more: paths.append(path) or original(path, *more))
    return paths


def test_images_are_decoded_once_for_the_cache(folder, tmp_path, decoded):
    cache = tmp_path / "new" / "cache.npy"
    X = ImageFiles(folder, (10, 9), cache=cache)
    assert decoded == X.paths
    for again in (X, ImageFiles(folder, (10, 9), cache=str(cache))):
        np.testing.assert_array_equal(again[:], PIXELS[ORDER])
        np.testing.assert_array_equal(again[[4, 1]], PIXELS[ORDER][[4, 1]])
    assert len(decoded) == 6
    saved = np.load(cache, mmap_mode="r")  # as from numpy.save
    assert (saved.shape, saved.dtype) == ((6, 10, 9), np.uint8)
    np.testing.assert_array_equal(saved, PIXELS[ORDER])
    assert [path.name for path in cache.parent.iterdir()] == ["cache.npy"]


def test_large_images_are_written_a_chunk_at_a_time(folder, tmp_path, monkeypatch):
    monkeypatch.setattr("skganem.core.data.dataset.CHUNK_BYTES", 8 * 90 * 4)
    sizes, original = [], ImageFiles._decode
    monkeypatch.setattr(ImageFiles, "_decode", lambda self, places: sizes.append(len(places)) or original(self, places))
    X = ImageFiles(folder, (10, 9), cache=tmp_path / "cache.npy")
    assert sizes == [4, 2]
    np.testing.assert_array_equal(X[:], PIXELS[ORDER])


def touch(paths):
    os.utime(paths[0], ns=(1, 1))
    return {}


def rewrite(paths):
    before = os.stat(paths[0])
    Image.fromarray(PIXELS[0].repeat(2, axis=0)).save(paths[0])
    os.utime(paths[0], ns=(before.st_atime_ns, before.st_mtime_ns))
    return {}


@pytest.mark.parametrize(
    "change",
    [
        touch, rewrite, lambda paths: {"paths": paths[::-1]}, lambda paths: {"paths": paths[1:]},
        lambda paths: {"paths": paths[:1] * 6}, lambda paths: {"size": (9, 10)}, lambda paths: {"mode": "RGB"},
    ],
    ids=["time", "size of a file", "order", "fewer", "others", "size", "mode"],
)  # fmt: skip
def test_a_stale_cache_is_made_anew(folder, tmp_path, change, decoded):
    cache = tmp_path / "cache.npy"
    old = ImageFiles(folder, (10, 9), cache=cache)
    settings = {"paths": folder, "size": (10, 9), **change(old.paths)}
    decoded.clear()
    new = ImageFiles(**settings, cache=cache)
    assert decoded == new.paths
    np.testing.assert_array_equal(new[:], ImageFiles(**settings)[:])
    np.testing.assert_array_equal(old[:], PIXELS[ORDER])  # whose file is still open
    decoded.clear()
    ImageFiles(**settings, cache=cache)
    assert decoded == []


@pytest.mark.parametrize("content", [b"", b"precious", "array", "cut"])
def test_a_file_that_is_no_cache_is_not_overwritten(folder, tmp_path, content):
    cache = tmp_path / "cache.npy"
    if content == "array":
        np.save(cache, PIXELS)
    elif content == "cut":
        ImageFiles(folder, (10, 9), cache=cache)
        cache.write_bytes(cache.read_bytes()[:-1])
    else:
        cache.write_bytes(content)
    before = cache.read_bytes()
    with pytest.raises(ValueError, match=r"cache='.*cache\.npy' is a file that ImageFiles has not written. Delete it"):
        ImageFiles(folder, (10, 9), cache=cache)
    assert cache.read_bytes() == before


@pytest.mark.parametrize("cached", [False, True])
def test_a_pickle_holds_no_images(folder, tmp_path, cached, decoded):
    X = ImageFiles(folder, (200, 300), cache=tmp_path / "cache.npy" if cached else None)
    expected = X[:]
    data = pickle.dumps(X)
    assert len(data) < 6 * 200
    decoded.clear()
    again = pickle.loads(data)
    np.testing.assert_array_equal(again[:], expected)
    assert len(decoded) == (0 if cached else 6)
    assert (again.paths, again.shape) == (X.paths, X.shape)


def test_many_may_make_the_same_cache_at_once(folder, tmp_path):
    ready, found = threading.Barrier(4), []

    def make(number):
        ready.wait()
        found.append(ImageFiles(folder, (10, 9), cache=tmp_path / f"{number}.npy")[:])

    for number in range(10):
        threads = [threading.Thread(target=make, args=(number,)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(found) == 40
    for images in found:
        np.testing.assert_array_equal(images, PIXELS[ORDER])
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_file()) == [f"{number}.npy" for number in range(10)]


def test_one_cache_for_two_sets_of_images_gives_no_wrong_ones(folder, tmp_path, monkeypatch):
    cache, original = tmp_path / "cache.npy", ImageFiles._write

    def write_and_lose(self, *arguments):
        original(self, *arguments)
        monkeypatch.undo()
        thread = threading.Thread(target=ImageFiles, args=(folder, (9, 9)), kwargs={"cache": cache})
        thread.start()
        thread.join()

    monkeypatch.setattr(ImageFiles, "_write", write_and_lose)
    with pytest.raises(ValueError, match="Another process has just written other images"):
        ImageFiles(folder, (10, 9), cache=cache)
