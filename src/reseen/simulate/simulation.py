"""Simulate subjects, trials and betas, each from its own random numbers."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from reseen.datasets.nsd_facts import ROI_LABELS, TRUTH, NsdFiles
from reseen.errors import ResultsError
from reseen.recipe import SimulateRecipe
from reseen.simulate.anatomy import Anatomy, build_anatomy
from reseen.simulate.cortex import Cortex, Responses
from reseen.simulate.design import plan_trials
from reseen.simulate.imagery import DrawnTargets, draw_targets, scan_imagery
from reseen.simulate.imagery_layout import write_imagery, write_targets
from reseen.simulate.images import Shown, draw_images, read_images
from reseen.simulate.layout import BETAS, SPACE, write_tree
from reseen.simulate.noise import Scanner, measure_ncsnr, measure_session, sample_scanner
from reseen.simulate.subject import SubjectTree
from reseen.simulate.surfaces import surface_labels, surface_transforms
from reseen.simulate.synthetic import plan_synthetic, scan_synthetic
from reseen.simulate.synthetic_images import draw_colours, draw_synthetic
from reseen.simulate.synthetic_layout import write_shared, write_synthetic
from reseen.simulate.voxels import sample_cortex, sample_ncsnr

Progress = Callable[[str, int, int], None]
_PURPOSES = (
    *("images", "order", "cortex", "ncsnr", "noise", "session", "targets", "imagery"),
    *("synthetic images", "synthetic order", "synthetic colours", "synthetic"),
)


@dataclass(frozen=True)
class SimulatedSubject:
    """Simulated subject with its trials and ground truth.

    Parameters
    ----------
    name
        ``"subj01"``, ``"subj02"`` ...
    stimulus_id
        For each session ``(n_trials,)``: the presented images.
    betas
        For each session ``(n_trials, n_voxels)`` float32, per cent signal change.
    lapse
        For each session ``(n_trials,)`` bool: trials on which the subject did not attend.
    seen
        Shape ``(n_stimuli,)``: ids of all presented images, ascending.
    cortex, responses
        Voxels of the subject, and their noise-free responses to ``seen``.
    scanner
        Noise of the subject.
    ncsnr
        Shape ``(n_voxels,)``: computed from the betas with NSD's formula.
    """

    name: str
    stimulus_id: tuple[NDArray[np.int64], ...]
    betas: tuple[NDArray[np.float32], ...]
    lapse: tuple[NDArray[np.bool_], ...]
    seen: NDArray[np.int64]
    cortex: Cortex
    responses: Responses
    scanner: Scanner
    ncsnr: NDArray[np.float32]


WriteSession = Callable[[list[SimulatedSubject], list[SubjectTree]], None]
"""Function that simulates and writes the session of another experiment, for all subjects."""


def simulate(
    out: Path,
    recipe: SimulateRecipe,
    *,
    images: Path | None = None,
    nifti: bool = False,
    imagery: bool = False,
    synthetic: bool = False,
    progress: Progress | None = None,
) -> None:
    """Write a data set of simulated subjects; the same recipe and images write the same bytes.

    Parameters
    ----------
    out
        Folder to write. In addition to NSD's files it contains ``reseen_truth.json`` (settings of this recipe, seen and
        novel test images, each image's background and objects) and ``truth/``: the scene of each image, and for each
        subject the noise-free responses and each voxel's properties.
    recipe
        Numbers of subjects, sessions and images, and the seed.
    images
        Folder of the user's own images and captions. Default: scenes are drawn.
    nifti
        Also write the betas as NIfTI.
    imagery
        Also write a session of NSD-Imagery for each subject; see `reseen.simulate.imagery`. Other files do not change.
    synthetic
        Also write a session of NSD-synthetic for each subject; see `reseen.simulate.synthetic`. Other files do not
        change.
    progress
        Function of the current step, the amount done and the total.

    Raises
    ------
    RecipeError
        If images and trials do not fit.
    DataError
        If the user's images cannot be used.
    ResultsError
        If the folder already contains a data set, or cannot be written.
    """
    if (out / "nsddata").exists():
        raise ResultsError(
            f"{out} already contains a data set. Choose another folder, or delete this one first.", where=out
        )
    tell = progress or _no_progress
    anatomy, shown, subjects = simulated_subjects(recipe, images=images, progress=tell)
    sessions: list[WriteSession] = []
    if imagery:
        targets = draw_targets(shown, _rng(recipe.seed, "targets"))
        sessions.append(partial(_write_imagery, out, recipe, targets, nifti=nifti))
    if synthetic:
        sessions.append(partial(_write_synthetic, out, recipe, nifti=nifti))
    _write(out, recipe, shown, anatomy, subjects, sessions, nifti=nifti, tell=tell)


def simulated_subjects(
    recipe: SimulateRecipe, *, images: Path | None = None, progress: Progress | None = None
) -> tuple[Anatomy, Shown, list[SimulatedSubject]]:
    """Simulate without writing: return the shared anatomy, the images, and the subjects with their ground truth.

    Parameters and errors are those of ``simulate``.
    """
    tell = progress or _no_progress
    rng = _rng(recipe.seed, "images")
    if images is None:
        shown = draw_images(recipe, rng, partial(tell, "draw images"))
    else:
        shown = read_images(images, recipe, rng, partial(tell, "read images"))
    plan = plan_of(recipe)
    anatomy = build_anatomy(recipe.voxel_fraction)
    subjects = [
        scan_subject(number, shown, plan, anatomy, seed=recipe.seed, progress=tell)
        for number in range(recipe.n_subjects)
    ]
    return anatomy, shown, subjects


def plan_of(recipe: SimulateRecipe) -> list[NDArray[np.int64]]:
    """Plan the image of each trial of a subject, as `plan_trials` returns it.

    Raises
    ------
    RecipeError
        If there are more images than trials.
    """
    return plan_trials(
        recipe.n_test, recipe.n_train, recipe.n_sessions, recipe.trials_per_session, _rng(recipe.seed, "order")
    )


def scan_subject(
    number: int,
    shown: Shown,
    plan: list[NDArray[np.int64]],
    anatomy: Anatomy,
    *,
    seed: int,
    plant: Callable[[Cortex], Cortex] | None = None,
    progress: Progress | None = None,
) -> SimulatedSubject:
    """Sample a subject's cortex and simulate its sessions; they depend on ``seed`` and ``number`` (from 0) only.

    Parameters
    ----------
    shown
        All images, and the ids of this subject's images.
    plan
        For each session the image of each trial, counted over the subject's images: first shared, then its own.
    plant
        Function that changes the cortex before it is tuned, for a subject whose responses lack some information.
    progress
        As in ``simulate``.
    """
    tell = progress or _no_progress
    name = f"subj{number + 1:02d}"
    mine = np.concatenate([shown.shared, shown.own[number]])
    stimulus_id = tuple(mine[slots] for slots in plan)
    seen = np.sort(mine)
    report = partial(tell, f"compute responses of {name}")
    report(0, len(seen))
    cortex = sample_cortex(anatomy, _rng(seed, "cortex", number))
    if plant is not None:
        cortex = plant(cortex)
    attributes = None if shown.attributes is None else shown.attributes[seen]
    cortex, responses = cortex.tune(shown.small[seen], attributes, report)
    tell(f"scan {name}", 0, len(plan))
    ncsnr = sample_ncsnr(anatomy, _rng(seed, "ncsnr", number))
    scanner = sample_scanner(anatomy, responses.signal, ncsnr, len(plan), _rng(seed, "noise", number))
    measured = []
    for k, ids in enumerate(stimulus_id):
        signal = responses.signal[np.searchsorted(seen, ids)]
        measured.append(measure_session(scanner, k, signal, _rng(seed, "session", number, k)))
        tell(f"scan {name}", k + 1, len(plan))
    betas = tuple(part for part, _ in measured)
    session = np.repeat(np.arange(len(plan)), [len(ids) for ids in stimulus_id])
    return SimulatedSubject(
        name=name,
        stimulus_id=stimulus_id,
        betas=betas,
        lapse=tuple(lapse for _, lapse in measured),
        seen=seen,
        cortex=cortex,
        responses=responses,
        scanner=scanner,
        ncsnr=measure_ncsnr(np.concatenate(betas), np.concatenate(stimulus_id), session),
    )


def _write(
    out: Path,
    recipe: SimulateRecipe,
    shown: Shown,
    anatomy: Anatomy,
    subjects: list[SimulatedSubject],
    sessions: Sequence[WriteSession],
    *,
    nifti: bool,
    tell: Progress,
) -> None:
    started, n_sessions = count(), sum(len(subject.betas) for subject in subjects)

    def begin(betas: NDArray[np.float32]) -> NDArray[np.float32]:
        tell("write files", next(started), n_sessions)
        return betas

    atlases = _atlases(anatomy)
    trees = [
        SubjectTree(
            name=subject.name,
            stimulus_id=subject.stimulus_id,
            betas=map(begin, subject.betas),
            volume_shape=anatomy.volume_shape,
            voxel_index=anatomy.voxel_index,
            rois=atlases,
            ncsnr=subject.ncsnr,
            affine=anatomy.affine,
            vertex_files=_vertex_files(anatomy, atlases, subject.name),
        )
        for subject in subjects
    ]
    write_tree(
        out,
        images=shown.images,
        captions=shown.captions,
        coco_id=[1000 + 3 * i for i in range(len(shown.images))],
        shared=shown.shared.tolist(),
        subjects=trees,
        nifti=nifti,
    )
    truth = out / "truth"
    try:
        for write_session in sessions:
            write_session(subjects, trees)
        truth.mkdir(parents=True, exist_ok=True)
        (truth / "images.json").write_text(json.dumps(shown.descriptions), encoding="utf-8")
        for subject in subjects:
            _write_truth(truth / f"{subject.name}.npz", anatomy, subject)
        settings = {
            "simulate": recipe.model_dump(mode="json"),
            "subsets": shown.subsets,
            "categories": shown.categories,
            "subjects": [subject.name for subject in subjects],
        }
        (out / TRUTH).write_text(json.dumps(settings, indent=1), encoding="utf-8")
    except OSError as error:
        raise ResultsError(
            f"cannot write the ground truth of the simulated subjects in {out}: {error.strerror}.", where=out
        ) from error
    tell("write files", n_sessions, n_sessions)


def _write_imagery(
    out: Path,
    recipe: SimulateRecipe,
    targets: DrawnTargets,
    subjects: list[SimulatedSubject],
    trees: list[SubjectTree],
    *,
    nifti: bool,
) -> None:
    """Simulate and write the session of NSD-Imagery of each subject."""
    write_targets(NsdFiles(out, subjects[0].name, SPACE, BETAS), targets)
    for number, (subject, tree) in enumerate(zip(subjects, trees, strict=True)):
        rng = _rng(recipe.seed, "imagery", number)
        scan = scan_imagery(targets, subject.cortex, subject.scanner, subject.responses.signal, rng)
        write_imagery(NsdFiles(out, subject.name, SPACE, BETAS), tree, scan, nifti=nifti)


def _write_synthetic(
    out: Path, recipe: SimulateRecipe, subjects: list[SimulatedSubject], trees: list[SubjectTree], *, nifti: bool
) -> None:
    """Simulate and write the session of NSD-synthetic of each subject; all have one order of trials."""
    images = draw_synthetic(_rng(recipe.seed, "synthetic images"))
    design = plan_synthetic(_rng(recipe.seed, "synthetic order"))
    write_shared(NsdFiles(out, subjects[0].name, SPACE, BETAS), images, design)
    for number, (subject, tree) in enumerate(zip(subjects, trees, strict=True)):
        colours = draw_colours(_rng(recipe.seed, "synthetic colours", number))
        rng = _rng(recipe.seed, "synthetic", number)
        betas = scan_synthetic(images, colours, design, subject.cortex, subject.scanner, rng)
        write_synthetic(NsdFiles(out, subject.name, SPACE, BETAS), tree, colours, betas, nifti=nifti)


def _write_truth(path: Path, anatomy: Anatomy, subject: SimulatedSubject) -> None:
    """Write the ground truth of a subject: noise-free responses in units of their sd, and each voxel's properties."""
    cortex, scanner = subject.cortex, subject.scanner
    np.savez(
        path,
        stimulus_id=subject.seen,
        signal=subject.responses.signal,
        category_share=subject.responses.category_proportion(),
        prf_x=cortex.x,
        prf_y=cortex.y,
        prf_size=cortex.size,
        noise_sd=scanner.noise_sd,
        amplitude=scanner.amplitude,
        baseline=scanner.baseline,
        ncsnr=scanner.ncsnr,
        stream=anatomy.stream,
        area=anatomy.area,
        voxel_index=anatomy.voxel_index,
        position=anatomy.position,
        lapse=np.concatenate(subject.lapse),
    )


def _vertex_files(anatomy: Anatomy, atlases: dict[str, NDArray[np.int64]], subject: str) -> dict[str, NDArray[Any]]:
    """Return the content of a subject's transform files and of the labels on its own surface and on fsaverage."""
    files = NsdFiles(Path(), subject, SPACE, BETAS)
    transforms = surface_transforms(anatomy, files)
    return {**transforms, **surface_labels(atlases, transforms, files)}


def _atlases(anatomy: Anatomy) -> dict[str, NDArray[np.int64]]:
    """Return NSD's atlases as volumes: -1 off the cortex, 0 cortex without a label.

    V1 to V3 divide the stream ``early``; hV4 is the stream ``midventral``, anterior to them.
    """
    upper = anatomy.angle > 0
    drawn = ROI_LABELS["prf-visualrois"]
    areas = np.where(anatomy.area > 0, 2 * anatomy.area - upper, 0)
    areas[anatomy.where("midventral")] = drawn["hV4"]
    labels = {"streams": anatomy.stream, "nsdgeneral": np.ones_like(anatomy.stream), "prf-visualrois": areas}
    volumes = {}
    for atlas, label in labels.items():
        volume = np.where(anatomy.cortex, 0, -1).astype(np.int64)
        volume.ravel()[anatomy.voxel_index] = label
        volumes[atlas] = volume
    return volumes


def _rng(seed: int, purpose: str, *key: int) -> Generator:
    """Return the random generator of one purpose; other purposes do not depend on it."""
    return np.random.default_rng((seed % 2**63, 1 + _PURPOSES.index(purpose), len(key), *key))


def _no_progress(what: str, done: int, total: int) -> None:
    """Do nothing; default of ``progress``."""
