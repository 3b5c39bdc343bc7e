"""Retrieval: top-1 accuracy in random galleries, of every decoded feature and every network layer of a finished run."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from reseen.conditions import decoded_features
from reseen.datasets.opening import open_subject
from reseen.evaluate import score_retrieval, training_mean
from reseen.evaluate.matrices import BATCH
from reseen.networks import EvaluationNetwork, Panel, evaluation_networks, load_panel, prepare
from reseen.protocols import PROTOCOLS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import pandas as pd

    from reseen.results import ResultsFolder
    from reseen.stimuli import Stimuli
    from reseen.subject import Subject


def retrieve(
    results: ResultsFolder,
    subject: str,
    images: Callable[[str], NDArray[np.uint8]],
    *,
    size: int,
    device: str,
) -> pd.DataFrame:
    """Score retrieval of one subject of a finished run; see `reseen.Results.retrieval`.

    Parameters
    ----------
    results
        Results folder of the run.
    subject
        Name of the subject.
    images
        Function of a condition that returns its reconstructions, ``(n_items, n_samples, side, side, 3)`` uint8.
    size, device
        As in `reseen.Results.retrieval`.
    """
    import pandas as pd

    opened = open_subject(results.data, subject)
    of_features = _of_features(results, opened, subject, size)
    of_images = _of_images(results, opened, subject, images, size, device)
    return pd.concat([*of_features, *of_images], ignore_index=True)


def _of_features(results: ResultsFolder, opened: Subject, subject: str, size: int) -> Iterator[pd.DataFrame]:
    """Yield the table of each decoded feature."""
    recipe = results.recipe
    for name in decoded_features(recipe.reconstruct.conditions):
        decoded = results.load_features(results.decode_path(subject, name))
        true = results.feature_blocks(f"{subject}/{name}").load()
        yield score_retrieval(
            decoded.flat,
            true.rows(decoded.stimulus_id).reshape(len(decoded), -1),
            decoded.stimulus_id,
            training_mean=training_mean(decoded, true, opened.split.folds),
            size=size,
            subject=subject,
            condition=name,
            n_bootstrap=recipe.evaluate.n_bootstrap,
            seed=recipe.seed,
        )


def _of_images(
    results: ResultsFolder,
    opened: Subject,
    subject: str,
    images: Callable[[str], NDArray[np.uint8]],
    size: int,
    device: str,
) -> Iterator[pd.DataFrame]:
    """Yield the table of each layer of each evaluation network and condition."""
    recipe = results.recipe
    conditions = recipe.reconstruct.conditions
    ids = results.load_features(results.decode_path(subject, decoded_features(conditions)[0])).stimulus_id
    networks = evaluation_networks(recipe.evaluate.networks)
    for protocol in recipe.evaluate.protocols:
        panel, missing = load_panel(PROTOCOLS[protocol], networks, device=device)
        for why in missing:
            warnings.warn(f"{why}. These scores are left out.", stacklevel=3)
        for condition in conditions:
            stack = images(condition)
            for network in panel.networks:
                true, found = _activations(panel, network, opened.stimuli, ids, stack)
                for layer, activations in found.items():
                    yield score_retrieval(
                        activations,
                        true[layer],
                        ids,
                        size=size,
                        sides=("reconstruction", "original"),
                        subject=subject,
                        condition=condition,
                        network=network.name if len(recipe.evaluate.protocols) == 1 else f"{network.name} ({protocol})",
                        layer=layer,
                        n_bootstrap=recipe.evaluate.n_bootstrap,
                        seed=recipe.seed,
                    )


def _activations(
    panel: Panel,
    network: EvaluationNetwork,
    stimuli: Stimuli,
    ids: NDArray[np.int64],
    stack: NDArray[np.uint8],
) -> tuple[Mapping[str, NDArray[np.floating]], Mapping[str, NDArray[np.floating]]]:
    """Return each layer's activations of the originals ``(n, d)`` and of all samples ``(n, n_samples, d)``."""
    height, width = stack.shape[2:4]

    def activate(images: NDArray[np.uint8]) -> dict[str, NDArray[np.floating]]:
        parts: dict[str, list[NDArray[np.floating]]] = {}
        for start in range(0, len(images), BATCH):
            given = prepare(images[start : start + BATCH], panel.protocol.first, size=(height, width))
            for layer, found in network.activations(given).items():
                parts.setdefault(layer, []).append(found.reshape(len(found), -1))
        return {layer: np.concatenate(found) for layer, found in parts.items()}

    true = activate(stimuli.images(ids))
    flat = activate(stack.reshape(-1, *stack.shape[2:]))
    return true, {layer: found.reshape(*stack.shape[:2], -1) for layer, found in flat.items()}
