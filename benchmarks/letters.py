"""Draw letters and numerals in the typefaces of a folder: images of another kind than digits by hand, and hardly any twice.

    SKGANEM_DATA=/path/to/data python benchmarks/letters.py /usr/share/fonts /usr/share/texmf

Every font below these folders that has the Latin letters, the numerals and é counts, one of each family, drawn at random. What
is drawn is 20 pixels in the longer side, in the middle of 28x28. ``letters.npz`` gets the images and the families' names, in
random order; families whose letters A to J are those of one before are left out. Needs the packages Pillow and fontTools.

The 1171 typefaces of the records are those of Debian 12's packages texlive-fonts-extra, texlive-fonts-recommended and fonts-*,
without those of Chinese, Japanese, Korean, Thai and Indic scripts.
"""

import logging
import string
import sys
from pathlib import Path

import numpy as np
from data import place
from fontTools.ttLib import TTFont, TTLibError
from PIL import Image, ImageDraw, ImageFont

NEEDED = set(map(ord, string.ascii_letters + string.digits + "é"))
#: Four data sets of ten classes each; the first is the one that is reported.
DRAWN = ("ABCDEFGHIJ", "KLMNOPQRST", "abdefghnrt", string.digits)


def families(folders):
    """Return the paths of fonts by their families' names."""
    found = {}
    for path in sorted({path.resolve() for folder in folders for path in Path(folder).rglob("*.[oOtT][tT][fF]")}):
        try:
            with TTFont(path, lazy=True) as font:
                if set(font.getBestCmap() or ()) >= NEEDED:
                    found.setdefault(font["name"].getBestFamilyName() or path.name, []).append(path)
        except (TTLibError, OSError, KeyError, AttributeError, AssertionError):  # broken ones
            continue
    return found


def drawn(letter, font):
    """Return an image of a letter (28, 28), or None if nothing is drawn."""
    large = Image.new("L", (400, 400))
    ImageDraw.Draw(large).text((100, 100), letter, font=font, fill=255)
    box = large.getbbox()
    if box is None:
        return None
    inside = large.crop(box)
    small = inside.resize([max(1, round(20 * side / max(inside.size))) for side in inside.size], Image.Resampling.BOX)
    made = Image.new("L", (28, 28))
    made.paste(small, [(28 - side) // 2 for side in small.size])
    return np.asarray(made)


def alphabet(path):
    """Return the images of the four data sets (4, 10, 28, 28), or None if the font can't be used."""
    try:
        font = ImageFont.truetype(str(path), 160)
        images = [drawn(letter, font) for letter in "".join(DRAWN)]
    except OSError:
        return None
    return None if any(image is None for image in images) else np.reshape(images, (len(DRAWN), 10, 28, 28))


def main(folders):
    """Draw the letters, and write the file."""
    logging.getLogger("fontTools").setLevel(logging.CRITICAL)  # it tells of each small fault of a font
    rng, found = np.random.default_rng(0), families(folders)
    one_each = {name: alphabet(paths[rng.integers(len(paths))]) for name, paths in sorted(found.items())}
    distinct = {images[0].tobytes(): name for name, images in reversed(one_each.items()) if images is not None}
    names = rng.permutation(sorted(distinct.values()))
    np.savez_compressed(place("letters.npz"), x=np.stack([one_each[name] for name in names]), names=names)
    print(f"{len(names)} typefaces of {len(found)} families")


if __name__ == "__main__":
    main(sys.argv[1:])
