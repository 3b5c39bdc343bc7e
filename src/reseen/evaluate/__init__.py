"""Score decoded features and pictures between floor and ceiling, and look for guessing: a tidy row for each number."""

from reseen.evaluate.again import AT_RANDOM, CLUSTERS, evaluate_left_out, evaluate_repetitions
from reseen.evaluate.draws import evaluate_draws
from reseen.evaluate.features import evaluate_features, nearest_training
from reseen.evaluate.items import training_mean
from reseen.evaluate.pictures import evaluate
from reseen.evaluate.reading import evaluate_reading
from reseen.evaluate.verdict import summary, verdict
from reseen.tables import READING_COLUMNS
from reseen.tables import SCORE_COLUMNS as COLUMNS

__all__ = [
    "AT_RANDOM",
    "CLUSTERS",
    "COLUMNS",
    "READING_COLUMNS",
    "evaluate",
    "evaluate_draws",
    "evaluate_features",
    "evaluate_left_out",
    "evaluate_reading",
    "evaluate_repetitions",
    "nearest_training",
    "summary",
    "training_mean",
    "verdict",
]
