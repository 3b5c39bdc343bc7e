"""Score decoded features and pictures between floor and ceiling, one tidy row for each number."""

from reseen.evaluate.features import evaluate_features, nearest_training
from reseen.evaluate.pictures import evaluate
from reseen.evaluate.verdict import summary, verdict
from reseen.tables import SCORE_COLUMNS as COLUMNS

__all__ = ["COLUMNS", "evaluate", "evaluate_features", "nearest_training", "summary", "verdict"]
