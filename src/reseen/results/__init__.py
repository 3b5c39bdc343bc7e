"""ResultsFolder: the folder that a recipe is run into; every array has the settings that it was computed by.

::

    out/
    ├── recipe.toml           the recipe; another recipe is refused, unless it only scores more
    ├── provenance.json       fingerprints of data and model, versions of the libraries
    ├── times.json            seconds and device of each stage; differs between two equal runs
    ├── warnings.json         warnings, if any
    ├── log.txt               dated lines of every run into the folder; differs likewise
    ├── checksums.json        checksums of the tables; arrays and images have theirs in their own files
    ├── kept/<subject>/       session01.safetensors: ROI voxels of large sessions as they were read; run001.safetensors:
    │                         betas that were estimated; both may be deleted
    ├── features/<subject>/   z.safetensors, c.safetensors; <feature>/<block>.safetensors: recorded while denoising
    ├── <subject>/decode/     z.safetensors: decoded; z_fold0.safetensors: decoder; permuted0_z: with permuted labels;
    │                         c_candidates: captions under the prior; clusters, without_...: of a full run
    ├── <subject>/captions.jsonl  decoded caption of each item and its oracle, where a condition has t
    ├── <subject>/images/     <level>/<condition>/<stimulus_id>_<sample>.png, with -t<item> for single trials
    ├── <subject>/encode/     voxels.safetensors: results of every encoding model for each voxel
    ├── scores.csv            one score a row; retrieval.csv, diagnostics.csv and encoding.csv likewise; each subject's
    │                         in its folder
    ├── captions.csv          scores of decoded captions, likewise, where a condition has t
    ├── images.csv            scores of each test image, likewise, which `reseen compare` pairs
    ├── raters/               index.html and design.json: a test of two alternatives for raters
    ├── figures/              for print, as PNG and SVG: examples, identification, <subject>_<encoding analysis>
    ├── derivatives/          maps as NIfTI and GIFTI, named as BIDS derivatives, if the recipe asks for them
    └── report.html

A file is complete or absent: it is written under another name in the same folder and then renamed.

::

    folder.py      reading and writing of the folder, by one process at a time
    layout.py      paths of the files
    journal.py     warnings and times
    records.py     recipe, versions, times, digests and settings of arrays
    manifest.py    checksums of tables
    captions.py    decoded captions
"""

from reseen.results.captions import DecodedCaption, has_captions, load_captions, save_captions
from reseen.results.folder import ResultsFolder
from reseen.results.records import (
    GREY_OF,
    SCORED_SIZE_OF,
    TEST_IMAGES_OF,
    VERSION_OF,
    StageTime,
    digest,
    library_versions,
    started_recipe,
)

__all__ = [
    "GREY_OF",
    "SCORED_SIZE_OF",
    "TEST_IMAGES_OF",
    "VERSION_OF",
    "DecodedCaption",
    "ResultsFolder",
    "StageTime",
    "digest",
    "has_captions",
    "library_versions",
    "load_captions",
    "save_captions",
    "started_recipe",
]
