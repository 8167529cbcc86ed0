"""A gallery in a folder: images as files, and a page without scripts that shows them."""

import re
from html import escape
from pathlib import Path
from string import Template

#: What the page says of each kind of images.
MEANINGS = {
    "typical": "nearest to the mean of the cluster",
    "uncertain": "smallest margin between the two highest probabilities",
    "random": "drawn evenly from the cluster",
    "generated": "drawn by the generator; no images of X",
}
#: Sides in CSS pixels between which images are shown: smaller ones are enlarged by a whole number, larger ones shrunk.
MIN_SIDE, MAX_SIDE = 48, 160
#: Letters of a cluster's name in the name of its folder: Windows allows 260 for a whole path.
MAX_NAME = 40
#: The folders and files of an earlier gallery, which a new one replaces.
FOLDERS, FILES = re.compile(r"\d{3,}_.*"), re.compile(rf"(?:{'|'.join(MEANINGS)})_\d{{3,}}(?:_\d+)?\.png")

PAGE = Template("""\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>$title</title>
<style>
:root { color-scheme: light dark; --muted: #5c5c5c; --line: #d4d4d4; --link: #0b57a4; --page: #fff; --text: #1c1c1c; }
@media (prefers-color-scheme: dark) {
  :root { --muted: #a8a8a8; --line: #444; --link: #8ab8f0; --page: #181818; --text: #eaeaea; }
}
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 90rem; padding: 1rem; font: 1rem/1.45 system-ui, sans-serif; background: var(--page);
  color: var(--text); }
h1 { font-size: 1.4rem; margin: 0.3rem 0; }
h2 { font-size: 1.2rem; margin: 0; overflow-wrap: anywhere; }
h3 { font-size: 0.9rem; font-weight: 600; margin: 0.7rem 0 0.3rem; color: var(--muted); }
p { margin: 0.2rem 0; color: var(--muted); }
a { color: var(--link); }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 0.1rem 0.8rem; margin: 0.6rem 0; }
dd { margin: 0; color: var(--muted); }
nav { display: flex; flex-wrap: wrap; gap: 0.3rem 1rem; margin: 0.8rem 0; }
nav a { padding: 0.2rem 0; overflow-wrap: anywhere; }
section { border-top: 1px solid var(--line); padding: 0.9rem 0; }
.kinds { display: flex; flex-wrap: wrap; gap: 0 2.2rem; }
.images { display: flex; flex-wrap: wrap; gap: 0.4rem; }
figure { margin: 0; }
figcaption { font-size: 0.75rem; text-align: center; color: var(--muted); }
img { display: block; border: 1px solid var(--line); box-sizing: content-box; }
.enlarged { image-rendering: pixelated; }
</style>
</head>
<body>
<header>
<h1>$title</h1>
<p>The largest cluster comes first. The number below an image is its position in X.</p>
<dl>
$meanings
</dl>
<nav aria-label="Clusters">
$links
</nav>
</header>
<main>
$sections
</main>
</body>
</html>
""")


def write_gallery(folder, gallery, pictures, overwrite):
    """Write a gallery's pictures, uint8 by kind and cluster, and a page that shows them; return the page's path."""
    image, folder = pillow_image(), Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        if not overwrite:
            raise FileExistsError(f"{folder} is not empty. Give another folder, or overwrite=True.")
        remove_gallery(folder)
    sections = []
    for i, label in enumerate(gallery.labels):
        place = folder / f"{i:03d}_{re.sub(r'[^A-Za-z0-9.-]+', '_', str(label))[:MAX_NAME]}"
        place.mkdir(exist_ok=True)
        blocks = []
        for kind, parts in pictures.items():
            positions = gallery.positions[kind][i] if kind in gallery.positions else [None] * len(parts[i])
            files = [place / file_name(kind, j, position) for j, position in enumerate(positions)]
            for file, picture in zip(files, parts[i], strict=True):
                image.fromarray(picture).save(file)
            blocks.append(kind_block(kind, files, positions, parts[i].shape[1:3]))
        sections.append(section(gallery, i, blocks))
    page = folder / "index.html"
    page.write_text(whole_page(gallery, sections), encoding="utf-8")
    return page


def pillow_image():
    """Import Pillow's module of images, or say how to get it."""
    try:
        from PIL import Image
    except ImportError as error:
        raise ImportError("Saving a gallery needs the package Pillow: python -m pip install pillow.") from error
    return Image


def remove_gallery(folder):
    """Remove the images and the page that a gallery has written; leave other files."""
    (folder / "index.html").unlink(missing_ok=True)
    for place in [path for path in folder.iterdir() if path.is_dir() and FOLDERS.fullmatch(path.name)]:
        for file in [path for path in place.iterdir() if FILES.fullmatch(path.name)]:
            file.unlink()
        if not any(place.iterdir()):
            place.rmdir()


def file_name(kind, number, position):
    """Return the name of an image's file, in which `remove_gallery` knows it again."""
    return f"{kind}_{number:03d}{'' if position is None else f'_{position}'}.png"


def whole_page(gallery, sections):
    """Return the page."""
    links = [f'<a href="#cluster-{i}">{escape(str(label))} ({gallery.sizes[i]})</a>' for i, label in enumerate(gallery.labels)]
    return PAGE.substitute(
        title=f"{len(gallery.labels)} clusters of {gallery.sizes.sum()} images",
        meanings="\n".join(f"<dt>{kind}</dt><dd>{MEANINGS[kind]}</dd>" for kind in gallery.images),
        links="\n".join(links),
        sections="\n".join(sections),
    )


def section(gallery, i, blocks):
    """Return the part of the page that shows a cluster."""
    facts = [f"{gallery.sizes[i]} images", f"{gallery.sizes[i] / gallery.sizes.sum():.1%} of all"]
    facts += [f"mean confidence {gallery.confidence[i]:.1%}"] if gallery.sizes[i] else []
    heading = f"<h2>{escape(str(gallery.labels[i]))}</h2>\n<p>{' · '.join(facts)}</p>"
    return f'<section id="cluster-{i}">\n{heading}\n<div class="kinds">\n{"".join(blocks)}</div>\n</section>'


def kind_block(kind, files, positions, image_size):
    """Return the part of the page that shows the images of one kind and cluster."""
    if not files:
        return ""
    figures = [figure(kind, file, position, image_size) for file, position in zip(files, positions, strict=True)]
    return f'<div>\n<h3>{kind}</h3>\n<div class="images">\n{"".join(figures)}</div>\n</div>\n'


def figure(kind, file, position, image_size):
    """Return an image with its position below it."""
    text = f"{kind} image" if position is None else f"{kind} image, X[{position}]"
    height, width = shown_size(*image_size)
    look = ' class="enlarged"' if height > image_size[0] else ""
    image = f'<img src="{file.parent.name}/{file.name}" width="{width}" height="{height}" alt="{text}" title="{text}"{look}>'
    caption = "" if position is None else f"<figcaption>{position}</figcaption>"
    return f"<figure>{image}{caption}</figure>\n"


def shown_size(height, width):
    """Return the size in CSS pixels at which images are shown."""
    longer = max(height, width)
    scale = -(-MIN_SIDE // longer) if longer < MIN_SIDE else min(1, MAX_SIDE / longer)
    return max(1, round(height * scale)), max(1, round(width * scale))
