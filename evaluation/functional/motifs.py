"""Draw the twelve things a demo meme can show, six pleasant and six unpleasant, each on a transparent canvas.

It does not know captions, labels, backgrounds or files.
"""

import colorsys
import math
import random
from collections.abc import Callable
from typing import Final

from PIL import Image, ImageDraw

Colour = tuple[int, int, int]  # sRGB, 0..255 each

CANVAS: Final = 256  # pixels; every coordinate below lives on this square, the motif fills most of it
INK: Final = (40, 34, 44)


def pick_colour(
    rng: random.Random, saturation: float, value: float, *, hues: tuple[float, float] = (0.0, 1.0)
) -> Colour:
    """Return a random colour of the given HSV saturation and value.

    Args:
        rng: The only source of chance.
        saturation: 0 (grey) to 1 (pure).
        value: 0 (black) to 1 (bright).
        hues: The stretch of the colour wheel to pick from, in turns; it may run past 1.
    """
    red, green, blue = colorsys.hsv_to_rgb(rng.uniform(*hues) % 1.0, saturation, value)
    return round(red * 255), round(green * 255), round(blue * 255)


def _disc(draw: ImageDraw.ImageDraw, x: float, y: float, radius: float, fill: Colour, *, width: int = 0) -> None:
    box = (x - radius, y - radius, x + radius, y + radius)
    draw.ellipse(box, fill=fill, outline=INK if width else None, width=width)


def _on_circle(x: float, y: float, radius: float, turn: float) -> tuple[float, float]:
    return x + radius * math.cos(turn * math.tau), y + radius * math.sin(turn * math.tau)


def _shade(colour: Colour, factor: float) -> Colour:
    red, green, blue = (min(255, round(part * factor)) for part in colour)
    return red, green, blue


def _rose(draw: ImageDraw.ImageDraw, rng: random.Random) -> None:
    petal = pick_colour(rng, 0.75, 0.9, hues=(0.9, 1.02))
    leaf = pick_colour(rng, 0.7, 0.55, hues=(0.28, 0.4))
    draw.line((128, 120, 132, 250), fill=leaf, width=11)
    draw.polygon([(131, 205), (165, 168), (212, 172), (176, 204)], fill=leaf, outline=INK, width=3)
    draw.polygon([(131, 228), (98, 190), (50, 192), (88, 226)], fill=leaf, outline=INK, width=3)
    for step in range(5):
        _disc(draw, *_on_circle(128, 88, 42, step / 5 + 0.05), 42, _shade(petal, 0.82), width=3)
    for step in range(4):
        _disc(draw, *_on_circle(128, 88, 20, step / 4 + 0.1), 34, _shade(petal, 0.95), width=3)
    for radius in (30, 21, 12):
        _disc(draw, 128, 86, radius, _shade(petal, 1.35 - radius / 75), width=3)
    draw.arc((118, 76, 138, 96), 20, 290, fill=INK, width=3)


def _sun(draw: ImageDraw.ImageDraw, rng: random.Random) -> None:
    gold = pick_colour(rng, 0.85, 1.0, hues=(0.09, 0.15))
    for step in range(12):
        left, right = _on_circle(128, 128, 76, step / 12 - 0.026), _on_circle(128, 128, 76, step / 12 + 0.026)
        tip = _on_circle(128, 128, 122, step / 12)
        draw.polygon([left, tip, right], fill=_shade(gold, 0.92), outline=_shade(gold, 0.7), width=2)
    _disc(draw, 128, 128, 70, gold, width=4)
    for x in (104, 152):
        _disc(draw, x, 114, 8, INK)
        _disc(draw, x + (x - 128) * 0.6, 138, 9, (255, 150, 120))
    draw.arc((94, 104, 162, 166), 20, 160, fill=INK, width=6)


def _birthday_cake(draw: ImageDraw.ImageDraw, rng: random.Random) -> None:
    icing = pick_colour(rng, 0.35, 1.0)
    sponge = pick_colour(rng, 0.45, 0.85, hues=(0.07, 0.11))
    draw.ellipse((8, 206, 248, 246), fill=(236, 238, 244), outline=INK, width=4)
    for x in (72, 128, 184):
        draw.rectangle((x - 7, 62, x + 7, 112), fill=pick_colour(rng, 0.6, 0.95), outline=INK, width=2)
        draw.polygon([(x, 18), (x + 13, 46), (x, 60), (x - 13, 46)], fill=(255, 170, 30))
        draw.polygon([(x, 34), (x + 6, 48), (x, 57), (x - 6, 48)], fill=(255, 240, 140))
    draw.rounded_rectangle((30, 104, 226, 228), 18, fill=sponge, outline=INK, width=4)
    draw.rectangle((34, 172, 222, 184), fill=(250, 244, 230))
    draw.rounded_rectangle((30, 104, 226, 142), 16, fill=icing, outline=INK, width=3)
    for x in range(46, 226, 33):
        draw.pieslice((x - 15, 122, x + 15, 164), 0, 180, fill=icing, outline=INK, width=3)
    draw.rectangle((34, 124, 222, 143), fill=icing)
    for _ in range(16):
        where = rng.uniform(42, 214), rng.uniform(114, 140)
        _disc(draw, *where, 4, pick_colour(rng, 0.8, 0.9))


def _rainbow(draw: ImageDraw.ImageDraw, rng: random.Random) -> None:
    for band, hue in enumerate((0.0, 0.07, 0.15, 0.35, 0.58, 0.76)):
        inset = 8 + band * 15
        colour = pick_colour(rng, 0.8, 0.95, hues=(hue - 0.012, hue + 0.012))
        draw.arc((inset, 36 + inset, 256 - inset, 292 - inset), 180, 360, fill=colour, width=16)
    for centre in (48, 208):
        for dx, dy, radius in ((-24, 8, 22), (24, 8, 22), (0, -8, 28), (0, 12, 24)):
            _disc(draw, centre + dx, 180 + dy, radius + 3, (150, 170, 200))
        for dx, dy, radius in ((-24, 8, 22), (24, 8, 22), (0, -8, 28), (0, 12, 24)):
            _disc(draw, centre + dx, 180 + dy, radius, (255, 255, 255))


def _heart_balloon(draw: ImageDraw.ImageDraw, rng: random.Random) -> None:
    skin = pick_colour(rng, 0.75, 0.95, hues=(0.88, 1.03))
    draw.line([(128, 180), (136, 202), (120, 226), (130, 254)], fill=INK, width=4, joint="curve")
    # x = 16 sin^3, y = 13 cos - 5 cos 2 - 2 cos 3 - cos 4: the textbook heart curve.
    turns = [step / 60 * math.tau for step in range(60)]
    outline = [
        (
            128 + 6.4 * 16 * math.sin(t) ** 3,
            86 - 6.0 * (13 * math.cos(t) - 5 * math.cos(2 * t) - 2 * math.cos(3 * t) - math.cos(4 * t)),
        )
        for t in turns
    ]
    draw.polygon(outline, fill=skin, outline=INK, width=4)
    draw.polygon([(128, 184), (114, 200), (142, 200)], fill=_shade(skin, 0.85), outline=INK, width=3)
    draw.ellipse((58, 34, 96, 72), fill=(255, 225, 232))


def _kitten(draw: ImageDraw.ImageDraw, rng: random.Random) -> None:
    fur = pick_colour(rng, rng.uniform(0.15, 0.6), 0.93, hues=(0.05, 0.12))
    pink = (250, 150, 165)
    for side in (-1, 1):
        tip, low, high = (128 + side * 98, 14), (128 + side * 100, 118), (128 + side * 26, 62)
        draw.polygon([tip, low, high], fill=fur, outline=INK, width=4)
        draw.polygon([(128 + side * 87, 40), (128 + side * 86, 90), (128 + side * 50, 66)], fill=pink)
    draw.ellipse((20, 50, 236, 236), fill=fur, outline=INK, width=4)
    for dx in (-24, 0, 24):
        draw.line((128 + dx, 56, 128 + dx * 0.7, 88), fill=_shade(fur, 0.6), width=8)
    eye = pick_colour(rng, 0.7, 0.75, hues=(0.25, 0.55))
    for x in (82, 174):
        draw.ellipse((x - 22, 108, x + 22, 160), fill=eye, outline=INK, width=4)
        draw.ellipse((x - 11, 112, x + 11, 156), fill=INK)
        _disc(draw, x + 6, 124, 6, (255, 255, 255))
    draw.polygon([(114, 168), (142, 168), (128, 184)], fill=pink, outline=INK, width=3)
    draw.arc((96, 172, 128, 204), 0, 150, fill=INK, width=4)
    draw.arc((128, 172, 160, 204), 30, 180, fill=INK, width=4)
    for dy in (-10, 4, 18):
        draw.line((72, 182 + dy * 0.5, 6, 176 + dy * 1.6), fill=INK, width=3)
        draw.line((184, 182 + dy * 0.5, 250, 176 + dy * 1.6), fill=INK, width=3)


def _trash_can(draw: ImageDraw.ImageDraw, rng: random.Random) -> None:
    metal = pick_colour(rng, rng.uniform(0.05, 0.4), 0.62)
    for mound_x, mound_y in ((70, 62), (118, 44), (160, 58), (196, 66)):  # what spills over the rim
        _disc(draw, mound_x, mound_y, rng.uniform(20, 28), pick_colour(rng, 0.5, 0.6, hues=(0.06, 0.3)), width=3)
    draw.polygon([(140, 52), (176, 8), (190, 16), (166, 58)], fill=(235, 220, 90), outline=INK, width=3)
    draw.polygon([(44, 84), (212, 84), (192, 248), (64, 248)], fill=metal, outline=INK, width=5)
    for top, bottom in ((76, 88), (111, 115), (145, 141), (180, 168)):
        draw.line((top, 100, bottom, 236), fill=_shade(metal, 0.6), width=9)
    draw.rounded_rectangle((30, 70, 226, 94), 10, fill=_shade(metal, 1.2), outline=INK, width=5)
    for x in (16, 240):
        _fly(draw, x, rng.uniform(20, 56))


def _fly(draw: ImageDraw.ImageDraw, x: float, y: float) -> None:
    draw.ellipse((x - 13, y - 13, x, y - 1), fill=(215, 225, 235), outline=INK, width=2)
    draw.ellipse((x, y - 13, x + 13, y - 1), fill=(215, 225, 235), outline=INK, width=2)
    draw.ellipse((x - 6, y - 6, x + 6, y + 9), fill=INK)


def _storm_cloud(draw: ImageDraw.ImageDraw, rng: random.Random) -> None:
    grey = pick_colour(rng, rng.uniform(0.05, 0.3), rng.uniform(0.32, 0.5), hues=(0.55, 0.75))
    rain = _shade(grey, 1.35)
    for x in (44, 78, 178, 212):
        draw.line((x, 166, x - 16, 222 + rng.uniform(0, 24)), fill=rain, width=8)
    bolt = [(132, 140), (92, 204), (122, 200), (98, 254), (168, 184), (136, 188), (164, 140)]
    draw.polygon(bolt, fill=(255, 215, 40), outline=INK, width=4)
    puffs = ((58, 112, 46), (108, 70, 56), (168, 80, 50), (206, 118, 42), (130, 122, 50))
    for x, y, radius in puffs:
        _disc(draw, x, y, radius + 4, INK)
    for x, y, radius in puffs:
        _disc(draw, x, y, radius, grey)
    draw.arc((74, 36, 150, 112), 190, 280, fill=_shade(grey, 1.5), width=7)


def _rotten_apple(draw: ImageDraw.ImageDraw, rng: random.Random) -> None:
    skin = pick_colour(rng, 0.65, 0.6, hues=(0.03, 0.2))
    rot = (72, 50, 34)
    for x in (92, 164):
        _disc(draw, x, 136, 72, INK)
    draw.ellipse((44, 100, 212, 250), fill=INK)
    for x in (92, 164):
        _disc(draw, x, 136, 67, skin)
    draw.ellipse((49, 100, 207, 245), fill=skin)
    draw.line((128, 82, 138, 34), fill=rot, width=10)
    draw.polygon([(138, 52), (178, 30), (204, 50), (170, 66)], fill=(128, 108, 48), outline=INK, width=3)
    for x, y, radius in ((76, 178, 24), (112, 212, 13), (68, 122, 12), (190, 178, 15)):
        _disc(draw, x, y, radius * rng.uniform(0.85, 1.15), rot)
    _disc(draw, 150, 146, 25, (34, 22, 18))
    worm = [(150, 148), (172, 128), (196, 138), (216, 116), (214, 92)]
    draw.line(worm, fill=INK, width=26, joint="curve")
    draw.line(worm, fill=(170, 205, 90), width=19, joint="curve")
    _disc(draw, 214, 90, 15, (170, 205, 90), width=3)
    _disc(draw, 209, 86, 3, INK)
    _disc(draw, 219, 86, 3, INK)


def _spider(draw: ImageDraw.ImageDraw, rng: random.Random) -> None:
    body = pick_colour(rng, rng.uniform(0.1, 0.6), 0.26)
    draw.line((128, 0, 128, 80), fill=(120, 120, 130), width=3)
    for side in (-1, 1):
        for knee_y, foot_y, reach in ((52, 22, 96), (88, 92, 116), (132, 176, 116), (164, 240, 92)):
            knee, foot = (128 + side * reach * 0.72, knee_y), (128 + side * reach, foot_y + rng.uniform(-8, 8))
            draw.line([(128, 118), knee, foot], fill=body, width=9, joint="curve")
    draw.ellipse((80, 112, 176, 226), fill=body, outline=INK, width=4)
    mark = pick_colour(rng, 0.85, 0.85, hues=(0.95, 1.1))
    draw.polygon([(112, 146), (144, 146), (128, 170)], fill=mark)
    draw.polygon([(112, 194), (144, 194), (128, 170)], fill=mark)
    _disc(draw, 128, 98, 34, body, width=4)
    for x in (114, 142):
        _disc(draw, x, 90, 9, (255, 255, 255))
        _disc(draw, x, 92, 4, (200, 20, 20))
    for x in (120, 136):
        draw.polygon([(x - 5, 116), (x + 5, 116), (x, 132)], fill=(250, 250, 250))


def _mud_puddle(draw: ImageDraw.ImageDraw, rng: random.Random) -> None:
    mud = pick_colour(rng, 0.6, rng.uniform(0.35, 0.48), hues=(0.06, 0.1))
    blobs = ((128, 182, 104, 52), (66, 168, 56, 34), (190, 164, 58, 38), (96, 212, 74, 34), (178, 214, 60, 28))
    for grow, colour in ((5, INK), (0, mud)):
        for x, y, width, height in blobs:
            draw.ellipse((x - width - grow, y - height - grow, x + width + grow, y + height + grow), fill=colour)
    draw.ellipse((74, 156, 186, 206), outline=_shade(mud, 1.5), width=6)
    draw.ellipse((102, 168, 158, 194), outline=_shade(mud, 1.5), width=5)
    for x, y, radius in ((128, 92, 20), (74, 102, 14), (184, 96, 15), (42, 70, 10), (216, 58, 11), (104, 46, 11)):
        top, size = y + rng.uniform(-8, 8), radius
        draw.polygon([(x, top - size * 2), (x - size * 0.9, top), (x + size * 0.9, top)], fill=mud)
        _disc(draw, x, top + size * 0.2, size, mud)


def _skull(draw: ImageDraw.ImageDraw, rng: random.Random) -> None:
    bone = pick_colour(rng, rng.uniform(0.03, 0.2), 0.95, hues=(0.08, 0.18))
    for start, end in (((26, 160), (230, 228)), ((230, 160), (26, 228))):
        for grow, colour in ((4, INK), (0, bone)):
            draw.line((*start, *end), fill=colour, width=20 + 2 * grow)
            for x, y in (start, end):
                _disc(draw, x, y - 9, 13 + grow, colour)
                _disc(draw, x, y + 9, 13 + grow, colour)
    draw.rounded_rectangle((80, 140, 176, 222), 16, fill=bone, outline=INK, width=5)
    draw.ellipse((36, 12, 220, 182), fill=bone, outline=INK, width=5)
    draw.rectangle((86, 150, 170, 190), fill=bone)
    for x in (90, 166):
        draw.ellipse((x - 28, 80, x + 28, 136), fill=INK)
    draw.polygon([(128, 134), (112, 164), (144, 164)], fill=INK)
    for x in (104, 128, 152):
        draw.line((x, 186, x, 220), fill=INK, width=5)


PLEASANT: Final = ("rose", "sun", "birthday cake", "rainbow", "heart balloon", "kitten")
UNPLEASANT: Final = ("trash can", "storm cloud", "rotten apple", "spider", "mud puddle", "skull")

MOTIFS: Final[dict[str, Callable[[ImageDraw.ImageDraw, random.Random], None]]] = {
    "rose": _rose,
    "sun": _sun,
    "birthday cake": _birthday_cake,
    "rainbow": _rainbow,
    "heart balloon": _heart_balloon,
    "kitten": _kitten,
    "trash can": _trash_can,
    "storm cloud": _storm_cloud,
    "rotten apple": _rotten_apple,
    "spider": _spider,
    "mud puddle": _mud_puddle,
    "skull": _skull,
}


def draw_motif(name: str, rng: random.Random) -> Image.Image:
    """Draw one motif on a transparent square.

    Args:
        name: A key of MOTIFS.
        rng: Decides the shades and small details.

    Returns:
        An RGBA picture of CANVAS x CANVAS pixels.
    """
    canvas = Image.new("RGBA", (CANVAS, CANVAS), (255, 255, 255, 0))
    MOTIFS[name](ImageDraw.Draw(canvas), rng)
    return canvas
