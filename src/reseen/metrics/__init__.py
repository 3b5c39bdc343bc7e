"""Scores of decoded arrays and of images. Arrays in, arrays out; `reseen.statistics` computes their uncertainty.

Every two-way score comes from one matrix: ``r[i, j]``, the correlation of original ``i`` with reconstruction ``j``.
Mismatched pairings, intervals and nulls come from the same matrix, so activations of an image are computed once.
"""

from reseen.metrics.exact import pairing_distribution, pooled_distribution, tail_probability
from reseen.metrics.pairs import (
    DIRECTIONS,
    TIE,
    Direction,
    Kin,
    Ties,
    bootstrap_identification,
    identification,
    identification_from_correlations,
    kin_of,
    pairing_accuracy,
    pairwise_wins,
    resampled_accuracy,
    resampled_mean,
    row_accuracy,
)
from reseen.metrics.retrieval import cosine_matrix, expected_top1, retrieval_top1
from reseen.metrics.scores import (
    SSIM_VARIANTS,
    Floats,
    SsimVariant,
    bootstrap_target_r,
    correlation_matrix,
    noise_ceiling,
    pixcorr,
    ssim,
    target_products,
)

__all__ = [
    "DIRECTIONS",
    "SSIM_VARIANTS",
    "TIE",
    "Direction",
    "Floats",
    "Kin",
    "SsimVariant",
    "Ties",
    "bootstrap_identification",
    "bootstrap_target_r",
    "correlation_matrix",
    "cosine_matrix",
    "expected_top1",
    "identification",
    "identification_from_correlations",
    "kin_of",
    "noise_ceiling",
    "pairing_accuracy",
    "pairing_distribution",
    "pairwise_wins",
    "pixcorr",
    "pooled_distribution",
    "resampled_accuracy",
    "resampled_mean",
    "retrieval_top1",
    "row_accuracy",
    "ssim",
    "tail_probability",
    "target_products",
]
