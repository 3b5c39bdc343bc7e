"""Score decoded features and pictures between floor and ceiling, and look for guessing: a tidy row for each number."""

from reseen.evaluate.features import evaluate_features, nearest_training
from reseen.evaluate.pictures import evaluate
from reseen.evaluate.reading import evaluate_reading
from reseen.evaluate.verdict import listing, summary, verdict
from reseen.tables import READING_COLUMNS
from reseen.tables import SCORE_COLUMNS as COLUMNS

__all__ = [
    "COLUMNS",
    "READING_COLUMNS",
    "evaluate",
    "evaluate_features",
    "evaluate_reading",
    "listing",
    "nearest_training",
    "summary",
    "verdict",
]
