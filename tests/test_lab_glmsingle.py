"""Outputs of GLMsingle: of its Python and MATLAB versions, in miniature and as the real package wrote them."""

from pathlib import Path

import h5py
import nibabel
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from reseen import load_data, pipeline
from reseen.errors import DataError
from reseen.recipe import with_settings

SAMPLES = Path(__file__).parents[2] / "shared/samples"
TYPED = "TYPED_FITHRF_GLMDENOISE_RR"
SHAPE = (4, 3, 2)
N_TRIALS = 12
RUNS = [5, 7]
ORDER = np.array([2, 0, 1, 3, 2, 1, 0, 3, 3, 2, 1, 0])  # column of the design of each trial, from 0


@pytest.fixture
def lab(tmp_path):
    """Folder with four images and a table of conditions, whose rows are not in the order of the numbers."""
    (tmp_path / "stimuli").mkdir()
    for number in range(4):
        Image.fromarray(np.full((64, 64, 3), 60 * number, dtype=np.uint8)).save(tmp_path / f"stimuli/item_{number}.png")
    write_conditions(tmp_path, [3, 0, 2, 1])
    return tmp_path


def write_conditions(folder, numbers):
    first = min(numbers)
    images = [f"stimuli/item_{3 - (number - first)}.png" for number in numbers]  # condition 0 is the last image
    table = pd.DataFrame({"condition": numbers, "stim_file": images, "category": [f"c{number}" for number in numbers]})
    table.to_csv(folder / "conditions.tsv", sep="\t", index=False)


def betas_of(seed=0, n_trials=N_TRIALS):
    return np.random.default_rng(seed).normal(size=(*SHAPE, n_trials)).astype(np.float32)


def as_rows(betas):
    """Voxels in C order: (n_trials, n_voxels)."""
    return betas.reshape(-1, betas.shape[-1]).T


def design(order=ORDER, runs=RUNS, **more):
    matrices = [np.zeros((20, 4)) for _ in runs]
    return {"stimorder": list(order), "numtrialrun": list(runs), "design": matrices, "params": more, "tr": 2.0}


def write_python(folder, betas, **more):
    folder.mkdir(exist_ok=True)
    np.save(folder / f"{TYPED}.npy", {"betasmd": betas, "R2": betas[..., 0]}, allow_pickle=True)
    np.save(folder / "DESIGNINFO.npy", design(**more), allow_pickle=True)


def write_hdf5(folder, betas, **options):
    with h5py.File(folder / f"{TYPED}.hdf5", "w") as file:
        file.create_dataset("betasmd", data=betas, **options)
    np.save(folder / "DESIGNINFO.npy", design(), allow_pickle=True)


def write_matlab(folder, betas):
    """MATLAB stores the first axis fastest, so that HDF5 shows its axes reversed; it counts conditions from 1."""
    with h5py.File(folder / f"{TYPED}.mat", "w") as file:
        file["modelmd"] = betas.T
    with h5py.File(folder / "DESIGNINFO.mat", "w") as file:
        file["stimorder"] = (ORDER[:, None] + 1).astype(float)
        file["numtrialrun"] = np.array(RUNS, dtype=float)[:, None]


def write_mask(folder, mask):
    nibabel.save(nibabel.Nifti1Image(mask.astype(np.uint8), np.diag([3.0, 3, 3, 1])), folder / "brain_mask.nii.gz")


def opened(folder, **more):
    return load_data(folder, "glmsingle", n_folds=2, **{"zscore_sessions": False, **more})


def test_sessions_are_joined_in_the_order_of_their_numbers(lab):
    parts = {"ses-2": betas_of(1), "ses-10": betas_of(2)}
    for name, betas in parts.items():
        write_python(lab / name, betas)
    trials = opened(lab).trials
    np.testing.assert_array_equal(trials.betas, np.concatenate([as_rows(betas) for betas in parts.values()]))
    np.testing.assert_array_equal(trials.stimulus_id, np.tile(3 - ORDER, 2))
    assert sorted(np.bincount(trials.run)) == [5, 5, 7, 7]
    first, second = trials.session[0], trials.session[-1]
    np.testing.assert_array_equal(trials.session, np.repeat([first, second], N_TRIALS))
    assert first != second
    assert trials.volume_shape == SHAPE


@pytest.mark.parametrize("first", [0, 1])
def test_a_table_of_conditions_counts_from_0_or_from_1(lab, first):
    write_conditions(lab, [first + number for number in (3, 0, 2, 1)])
    write_python(lab, betas_of())
    np.testing.assert_array_equal(opened(lab).trials.stimulus_id, 3 - ORDER)


@pytest.mark.parametrize("order", ["C", "F"])
def test_an_array_in_any_order_of_memory_is_read(lab, order):
    write_python(lab, np.asarray(betas_of(), order=order))
    np.testing.assert_array_equal(opened(lab).trials.betas, as_rows(betas_of()))


@pytest.mark.parametrize("options", [{}, {"chunks": (2, 2, 1, 5), "compression": "gzip"}], ids=["whole", "chunks"])
def test_hdf5_is_read_whole_or_in_chunks(lab, options):
    write_hdf5(lab, betas_of(), **options)
    np.testing.assert_array_equal(opened(lab).trials.betas, as_rows(betas_of()))


def test_some_voxels_of_hdf5_are_those_of_the_mask(lab):
    mask = np.zeros(SHAPE, dtype=bool)
    mask[1, 2, 1] = mask[3, 0, 0] = mask[3, 0, 1] = mask[0, 1, 0] = True
    write_mask(lab, mask)
    write_hdf5(lab, betas_of(), chunks=(2, 2, 1, 5))
    trials = opened(lab).trials
    np.testing.assert_array_equal(trials.betas, betas_of()[mask].T)
    np.testing.assert_array_equal(trials.voxel_index, np.flatnonzero(mask))


def test_matlab_counts_from_1_and_reverses_the_axes(lab):
    write_matlab(lab, betas_of())
    trials = opened(lab).trials
    np.testing.assert_array_equal(trials.betas, as_rows(betas_of()))
    np.testing.assert_array_equal(trials.stimulus_id, 3 - ORDER)
    np.testing.assert_array_equal(trials.run, np.repeat([0, 1], RUNS))


@pytest.mark.parametrize("axes", [2, 4])
@pytest.mark.parametrize("version", ["python", "matlab"])
def test_voxels_of_a_matrix_are_in_the_order_of_the_program_that_masked_them(lab, axes, version):
    mask = np.random.default_rng(3).random(SHAPE) < 0.6
    write_mask(lab, mask)
    in_mask = betas_of()[mask]  # numpy's order: z changes fastest
    if version == "matlab":
        in_mask = betas_of().transpose(2, 1, 0, 3)[mask.T]  # MATLAB's order: x changes fastest
    stored = in_mask if axes == 2 else in_mask[:, None, None]
    (write_hdf5 if version == "python" else write_matlab)(lab, stored)
    np.testing.assert_array_equal(opened(lab).trials.betas, betas_of()[mask].T)


def test_a_matrix_without_a_mask_has_no_place(lab):
    write_hdf5(lab, betas_of().reshape(-1, N_TRIALS))
    trials = opened(lab).trials
    assert trials.voxel_index is None
    np.testing.assert_array_equal(trials.betas, as_rows(betas_of()))


def test_the_session_indicator_of_one_output_is_used(lab):
    write_python(lab, betas_of(), sessionindicator=np.array([[1, 2]]))
    np.testing.assert_array_equal(opened(lab).trials.session, np.repeat([0, 1], RUNS))


def test_a_design_of_matlabs_version_5_is_read(lab):
    from scipy.io import savemat

    write_matlab(lab, betas_of())
    (lab / "DESIGNINFO.mat").unlink()
    savemat(lab / "DESIGNINFO.mat", {"stimorder": ORDER[None] + 1.0, "numtrialrun": np.array([RUNS], dtype=float)})
    np.testing.assert_array_equal(opened(lab).trials.stimulus_id, 3 - ORDER)


def test_another_output_is_named_by_betas(lab):
    from reseen.datasets import open_subject
    from reseen.recipe import DataRecipe

    write_python(lab, betas_of())
    np.save(lab / "TYPEB_FITHRF.npy", {"betasmd": betas_of(5)}, allow_pickle=True)
    data = DataRecipe(
        kind="glmsingle", path=lab, rois=("all",), betas="TYPEB_FITHRF", zscore_sessions=False, test="folds", n_folds=2
    )
    np.testing.assert_array_equal(open_subject(data, "subj01").trials.betas, as_rows(betas_of(5)))


def remove_conditions(lab):
    (lab / "conditions.tsv").unlink()


def miss_a_condition(lab):
    write_conditions(lab, [3, 0, 2])


def start_at_two(lab):
    write_conditions(lab, [5, 2, 4, 3])


def shorten_the_betas(lab):
    write_python(lab, betas_of(n_trials=11))
    np.save(lab / "DESIGNINFO.npy", design(), allow_pickle=True)


def name_another_subject(lab):
    write_python(lab / "sub-02", betas_of())
    (lab / "DESIGNINFO.npy").unlink()


def keep_type_a_alone(lab):
    (lab / f"{TYPED}.npy").rename(lab / "TYPEA_ONOFF.npy")


def store_twice(lab):
    write_hdf5(lab, betas_of())


def save_without_version(lab):
    from scipy.io import savemat

    (lab / f"{TYPED}.npy").unlink()
    savemat(lab / f"{TYPED}.mat", {"modelmd": betas_of()})


def use_another_mask(lab):
    write_mask(lab, np.ones((4, 3, 3)))


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (remove_conditions, "GLMsingle stores no names"),
        (miss_a_condition, "lists 3 conditions"),
        (start_at_two, "from '2'"),
        (shorten_the_betas, "has 11 trials"),
        (name_another_subject, "it has sub-02"),
        (keep_type_a_alone, "TYPEA_ONOFF has no betas"),
        (store_twice, f"{TYPED}.npy and {TYPED}.hdf5"),
        (save_without_version, "-v7.3"),
        (use_another_mask, "data.mask"),
    ],
)
def test_a_mistake_is_named(lab, change, text):
    write_python(lab, betas_of())
    change(lab)
    with pytest.raises(DataError) as caught:
        opened(lab)
    assert text in str(caught.value)
    assert caught.value.where is not None
    assert str(caught.value).count(". ") <= 2


# ---------------------------------------------------------------------------------- what the real package wrote


needs_samples = pytest.mark.skipif(not SAMPLES.is_dir(), reason="the samples are not next to this clone")


@needs_samples
def test_outputs_of_the_real_package_are_read_as_expected():
    expected = np.load(SAMPLES / "expected/glmsingle_python.npz")
    rois = ["all", "V1", "VT"]
    subject = load_data(
        SAMPLES / "glmsingle_python", "glmsingle", "sub-01", rois=rois, n_folds=5, zscore_sessions=False
    )
    trials = subject.trials
    np.testing.assert_array_equal(trials.betas, expected["betas"])
    np.testing.assert_array_equal(trials.stimulus_id, expected["stimulus_id"])
    np.testing.assert_array_equal(trials.session, expected["run"])
    for name in rois[1:]:
        np.testing.assert_array_equal(trials.rois[name], expected[f"roi_{name}"])
    assert [subject.stimuli.captions(i) for i in range(60)] == [tuple(texts) for texts in expected["captions"]]


@needs_samples
def test_masked_hdf5_of_the_real_package_is_the_first_session_in_other_files():
    conditions = "../glmsingle_python/conditions.tsv"
    folder = SAMPLES / "glmsingle_hdf5_masked"
    trials = load_data(folder, "glmsingle", trials=conditions, n_folds=5, zscore_sessions=False).trials
    with h5py.File(folder / f"{TYPED}.hdf5") as file:
        np.testing.assert_array_equal(trials.betas, file["betasmd"][:, 0, 0].T)
    expected = np.load(SAMPLES / "expected/glmsingle_python.npz")
    np.testing.assert_array_equal(trials.stimulus_id, expected["stimulus_id"][:120])
    # another run of GLMsingle: the penalties differ a little
    assert np.corrcoef(trials.betas.ravel(), expected["betas"][:120].ravel())[0, 1] > 0.99


@needs_samples
def test_the_matlab_sample_is_the_first_session():
    expected = np.load(SAMPLES / "expected/glmsingle_python.npz")
    more = {"trials": "../glmsingle_python/conditions.tsv", "mask": "../glmsingle_python/brain_mask.nii.gz"}
    trials = opened(SAMPLES / "glmsingle_matlab", **more).trials
    np.testing.assert_array_equal(trials.betas, expected["betas"][:120])
    np.testing.assert_array_equal(trials.stimulus_id, expected["stimulus_id"][:120])


CONDITIONS = ["--set", "data.trials=../glmsingle_python/conditions.tsv"]


@needs_samples
@pytest.mark.parametrize(
    ("folder", "settings", "said"),
    [
        ("glmsingle_python", ["--set", 'data.subjects=["sub-01"]'], "240 trials of 60 images, 544 voxels"),
        ("glmsingle_hdf5_masked", CONDITIONS, "120 trials of 60 images, 544 voxels"),
        ("glmsingle_matlab", [*CONDITIONS, "--set", "data.mask=../glmsingle_python/brain_mask.nii.gz"], "4 runs"),
    ],
)
def test_each_sample_is_checked_by_one_command(reseen, tmp_path, tiny_model, folder, settings, said):
    command = ["check", "own_data", "--data", SAMPLES / folder, "--set", "data.kind=glmsingle", "--model", tiny_model]
    _, out, err = reseen(*command, "--out", tmp_path, "--set", 'data.test="folds"', *settings)
    printed = " ".join((out + err).split())
    assert said in printed
    assert "labels fit the betas" in printed


@needs_samples
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_the_sample_runs_to_scores_and_report(small_recipe, random_networks, tmp_path):
    settings = {
        "kind": "glmsingle",
        "path": SAMPLES / "glmsingle_python",
        "subjects": '["sub-01"]',
        "rois": '["V1", "VT"]',
        "test": "folds",
        "n_folds": 2,
    }
    rest = ['decode.rois.z=["V1"]', 'decode.rois.c=["VT"]', "reconstruct.n_samples=1"]
    recipe = with_settings(small_recipe, [*(f"data.{name}={value}" for name, value in settings.items()), *rest])
    pipeline.run(recipe, tmp_path / "out")
    scores = pd.read_csv(tmp_path / "out/scores.csv")
    assert len(scores)
    assert (tmp_path / "out/report.html").is_file()
