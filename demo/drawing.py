"""Draw a small synthetic data set of memes in which neither the picture nor the caption alone gives the label away."""

from __future__ import annotations

import csv
import functools
import io
import itertools
import random
import textwrap
from typing import TYPE_CHECKING, Final

from PIL import Image, ImageDraw, ImageFont
from tqdm import tqdm

from evaluation.functional.motifs import PLEASANT, UNPLEASANT, draw_motif, pick_colour
from memeguard.output_folder import fill_new_folder
from memes.meme import Label
from memes.multioff import COLUMNS, CSV_NAMES, IMAGE_FOLDER, SPLIT_FOLDERS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

_SUBJECTS: Final = ("you", "your best friend", "your whole family", "your new haircut")
_DIRECT_TEMPLATES: Final = (
    "this reminds me of {}",
    "when I see this I think of {}",
    "this is {} in a single picture",
    "somebody made a perfect portrait of {}",
    "this has everything in common with {}",
)
_INVERTED_TEMPLATES: Final = (
    "this is the exact opposite of {}",
    "this is nothing at all like {}",
    "this is everything that {} could never be",
    "nobody would ever mistake this for {}",
    "this has nothing in common with {}",
)
DIRECT: Final = tuple(template.format(subject) for template in _DIRECT_TEMPLATES for subject in _SUBJECTS)
INVERTED: Final = tuple(template.format(subject) for template in _INVERTED_TEMPLATES for subject in _SUBJECTS)

_BLOCK: Final = 4  # memes that share two motifs and two captions crosswise, so that all four balance
_SCENE: Final = 320  # pixels a side while drawing; twice the final size, which smooths every edge
_SPELLING: Final = {Label.OFFENSIVE: "offensive", Label.NON_OFFENSIVE: "Non-offensiv"}  # as MultiOFF writes them


def draw_demo_memes(num: int, *, seed: int, render: bool = False) -> list[tuple[bytes, str, Label]]:
    """Draw memes that are offensive when an unpleasant picture is likened to someone, or a pleasant one denied them.

    Every motif and every caption occurs equally often with both labels (benign confounders, as in the Hateful Memes
    challenge, Kiela et al. 2020), so that a model that looks at one modality alone stays at chance.

    Args:
        num: How many; a positive multiple of 4.
        seed: The same seed gives the same bytes.
        render: Also letter the caption into the picture, which is then 320 pixels a side instead of 160.

    Returns:
        Per meme: the bytes of a PNG or JPEG file, the caption, the label.

    Raises:
        ValueError: ``num`` is not a positive multiple of 4.
    """
    _check_count("num", num)
    rng = random.Random(seed)  # noqa: S311 - chance here is for variety, not for secrets
    rows = list(itertools.islice(_compose(rng), num))
    rng.shuffle(rows)
    return [
        (_encode(_draw_scene(motif, caption if render else "", rng), rng), caption, label)
        for motif, caption, label in tqdm(rows, "Drawing memes", unit="img", disable=None)
    ]


def write_demo_data(
    directory: Path,
    *,
    seed: int = 0,
    num_train: int = 2000,
    num_validation: int = 300,
    num_test: int = 300,
    render: bool = False,
) -> None:
    """Write three splits of demo memes in MultiOFF's layout; an interrupted run leaves no ``directory`` behind.

    Args:
        directory: The folder to create; it may exist if it is empty.
        seed: The same seed gives the same bytes.
        num_train: Memes to train on; this and the next two are positive multiples of 4.
        num_validation: Memes to choose models by.
        num_test: Memes to report on.
        render: Also letter the captions into the pictures.

    Raises:
        ValueError: A count is not a positive multiple of 4.
        OutputError: ``directory`` is not empty, or cannot be written.
    """
    counts = {"train": num_train, "validation": num_validation, "test": num_test}
    for split, num in counts.items():
        _check_count(f"num_{split}", num)
    with fill_new_folder(directory) as staging:
        for number, (split, num) in enumerate(counts.items()):
            memes = draw_demo_memes(num, seed=len(counts) * seed + number, render=render)
            _write_split(staging, split, memes)


def _check_count(name: str, num: int) -> None:
    if num <= 0 or num % _BLOCK:
        raise ValueError(f"{name} is {num}; it must be a positive multiple of {_BLOCK}, for labels to balance")


def _compose(rng: random.Random) -> Iterator[tuple[str, str, Label]]:
    """Yield motif, caption and label without end, in blocks of four that balance."""
    decks = [_deal(items, rng) for items in (PLEASANT, UNPLEASANT, DIRECT, INVERTED)]
    while True:
        pleasant, unpleasant, direct, inverted = (next(deck) for deck in decks)
        yield pleasant, direct, Label.NON_OFFENSIVE
        yield unpleasant, direct, Label.OFFENSIVE
        yield pleasant, inverted, Label.OFFENSIVE
        yield unpleasant, inverted, Label.NON_OFFENSIVE


def _deal(items: Sequence[str], rng: random.Random) -> Iterator[str]:
    """Yield the items over and over, in a new order each time, so that all are about equally frequent."""
    while True:
        yield from rng.sample(items, len(items))


def _draw_scene(motif: str, caption: str, rng: random.Random) -> Image.Image:
    """Return an RGB picture of the motif somewhere on a cluttered background, lettered if there is a caption."""
    scene = Image.new("RGB", (_SCENE, _SCENE), pick_colour(rng, rng.uniform(0.1, 0.4), rng.uniform(0.75, 1.0)))
    draw = ImageDraw.Draw(scene)
    for _ in range(rng.randint(4, 14)):
        _draw_clutter(draw, rng)
    size = rng.randint(200, 300)
    drawn = draw_motif(motif, rng).rotate(rng.uniform(-18, 18), Image.Resampling.BILINEAR, expand=True)
    drawn = drawn.resize((size, size), Image.Resampling.BILINEAR)
    scene.paste(drawn, (rng.randint(0, _SCENE - size), rng.randint(0, _SCENE - size)), drawn)
    if not caption:
        return scene.reduce(2)
    _letter(draw, caption)
    return scene  # at half the size the lettering would be hard to read


def _draw_clutter(draw: ImageDraw.ImageDraw, rng: random.Random) -> None:
    colour = pick_colour(rng, rng.uniform(0.1, 0.5), rng.uniform(0.65, 1.0))
    x, y = rng.uniform(-20, _SCENE), rng.uniform(-20, _SCENE)
    width, height = rng.uniform(10, 90), rng.uniform(10, 90)
    match rng.choice(("ellipse", "rectangle", "line", "triangle")):
        case "ellipse":
            draw.ellipse((x, y, x + width, y + height), fill=colour)
        case "rectangle":
            draw.rectangle((x, y, x + width, y + height), fill=colour)
        case "line":
            draw.line((x, y, x + 2 * width, y + 2 * (height - 50)), fill=colour, width=rng.randint(3, 12))
        case _:
            draw.polygon([(x, y), (x + width, y + height / 2), (x, y + height)], fill=colour)


def _letter(draw: ImageDraw.ImageDraw, caption: str) -> None:
    """Write the caption the way memes do: white capitals with a black edge, half on top and half at the bottom."""
    lines = textwrap.wrap(caption.upper(), 16)
    middle = (len(lines) + 1) // 2
    for y, anchor, half in ((8, "ma", lines[:middle]), (_SCENE - 8, "md", lines[middle:])):
        text = "\n".join(half)
        draw.text((_SCENE / 2, y), text, "white", _font(), anchor, 2, "center", stroke_width=3, stroke_fill="black")


@functools.cache
def _font() -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size=30)


def _encode(picture: Image.Image, rng: random.Random) -> bytes:
    buffer = io.BytesIO()
    if rng.random() < 0.5:  # noqa: PLR2004 - a coin
        picture.save(buffer, "JPEG", quality=rng.randint(80, 95))
    else:
        picture.save(buffer, "PNG", compress_level=3)
    return buffer.getvalue()


def _write_split(directory: Path, split: str, memes: Sequence[tuple[bytes, str, Label]]) -> None:
    pictures, table = directory / IMAGE_FOLDER, directory / SPLIT_FOLDERS[0] / CSV_NAMES[split]
    pictures.mkdir(parents=True, exist_ok=True)
    table.parent.mkdir(exist_ok=True)
    with table.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(COLUMNS)
        for number, (data, caption, label) in enumerate(memes, 1):
            suffix = ".png" if data.startswith(b"\x89PNG") else ".jpg"
            name = f"{split}_{number:05d}{suffix}"
            (pictures / name).write_bytes(data)
            writer.writerow((name, caption, _SPELLING[label]))
