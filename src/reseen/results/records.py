"""Records of a results folder: versions, times and digests."""

from __future__ import annotations

import hashlib
import json
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

VERSION_OF = "version of "
"""What the record of a library's version begins with."""
TEST_PICTURES_OF, SCORED_SIZE_OF = "test pictures of ", "scored size of "
"""What the records begin with of which pictures a subject's scores are of, and at how many pixels they were scored."""
LIBRARIES = ("reseen", "numpy", "scipy", "scikit-learn", "pillow", "scikit-image", "torch", "diffusers", "transformers")


class StageTime(BaseModel):
    """Seconds that a stage took, and the device it last ran on."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    seconds: float = Field(ge=0, allow_inf_nan=False)
    device: str


def digest(value: Any) -> str:
    """Give the SHA-256 of a JSON value, as 64 hexadecimal digits."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def library_versions() -> dict[str, str]:
    """Give the versions of the libraries that could change a result."""
    found = {}
    for library in LIBRARIES:
        try:
            found[library] = version(library).partition("+")[0]  # what follows the + is the device it was built for
        except PackageNotFoundError:
            found[library] = "not installed"
    return found
