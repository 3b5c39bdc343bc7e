"""Check the fields of an error: where it is, what is expected and what is found."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from reseen.errors import ReseenError


@contextmanager
def raises_with(error: type[ReseenError], **fields: object) -> Iterator[None]:
    """Check that a block raises an error whose fields ``where``, ``expected`` and ``found`` have these values."""
    with pytest.raises(error) as caught:
        yield
    assert {name: getattr(caught.value, name) for name in fields} == fields
