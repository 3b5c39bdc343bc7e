"""Names and facts of the Natural Scenes Dataset (NSD): paths and content of its files.

Names and ROI labels apply to any tree in NSD's layout. Numbers such as sessions per subject apply to NSD itself: a tree
is NSD's own if its stimulus file contains 73,000 images.

Sources: Allen et al., Nature Neuroscience 25 (2022), and the NSD data manual.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from reseen.datasets.fsaverage import SIDES
from reseen.recipe import FSAVERAGE, NATIVE, SURFACES

BUCKET = "s3://natural-scenes-dataset"
TERMS = (
    "NSD asks you to accept its terms and conditions before you use it (https://naturalscenesdataset.org); "
    "its images and responses may not be passed on."
)
COCO_SPLITS = ("train2017", "val2017")
COCO_CAPTIONS = "https://s3.amazonaws.com/images.cocodataset.org/annotations/annotations_trainval2017.zip"
"""Public bucket ``images.cocodataset.org``, by https; the host of that name has no certificate."""
COCO_MD5 = "f4bbac642086de4f52a3fdda2de5fa2c"
"""MD5 of that archive, as many public projects state it, such as intel/neural-compressor on GitHub."""

N_IMAGES = 73_000
TRIALS_PER_SESSION = 750
RUNS_PER_SESSION = 12
INT16_PER_PERCENT = 300.0
"""NSD stores betas as int16: 300 times per cent signal change."""

TRUTH = "reseen_truth.json"
"""Ground truth of a simulated data set; NSD has no such file. It is written last: a tree with it is complete."""

DEPTHS = (1, 2, 3)
"""Depths of NSD's surfaces layerB1, layerB2 and layerB3: 25, 50 and 75 % of the way from pial to white."""
TRANSFORM_SPACES = {"func1pt8mm": "func1pt8", "func1mm": "func1pt0"}
"""Name of a functional space's folder -> its name in the transform files."""


@dataclass(frozen=True)
class SubjectFacts:
    """Number of sessions and volume shapes of one NSD subject.

    Parameters
    ----------
    n_sessions
        Sessions scanned.
    volume_shape
        Functional space -> (X, Y, Z) in voxels.
    n_vertices
        Vertices of the left and of the right hemisphere of the subject's own surface.
    """

    n_sessions: int
    volume_shape: Mapping[str, tuple[int, int, int]]
    n_vertices: tuple[int, int]


def _facts(
    n_sessions: int, fine: tuple[int, int, int], coarse: tuple[int, int, int], n_vertices: tuple[int, int]
) -> SubjectFacts:
    return SubjectFacts(n_sessions, {"func1mm": fine, "func1pt8mm": coarse}, n_vertices)


SUBJECTS: Mapping[str, SubjectFacts] = {
    "subj01": _facts(40, (145, 186, 148), (81, 104, 83), (227_021, 226_601)),
    "subj02": _facts(40, (146, 190, 150), (82, 106, 84), (239_633, 239_309)),
    "subj03": _facts(32, (145, 190, 146), (81, 106, 82), (240_830, 243_023)),
    "subj04": _facts(30, (152, 177, 143), (85, 99, 80), (228_495, 227_262)),
    "subj05": _facts(40, (141, 173, 139), (79, 97, 78), (197_594, 198_908)),
    "subj06": _facts(32, (152, 202, 148), (85, 113, 83), (253_634, 259_406)),
    "subj07": _facts(40, (139, 170, 145), (78, 95, 81), (198_770, 200_392)),
    "subj08": _facts(30, (143, 184, 139), (80, 103, 78), (224_364, 224_398)),
}

ROI_LABELS: Mapping[str, Mapping[str, int]] = {
    "streams": {
        "early": 1,
        "midventral": 2,
        "midlateral": 3,
        "midparietal": 4,
        "ventral": 5,
        "lateral": 6,
        "parietal": 7,
    },
    "prf-visualrois": {"V1v": 1, "V1d": 2, "V2v": 3, "V2d": 4, "V3v": 5, "V3d": 6, "hV4": 7},
    "prf-eccrois": {"ecc0pt5": 1, "ecc1": 2, "ecc2": 3, "ecc4": 4, "ecc4+": 5},
    "floc-faces": {"OFA": 1, "FFA-1": 2, "FFA-2": 3, "mTL-faces": 4, "aTL-faces": 5},
    "floc-bodies": {"EBA": 1, "FBA-1": 2, "FBA-2": 3, "mTL-bodies": 4},
    "floc-places": {"OPA": 1, "PPA": 2, "RSC": 3},
    "floc-words": {"OWFA": 1, "VWFA-1": 2, "VWFA-2": 3, "mfs-words": 4, "mTL-words": 5},
    "nsdgeneral": {"nsdgeneral": 1},
}
"""Atlas -> ROI -> label in ``roi/<atlas>.nii.gz``; -1 is no cortex, 0 is cortex without a label."""

DRAWN_ATLASES = frozenset({"prf-visualrois", "prf-eccrois", "floc-faces", "floc-bodies", "floc-places", "floc-words"})
"""Atlases drawn on each subject's own surface; labels of the other atlases are on fsaverage."""

ATLASES = (*ROI_LABELS, "Kastner2015", "HCP_MMP1", "corticalsulc", "MTL", "thalamus")
"""NSD's atlases; MTL and thalamus are volumes only."""

ROI_UNIONS: Mapping[str, tuple[str, ...]] = {
    "V1": ("V1v", "V1d"),
    "V2": ("V2v", "V2d"),
    "V3": ("V3v", "V3d"),
    "V4": ("hV4",),
    "FFA": ("FFA-1", "FFA-2"),
    "FBA": ("FBA-1", "FBA-2"),
    "VWFA": ("VWFA-1", "VWFA-2"),
}
"""Names that people use -> labels of one atlas."""

RESPONSE_COLUMNS = (
    "SUBJECT",
    "SESSION",
    "RUN",
    "TRIAL",
    "73KID",
    "10KID",
    "TIME",
    "ISOLD",
    "ISCORRECT",
    "RT",
    "CHANGEMIND",
    "MEMORYRECENT",
    "MEMORYFIRST",
    "ISOLDCURRENT",
    "ISCORRECTCURRENT",
    "TOTAL1",
    "TOTAL2",
    "BUTTON",
    "MISSINGDATA",
)


@dataclass(frozen=True)
class NsdFiles:
    """Paths of one subject's files.

    Parameters
    ----------
    root
        Folder with ``nsddata``, ``nsddata_betas`` and ``nsddata_stimuli``.
    subject, space, betas
        Names of folders: ``"subj01"``, ``"func1pt8mm"``, ``"fsaverage"`` ..., ``"betas_fithrf_GLMdenoise_RR"``.
    """

    root: Path
    subject: str
    space: str
    betas: str

    @property
    def stimuli(self) -> Path:
        """Images: dataset ``imgBrick`` (n, H, W, 3) uint8."""
        return self.root / "nsddata_stimuli/stimuli/nsd/nsd_stimuli.hdf5"

    def captions(self, split: str) -> Path:
        """Return the captions of one of `COCO_SPLITS`."""
        return self.root / f"nsddata_stimuli/stimuli/nsd/annotations/captions_{split}.json"

    @property
    def design(self) -> Path:
        """Image of each trial of each subject."""
        return self.root / "nsddata/experiments/nsd/nsd_expdesign.mat"

    @property
    def stim_info(self) -> Path:
        """COCO source of each image."""
        return self.root / "nsddata/experiments/nsd/nsd_stim_info_merged.csv"

    @property
    def responses(self) -> Path:
        """Behavioural responses, one row per trial."""
        return self.person / "behav/responses.tsv"

    @property
    def person(self) -> Path:
        """Folder of the subject's files, except betas."""
        return self.root / f"nsddata/ppdata/{self.subject}"

    @property
    def subject_folder(self) -> Path:
        """Folder of the subject's anatomy in this space."""
        return self.person / self.space

    @property
    def brainmask(self) -> Path:
        """Mask of the voxels inside the brain."""
        return self.subject_folder / "brainmask.nii.gz"

    def roi(self, atlas: str) -> Path:
        """Return the label volume of an atlas."""
        return self.subject_folder / f"roi/{atlas}.nii.gz"

    @property
    def betas_folder(self) -> Path:
        """Folder of the sessions."""
        return self.root / f"nsddata_betas/ppdata/{self.subject}/{self.space}/{self.betas}"

    @property
    def ncsnr(self) -> Path:
        """Noise ceiling signal-to-noise ratio of each voxel."""
        return self.betas_folder / "ncsnr.nii.gz"

    def session(self, session: int, suffix: str = "hdf5") -> Path:
        """Return the betas of a session (counted from 1), as ``hdf5`` or ``nii.gz``."""
        return self.betas_folder / f"betas_session{session:02d}.{suffix}"

    @property
    def on_surface(self) -> bool:
        """Whether the betas are on vertices, with one file per hemisphere."""
        return self.space in SURFACES

    @property
    def on_native(self) -> bool:
        """Whether the betas are on the vertices of the subject's own surface, HDF5 of int16 as in a volume."""
        return self.space == NATIVE

    @property
    def on_fsaverage(self) -> bool:
        """Whether the betas are on the vertices of fsaverage, with one file per hemisphere."""
        return self.space == FSAVERAGE

    def vertex_session(self, hemisphere: str, session: int) -> Path:
        """Return the betas on a surface of a session (counted from 1) and a hemisphere, ``"lh"`` or ``"rh"``."""
        suffix = "hdf5" if self.on_native else "mgh"
        return self.betas_folder / f"{hemisphere}.betas_session{session:02d}.{suffix}"

    def vertex_ncsnr(self, hemisphere: str) -> Path:
        """Return the noise ceiling signal-to-noise ratio of each vertex."""
        return self.betas_folder / f"{hemisphere}.ncsnr.mgh"

    def ncsnr_files(self) -> list[Path]:
        """List the files of ncsnr."""
        return [self.vertex_ncsnr(side) for side in SIDES] if self.on_surface else [self.ncsnr]

    def vertex_labels(self, hemisphere: str, atlas: str) -> Path:
        """Return the labels of an atlas: of `DRAWN_ATLASES` on the subject's own surface, of others on the betas'."""
        return self.color_table(atlas).with_name(f"{hemisphere}.{atlas}.mgz")

    def color_table(self, atlas: str) -> Path:
        """Return the table of an atlas's labels, a number and a name per line."""
        drawn, fsaverage = (self.root / f"nsddata/freesurfer/{who}/label" for who in (self.subject, FSAVERAGE))
        return (drawn if self.on_native or atlas in DRAWN_ATLASES else fsaverage) / f"{atlas}.mgz.ctab"

    def color_tables(self, atlas: str) -> list[Path]:
        """List the places of an atlas's table: NSD has most tables for fsaverage and for each subject."""
        atlas = atlas.removeprefix("lh.").removeprefix("rh.")  # a volume of one hemisphere has the table of both
        others = [self.root / f"nsddata/freesurfer/{who}/label/{atlas}.mgz.ctab" for who in (FSAVERAGE, self.subject)]
        return list(dict.fromkeys([self.color_table(atlas), *others]))

    def has_atlas(self, atlas: str) -> bool:
        """Return whether the labels of an atlas are in the tree."""
        return (self.vertex_labels("lh", atlas) if self.on_surface else self.roi(atlas)).is_file()

    def to_layer(self, hemisphere: str, depth: int) -> Path:
        """Return the functional coordinates of each vertex of a surface (of `DEPTHS`); ``"lh"`` or ``"rh"``."""
        space = TRANSFORM_SPACES.get(self.space, self.space)
        return self._transforms / f"{hemisphere}.{space}-to-layerB{depth}.mgz"

    def to_fsaverage(self, hemisphere: str) -> Path:
        """Return the vertex of the subject's surface that is nearest to each vertex of fsaverage."""
        return self._transforms / f"{hemisphere}.white-to-fsaverage.mgz"

    def transforms(self) -> list[Path]:
        """List the transform files from this space to fsaverage."""
        if self.on_fsaverage:
            return []
        layers = [] if self.on_native else [self.to_layer(side, depth) for side in SIDES for depth in DEPTHS]
        return [*layers, *(self.to_fsaverage(side) for side in SIDES)]

    @property
    def _transforms(self) -> Path:
        return self.person / "transforms"

    @property
    def truth(self) -> Path:
        """Ground truth of simulated subjects; absent from measured data."""
        return self.root / TRUTH

    def can_fetch(self, path: Path) -> bool:
        """Return whether a path is one of NSD's or COCO's, and not a file of the user such as a mask."""
        return path.is_relative_to(self.root) and path.relative_to(self.root).parts[0].startswith("nsddata")

    def fetch_command(self, path: Path) -> str:
        """Return the command that downloads a file of NSD; it works in any folder."""
        return self.fetch_commands([path])[0]

    def fetch_commands(self, paths: Sequence[Path], *, anew: bool = False) -> list[str]:
        """Return shell commands that download these files and no others; they work in any folder.

        Parameters
        ----------
        paths
            Files of NSD or COCO's captions.
        anew
            Whether files are damaged: each is then named, because a copy of a folder skips files that look complete.
        """
        commands = []
        for folder in dict.fromkeys(path.parent for path in paths):
            names = sorted(path.name for path in paths if path.parent == folder)
            commands += self._commands(folder, names, anew=anew)
        return commands

    def _commands(self, folder: Path, names: Sequence[str], *, anew: bool) -> list[str]:
        there = f"{BUCKET}/{folder.relative_to(self.root).as_posix()}"
        here = folder.absolute()
        if names[0].startswith("captions_"):
            archive = here / COCO_CAPTIONS.rpartition("/")[2]
            wanted = _words(*(f"*/{name}" for name in names))
            fetch = f"mkdir -p {_words(here)} && curl -fo {_words(archive)} {COCO_CAPTIONS}"
            differs = f"echo {_words(f'{archive} differs from its checksum, MD5 {COCO_MD5}')} >&2"
            # Linux has md5sum, macOS has md5; the archive is unpacked only if its checksum is right
            compare = f"{{ (md5sum || md5) < {_words(archive)} | grep -q {COCO_MD5} || {{ {differs}; false; }}; }}"
            return [f"{fetch} && {compare} && unzip -o -j {_words(archive)} {wanted} -d {_words(here)}"]
        if len(names) == 1 or anew:
            return [f"aws s3 cp --no-sign-request {_words(f'{there}/{name}', f'{here}/')}" for name in names]
        wanted = " ".join(f"--include {_words(pattern)}" for pattern in _patterns(names))
        return [f"aws s3 sync --no-sign-request {_words(there, here)} --exclude '*' {wanted}"]


def _words(*words: Path | str) -> str:
    """Quote the words of a shell command."""
    return shlex.join(str(word) for word in words)


def _patterns(names: Sequence[str]) -> list[str]:
    """Group names that differ in one character as wildcards of aws, such as ``betas_session0[123].hdf5``."""
    return _gather(_gather(names, r"()([lr])(h\..*)"), r"(.*(?:_session\d|layerB))(\d)(\..*)")


def _gather(names: Sequence[str], pattern: str) -> list[str]:
    letters: dict[tuple[str, str], str] = {}
    for name in names:
        found = re.fullmatch(pattern, name)
        start, letter, end = found.groups() if found else (name, "", "")
        letters[start, end] = letters.get((start, end), "") + letter
    return [start + (f"[{some}]" if len(some) > 1 else some) + end for (start, end), some in letters.items()]
