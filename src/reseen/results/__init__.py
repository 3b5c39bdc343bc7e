"""ResultsFolder: the folder a recipe is run into, in which every array says what made it.

::

    out/
    ├── recipe.toml           what is run; another recipe is refused here, unless it only scores more
    ├── provenance.json       fingerprints of data and model, versions of the libraries
    ├── times.json            how long each stage took, and on what: differs between two equal runs
    ├── warnings.json         what was warned of, if anything
    ├── log.txt               dated lines of what every run into the folder did: differs likewise
    ├── checksums.json        checksums of the tables; arrays and images carry theirs
    ├── kept/<subject>/       session01.safetensors: ROI voxels of large sessions as they were read; may be deleted
    ├── features/<subject>/   z.safetensors, c.safetensors; <feature>/<block>.safetensors: what denoising gave
    ├── <subject>/decode/     z.safetensors: decoded; z_fold0.safetensors: the decoder; permuted0_z: a floor's;
    │                         c_candidates: what a mean under the prior is of; clusters, without_...: of a full run
    ├── <subject>/images/   <level>/<condition>/<stimulus_id>_<sample>.png, with -t<item> for single trials
    ├── <subject>/encode/     voxels.safetensors: every model's numbers of each voxel
    ├── scores.csv            one row a number; diagnostics.csv and encoding.csv likewise; each subject's in its folder
    ├── images.csv          what each test image scores by itself, likewise: what `reseen compare` pairs
    ├── raters/               index.html and design.json, where people were asked: a test of two alternatives
    ├── figures/              for print, as PNG and SVG: examples, identification, <subject>_<encoding analysis>
    ├── derivatives/          maps as NIfTI and GIFTI, named as BIDS derivatives, where the recipe asks for them
    └── report.html

A file is there whole or not at all: it is written beside its place and then moved.

::

    folder.py      the folder: what is written there and read back, by one process at a time
    layout.py      where each file is
    journal.py     warnings and times
    records.py     versions, times, digests and what arrays are computed by
    manifest.py    checksums of tables
"""

from reseen.results.folder import ResultsFolder, lost_recipe, other_recipe
from reseen.results.records import (
    SCORED_SIZE_OF,
    TEST_IMAGES_OF,
    VERSION_OF,
    StageTime,
    digest,
    library_versions,
)

__all__ = [
    "SCORED_SIZE_OF",
    "TEST_IMAGES_OF",
    "VERSION_OF",
    "ResultsFolder",
    "StageTime",
    "digest",
    "library_versions",
    "lost_recipe",
    "other_recipe",
]
