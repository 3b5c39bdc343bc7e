"""A simulated tree read as public programs read NSD, by their documented behaviour: their numbers are reseen's.

`Access` reads as nsd_access does; the tests follow the steps of Takagi & Nishimoto's scripts, of Brain-Diffuser's
preparation and of nsdcode.
"""

import json
from pathlib import Path

import h5py
import nibabel
import numpy as np
import pandas as pd
import pytest
from loading import load
from scipy.io import loadmat
from scipy.ndimage import map_coordinates

from reseen.datasets.surface import read_surface
from reseen.decode import decode
from reseen.features import Features
from reseen.recipe import DataRecipe, DecodeRecipe, SimulateRecipe
from reseen.simulate import simulate
from reseen.split import Split
from reseen.stimuli import Stimuli
from reseen.trials import Trials

N_SESSIONS = 3
SUBJECT = "subj02"
BETAS = "betas_fithrf_GLMdenoise_RR"
ROIS = ("early", "ventral")
SETTINGS = SimulateRecipe(
    n_subjects=2, n_sessions=N_SESSIONS, trials_per_session=60, n_train=52, n_test=12, voxel_fraction=0.1, seed=3
)


class Access:
    """Reader of an NSD tree with nsd_access's methods."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.ppdata = root / "nsddata/ppdata"
        self.stim_info = pd.read_csv(root / "nsddata/experiments/nsd/nsd_stim_info_merged.csv", index_col=0)

    def read_behavior(self, subject: str, session: int) -> pd.DataFrame:
        table = pd.read_csv(self.ppdata / subject / "behav/responses.tsv", delimiter="\t")
        return table[table["SESSION"] == session]

    def read_betas(self, subject: str, session: int, trials: list[int], mask: np.ndarray | None = None) -> np.ndarray:
        """Return the betas of trials, (X, Y, Z, n_trials), or (n_voxels, n_trials) of a mask (X, Y, Z)."""
        folder = self.root / f"nsddata_betas/ppdata/{subject}/func1pt8mm/{BETAS}"
        image = nibabel.load(folder / f"betas_session{session:02d}.nii.gz")
        found = image.get_fdata()[..., trials]
        return found if mask is None else found[mask]

    def read_atlas_results(self, subject: str, atlas: str, space: str) -> tuple[np.ndarray, dict[str, int]]:
        """Return the labels of an atlas, and the number of each name."""
        labels = self.root / "nsddata/freesurfer/fsaverage/label"
        table = pd.read_csv(labels / f"{atlas}.mgz.ctab", delimiter=" ", header=None, index_col=0)
        mapping = {name: number for number, name in table[1].items()}
        if space == "fsaverage":
            sides = [nibabel.load(labels / f"{side}.{atlas}.mgz").get_fdata().squeeze() for side in ("lh", "rh")]
            return np.hstack(sides), mapping
        return nibabel.load(self.ppdata / subject / space / f"roi/{atlas}.nii.gz").get_fdata(), mapping

    def read_images(self, index: list[int]) -> np.ndarray:
        with h5py.File(self.root / "nsddata_stimuli/stimuli/nsd/nsd_stimuli.hdf5") as file:
            return file["imgBrick"][sorted(index)]

    def read_image_coco_info(self, index: int) -> list[dict]:
        """Return COCO's annotations of an image (counted from 0)."""
        row = self.stim_info.loc[index]
        folder = self.root / "nsddata_stimuli/stimuli/nsd/annotations"
        content = json.loads((folder / f"captions_{row['cocoSplit']}.json").read_text())
        assert row["cocoId"] in {image["id"] for image in content["images"]}
        return [each for each in content["annotations"] if each["image_id"] == row["cocoId"]]


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("nsd") / "tree"
    simulate(root, SETTINGS, nifti=True)
    return root


@pytest.fixture(scope="module")
def access(tree: Path) -> Access:
    return Access(tree)


@pytest.fixture(scope="module")
def design(tree: Path) -> dict[str, np.ndarray]:
    """Load the design with axes of length 1 removed, as the clients do."""
    return loadmat(tree / "nsddata/experiments/nsd/nsd_expdesign.mat", squeeze_me=True)


@pytest.fixture(scope="module")
def ours(tree: Path) -> tuple[Trials, Stimuli, Split]:
    return load(recipe_for(tree), SUBJECT)


@pytest.fixture(scope="module")
def theirs(access: Access) -> dict[str, np.ndarray]:
    """Concatenate the sessions as the authors' make_subjmri.py does: HDF5 volumes, atlas transposed, ids from 0."""
    atlas, names = access.read_atlas_results(SUBJECT, "streams", "func1pt8mm")
    atlas = atlas.transpose(2, 1, 0)
    behaviour, volumes = [], []
    for session in range(1, N_SESSIONS + 1):
        behaviour.append(access.read_behavior(SUBJECT, session))
        path = access.root / f"nsddata_betas/ppdata/{SUBJECT}/func1pt8mm/{BETAS}/betas_session{session:02d}.hdf5"
        with h5py.File(path) as file:
            volumes.append(file["betas"][:])
    betas = np.concatenate(volumes)
    sharedix = loadmat(access.root / "nsddata/experiments/nsd/nsd_expdesign.mat")["sharedix"][0] - 1
    found = {roi: betas[:, atlas == names[roi]].astype(np.float32) for roi in ROIS}
    return {"stimulus": pd.concat(behaviour)["73KID"].to_numpy() - 1, "shared": sharedix, **found}


def recipe_for(tree: Path, **changes: object) -> DataRecipe:
    settings = {"path": tree, "rois": ROIS, "zscore_sessions": False, "scale_int16": False, **changes}
    return DataRecipe.model_validate(settings)


def in_our_order(trials: Trials, roi: str, theirs: np.ndarray) -> np.ndarray:
    """Reorder voxels of a transposed volume (Z, Y, X) as reseen orders them, by (X, Y, Z)."""
    at = np.stack(np.unravel_index(trials.voxel_index[trials.rois[roi]], trials.volume_shape))
    place = np.lexsort(at)  # the voxels in the order of the transposed volume: Z first
    found = np.empty_like(theirs)
    found[:, place] = theirs
    return found


def largest_difference(ours: np.ndarray, theirs: np.ndarray) -> float:
    return float(np.abs(np.asarray(ours, dtype=np.float64) - theirs).max())


def test_every_trial_leads_to_its_image_by_indexing_with_the_designs_own_numbers(
    design: dict[str, np.ndarray], access: Access, ours: tuple[Trials, Stimuli, Split]
) -> None:
    trials, _, split = ours
    found = [
        design["subjectim"][1, design["masterordering"][trial] - 1] - 1 for trial in range(len(trials.stimulus_id))
    ]
    np.testing.assert_array_equal(found, trials.stimulus_id)
    ten_k = np.concatenate([access.read_behavior(SUBJECT, session)["10KID"] for session in range(1, N_SESSIONS + 1)])
    np.testing.assert_array_equal(ten_k, design["masterordering"])
    test = {int(found[trial]) for trial in range(len(found)) if design["masterordering"][trial] <= 1000}
    assert test == set(design["sharedix"] - 1) == set(split.folds[0][1].tolist())
    assert design["subjectim"].shape[0] == 8
    assert set(np.unique(design["subjectim"][:, :1000])) == set(design["sharedix"])
    assert access.read_images(sorted({int(number) - 1 for number in design["subjectim"].ravel()})).shape[0] == len(
        access.stim_info
    )


def test_the_table_of_images_agrees_with_the_design_and_the_responses(
    design: dict[str, np.ndarray], access: Access, ours: tuple[Trials, Stimuli, Split]
) -> None:
    info = access.stim_info
    np.testing.assert_array_equal(info["nsdId"], np.arange(len(info)))
    np.testing.assert_array_equal(info.loc[info["shared1000"], "nsdId"] + 1, design["sharedix"])
    repetitions = info[[f"subject2_rep{k}" for k in range(3)]].to_numpy()
    for image in range(len(info)):
        shown = repetitions[image][repetitions[image] > 0] - 1
        np.testing.assert_array_equal(shown, np.flatnonzero(ours[0].stimulus_id == image))


def test_behaviour_is_what_an_analysis_of_memory_expects(access: Access) -> None:
    table = pd.concat([access.read_behavior(SUBJECT, session) for session in range(1, N_SESSIONS + 1)])
    presentation = table.groupby("73KID").cumcount().to_numpy()
    assert presentation.max() == 2
    np.testing.assert_array_equal(table["ISOLD"], presentation > 0)
    np.testing.assert_array_equal(table["MEMORYRECENT"].isna(), presentation < 1)
    np.testing.assert_array_equal(table["MEMORYFIRST"].isna(), presentation < 2)
    third = table[presentation == 2]
    assert (third["MEMORYFIRST"] > third["MEMORYRECENT"]).all()
    assert table["TIME"].iloc[0] == pytest.approx(0.505)
    assert table["TIME"].is_monotonic_increasing
    assert table.loc[table["MISSINGDATA"] == 1, ["TOTAL1", "TOTAL2", "RT", "BUTTON"]].isna().all(axis=None)


def test_betas_of_a_mask_are_those_that_reseen_reads(access: Access, ours: tuple[Trials, Stimuli, Split]) -> None:
    trials = ours[0]
    atlas, names = access.read_atlas_results(SUBJECT, "streams", "func1pt8mm")
    mask = atlas == names["ventral"]
    parts = [access.read_betas(SUBJECT, session, list(range(60)), mask).T for session in range(1, N_SESSIONS + 1)]
    own = trials.betas[:, trials.rois["ventral"]]
    assert largest_difference(own, np.concatenate(parts)) == 0
    in_per_cent, _, _ = load(recipe_for(access.root, scale_int16=True), SUBJECT)
    own = in_per_cent.betas[:, trials.rois["ventral"]]
    assert largest_difference(own, np.concatenate(parts) / 300) < 1e-5


def test_concatenated_sessions_and_transposed_atlases_give_the_betas_that_reseen_reads(
    ours: tuple[Trials, Stimuli, Split], theirs: dict[str, np.ndarray]
) -> None:
    trials, _, split = ours
    np.testing.assert_array_equal(theirs["stimulus"], trials.stimulus_id)
    assert set(theirs["shared"]) == set(split.folds[0][1].tolist())
    for roi in ROIS:
        own = trials.betas[:, trials.rois[roi]]
        assert largest_difference(own, in_our_order(trials, roi, theirs[roi])) == 0


def test_averages_of_test_images_and_scores_standardised_by_session_are_equal(
    tree: Path, ours: tuple[Trials, Stimuli, Split], theirs: dict[str, np.ndarray]
) -> None:
    trials, _, split = ours
    betas = in_our_order(trials, "early", theirs["early"])
    means = np.stack([betas[theirs["stimulus"] == image].mean(axis=0) for image in sorted(theirs["shared"])])
    own = trials.select(split.folds[0][1]).average().betas[:, trials.rois["early"]]
    assert largest_difference(own / 300, means / 300) < 1e-5
    sessions = betas.reshape(N_SESSIONS, -1, betas.shape[1])
    scores = (sessions - sessions.mean(axis=1, keepdims=True)) / sessions.std(axis=1, keepdims=True)
    standardised, _, _ = load(recipe_for(tree, zscore_sessions=True), SUBJECT)
    own = standardised.betas[:, trials.rois["early"]]
    assert largest_difference(own, scores.reshape(betas.shape)) < 1e-5


def test_brain_diffusers_preparation_averages_the_same_images(
    access: Access, design: dict[str, np.ndarray], tree: Path
) -> None:
    trials, _, split = load(recipe_for(tree, rois=("nsdgeneral",)), SUBJECT)
    mask = access.read_atlas_results(SUBJECT, "nsdgeneral", "func1pt8mm")[0] > 0
    betas = np.concatenate([access.read_betas(SUBJECT, s + 1, list(range(60)), mask).T for s in range(N_SESSIONS)])
    train: dict[int, list[int]] = {}
    test: dict[int, list[int]] = {}
    for trial in range(len(betas)):
        image = design["subjectim"][1, design["masterordering"][trial] - 1] - 1
        group = train if design["masterordering"][trial] > 1000 else test
        group.setdefault(int(image), []).append(trial)
    for group, ids in zip((train, test), split.folds[0], strict=True):
        assert sorted(group) == ids.tolist()
        means = np.stack([betas[group[image]].mean(axis=0) for image in sorted(group)])
        assert largest_difference(trials.select(ids).average().betas / 300, means / 300) < 1e-5


@pytest.mark.filterwarnings("ignore::reseen.ridge.EdgeWarning")  # the authors' grid ends below the best penalty
def test_the_authors_ridge_predicts_what_reseens_decoder_predicts(
    access: Access, ours: tuple[Trials, Stimuli, Split], theirs: dict[str, np.ndarray]
) -> None:
    from himalaya.backend import set_backend
    from himalaya.ridge import RidgeCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    set_backend("numpy")
    trials, _, split = ours
    alphas = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 0.1, 1.0)
    n_images = len(access.stim_info)
    pixels = access.read_images(list(range(n_images)))[:, ::16, ::16].reshape(n_images, -1)[:, :40] / np.float32(255)
    pixels -= pixels.mean(axis=0)
    is_test = np.isin(theirs["stimulus"], theirs["shared"])
    images = list(dict.fromkeys(theirs["stimulus"][is_test]))  # in order of first appearance
    x = theirs["early"]
    averaged = np.stack([x[theirs["stimulus"] == image].mean(axis=0) for image in images])
    ridge = make_pipeline(StandardScaler(), RidgeCV(alphas, solver_params={"warn": False}))
    ridge.fit(x[~is_test], pixels[theirs["stimulus"][~is_test]])
    predicted = ridge.predict(averaged)

    feature = Features("pixels", pixels, np.arange(n_images))
    recipe = DecodeRecipe(alphas=alphas, group_folds=False, intercept=False, rescale_averages=False)
    _, decoded = decode(trials, split, feature, rois=("early",), recipe=recipe, seed=0)
    row = [decoded.stimulus_id.tolist().index(image) for image in images]
    assert predicted.std() > 0.01
    assert largest_difference(decoded.array[row], predicted) < 1e-5


def test_captions_and_images_are_those_that_reseen_reads(access: Access, ours: tuple[Trials, Stimuli, Split]) -> None:
    stimuli = ours[1]
    for image in (0, 4, 17, 33):
        texts = tuple(each["caption"] for each in access.read_image_coco_info(image))
        assert texts == stimuli.captions(image)
        assert len(texts) == 5
    np.testing.assert_array_equal(access.read_images([4, 17]), stimuli.images([4, 17]))


def test_rois_by_name_are_reseens_in_the_volume_and_on_fsaverage(access: Access, tree: Path) -> None:
    for atlas, names in (("streams", ("early", "parietal")), ("prf-visualrois", ("V1v", "V3d", "hV4"))):
        labels, mapping = access.read_atlas_results(SUBJECT, atlas, "func1pt8mm")
        trials, _, _ = load(recipe_for(tree, rois=names), SUBJECT)
        for name in names:
            found = np.flatnonzero(labels.ravel() == mapping[name])
            np.testing.assert_array_equal(found, trials.voxel_index[trials.rois[name]])
            assert len(found) >= 4
    labels, mapping = access.read_atlas_results(SUBJECT, "streams", "fsaverage")
    assert labels.shape == (2 * 163_842,)
    volume, _ = access.read_atlas_results(SUBJECT, "streams", "func1pt8mm")
    index = np.flatnonzero(volume > 0)
    surface = read_surface(recipe_for(tree), SUBJECT, volume.shape)
    carried = surface.labels(volume.ravel()[index].astype(np.int64), index, missing=0)
    on_fsaverage = np.hstack([carried["lh"], carried["rh"]])
    half_way = labels > 0  # reseen also reads the outer and inner depth where there is no label half way
    assert half_way.sum() > 1000
    np.testing.assert_array_equal(on_fsaverage[half_way], labels[half_way])


def test_drawn_rois_are_on_the_subjects_own_surface(tree: Path) -> None:
    folder = tree / f"nsddata/freesurfer/{SUBJECT}/label"
    names = dict(line.split()[::-1] for line in (folder / "prf-visualrois.mgz.ctab").read_text().splitlines())
    assert names["hV4"] == "7"
    for side in ("lh", "rh"):
        labels = nibabel.load(folder / f"{side}.prf-visualrois.mgz").get_fdata().ravel()
        transform = nibabel.load(tree / f"nsddata/ppdata/{SUBJECT}/transforms/{side}.func1pt8-to-layerB2.mgz")
        assert len(labels) == transform.shape[0]
        assert set(np.unique(labels)) <= set(range(8))
        assert (labels == 7).any()


def test_nsdcodes_way_to_fsaverage_gives_reseens_map(access: Access, tree: Path) -> None:
    volume = np.random.default_rng(0).normal(size=access.read_atlas_results(SUBJECT, "streams", "func1pt8mm")[0].shape)
    surface = read_surface(recipe_for(tree), SUBJECT, volume.shape)
    own = surface.values(volume.ravel(), np.arange(volume.size))
    folder = tree / f"nsddata/ppdata/{SUBJECT}/transforms"
    for side in ("lh", "rh"):
        depths = []
        for depth in (1, 2, 3):
            at = nibabel.load(folder / f"{side}.func1pt8-to-layerB{depth}.mgz").get_fdata().squeeze()
            values = map_coordinates(volume, at.T - 1, order=3, mode="nearest")
            depths.append(np.where((at == 9999).any(axis=1), np.nan, values))
        nearest = nibabel.load(folder / f"{side}.white-to-fsaverage.mgz").get_fdata().ravel().astype(int) - 1
        expected = np.mean(depths, axis=0)[nearest]
        known = np.isfinite(expected)
        assert known.sum() > 10_000
        assert largest_difference(own[side][known], expected[known]) < 1e-5
