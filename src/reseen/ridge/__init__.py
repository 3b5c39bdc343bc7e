"""Ridge regression from many voxels to very many targets, exact, with a penalty for each target.

`fit_ridge` fits in one call. `factor`, `target_blocks`, `fit_block` and `assemble` are its steps, for distributed work.
"""

from reseen.ridge.factored import Factored, factor
from reseen.ridge.fit import assemble, fit_block, fit_blocks, fit_ridge, predict_held_out, target_blocks
from reseen.ridge.folds import EdgeWarning, assign_folds, default_alphas
from reseen.ridge.maps import RidgeMap, average_gain

__all__ = [
    "EdgeWarning",
    "Factored",
    "RidgeMap",
    "assemble",
    "assign_folds",
    "average_gain",
    "default_alphas",
    "factor",
    "fit_block",
    "fit_blocks",
    "fit_ridge",
    "predict_held_out",
    "target_blocks",
]
