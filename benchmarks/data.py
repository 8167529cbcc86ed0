"""The data sets of the benchmarks, by name.

Those that no package ships are read from the folder in the environment variable SKGANEM_DATA (``.data`` if it is not set):
``mnist.npz`` and ``svhn10k.npz`` with the arrays ``x_train``, ``y_train``, ``x_test`` and ``y_test``, and ``celeba10k.npz``
with ``jpeg_train`` and ``jpeg_test``, the bytes of all files one after another, ``ends_train`` and ``ends_test``, where each
ends, and ``attr_train``, ``attr_test`` and ``attr_names``. ``fashion.npz`` has ``x`` and ``y``, all 70,000 images of
Fashion-MNIST, ordered by class. ``letters.npz`` is what ``letters.py`` draws. ``optdigits.tra`` is the training file of UCI's
"Optical recognition of handwritten digits", whose test file is scikit-learn's digits: 65 numbers a line, the last of them the
class. ``photo_features.npz`` has ``x_train``, ``y_train``, ``x_test`` and ``y_test``: 1280 features of EfficientNet-Lite0 for
each of 5000 photographs.
"""

import os
from functools import cache
from io import BytesIO
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits, make_moons


def place(name):
    """Return the path of a file of the folder, which need not exist."""
    return Path(os.environ.get("SKGANEM_DATA", ".data")) / name


def file(name):
    """Return the path of a file of the folder, or end with the reason why not."""
    path = place(name)
    if not path.exists():
        raise SystemExit(f"{path} does not exist; set SKGANEM_DATA to the folder of {name}.")
    return path


def archive(name):
    """Load the arrays of a file of the folder."""
    with np.load(file(f"{name}.npz")) as loaded:
        return {key: loaded[key] for key in loaded.files}


def mnist():
    """Load all of MNIST."""
    return archive("mnist")


def fashion(part):
    """Return images of clothes, 28x28: a part of 10,000 of seven, each of them drawn from all."""
    data = archive("fashion")
    order = np.random.default_rng(0).permutation(70_000)[10_000 * part :][:10_000]
    return data["x"][order], data["y"][order].astype(int)


def typefaces(part=0):
    """Return the letters A to J, 28x28, in all typefaces, one by one; or another part of what is drawn, see ``letters.py``."""
    x = archive("letters")["x"][:, part]
    return x.reshape(-1, 28, 28), np.tile(np.arange(10), len(x))


def svhn():
    """Load house numbers' digits, 32x32 in color: 8001 to learn from, and 1999 of other photographs."""
    return archive("svhn10k")


@cache
def celeba(side=64):
    """Load faces in color, 8000 and 2000, with their 40 attributes; decoding them needs the package Pillow.

    They are 64x64; smaller ones are means of squares.
    """
    from PIL import Image

    data = archive("celeba10k")
    for part in ("train", "test"):
        files, ends = data.pop(f"jpeg_{part}").tobytes(), data.pop(f"ends_{part}")
        starts = [0, *ends[:-1]]
        images = [Image.open(BytesIO(files[start:end])).reduce(64 // side) for start, end in zip(starts, ends, strict=True)]
        data[f"x_{part}"] = np.stack([np.asarray(image) for image in images])
    return data


def even(present, rng):
    """Choose, in random order, as many positions where something is present as where it is not."""
    sides = [rng.permutation(np.flatnonzero(present == side)) for side in (False, True)]
    return rng.permutation(np.concatenate([side[: min(map(len, sides))] for side in sides]))


def faces(attribute, side, rng, parts=("train", "test")):
    """Return, for each part, images of faces and whether they have the attribute: half of them do (Appendix B.3)."""
    data, chosen = celeba(side), []
    column = list(data["attr_names"]).index(attribute)
    for part in parts:
        present = data[f"attr_{part}"][:, column].astype(bool)
        positions = even(present, rng)
        chosen.append((data[f"x_{part}"][positions], present[positions].astype(int)))
    return chosen


def mnist_10k(seed):
    """Return the first 10,000 training images."""
    data = mnist()
    return data["x_train"][:10_000], data["y_train"][:10_000].astype(int)


def mnist_200(seed):
    """Return 200 of them, which depends on the seed."""
    X, y = mnist_10k(seed)
    chosen = np.random.default_rng(seed).choice(len(X), 200, replace=False)
    return X[chosen], y[chosen]


def mnist_dev(seed):
    """Return the training images 10,000 to 19,999: the ones on which defaults were chosen."""
    data = mnist()
    return data["x_train"][10_000:20_000], data["y_train"][10_000:20_000].astype(int)


def mnist_dev_3000(seed):
    """Return the first 3000 of those."""
    X, y = mnist_dev(seed)
    return X[:3000], y[:3000]


def mnist_dev_small(seed):
    """Return 1797 of the 10,000, cut to 20x20 and made as small as scikit-learn's digits; which ones depends on the seed."""
    X, y = mnist_dev(seed)
    chosen = np.random.default_rng(seed).choice(len(X), 1797, replace=False)
    doubled = X[chosen, 4:24, 4:24].astype(float).repeat(2, axis=1).repeat(2, axis=2)
    return np.rint(doubled.reshape(-1, 8, 5, 8, 5).mean(axis=(2, 4)) / 16), y[chosen]


def fashion_10k(seed):
    """Return 10,000 images of clothes."""
    return fashion(0)


def fashion_dev(seed):
    """Return 10,000 others: on those of seeds 0 to 4, defaults were chosen."""
    return fashion(2 + seed)


def mnist_60k(seed):
    """Return all 60,000 training images."""
    data = mnist()
    return data["x_train"], data["y_train"].astype(int)


def mnist_imbalanced(seed, start=40_000):
    """Return 100 to 1000 images of each digit, from 20,000 training images; which digit is rare depends on the seed."""
    data, rng = mnist(), np.random.default_rng(seed)
    X, y = (data[name][start : start + 20_000] for name in ("x_train", "y_train"))
    sizes = rng.permutation(np.arange(100, 1001, 100))
    chosen = np.sort(np.concatenate([rng.choice(np.flatnonzero(y == i), sizes[i], replace=False) for i in range(10)]))
    return X[chosen], y[chosen].astype(int)


def mnist_dev_imbalanced(seed):
    """Return as many from the images 20,000 to 39,999: on them, defaults were chosen."""
    return mnist_imbalanced(seed, start=20_000)


def letters(part):
    """Return a loader of these in 1000 typefaces; on all parts but 0, defaults may be chosen."""
    return lambda seed: tuple(values[:10_000] for values in typefaces(part))


def svhn_train(seed):
    """Return the 8001 images of house numbers' digits."""
    data = svhn()
    return data["x_train"], data["y_train"].astype(int)


def digits(seed):
    """Return scikit-learn's 1797 digits as images."""
    X, y = load_digits(return_X_y=True)
    return X.reshape(-1, 8, 8), y


def digits_few(seed):
    """Return 300 of these images: to see that something works."""
    X, y = digits(seed)
    return X[:300], y[:300]


def digits_rows(seed):
    """Return scikit-learn's 1797 digits as rows of 64 values."""
    return load_digits(return_X_y=True)


def optdigits_rows(seed):
    """Return 3823 digits by other writers than those of scikit-learn's as rows of 64 values."""
    table = np.loadtxt(file("optdigits.tra"), delimiter=",")
    return table[:, :64], table[:, 64].astype(int)


def optdigits(seed):
    """Return these as images."""
    X, y = optdigits_rows(seed)
    return X.reshape(-1, 8, 8), y


def photo_features(seed):
    """Return ImageNet features of 5000 small photographs in 10 classes, rows of 1280 values: on them, defaults were chosen."""
    data = archive("photo_features")
    X, y = (np.concatenate([data[f"{name}_train"], data[f"{name}_test"]]) for name in "xy")
    return X.astype(np.float32), y.astype(int)


def moons(seed):
    """Return 1000 points on two half circles with noise 0.05."""
    return make_moons(1000, noise=0.05, random_state=seed)


def celeba_32(attribute):
    """Return a loader of faces, 32x32, half of them with the attribute; which of the others depends on the seed."""
    return lambda seed: faces(attribute, 32, np.random.default_rng(seed), parts=("train",))[0]


def named(wanted, known):
    """Return the names of known data that are wanted: a name, or all that begin with it and a slash."""
    return [name for one in wanted for name in known if name == one or name.startswith(f"{one}/")]


ATTRIBUTES = tuple(
    "5_o_Clock_Shadow Arched_Eyebrows Attractive Bags_Under_Eyes Bald Bangs Big_Lips Big_Nose Black_Hair Blond_Hair Blurry "
    "Brown_Hair Bushy_Eyebrows Chubby Double_Chin Eyeglasses Goatee Gray_Hair Heavy_Makeup High_Cheekbones Male "
    "Mouth_Slightly_Open Mustache Narrow_Eyes No_Beard Oval_Face Pale_Skin Pointy_Nose Receding_Hairline Rosy_Cheeks "
    "Sideburns Smiling Straight_Hair Wavy_Hair Wearing_Earrings Wearing_Hat Wearing_Lipstick Wearing_Necklace "
    "Wearing_Necktie Young".split()
)
CLUSTERING = {
    "digits": (digits, 10),
    "digits-few": (digits_few, 10),
    "digits-rows": (digits_rows, 10),
    "optdigits": (optdigits, 10),
    "optdigits-rows": (optdigits_rows, 10),
    "photo-features": (photo_features, 10),
    "moons": (moons, 2),
    "mnist-10k": (mnist_10k, 10),
    "mnist-200": (mnist_200, 10),
    "mnist-dev": (mnist_dev, 10),
    "mnist-dev-3000": (mnist_dev_3000, 10),
    "mnist-dev-small": (mnist_dev_small, 10),
    "mnist-60k": (mnist_60k, 10),
    "mnist-imbalanced": (mnist_imbalanced, 10),
    "fashion-10k": (fashion_10k, 10),
    "fashion-dev": (fashion_dev, 10),
    "letters": (letters(0), 10),
    **{f"letters-dev/{name}": (letters(part), 10) for part, name in enumerate(("capitals", "lower-case", "numerals"), 1)},
    "svhn": (svhn_train, 10),
    "mnist-dev-imbalanced": (mnist_dev_imbalanced, 10),
    **{f"celeba-32/{attribute}": (celeba_32(attribute), 2) for attribute in ATTRIBUTES},
}
