"""Choose the sessions of a trial table by ``data.sessions``."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from reseen.errors import RecipeError
from reseen.files.reading import shown
from reseen.recipe import SessionChoice


def choose_sessions(source: Path, labels: Sequence[str], wanted: SessionChoice) -> list[str]:
    """Return the labels of the sessions that a recipe wants.

    Parameters
    ----------
    source
        File or folder of the data, for messages.
    labels
        Session of each trial, in order of presentation.
    wanted
        A number for the first sessions, in this order; or a tuple of the numbers in their labels, so that 2 is
        ``"ses-02"``.

    Raises
    ------
    RecipeError
        If sessions are unknown, a wanted one is not there, or labels do not have one number each, all different.

    Examples
    --------
    >>> from pathlib import Path
    >>> choose_sessions(Path("lab"), ["ses-02", "ses-02", "ses-10"], 1)
    ['ses-02']
    >>> choose_sessions(Path("lab"), ["ses-02", "ses-02", "ses-10"], (10,))
    ['ses-10']
    """
    known = list(dict.fromkeys(labels))
    if not any(known):
        raise _refusal(source, wanted, "no trial has the name of its session", "Leave data.sessions out.", known)
    if isinstance(wanted, int):
        if wanted > len(known):
            raise _refusal(source, wanted, f"there are {len(known)} sessions", "Lower it.", known)
        return known[:wanted]
    by_number = {}
    for label in known:
        numbers = re.findall(r"\d+", label)
        if len(numbers) == 1:
            by_number[int(numbers[0])] = label
    names = ", ".join(map(shown, known[:8])) + ", ..." * (len(known) > 8)
    if len(by_number) < len(known):
        said = f"the sessions {names} do not have one number each, all different"
        raise _refusal(source, wanted, said, "Give a number of sessions, from the first.", known)
    missing = [number for number in wanted if number not in by_number]
    if missing:
        raise _refusal(source, wanted, f"the sessions are {names}", "Name some of these by their numbers.", known)
    return [by_number[number] for number in wanted]


def _refusal(source: Path, wanted: SessionChoice, said: str, fix: str, known: Sequence[str]) -> RecipeError:
    found = list(wanted) if isinstance(wanted, tuple) else wanted
    message = f"data.sessions is {found}, and in {shown(source)} {said}. {fix}"
    return RecipeError(message, where="data.sessions", expected=tuple(known), found=wanted)
