"""Write captions of drawn images; each names a part of the content, and some contain mistakes."""

from __future__ import annotations

from numpy.random import Generator

from reseen.simulate.figures import Figure
from reseen.simulate.scenes import BACKGROUNDS, COLOURS, KINDS, Scene, Thing

KIND_WORDS = {
    "house": ("house", "home", "cottage"),
    "tree": ("tree",),
    "car": ("car", "automobile"),
    "boat": ("boat", "sailboat", "ship"),
    "cat": ("cat", "kitty"),
    "dog": ("dog", "puppy"),
    "person": ("person", "man", "someone"),
    "bird": ("bird",),
    "balloon": ("balloon", "hot air balloon"),
    "flower": ("flower", "blossom"),
    "chair": ("chair", "seat"),
    "ball": ("ball",),
}
BACKGROUND_PHRASES = {
    "meadow": ("in a meadow", "on green grass", "in a field", "on a lawn"),
    "beach": ("on a beach", "on the sand", "by the shore"),
    "snow": ("in the snow", "on a snowy day", "in winter"),
    "night": ("at night", "in the dark", "under the stars"),
    "sunset": ("at sunset", "in the evening sun", "at dusk"),
    "sea": ("on the sea", "on the water", "in the ocean"),
    "street": ("on a street", "in the city", "on a road"),
    "room": ("in a room", "inside a house", "indoors"),
}
_MISTAKE_RATE = 0.04
_ADJECTIVES = (("small", "little"), ("big", "large"))
_FIGURE_STARTS = ("", "a picture of ", "this is ")


def write_captions(image: Scene | Figure, rng: Generator, n: int = 5) -> tuple[str, ...]:
    """Write ``n`` captions of one image; each names its own random part of the content."""
    describe = _describe_scene if isinstance(image, Scene) else _describe_figure
    return tuple(describe(image, rng) for _ in range(n))  # type: ignore[arg-type]


def _describe_scene(scene: Scene, rng: Generator) -> str:
    things = list(scene.things)
    rng.shuffle(things)
    if len(things) == 2 and rng.random() < 0.3:
        things.pop()
    words = [_name_thing(thing, rng) for thing in things]
    background = scene.background
    if rng.random() < _MISTAKE_RATE:
        background = str(rng.choice(BACKGROUNDS))
    place = str(rng.choice(BACKGROUND_PHRASES[background]))
    form = rng.random()
    if form < 0.12:
        return " and ".join(words)
    if form < 0.2:
        return f"a scene {place}"
    if form < 0.35:
        return f"{place} there is {' and '.join(words)}"
    if len(things) == 1 and form < 0.5:
        return f"{words[0]} {_side(things[0])} {place}"
    joint = str(rng.choice([" and ", " next to ", " with "])) if len(words) == 2 else ""
    return f"{joint.join(words)} {place}"


def _name_thing(thing: Thing, rng: Generator) -> str:
    kind, colour = thing.kind, thing.colour
    if rng.random() < _MISTAKE_RATE:
        kind = str(rng.choice(KINDS))
    if rng.random() < _MISTAKE_RATE:
        colour = str(rng.choice(list(COLOURS)))
    words = []
    if rng.random() < 0.25 and (thing.size < 0.2 or thing.size > 0.26):
        words.append(str(rng.choice(_ADJECTIVES[int(thing.size > 0.23)])))
    if rng.random() < 0.8:
        words.append(colour)
    words.append(str(rng.choice(KIND_WORDS[kind])))
    phrase = " ".join(words)
    if phrase == "someone":
        return phrase
    article = "an" if phrase[0] in "aeiou" else "a"
    return f"{article} {phrase}"


def _side(thing: Thing) -> str:
    if thing.x < 0.42:
        return "on the left"
    return "on the right" if thing.x > 0.58 else "in the middle"


def _describe_figure(figure: Figure, rng: Generator) -> str:
    name = figure.name
    words = []
    if rng.random() < 0.5 and (figure.size < 0.28 or figure.size > 0.38):
        words.append(str(rng.choice(_ADJECTIVES[int(figure.size > 0.33)])))
    if rng.random() < 0.5 and (figure.thickness < 0.07 or figure.thickness > 0.11):
        words.append("thin" if figure.thickness < 0.09 else "thick")
    if rng.random() < 0.7:
        words.append("white")
    words.append(name)
    ending = " on black" if rng.random() < 0.7 else ""
    phrase = " ".join(words)
    return f"{rng.choice(_FIGURE_STARTS)}{'an' if phrase[0] in 'aeiou' else 'a'} {phrase}{ending}"
