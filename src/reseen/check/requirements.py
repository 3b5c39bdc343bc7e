"""Requirements: whether the data have all that a recipe needs, tested by the code that would refuse it later."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from reseen.check.finding import Finding, finding_of
from reseen.check.inputs import Inputs
from reseen.conditions import FEATURES, decoded_features
from reseen.datasets import Outline
from reseen.datasets.derivatives import check_placed
from reseen.datasets.mapping import map_fs_lr, map_grid, map_surface
from reseen.datasets.predictions import predictions_path, read_predictions
from reseen.decode.estimators import RIDGE, make_estimator
from reseen.decode.prior import check_prior
from reseen.errors import ReseenError, ShapeError
from reseen.evaluate.scores import pools
from reseen.files import shown
from reseen.ldm import LatentDiffusion
from reseen.ldm.extraction import captions_of, check_varies, feature_shape, mean_conditioning
from reseen.recipe import Recipe
from reseen.ridge import assign_folds
from reseen.stimuli import Stimuli

FEWEST_TESTED = 3
"""Minimum number of test images for a correlation."""


def captions(inputs: Inputs) -> Iterator[Finding]:
    """Check that every stimulus has a caption where c is needed."""

    def count() -> str:
        counts = []
        for outline in inputs.known.values():
            if outline.stimuli is not None:
                counts += [len(captions_of(outline.stimuli, int(stimulus))) for stimulus in outline.used]
        return f"{sum(counts):,} captions of {len(counts):,} images"

    if inputs.needs_captions and any(outline.stimuli is not None for outline in inputs.known.values()):
        yield finding_of("captions", count)


def cut_captions(inputs: Inputs) -> Iterator[Finding]:
    """Count the captions that are longer than the text encoder reads."""
    if not inputs.needs_captions or not inputs.has_model:
        return
    texts: list[str] = []
    for outline in inputs.known.values():
        if outline.stimuli is not None:
            for stimulus in outline.used:
                texts += outline.stimuli.captions(int(stimulus))
    n_cut = inputs.model.count_cut(texts) if texts else 0
    if n_cut:
        found = f"{n_cut:,} of {len(texts):,} captions are longer than the text encoder reads; it ignores their ends."
        yield Finding("warning", found, absent=True)


def varying(inputs: Inputs) -> Iterator[Finding]:
    """Check that z and c, as far as they are extracted, differ between stimuli."""
    if not inputs.has_model:
        return

    def compare() -> str:
        names = inputs.needed_features
        for outline in inputs.known.values():
            if outline.stimuli is None:
                continue
            from_images = [name for name in names if not FEATURES[name].from_captions]
            # a sample of the posterior differs even between equal images
            if from_images and (from_images != ["z"] or inputs.recipe.extract.posterior == "mean"):
                _check_images(outline.stimuli, outline.used)
            if len(from_images) < len(names):
                _check_captions(outline.stimuli, outline.used, inputs.model)
        return "differ between stimuli"

    yield from _only_refused(finding_of("features", compare))


def _check_images(stimuli: Stimuli, used: NDArray[np.int64]) -> None:
    first = stimuli.image(int(used[0]))
    if all(np.array_equal(first, stimuli.image(int(stimulus))) for stimulus in used):
        check_varies("z", np.zeros((len(used), 1), dtype=np.float32), 0)


def _check_captions(stimuli: Stimuli, used: NDArray[np.int64], ldm: LatentDiffusion) -> None:
    """Compare c of the first stimulus with c of others until one differs, nearly always the second."""
    described = [stimuli.captions(int(stimulus)) for stimulus in used]
    if not all(described):
        return  # `captions` refuses it
    for other in dict.fromkeys(described):
        c = mean_conditioning(ldm, [described[0], other])
        if (c[0] != c[1]).any():
            return
    n_cut = ldm.count_cut([text for texts in described for text in texts])
    check_varies("c", np.zeros((len(used), 1), dtype=np.float32), n_cut)


def labels(inputs: Inputs) -> Iterator[Finding]:
    """Compare the labels of an NSD tree with some voxels of all trials, as a run compares them with all voxels."""
    for subject, outline in inputs.known.items():
        if outline.sample is None:
            continue
        try:
            trials = outline.sample()
        except ReseenError as error:
            yield Finding("warning", f"the labels of {subject} were not compared: {error}", absent=True)
            continue
        if trials is None:
            found = "not compared: a session is not stored by voxel and would be read completely. The run compares them"
            yield Finding(f"labels of {subject}", found, absent=True)
            continue
        checked = trials.check_labels(seed=inputs.recipe.seed)
        if checked.problem:
            yield Finding("warning", f"{subject}: {checked.problem}", absent=True)
        elif not np.isnan(checked.value):
            yield Finding(
                f"labels of {subject}",
                f"fit the betas: {checked.value:.1f} permutation standard deviations, of {trials.betas.shape[1]} "
                f"voxels in {len(trials):,} trials",
            )


def duplicates(inputs: Inputs) -> Iterator[Finding]:
    """Count the test images of a lab's own data that are also training images, under another id."""
    if inputs.data.is_nsd:
        return  # an NSD tree would have to be read completely
    for subject, outline in inputs.known.items():
        n_both = _count_duplicates(outline)
        if n_both:
            n_tested = len(outline.split.test_ids)
            found = f"{n_both:,} of {n_tested:,} test images of {subject} are also training images, pixel by pixel."
            yield Finding("warning", found, absent=True)


def known_images(inputs: Inputs) -> Iterator[Finding]:
    """Warn of test images that are also training images, because folds leave out trials and not stimuli."""
    for subject, outline in inputs.known.items():
        if outline.split.warning:
            yield Finding("warning", f"{subject}: {outline.split.warning}", absent=True)


def _count_duplicates(outline: Outline) -> int:
    assert outline.stimuli is not None
    pixels = {int(i): outline.stimuli.image(int(i)).tobytes() for i in outline.used}
    n_both = 0
    for train, test in outline.split.folds:
        trained = {pixels[int(i)] for i in train}
        # a test image that is a training image by its own id is counted by `known_images`
        n_both += sum(pixels[int(i)] in trained for i in np.setdiff1d(test, train))
    return n_both


def tested(inputs: Inputs) -> Iterator[Finding]:
    """Check that there are enough test images for two-way identification."""

    def identify() -> str:
        few = inputs.recipe.evaluate.model_copy(update={"n_derangements": 1, "n_bootstrap": 1})
        for outline in inputs.known.values():
            pools(outline.split.test_ids, {}, few, inputs.recipe.seed)
        return "enough for two-way identification"

    yield from _only_refused(finding_of("test images", identify))


def tested_voxels(inputs: Inputs) -> Iterator[Finding]:
    """Check that there are enough test images for the correlation of a voxel."""

    def correlate() -> str:
        for subject, outline in inputs.known.items():
            n_tested = len(outline.split.test_ids)
            if n_tested < FEWEST_TESTED:
                message = f"a correlation needs at least three test images; {subject} saw {n_tested}."
                raise ShapeError(message, expected=FEWEST_TESTED, found=n_tested)
        return "enough for correlations"

    yield from _only_refused(finding_of("test images", correlate))


def captioner(inputs: Inputs) -> Iterator[Finding]:
    """Check that the captioner that writes captions can be loaded."""

    def load() -> str:
        found = inputs.captioner
        return f"{shown(found.name)}: {found.kind}, states of shape {found.shape[0]} x {found.shape[1]}"

    if inputs.recipe.states is not None:
        yield finding_of("captioner", load)


def own_decoder(inputs: Inputs) -> Iterator[Finding]:
    """Check that the user's estimator can be imported and created."""

    def make() -> str:
        return type(make_estimator(name)).__name__

    name = inputs.recipe.decode.decoder
    if name != RIDGE:
        yield finding_of("decoder", make)


def predictions(inputs: Inputs) -> Iterator[Finding]:
    """Check the files with predictions from other software."""

    def read() -> str:
        found = []
        for subject, outline in inputs.known.items():
            for name in decoded_features(inputs.recipe.reconstruct.conditions):
                path = inputs.recipe.decode.elsewhere(name)
                if path is not None:
                    own = predictions_path(path, subject)
                    shape = feature_shape(inputs.model, name, inputs.recipe.extract)
                    read_predictions(own, name, shape, _held_out(inputs.recipe, outline))
                    found.append(f"{name} of {subject}")
        return ", ".join(found)

    if inputs.recipe.decode.predictions is not None and inputs.has_model:
        yield finding_of("predictions made elsewhere", read)


def _held_out(recipe: Recipe, outline: Outline) -> NDArray[np.int64]:
    """Return the stimuli of the items that are decoded, sorted."""
    return outline.split.items(outline.stimulus_id, averaged=recipe.data.test_trials == "averaged")[0]


def decoding_folds(inputs: Inputs) -> Iterator[Finding]:
    """Check that the training stimuli can be divided into the folds that choose the penalty of the decoders."""

    def divide() -> str:
        for subject, outline in inputs.known.items():
            _divide_decoding(inputs.recipe, subject, outline)
        return "enough training stimuli for the folds"

    yield from _only_refused(finding_of("decode.n_folds", divide))


def _divide_decoding(recipe: Recipe, subject: str, outline: Outline) -> None:
    section = recipe.decode
    decoded = decoded_features(recipe.reconstruct.conditions)
    fitted = [name for name in decoded if section.elsewhere(name) is None]
    if section.decoder != RIDGE or not fitted:
        return
    grids = [section.alphas_of(name) for name in fitted]
    chosen = any(grid is None or len(set(grid)) > 1 for grid in grids)  # a fixed penalty needs no folds
    for fold, (train, _) in enumerate(outline.split.folds):
        trials = outline.stimulus_id[outline.split.train_rows(fold, outline.stimulus_id)]
        rows = np.unique(trials) if recipe.data.train_trials == "averaged" else trials
        if chosen:
            assign_folds(rows if section.group_folds else None, len(rows), section.n_folds, recipe.seed)
        if ("t" in decoded and section.captions == "retrieved") or ("c" in decoded and section.c_prior != "none"):
            check_prior(subject, len(train), recipe.data.test_trials)


def encoding_folds(inputs: Inputs) -> Iterator[Finding]:
    """Check that the training stimuli can be divided into the folds that choose the penalty of the encoding models."""

    def divide() -> str:
        for outline in inputs.known.values():
            for train, _ in outline.split.folds:
                seen = np.intersect1d(train, outline.stimulus_id)
                assign_folds(seen, len(seen), inputs.recipe.encode.n_folds, inputs.recipe.seed)
        return "enough training stimuli for the folds"

    yield from _only_refused(finding_of("encode.n_folds", divide))


def exports(inputs: Inputs) -> Iterator[Finding]:
    """Check that the recipe's maps can be written: voxels need positions, and some files are needed."""
    formats = inputs.recipe.encode.export

    def write() -> str:
        for subject, outline in inputs.known.items():
            check_placed(subject, outline.volume_shape)
            if "nifti" in formats:
                map_grid(inputs.data, subject, outline)
            if "cifti" in formats:
                map_fs_lr(subject, outline)
            if set(formats) - {"nifti", "cifti"}:
                map_surface(inputs.data, subject, outline)
        return ", ".join(formats)

    if formats and not inputs.to_simulate:
        yield finding_of("exported maps", write)


def _only_refused(finding: Finding) -> Iterator[Finding]:
    """Yield a finding only if a run refuses it; otherwise it needs no line."""
    if not finding.ok:
        yield finding
