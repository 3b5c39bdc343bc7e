"""Errors that reseen raises on purpose.

::

    ReseenError
    ├── RecipeError     a recipe that cannot be read, or has impossible settings
    ├── DataError       a file of a data set that is missing, damaged or of another format
    ├── ShapeError      arrays whose shapes or ids do not fit
    ├── ModelError      a diffusion model or an evaluation network that cannot be loaded, or fails
    ├── ResultsError    a results folder with other results, or one that cannot be written
    └── ClusterError    workers that cannot be reached, or that are lost one after the other

A message names the problem, its place, the expectation and the fix. The command line prints it and exits with code 1.
The attributes ``where``, ``expected`` and ``found`` have the same facts as values.
"""


class ReseenError(Exception):
    """Root of every error that the user can fix.

    Parameters
    ----------
    message
        Sentences for a person.
    where
        The file, argument or setting that is wrong, for programs and tests; None if there is no single one.
    expected, found
        The value, shape, type or number that is expected, and the one that is there; None if the error has none.

    Examples
    --------
    >>> import numpy as np
    >>> from reseen import Trials
    >>> try:
    ...     Trials(np.zeros((6, 50)), [0, 1, 2])
    ... except ReseenError as error:
    ...     error.where, error.expected, error.found
    ('stimulus_id', (6,), (3,))
    """

    def __init__(self, message: str, *, where: object = None, expected: object = None, found: object = None) -> None:
        super().__init__(message)
        self.where = where
        self.expected = expected
        self.found = found


class RecipeError(ReseenError):
    """Report a recipe that cannot be read, or that has impossible settings."""


class DataError(ReseenError):
    """Report a data file that is missing, damaged or of another format."""


class ShapeError(ReseenError):
    """Report arrays whose shapes or ids do not fit."""


class ModelError(ReseenError):
    """Report a diffusion model or an evaluation network that cannot be loaded, or fails."""


class ResultsError(ReseenError):
    """Report a results folder that has other results, or that cannot be written."""


class ClusterError(ReseenError):
    """Report workers that cannot be started or reached, or that are lost one after the other."""
