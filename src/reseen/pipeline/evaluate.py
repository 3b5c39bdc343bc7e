"""Evaluate: a subject's scores of decoded features and images, its retrieval and its diagnostics."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from reseen import evaluate as scores
from reseen.decode import permuted_folds
from reseen.decode.uncertainty import COVERAGES
from reseen.defaults import GALLERY
from reseen.headline import STIMULI_OF, Headline, choose, stimuli_category, stimuli_of
from reseen.networks import EvaluationNetwork, Panel, load_evaluation_network, load_panel, prepare
from reseen.pipeline.context import Run, SubjectRun
from reseen.pipeline.controls import decode_presentations, left_out
from reseen.pipeline.stacks import Stacks
from reseen.pipeline.tables import make_table
from reseen.protocols import PROTOCOLS, Protocol
from reseen.results import SCORED_SIZE_OF, TEST_IMAGES_OF, load_captions
from reseen.retrieval import retrieve
from reseen.stimuli import image_digest
from reseen.subject import Subject
from reseen.tables import BUILTIN, PIXELS, SCORE_COLUMNS

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray


_AGAIN = "to add them later, delete scores.csv here and in each subject's folder and run the recipe again."


def prepare_networks(run: Run) -> None:
    """Compare the evaluation networks with those that the results were started with, before hours of sampling.

    If nothing is scored yet, warnings of missing networks are deleted; networks that are still missing warn again.
    """
    for name in run.recipe.evaluate.networks:
        run.results.claim(f"network {name}", load_evaluation_network(name).fingerprint)
    if not any(run.results.has_table(f"{name}/scores", SCORE_COLUMNS) for name in run.recipe.data.subjects):
        run.results.drop_warnings(_AGAIN)


def evaluate(subject: SubjectRun) -> bool:
    """Score and diagnose decoded features and images; return whether any table was missing."""
    scored = make_table(subject, "scores", _score)
    scored = make_table(subject, "images", _score_each_image) or scored
    if subject.recipe.decodes_captions:
        scored = make_table(subject, "captions", _score_captions) or scored
    scored = make_table(subject, "retrieval", _score_retrieval) or scored
    return make_table(subject, "diagnostics", _diagnose) or scored


def _score(subject: SubjectRun) -> pd.DataFrame:
    import pandas as pd

    def keep_each(each: pd.DataFrame) -> None:
        (subject.results.path / "images.csv").unlink(missing_ok=True)
        subject.results.save_table(f"{subject.name}/images", each)

    return pd.concat([_score_features(subject), _score_images(subject, keep_each)], ignore_index=True)


def _score_each_image(subject: SubjectRun) -> pd.DataFrame:
    """Return the score of each image, for a folder that has only the means."""
    kept: list[pd.DataFrame] = []
    _score_images(subject, kept.append)
    return kept[0]


def _score_captions(subject: SubjectRun) -> pd.DataFrame:
    """Score decoded captions against those of the presented images; chance levels draw from training captions."""
    found, recipe = load_captions(subject.results, subject.name), subject.recipe
    ids = np.array([caption.stimulus_id for caption in found])
    trained = np.unique(np.concatenate([train for train, _ in subject.split.folds]))
    return scores.score_captions(
        [caption.caption for caption in found],
        [subject.stimuli.captions(stimulus) for stimulus in ids.tolist()],
        oracle=[caption.oracle_caption for caption in found],
        training=[text for stimulus in trained.tolist() for text in subject.stimuli.captions(stimulus)],
        stimulus_id=ids,
        subject=subject.name,
        seed=recipe.seed,
        n_bootstrap=recipe.evaluate.n_bootstrap,
    )


def _score_features(subject: SubjectRun) -> pd.DataFrame:
    """Score decoded features; the training mean is subtracted fold by fold, since it differs between folds."""
    import pandas as pd

    run = subject.run
    tables = []
    for name in run.decoded_names:
        progress = run.counter(f"score decoded {name} of {subject.name}")
        progress(0, 1)
        decoded, true = subject.decoded(name), subject.true(name)
        mean = scores.training_mean(decoded, true, subject.split.folds)
        table = scores.evaluate_features(
            subject.name,
            name,
            decoded.flat,
            true.rows(decoded.stimulus_id).reshape(len(decoded), -1),
            mean,
            stimulus_id=decoded.stimulus_id,
            subsets=subject.stimuli.subsets,
            recipe=run.recipe.evaluate,
            seed=run.recipe.seed,
            permuted=[_permuted(subject, name, permutation, mean) for permutation in range(run.recipe.n_permuted)],
        )
        progress(1, 1)
        tables.append(table)
    return pd.concat(tables, ignore_index=True)


def _permuted(subject: SubjectRun, name: str, permutation: int, mean: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return predictions of decoders fitted on permuted labels, with the training mean of the result."""
    predicted = subject.decoded(name, permutation=permutation)
    folds = permuted_folds(subject.split, subject.facts.stimulus_id, subject.recipe.seed, permutation)
    return scores.permuted_rows(predicted, subject.true(name), folds, mean)


def _score_retrieval(subject: SubjectRun) -> pd.DataFrame:
    """Score retrieval in galleries of the default size, by every decoded feature and every network layer."""
    stacks, run = Stacks(subject), subject.run
    return retrieve(
        subject.results,
        Subject(lambda: subject.facts, subject.stimuli, subject.split, name=subject.name),
        subject.true,
        lambda level, condition: stacks[level, condition],
        load_panels(run),
        size=GALLERY,
        progress=run.counter(f"score retrieval of {subject.name}"),
    )


def _diagnose(subject: SubjectRun) -> pd.DataFrame:
    import pandas as pd

    tables: list[pd.DataFrame] = []
    for name in subject.run.decoded_names:
        progress = subject.run.counter(f"diagnose decoded {name} of {subject.name}")
        progress(0, 1)
        tables += _diagnose_features(subject, name)
        progress(1, 1)
    tables.append(_diagnose_images(subject))
    return pd.concat([table for table in tables if len(table)], ignore_index=True)


def _diagnose_features(subject: SubjectRun, name: str) -> Iterator[pd.DataFrame]:
    recipe, seed = subject.recipe.evaluate, subject.recipe.seed
    decoded, true, folds = subject.decoded(name), subject.true(name), subject.split.folds
    categories = subject.stimuli.categories
    yield scores.diagnose_features(subject.name, decoded, true, folds, categories=categories, recipe=recipe, seed=seed)
    if subject.run.keeps_decoder(name):
        found = decode_presentations(subject, name)
        yield scores.diagnose_repetitions(
            subject.name, found.first, found.others, true, folds, recipe=recipe, seed=seed
        )
        by_coverage = dict(zip(COVERAGES, found.inside, strict=True))
        yield scores.diagnose_coverage(subject.name, name, found.stimulus_id, by_coverage, recipe=recipe, seed=seed)
    if recipe.full and subject.run.fits_decoder(name):
        tested = {how: (features, part.folds) for how, (features, part) in left_out(subject, name).items()}
        yield scores.diagnose_left_out(subject.name, tested, true, recipe=recipe, seed=seed)


def _diagnose_images(subject: SubjectRun) -> pd.DataFrame:
    """Compute the same diagnostics of the images, by the network of the subject's headline."""
    stacks, condition = Stacks(subject), subject.run.main_condition
    head = headline_of(subject)
    activations = _activations(subject, head, stacks.size)
    reconstructions = stacks["result", condition]  # (n_items, n_samples, height, width, 3)
    of_samples = [activations(reconstructions[:, sample]) for sample in range(reconstructions.shape[1])]
    return scores.diagnose_images(
        subject.name,
        condition,
        "pixel correlation" if head is None else head.comparison,
        np.stack(of_samples, axis=1),  # (n_items, n_samples, n_features)
        activations(subject.stimuli.images(stacks.stimulus_id)),
        stacks.stimulus_id,
        categories=subject.stimuli.categories,
        recipe=subject.recipe.evaluate,
        seed=subject.recipe.seed,
    )


def headline_of(subject: SubjectRun) -> Headline | None:
    """Choose the headline of a subject's scores."""
    table = subject.results.load_table(f"{subject.name}/scores")
    return choose(table, stimuli_of(subject.results.provenance, [subject.name]))


def _activations(
    subject: SubjectRun, head: Headline | None, size: tuple[int, int]
) -> Callable[[NDArray[np.uint8]], NDArray[np.float32]]:
    """Return the function from images to the activations that the headline compares, ``(n, n_features)``.

    Without a headline, as no image was identified, it returns pixels.
    """
    name = BUILTIN if head is None else head.protocol
    protocol = next(known for known in PROTOCOLS.values() if known.name == name)
    if head is None or head.network == PIXELS:
        network = None
    else:
        panel = next(panel for panel in load_panels(subject.run) if panel.protocol.name == name)
        network = next(network for network in panel.networks if network.name == head.network)

    def activations(images: NDArray[np.uint8]) -> NDArray[np.float32]:
        prepared = prepare(images, protocol.first, size=size)
        if network is None or head is None:
            return prepare(prepared, protocol.pixels).reshape(len(images), -1).astype(np.float32)
        return network.activations(prepared)[head.layer].reshape(len(images), -1)

    return activations


def _score_images(subject: SubjectRun, keep_each: Callable[[pd.DataFrame], None]) -> pd.DataFrame:
    results, stimuli, stacks = subject.results, subject.stimuli, Stacks(subject)
    presented = stimuli.images(stacks.stimulus_id)
    height, width = stacks.size
    results.claim(TEST_IMAGES_OF + subject.name, image_digest(stacks.stimulus_id, presented))
    results.claim(STIMULI_OF + subject.name, stimuli_category(presented, drawn=stimuli.drawn))
    results.claim(SCORED_SIZE_OF + subject.name, f"{width} x {height}")
    count = subject.run.counter(f"score images of {subject.name}")
    return scores.evaluate(
        subject.name,
        presented,
        stacks.stimulus_id,
        stacks,
        load_panels(subject.run),
        stimuli.subsets,
        subject.recipe.evaluate,
        subject.recipe.seed,
        progress=lambda _, n_done, n_total: count(n_done, n_total),
        keep_each=keep_each,
        size=(height, width),
    )


def load_panels(run: Run) -> list[Panel]:
    """Load the evaluation networks of the recipe's protocols once; warn of missing ones, which have no scores."""
    if run.panels is None:
        own = [load_evaluation_network(name) for name in run.recipe.evaluate.networks]
        with run.recording_warnings():
            run.panels = [_load_panel(run, PROTOCOLS[name], own) for name in run.recipe.evaluate.protocols]
    return run.panels


def _load_panel(run: Run, protocol: Protocol, own: Sequence[EvaluationNetwork]) -> Panel:
    panel, missing = load_panel(protocol, own, device=run.device)
    for why in missing:
        warnings.warn(f"{why}. These scores are left out; {_AGAIN}", stacklevel=2)
    for network in panel.networks if panel.protocol.networks else ():
        run.results.claim(f"network {network.name} of {protocol.name}", network.fingerprint)
    return panel
