"""Extract: the features of decoders, from images and captions."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, cast

import numpy as np
from numpy.typing import NDArray

from reseen.conditions import FEATURES, STATES
from reseen.errors import DataError, ModelError, RecipeError, ShapeError
from reseen.features import Features
from reseen.recipe import ExtractRecipe

if TYPE_CHECKING:
    from reseen.ldm import ImageConditioned, LatentDiffusion
    from reseen.stimuli import Stimuli

Progress = Callable[[int, int], None]
AT_ONCE = 64
"""Number of stimuli in memory at a time."""
RELEASED_SEED = 42
"""The seed that the authors' script sets once, when it starts."""


def extract(
    stimuli: Stimuli,
    stimulus_id: Sequence[int] | NDArray[np.int64],
    ldm: LatentDiffusion,
    names: Sequence[str] = ("z", "c"),
    *,
    recipe: ExtractRecipe,
    progress: Progress | None = None,
) -> dict[str, Features]:
    """Extract features of stimuli.

    z is the autoencoder's code of the image, resized to ``z_size`` by Lanczos (Takagi & Nishimoto: 320 of 512
    pixels). Its posterior mean depends only on the image. The authors' script uses a *sample* of the posterior
    and sets one seed when it starts, so that an image's z depends on its position in the list of images. So does a
    sample here. c is the mean, over an image's captions, of the text encoder's last hidden states, and t the hidden
    states of its first caption alone. i is the embedding that an image adapter reads.

    Parameters
    ----------
    stimuli
        Images and captions.
    stimulus_id
        Shape ``(n_stimuli,)``, 0-based.
    ldm
        The frozen model.
    names
        Some of `reseen.conditions.FEATURES`; only c and t need captions.
    recipe
        Size of the image, and mean or sample of the posterior.
    progress
        Called with the number of finished stimuli and the total number.

    Returns
    -------
    dict
        Features by name, ``(n_stimuli, *feature_shape(ldm, name, recipe))``; pixels are 0...1.

    Raises
    ------
    RecipeError
        If the model cannot encode images of ``z_size``.
    ModelError
        If i is requested and the model has no image adapter.
    DataError
        If there is no stimulus, c or t is requested and one has no caption, or a feature is the same for all stimuli.
    """
    ids = np.asarray(stimulus_id, dtype=np.int64)
    if not len(ids):
        raise DataError("there is no stimulus to extract features of.", where="stimulus_id", expected=1, found=0)
    size = z_size(ldm, recipe)
    parts: dict[str, list[NDArray[np.float32]]] = {name: [] for name in names}
    if "pixels" in parts:
        parts["pixels"] = [_pixels(stimuli, int(stimulus), recipe.pixels_size) for stimulus in ids]
    if "i" in parts:
        parts["i"] = list(_embeddings(stimuli, ids, ldm))
    described = any(FEATURES[name].from_captions for name in names)
    for start, images, captions in _read_ahead(stimuli, ids, size, described=described):
        if "z" in parts:
            parts["z"].append(ldm.image_to_latent(images, noise=_posterior_noise(ldm, recipe, start, images.shape)))
        if "c" in parts:
            parts["c"].append(mean_conditioning(ldm, captions))
        if "t" in parts:
            parts["t"].append(ldm.text_to_conditioning([first for first, *_ in captions]))
        if progress is not None:
            progress(start + len(images), len(ids))
    features = {name: Features(name, np.concatenate(found), ids) for name, found in parts.items()}
    n_cut = _warn_of_cut(stimuli, ids, ldm) if described else 0
    for name, found in features.items():
        check_varies(name, found.array, n_cut)
    return features


def _pixels(stimuli: Stimuli, stimulus_id: int, size: int) -> NDArray[np.float32]:
    """Return the pixels of one stimulus, resized by Lanczos, ``(1, 3, size, size)``, 0...1."""
    image = _resized(stimuli.image(stimulus_id), size)
    return (image.transpose(2, 0, 1)[None] / 255).astype(np.float32)


def _embeddings(stimuli: Stimuli, ids: NDArray[np.int64], ldm: LatentDiffusion) -> Iterator[NDArray[np.float32]]:
    """Yield the embeddings of batches of stimuli, ``(n, *image_shape)``."""
    image_shape(ldm)  # refuses a model without an image adapter before images are read
    adapted = cast("ImageConditioned", ldm)
    for _, images, _ in _read_ahead(stimuli, ids, ldm.image_size, described=False):
        yield adapted.image_to_embedding(images)


def _warn_of_cut(stimuli: Stimuli, ids: NDArray[np.int64], ldm: LatentDiffusion) -> int:
    """Count captions that are longer than the text encoder's input, and warn about them."""
    captions = [caption for stimulus in ids for caption in stimuli.captions(int(stimulus))]
    n_cut = ldm.count_cut(captions)
    if n_cut:
        warnings.warn(
            f"{n_cut} of {len(captions)} captions are longer than the {ldm.conditioning_shape[0]} tokens that the text "
            "encoder reads; their end is cut off.",
            stacklevel=3,
        )
    return n_cut


def check_varies(name: str, array: NDArray[np.float32], n_cut: int) -> None:
    """Check that a feature differs between stimuli.

    Parameters
    ----------
    name
        Name of the feature.
    array
        Shape ``(n_stimuli, ...)``: the feature.
    n_cut
        Number of captions that are longer than the text encoder's input.

    Raises
    ------
    DataError
        If all rows are equal.
    """
    if len(array) < 2 or (array != array[0]).any():
        return
    if name in STATES or not FEATURES[name].from_captions:
        cause = "their images are all the same"
    elif n_cut:
        cause = "their captions are cut off before they differ: shorten them, or put the different words first"
    else:
        cause = "their captions are all the same"
    raise DataError(f"{name} is the same for all {len(array)} stimuli: {cause}.", where=name)


def z_size(ldm: LatentDiffusion, recipe: ExtractRecipe) -> int:
    """Return the side, in pixels, of the image whose z is decoded: the recipe's, or 5/8 of the model's image.

    Raises
    ------
    RecipeError
        If it is not a multiple of the autoencoder's factor.
    """
    size = recipe.z_size or ldm.image_size * 5 // 8
    if size % ldm.factor:
        near = max(size // ldm.factor, 1) * ldm.factor
        raise RecipeError(
            f"extract.z_size is {size}; the model {ldm.name} needs a multiple of {ldm.factor}, such as {near}.",
            where="extract.z_size",
            expected=near,
            found=size,
        )
    return size


def feature_shape(ldm: LatentDiffusion, name: str, recipe: ExtractRecipe) -> tuple[int, ...]:
    """Return the shape of a feature of one stimulus.

    Raises
    ------
    ModelError
        If it is i and the model has no image adapter.
    RecipeError
        If it is z and the model cannot encode images of ``z_size``.
    """
    if name == "pixels":
        return 3, recipe.pixels_size, recipe.pixels_size
    if name == "i":
        return image_shape(ldm)
    if FEATURES[name].role == "text":
        return ldm.conditioning_shape
    side = z_size(ldm, recipe) // ldm.factor
    return ldm.latent_shape[0], side, side


def image_shape(ldm: LatentDiffusion) -> tuple[int, ...]:
    """Return the shape of an image embedding.

    Raises
    ------
    ModelError
        If the model has no image adapter.
    """
    shape: tuple[int, ...] | None = getattr(ldm, "image_shape", None)
    if shape is None:
        raise ModelError(
            f"{ldm.name} has no image adapter, and i is the embedding that an image adapter reads. Set "
            "model.image_adapter, or use conditions without i.",
            where="model.image_adapter",
        )
    return shape


def check_shape(ldm: LatentDiffusion, name: str, shape: Sequence[int]) -> None:
    """Check that a feature of one stimulus has a shape from which the model can generate an image.

    Raises
    ------
    ShapeError
        If it has not. z and pixels may have any height and width.
    ModelError
        If it is i and the model has no image adapter.
    """
    expected: tuple[int | str, ...]
    if name == "pixels":
        fits, expected = len(shape) == 3 and shape[0] == 3, (3, "side", "side")
    elif name == "z":
        channels = ldm.latent_shape[0]
        fits, expected = len(shape) == 3 and shape[0] == channels, (channels, "height", "width")
    else:
        expected = image_shape(ldm) if name == "i" else ldm.conditioning_shape
        fits = tuple(shape) == expected
    if not fits:
        raise ShapeError(
            f"{ldm.name} needs {name} of shape ({', '.join(map(str, expected))}); found {tuple(shape)}. Extract and "
            "decode with the same model.",
            where=name,
            expected=expected,
            found=tuple(shape),
        )


def mean_conditioning(ldm: LatentDiffusion, captions: Sequence[Sequence[str]]) -> NDArray[np.float32]:
    """Average the conditioning over each stimulus's captions.

    Parameters
    ----------
    ldm
        The frozen model.
    captions
        For each of ``n`` stimuli at least one caption.

    Returns
    -------
    ndarray
        Shape ``(n, n_tokens, dim)``, float32.
    """
    # all captions are encoded together, then split again by stimulus
    each = ldm.text_to_conditioning(list(itertools.chain.from_iterable(captions)))
    ends = np.cumsum([len(own) for own in captions])
    return np.stack([own.mean(axis=0) for own in np.split(each, ends[:-1])])


def _read_ahead(
    stimuli: Stimuli, ids: NDArray[np.int64], size: int, *, described: bool
) -> Iterator[tuple[int, NDArray[np.uint8], list[tuple[str, ...]]]]:
    """Yield images, and captions if requested, in batches; a thread reads the next batch in advance."""

    def read(start: int) -> tuple[int, NDArray[np.uint8], list[tuple[str, ...]]]:
        batch = [int(i) for i in ids[start : start + AT_ONCE]]
        images = np.stack([_resized(stimuli.image(i), size) for i in batch])
        return start, images, [captions_of(stimuli, i) for i in batch] if described else []

    with ThreadPoolExecutor(1, thread_name_prefix="reseen-reader") as reader:
        ahead = reader.submit(read, 0)
        for start in range(AT_ONCE, len(ids), AT_ONCE):
            done, ahead = ahead, reader.submit(read, start)
            yield done.result()
        yield ahead.result()


def captions_of(stimuli: Stimuli, stimulus_id: int) -> tuple[str, ...]:
    """Return the captions of a stimulus, for its c or t.

    Raises
    ------
    DataError
        If it has none.
    """
    captions = stimuli.captions(stimulus_id)
    if not captions:
        raise DataError(
            f"stimulus {stimulus_id} has no caption, and c and t are computed from captions. Give each image at least "
            'one, or leave c and t out: reconstruct.conditions = ["z"], encode.features = ["z"].',
            where="captions",
            expected=1,
            found=0,
        )
    return captions


def _resized(image: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    from PIL import Image

    if image.shape[:2] == (size, size):
        return image
    return np.asarray(Image.fromarray(image).resize((size, size), Image.Resampling.LANCZOS))


def _posterior_noise(
    ldm: LatentDiffusion, recipe: ExtractRecipe, start: int, shape: tuple[int, ...]
) -> NDArray[np.float32] | None:
    """Draw the noise of a batch of stimuli by its position in the list; None if the posterior's mean is used."""
    if recipe.posterior == "mean":
        return None
    seed = int(np.random.SeedSequence((RELEASED_SEED, start)).generate_state(1, np.uint64)[0])
    n, height, width, _ = shape
    latents = (n, ldm.latent_shape[0], height // ldm.factor, width // ldm.factor)
    return np.random.default_rng(seed).standard_normal(latents, dtype=np.float32)
