"""Small valid inputs of every kind of file that reseen reads, each with the public function that reads it.

Everything is written below one folder. The same code writes the same bytes, but for the path of that folder.
"""

from __future__ import annotations

import json
import shutil
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

Read = Callable[[], Any]
SUBJECT = "subj01"


@dataclass(frozen=True)
class Kind:
    """One kind of input: the files that are mutated, and the function that reads all of them.

    Parameters
    ----------
    name
        Its name in tables.
    files
        Files that are mutated.
    read
        Reads the input by reseen's public functions and returns its values.
    root
        Folder that is put back after each case; left out, only the mutated file is.
    weight
        How often it takes a turn; kinds that are slow to read take fewer.
    """

    name: str
    files: tuple[Path, ...]
    read: Read
    root: Path | None = None
    weight: int = 2


def digest(value: Any) -> str:
    """Return the SHA-256 of values: arrays, tables, data classes, mappings, sequences, text and numbers."""
    return sha256(repr(_plain(value)).encode()).hexdigest()


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        content = repr(value.tolist()).encode() if value.dtype.hasobject else np.ascontiguousarray(value).tobytes()
        return value.dtype.str, value.shape, sha256(content).hexdigest()
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {key: _plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    return value.to_csv() if hasattr(value, "to_csv") else value


def _files(folder: Path, *leave_out: str) -> tuple[Path, ...]:
    found = sorted(path for path in folder.rglob("*") if path.is_file())
    return tuple(path for path in found if path.name not in leave_out)


# ------------------------------------------------------------------------------------------------ own data


def _own_arrays() -> dict[str, Any]:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (8, 4, 4, 3), dtype=np.uint8).repeat(4, axis=1).repeat(4, axis=2)
    return {
        "betas": rng.standard_normal((20, 40)).astype(np.float32),
        "stimulus_images": images,
        "stimulus_id": np.concatenate([np.arange(8), np.arange(8), np.arange(4)]),
        "run": np.repeat([1, 2], 10),
        "captions": np.array([f"image {i}" for i in range(8)]),
        "category": np.array(["a", "b"] * 4),
        "roi_low": np.arange(40) < 20,
        "roi_high": np.arange(40) >= 20,
        "test_stimulus_id": np.array([0, 1, 4, 5]),
        "ncsnr": np.full(40, 0.5),
    }


def read_subject(data: Any, name: str = SUBJECT) -> Any:
    """Check and read all of a subject; return its values."""
    from reseen.datasets import inventory, open_subject

    inventory(data, name)
    subject = open_subject(data, name)
    trials, stimuli, split = subject.trials, subject.stimuli, subject.split
    images = [stimuli.image(int(stimulus)) for stimulus in stimuli.stimulus_id]
    captions = [stimuli.captions(int(stimulus)) for stimulus in stimuli.stimulus_id]
    about = (trials.stimulus_id, trials.session, trials.ncsnr, trials.rois, trials.voxel_index, stimuli.categories)
    return trials.betas, about, images, captions, split.folds


def write_npz(folder: Path) -> Kind:
    """Write own data as an npz file, compressed and not."""
    from reseen.recipe import DataRecipe

    files = (folder / "plain.npz", folder / "packed.npz")
    np.savez(files[0], **_own_arrays())
    np.savez_compressed(files[1], **_own_arrays())
    recipes = [DataRecipe(kind="arrays", path=path, subjects=(SUBJECT,), rois=("low", "high")) for path in files]
    return Kind("own data, npz", files, lambda: [read_subject(recipe) for recipe in recipes])


def write_npy(folder: Path) -> Kind:
    """Write own data as a folder of npy files."""
    from reseen.recipe import DataRecipe

    (folder / SUBJECT).mkdir()
    for name, array in _own_arrays().items():
        np.save(folder / SUBJECT / f"{name}.npy", array)
    recipe = DataRecipe(kind="arrays", path=folder / SUBJECT, subjects=(SUBJECT,), rois=("low", "high"))
    return Kind("own data, npy", _files(folder), lambda: read_subject(recipe))


# ------------------------------------------------------------------------------------------------ recipes and results


def write_recipe(folder: Path) -> Kind:
    """Write a recipe."""
    from reseen.recipe import Recipe, load_recipe, to_toml

    path = folder / "recipe.toml"
    path.write_text(to_toml(Recipe()), encoding="utf-8")
    return Kind("recipe", (path,), lambda: load_recipe(path).model_dump_json())


def _finish_run(folder: Path) -> tuple[Any, Path]:
    """Run a small recipe up to its tables; return it and its results folder."""
    from tiny_ldm import write_tiny_ldm

    from reseen import run
    from reseen.files import write_json
    from reseen.recipe import Recipe, with_settings

    model, data = write_tiny_ldm(folder / "ldm"), folder / f"{SUBJECT}.npz"
    np.savez(data, **_own_arrays())
    settings = [
        *("data.kind=arrays", f"data.path={data}", 'data.rois=["low", "high"]', f"model.name={model}"),
        *('decode.rois.z=["low"]', 'decode.rois.c=["high"]', "decode.n_folds=2", "decode.alphas=[1.0, 10.0]"),
        *("encode.n_folds=2", "reconstruct.n_samples=1", "reconstruct.n_steps=2", "reconstruct.strength=0.5"),
        *("evaluate.n_derangements=5", "evaluate.n_bootstrap=5", "evaluate.n_permutations=1"),
        *("report.n_random=1", "report.n_sequences=1"),
    ]
    recipe = with_settings(Recipe(name="small"), settings)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of penalties at the edge of a grid of two
        for last in ("encode", "evaluate"):
            results = run(recipe, folder / "out", until=last)
    times = {stage: {**entry.model_dump(), "seconds": 1.0} for stage, entry in results.times.items()}
    write_json(results.path / "times.json", times)  # so that every run writes the same bytes
    (results.path / "log.txt").write_text("2026-01-31T12:00:00+01:00 begin report\n", encoding="utf-8")
    return recipe, results.path


def write_results(folder: Path) -> Iterable[Kind]:
    """Run a small recipe, and read its results folder in three ways: file by file, up to a report, compared."""
    recipe, out = _finish_run(folder)
    reference = folder / "reference"
    shutil.copytree(out, reference)
    files = _files(out, ".lock")
    resumed, compared = folder / "resumed", folder / "compared"
    shutil.copytree(out, resumed)
    shutil.copytree(out, compared)
    names = [path.relative_to(out) for path in files]
    read = tuple(out / name for name in names if _is_read(name))
    yield Kind("results", read, partial(_read_results, out, names), weight=5)
    mutated = tuple(resumed / name for name in names)
    yield Kind("results, resumed", mutated, partial(_resume, recipe, resumed), resumed, weight=1)
    tables = ("recipe.toml", "provenance.json", "checksums.json", "images.csv", "warnings.json")
    yield Kind("results, compared", tuple(compared / name for name in tables), partial(_compare, reference, compared))


def _is_read(name: Path) -> bool:
    """Return whether any reader opens a file: the log is for people."""
    return name.name != "log.txt"


def _read_results(out: Path, names: Sequence[Path]) -> Any:
    """Read the files of a results folder by the functions that resume, report and compare read them by."""
    from reseen.results import ResultsFolder

    results = ResultsFolder.read(out)
    tables = [results.load_table(name.with_suffix("").as_posix()) for name in names if name.suffix == ".csv"]
    arrays = [results.load_arrays(out / name) for name in names if name.suffix == ".safetensors"]
    features = results.load_features(results.decode_path(SUBJECT, "z"))
    blocks = results.feature_blocks(f"{SUBJECT}/c").load()
    images = [results.load_image(out / name) for name in names if name.suffix == ".png" and _is_read(name)]
    records = (results.recipe.model_dump_json(), results.provenance, results.warnings)
    return records, str(results.times), tables, arrays, features, blocks, images


def _resume(recipe: Any, out: Path) -> Any:
    from reseen import run

    return (run(recipe, out, report_anew=True).path / "report.html").read_bytes()


def _compare(reference: Path, other: Path) -> Any:
    from reseen.compare import compare, settings_that_differ
    from reseen.results import ResultsFolder

    one, two = ResultsFolder.read(reference), ResultsFolder.read(other)
    return compare(one, [two], n_bootstrap=20, n_permutations=20), settings_that_differ(one, two), two.warnings


def write_fitted(folder: Path) -> Kind:
    """Fit and write a decoder, an encoder and the map of a ridge."""
    from reseen import Decoder, Encoder, Features, RidgeMap, Trials

    rng, ids = np.random.default_rng(0), np.arange(12)
    trials = Trials(rng.standard_normal((12, 8)).astype(np.float32), ids, rois={"early": np.arange(8) < 5})
    features = Features("z", rng.standard_normal((12, 2, 3)).astype(np.float32), ids)
    files = [folder / f"{name}.safetensors" for name in ("decoder", "encoder", "ridge")]
    decoder = Decoder(["early"], alphas=[1.0], n_folds=2).fit(trials, features)
    decoder.save(files[0])
    Encoder(alphas=[1.0], n_folds=2).fit(trials, features).save(files[1])
    decoder.map_.save(files[2])

    def read() -> Any:
        encoder = Encoder.load(files[1])
        of_encoder = encoder.map_.arrays, encoder.voxels_, encoder.feature_, encoder.shape_
        return Decoder.load(files[0]).describe(), of_encoder, RidgeMap.load(files[2]).arrays

    return Kind("fitted models", tuple(files), read)


def write_scores(folder: Path) -> Kind:
    """Write scores as a table."""
    from reseen import Scores, score

    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (4, 16, 16, 3), dtype=np.uint8)
    score(images[::-1], images, n_pairings=5, n_bootstrap=5).save(folder / "scores.csv")

    def read() -> Any:
        found = Scores.read(folder / "scores.csv")
        return found.table, found.wide(), str(found.headline())

    return Kind("scores", (folder / "scores.csv",), read)


def write_kept(folder: Path) -> Kind:
    """Write a session as it is kept beside the results."""
    from reseen.datasets.kept import KeptSessions
    from reseen.errors import DataError

    kept, computed_by = KeptSessions(folder), {"voxels": "some"}
    kept.save(1, computed_by, np.ones((4, 3), np.float32), np.ones((2, 3)), np.ones(3, bool))

    def read() -> Any:
        betas, moments = np.empty((4, 3), np.float32), np.empty((2, 3))
        known = kept.load(1, computed_by, betas, moments)
        if known is None:
            raise DataError("the kept session is dropped, and read from the data set again.")
        return known, betas, moments

    return Kind("kept session", (folder / "session01.safetensors",), read)


def write_raters(folder: Path) -> Kind:
    """Write a raters' design and the answers of two raters."""
    from reseen.raters import Design, draw_design, read_answers, score_answers

    path = folder / "raters" / "design.json"
    options: dict[str, Any] = {"n_raters": 2, "n_catch": 2, "seed": 0, "results": "run", "images": "sha"}
    design = draw_design({SUBJECT: np.arange(4)}, ("z", "zc"), **options).save(path)
    files = []
    for rater, sheet in enumerate(design.sheets, start=1):
        answers = [{"side": question.side, "seconds": 1.5} for question in sheet]
        saved = {"format": "reseen raters 1", "design": design.fingerprint, "rater": rater, "answers": answers}
        files.append(folder / f"rater{rater}.json")
        files[-1].write_text(json.dumps(saved), encoding="utf-8")

    def read() -> Any:
        known = Design.load(path)
        return known, score_answers(known, read_answers(known, files), n_bootstrap=20)

    return Kind("raters", (path, *files), read)


# ------------------------------------------------------------------------------------------------ images


def write_images(folder: Path) -> Kind:
    """Write an image in every format that is read."""
    from reseen.files import read_image

    pixels = np.random.default_rng(0).integers(0, 256, (24, 24, 3), dtype=np.uint8)
    for ending in ("png", "jpg", "bmp", "tif", "webp", "gif"):
        Image.fromarray(pixels).save(folder / f"image.{ending}")
    Image.fromarray(pixels[..., 0]).save(folder / "grey.png")
    Image.fromarray(pixels).quantize(16).save(folder / "palette.png")
    files = _files(folder)
    return Kind("images", files, lambda: [read_image(path) for path in files])


def write_folders(folder: Path) -> Kind:
    """Write two folders of images that `evaluate` scores."""
    from reseen.scoring import score

    rng = np.random.default_rng(0)
    for name in ("truth", "made"):
        (folder / name).mkdir()
        for number in range(4):
            pixels = rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{number}.png")

    def read() -> Any:
        return score(folder / "made", folder / "truth", condition="given", n_pairings=5, n_bootstrap=5).table

    return Kind("images to score", _files(folder), read, weight=1)


def write_own_images(folder: Path) -> Kind:
    """Write images to simulate with, and their captions as JSON and as text."""
    from reseen.recipe import SimulateRecipe
    from reseen.simulate.images import read_images

    rng = np.random.default_rng(0)
    for number in range(6):
        pixels = rng.integers(0, 256, (20, 20, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
        (folder / f"{number}.txt").write_text(f"image {number}\nanother caption\n", encoding="utf-8")
    captions = {f"{number}.png": f"image {number}" for number in range(4)}
    (folder / "captions.json").write_text(json.dumps(captions), encoding="utf-8")
    recipe = SimulateRecipe(n_sessions=1, trials_per_session=12, n_train=4, n_test=2)

    def read() -> Any:
        shown = read_images(folder, recipe, np.random.default_rng(0))
        return shown.images, shown.captions

    return Kind("images to simulate with", _files(folder), read)


# ------------------------------------------------------------------------------------------------ data in NSD's layout

SHAPE, SHARED, N_IMAGES = (6, 5, 4), (2, 5, 11), 14
OWN = (*SHARED, 0, 1, 3, 4, 6)
ORDER = ((0, 3, 4, 1, 3, 5), (6, 0, 4, 7, 5, 0), (1, 3, 2, 6, 7, 4))
"""Which of its own images a subject is shown, session by session; the first three are shared."""
N_OWN = 40
"""Vertices of the subject's own surface."""


def _write_tree(root: Path, *, nifti: bool = False) -> Any:
    """Write one subject in NSD's layout, with transforms to fsaverage; return where its files are."""
    from reseen.datasets.fsaverage import N_FINE, SIDES
    from reseen.datasets.nsd_facts import DEPTHS, NsdFiles
    from reseen.simulate.layout import BETAS, SPACE, write_tree
    from reseen.simulate.subject import SubjectTree

    rng = np.random.default_rng(0)
    files = NsdFiles(root, SUBJECT, SPACE, BETAS)
    labels = np.full(SHAPE, -1, dtype=np.int16)
    voxel_index = np.sort(rng.permutation(labels.size)[:20])
    labels.ravel()[voxel_index] = np.repeat([1, 5, 0, 6], 5)
    transforms: dict[str, Any] = {}
    for side in SIDES:
        for depth in DEPTHS:
            places = rng.uniform(1, min(SHAPE), (N_OWN, 3)).astype(np.float32)
            transforms[files.to_layer(side, depth).relative_to(root).as_posix()] = places
        nearest = (1 + np.arange(N_FINE) % N_OWN).astype(np.int32)[:, None]
        transforms[files.to_fsaverage(side).relative_to(root).as_posix()] = nearest
    subject = SubjectTree(
        name=SUBJECT,
        stimulus_id=[np.array([OWN[number] for number in order]) for order in ORDER],
        betas=iter([rng.normal(1, 2, (6, 20)).astype(np.float32) for _ in ORDER]),
        volume_shape=SHAPE,
        voxel_index=voxel_index,
        rois={"streams": labels, "nsdgeneral": (labels > 0).astype(np.int16)},
        ncsnr=rng.uniform(0, 1, 20).astype(np.float32),
        vertex_files=transforms,
    )
    write_tree(
        root,
        images=rng.integers(1, 256, (N_IMAGES, 8, 8, 3), dtype=np.uint8),
        captions=[[f"image {number}", "a caption"] for number in range(N_IMAGES)],
        coco_id=[1000 + 7 * number for number in range(N_IMAGES)],
        shared=SHARED,
        subjects=[subject],
        nifti=nifti,
    )
    categories = {"objects": ["cat", "dog"] * (N_IMAGES // 2)}
    settings = {"seed": 0, "n_sessions": 3, "n_test": 3}
    known = {"seed": 0, "simulate": settings, "subsets": {"seen": [2, 5], "novel": [11]}, "categories": categories}
    files.truth.write_text(json.dumps(known), encoding="utf-8")
    (root / "truth").mkdir()
    (root / "truth" / "images.json").write_text(json.dumps([{"file": "0.png"}]), encoding="utf-8")
    return files


def _tree_recipe(root: Path, **settings: Any) -> Any:
    from reseen.recipe import DataRecipe

    return DataRecipe.model_validate({"path": root, "rois": ("early", "ventral"), "zscore_sessions": False, **settings})


def _is_transform(path: Path) -> bool:
    return path.parent.name in ("transforms", "label")


def write_nsd(folder: Path) -> Kind:
    """Write a tree in NSD's layout, its betas in HDF5."""
    from reseen.datasets import extras

    _write_tree(folder)
    recipe = _tree_recipe(folder)
    files = tuple(path for path in _files(folder) if not _is_transform(path))
    return Kind("NSD, HDF5", files, lambda: (read_subject(recipe), extras(recipe, SUBJECT) and None), weight=3)


def write_nifti(folder: Path) -> Kind:
    """Write a tree in NSD's layout, its betas in NIfTI alone."""
    files = _write_tree(folder, nifti=True)
    for path in files.betas_folder.glob("*.hdf5"):
        path.unlink()
    recipe = _tree_recipe(folder)
    mutated = (*sorted(files.betas_folder.iterdir()), *sorted(files.roi("streams").parent.iterdir()), files.brainmask)
    return Kind("NSD, NIfTI", mutated, lambda: read_subject(recipe))


def write_transforms(folder: Path) -> Kind:
    """Write a tree in NSD's layout, of which the way to fsaverage is read."""
    from reseen.datasets.surface import read_affine, read_surface

    files = _write_tree(folder)
    recipe, index = _tree_recipe(folder), np.arange(20)

    def read() -> Any:
        surface = read_surface(recipe, SUBJECT, SHAPE)
        values = surface.coarse().values(np.arange(20.0), index)
        return surface.coordinates, values, read_affine(recipe, SUBJECT, SHAPE)

    return Kind("NSD, transforms", (*files.transforms(), files.roi("streams")), read)


def write_experiments(folder: Path) -> Kind:
    """Write the sessions of NSD-Imagery and NSD-synthetic in a tree in NSD's layout."""
    from reseen.datasets.experiments import EXPERIMENTS, experiment_inventory
    from reseen.datasets.imagery_files import RUNS
    from reseen.datasets.nsd_imagery import read_imagery
    from reseen.datasets.nsd_synthetic import read_synthetic
    from reseen.simulate.imagery import DrawnTargets, ImageryScan
    from reseen.simulate.imagery_layout import write_imagery, write_targets
    from reseen.simulate.subject import SubjectTree
    from reseen.simulate.synthetic import plan_synthetic
    from reseen.simulate.synthetic_images import SyntheticImages
    from reseen.simulate.synthetic_layout import write_shared, write_synthetic

    rng, index = np.random.default_rng(1), np.arange(20)
    files = _write_tree(folder)
    kept = set(_files(folder))
    subject = SubjectTree(SUBJECT, [], [], SHAPE, index, {}, np.zeros(20, dtype=np.float32))
    names = tuple(f"image{number}" for number in range(284))
    images = SyntheticImages(rng.uniform(size=(220, 4, 6, 3)), names, names, names, np.zeros((284, 1), np.float32))
    write_shared(files, images, plan_synthetic(rng))
    betas = rng.normal(size=(744, 20)).astype(np.float32)
    write_synthetic(files, subject, rng.uniform(size=(64, 4, 6, 3)), betas, nifti=False)
    small = rng.integers(0, 256, (18, 8, 8, 3), dtype=np.uint8)
    write_targets(files, DrawnTargets(tuple(f"bar_{number:03d}.png" for number in range(18)), small, small, None))
    labels = tuple(rng.permutation(np.arange(48) % 6) for _ in RUNS)
    write_imagery(files, subject, ImageryScan(betas[:720], labels, labels), nifti=False)
    recipe = _tree_recipe(folder)

    def read() -> Any:
        listed = [experiment_inventory(recipe, SUBJECT, experiment) for experiment in EXPERIMENTS.values()]
        found = read_synthetic(recipe, SUBJECT, index), read_imagery(recipe, SUBJECT, index)
        shown = [one.stimuli.image(number) for one in found for number in (0, 11)]
        return [file.ok for files in listed for file in files], shown, [one.trials.betas for one in found]

    return Kind("NSD, experiments", tuple(path for path in _files(folder) if path not in kept), read)


def write_check(folder: Path) -> Kind:
    """Write a tree in NSD's layout that `check` looks at, with a small model."""
    from tiny_ldm import write_tiny_ldm

    from reseen.check import check, files
    from reseen.check.inputs import Inputs
    from reseen.recipe import Recipe, with_settings

    tree = folder / "tree"
    _write_tree(tree)
    settings = [f"data.path={tree}", 'data.rois=["early", "ventral"]', f"model.name={write_tiny_ldm(folder / 'ldm')}"]
    settings += ['decode.rois.z=["early"]', 'decode.rois.c=["ventral"]', "decode.n_folds=2", "encode.n_folds=2"]
    recipe = with_settings(Recipe(name="checked"), settings)
    drawn = with_settings(recipe, ["model.name=builtin"])

    def read() -> Any:
        inputs = Inputs(drawn, folder / "out", thorough=True)
        found = [*check(recipe, folder / "out"), *files.settings(inputs), *files.files(inputs)]
        return [(finding.what, finding.ok, finding.absent) for finding in found]

    return Kind("NSD, checked", _files(tree), read, weight=1)


def write_fsaverage(folder: Path) -> Kind:
    """Write a tree in NSD's layout whose betas are on fsaverage, in MGH files."""
    import nibabel

    from reseen.datasets.fsaverage import N_FINE, SIDES
    from reseen.datasets.nsd_facts import NsdFiles

    tree = _write_tree(folder)
    shutil.rmtree(tree.betas_folder)
    files = NsdFiles(folder, SUBJECT, "fsaverage", tree.betas)
    rng = np.random.default_rng(1)
    vertices = np.sort(rng.permutation(N_FINE)[:20])
    labels = np.zeros(N_FINE, np.int32)
    labels[vertices] = np.repeat([1, 5, 0, 6], 5)

    def save(path: Path, values: Any) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        nibabel.MGHImage(values, np.eye(4)).to_filename(path)

    for side in SIDES:
        for session in (1, 2):
            betas = np.zeros((N_FINE, 1, 1, 6), np.float32)
            betas[vertices, 0, 0] = rng.normal(1, 2, (20, 6))
            save(files.vertex_session(side, session), betas)
        save(files.vertex_ncsnr(side), np.full((N_FINE, 1, 1), 0.5, np.float32))
        save(files.vertex_labels(side, "streams"), labels[:, None, None])
    table = files.color_table("streams")
    table.write_text("0 Unknown\n1 early\n5 ventral\n6 lateral\n", encoding="utf-8")
    recipe = _tree_recipe(folder, space="fsaverage", sessions=2)
    names = sorted(path for side in SIDES for path in table.parent.glob(f"{side}.streams.mgz"))
    return Kind("NSD, fsaverage", (*sorted(files.betas_folder.iterdir()), *names, table), lambda: read_subject(recipe))


def write_truth(folder: Path) -> Kind:
    """Write the settings of a simulated tree, which a recipe is compared with."""
    from reseen.datasets.nsd_images import read_truth
    from reseen.recipe import Recipe, SimulateRecipe, with_changes
    from reseen.simulate import check_settings

    path = folder / "reseen_truth.json"
    path.write_text(
        json.dumps({"seed": 0, "simulate": SimulateRecipe().model_dump(mode="json"), "subjects": [SUBJECT]}),
        encoding="utf-8",
    )
    recipe = with_changes(Recipe(), {"data.kind": "simulated"})

    def read() -> Any:
        check_settings(recipe, folder)
        return dict(read_truth(path))

    return Kind("settings of a simulation", (path,), read)


# ------------------------------------------------------------------------------------------------ networks


def write_model(folder: Path) -> Kind:
    """Write a diffusion model as a folder."""
    from tiny_ldm import write_tiny_ldm

    model = write_tiny_ldm(folder / "ldm")
    return Kind("model, folder", _files(model), partial(_fingerprint, model))


def write_image_adapters(folder: Path) -> Iterable[Kind]:
    """Write image adapters, pooled and Plus, each with its image encoder."""
    from tiny_ldm import write_random_adapter, write_tiny_ldm

    model = write_tiny_ldm(folder / "ldm")
    for name in ("pooled", "plus"):
        own = folder / name
        file = write_random_adapter(own, plus=name == "plus")
        yield Kind(f"image adapter, {name}", _files(own), partial(_fingerprint, model, file), weight=1)


def write_checkpoints(folder: Path) -> Iterable[Kind]:
    """Write a diffusion model as single files, the settings of each in a folder beside it."""
    import torch
    from original_layout import original_weights
    from safetensors.torch import save_file
    from tiny_ldm import write_tiny_ldm

    from reseen.ldm.loading import assemble, load_folder

    made = write_tiny_ldm(folder / "ldm")
    ldm = assemble(load_folder(made, "folder"))
    weights = original_weights(ldm.unet, ldm.vae, ldm.text_encoder)
    weights = {key: tensor.half().contiguous().clone() for key, tensor in weights.items()}
    files = (folder / "one.safetensors", folder / "two.ckpt")
    save_file(weights, files[0])
    torch.save({"state_dict": weights, "global_step": 1}, files[1])
    for file in files:
        shutil.copytree(made, file.with_suffix(""), ignore=shutil.ignore_patterns("*.safetensors"))
        beside = _files(file.with_suffix(""))
        mutated = (*[file] * len(beside), *beside)  # the weights as often as all settings together
        yield Kind(f"model, {file.suffix}", mutated, partial(_fingerprint, file), weight=1)


def _fingerprint(model: Path, image_adapter: Path | None = None) -> str:
    from reseen.ldm import load_model

    adapter = None if image_adapter is None else str(image_adapter)
    return load_model(str(model), image_adapter=adapter, fetch=False).fingerprint


def write_network(folder: Path) -> Kind | None:
    """Write weights of a network of torchvision, as the protocols' are read; ``None`` where it is not installed."""
    from reseen.imports import import_torchvision
    from reseen.networks import pretrained

    try:
        import_torchvision()
    except ImportError:
        return None
    import torch
    from torchvision import models

    name, path = "small", folder / "checkpoints" / "small.pth"
    pretrained.NETWORKS[name] = pretrained.Network("torchvision", "shufflenet_v2_x0_5", "https://example.org/small.pth")
    path.parent.mkdir()
    torch.manual_seed(0)
    torch.save(models.get_model("shufflenet_v2_x0_5", weights=None).half().state_dict(), path)

    def read() -> Any:
        torch.hub.set_dir(str(folder))
        return pretrained.load_network(name)[1]

    return Kind("network of a protocol", (path,), read, weight=1)


def write_builtin_network(folder: Path) -> Kind:
    """Copy the weights of a network that comes with reseen."""
    from reseen.networks import builtin

    packaged = builtin._FOLDER
    for path in packaged.glob("classifier.*"):
        shutil.copy(path, folder)

    def read() -> str:
        builtin._FOLDER = folder
        try:
            network = builtin.load_builtin_network("classifier")
        finally:
            builtin._FOLDER = packaged
        return network.fingerprint + str(network.labels)

    return Kind("network of reseen", _files(folder), read)


BUILDERS: dict[str, Callable[[Path], Kind | Iterable[Kind] | None]] = {
    "npz": write_npz,
    "npy": write_npy,
    "recipe": write_recipe,
    "results": write_results,
    "fitted": write_fitted,
    "scores": write_scores,
    "kept": write_kept,
    "raters": write_raters,
    "images": write_images,
    "folders": write_folders,
    "own_images": write_own_images,
    "nsd": write_nsd,
    "nifti": write_nifti,
    "transforms": write_transforms,
    "experiments": write_experiments,
    "check": write_check,
    "fsaverage": write_fsaverage,
    "truth": write_truth,
    "model": write_model,
    "image_adapters": write_image_adapters,
    "checkpoints": write_checkpoints,
    "network": write_network,
    "builtin_network": write_builtin_network,
}
"""What writes each group of kinds below a folder of its own."""


def write_kinds(root: Path, names: Iterable[str] = BUILDERS) -> list[Kind]:
    """Write small inputs below a folder.

    Parameters
    ----------
    root
        The folder; it must exist.
    names
        Keys of `BUILDERS`.

    Returns
    -------
    list
        The kinds, each with its files and its reader.
    """
    found: list[Kind] = []
    for name in names:
        folder = root / name
        folder.mkdir()
        written = BUILDERS[name](folder)
        if written is not None:
            found += [written] if isinstance(written, Kind) else written
    return found
