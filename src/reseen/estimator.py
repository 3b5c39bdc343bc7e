"""Estimator: the methods that scikit-learn requires of decoders and encoders, without importing scikit-learn."""

from __future__ import annotations

import inspect
from typing import Any, Self


class Estimator:
    """Base class of estimators, whose parameters are the arguments of ``__init__`` under the same names.

    ``sklearn.base.clone``, pipelines and parameter searches need only these methods. Importing scikit-learn would take
    longer than importing the rest of reseen.
    """

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the parameters by name; ``deep`` adds those of inner estimators, as ``name__parameter``."""
        names = list(inspect.signature(type(self).__init__).parameters)[1:]
        found = {name: getattr(self, name) for name in names}
        if deep:
            for name in names:
                inner = found[name]
                if hasattr(inner, "get_params") and not isinstance(inner, type):
                    for key, value in inner.get_params().items():
                        found[f"{name}__{key}"] = value
        return found

    def set_params(self, **params: Any) -> Self:
        """Set parameters by name, and return the estimator.

        Raises
        ------
        ValueError
            If there is no such parameter; scikit-learn expects this type.
        """
        known = self.get_params(deep=False)
        for key, value in params.items():
            name, _, inner = key.partition("__")
            if name not in known:
                raise ValueError(f"{type(self).__name__} has no parameter {name!r}; it has {', '.join(known)}.")
            if inner:
                getattr(self, name).set_params(**{inner: value})
            else:
                setattr(self, name, value)
        return self
