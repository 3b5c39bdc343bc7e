"""Score decoded features and reconstructions, and compute their diagnostics: a tidy table with one row per number."""

from reseen.evaluate.activations import LayerActivations, layer_activations, panels_of
from reseen.evaluate.alignment import describe_alignment, score_alignment
from reseen.evaluate.captions import score_captions
from reseen.evaluate.decoded import diagnose_features
from reseen.evaluate.features import evaluate_features, nearest_training
from reseen.evaluate.imagery import POOLED, SCORERS, score_imagery
from reseen.evaluate.images import evaluate
from reseen.evaluate.items import permuted_rows, training_mean
from reseen.evaluate.refits import AT_RANDOM, CLUSTERS, diagnose_coverage, diagnose_left_out, diagnose_repetitions
from reseen.evaluate.retrieval import RETRIEVAL_PROTOCOLS, score_retrieval
from reseen.evaluate.samples import diagnose_images
from reseen.evaluate.statuses import run_checks
from reseen.tables import DIAGNOSTIC_COLUMNS
from reseen.tables import SCORE_COLUMNS as COLUMNS

__all__ = [
    "AT_RANDOM",
    "CLUSTERS",
    "COLUMNS",
    "DIAGNOSTIC_COLUMNS",
    "POOLED",
    "RETRIEVAL_PROTOCOLS",
    "SCORERS",
    "LayerActivations",
    "describe_alignment",
    "diagnose_coverage",
    "diagnose_features",
    "diagnose_images",
    "diagnose_left_out",
    "diagnose_repetitions",
    "evaluate",
    "evaluate_features",
    "layer_activations",
    "nearest_training",
    "panels_of",
    "permuted_rows",
    "run_checks",
    "score_alignment",
    "score_captions",
    "score_imagery",
    "score_retrieval",
    "training_mean",
]
