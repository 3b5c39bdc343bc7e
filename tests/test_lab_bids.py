"""Data sets in BIDS: betas in files, and betas estimated from the series of fMRIPrep."""

import json
from pathlib import Path

import nibabel
import numpy as np
import pandas as pd
import pytest
from bids_study import AFFINE, MASK, N_VOLUMES, ORDER, RUNS, betas_of, save, stem, write_study

from reseen import load_data, pipeline
from reseen.datasets.lab.single_trials import Events, Scan, estimate
from reseen.errors import DataError
from reseen.recipe import with_settings

SAMPLES = Path(__file__).parents[2] / "shared/samples"


@pytest.fixture
def study(tmp_path):
    write_study(tmp_path)
    return tmp_path


def opened(folder, **more):
    return load_data(folder, "bids", "sub-01", **{"n_folds": 3, "zscore_sessions": False, **more})


def expected_betas():
    return np.concatenate([betas_of(number)[MASK].T for number in range(3)])


def test_one_file_a_run_is_read_in_order_of_sessions_runs_and_onsets(study):
    trials = opened(study, responses="betas").trials
    np.testing.assert_array_equal(trials.betas, expected_betas())
    np.testing.assert_array_equal(trials.stimulus_id, ORDER * 3)
    np.testing.assert_array_equal(trials.session, np.repeat([0, 0, 1], 5))
    assert trials.space == "T1w"
    np.testing.assert_array_equal(trials.voxel_index, np.flatnonzero(MASK))


def test_one_file_a_trial_is_read_in_the_order_of_numbers(study):
    (study / "betas").rename(study / "unused")
    for number, (session, run) in enumerate(RUNS):
        for trial in range(5):
            name = f"{stem(session, run)}_space-T1w_trial-{7 + trial}_beta.nii.gz"  # 10 follows 9, not 1
            save(study / "betas" / name, betas_of(number)[..., trial])
    np.testing.assert_array_equal(opened(study, responses="betas").trials.betas, expected_betas())


def test_estimated_betas_are_those_of_which_the_series_is_made(study):
    trials = opened(study).trials
    np.testing.assert_array_equal(trials.stimulus_id, ORDER * 3)
    r = np.corrcoef(trials.betas.ravel(), expected_betas().ravel())[0, 1]
    assert r > 0.98  # per cent of the mean of the series, which the responses raise a little
    without = opened(study, confounds=[]).trials.betas
    assert np.corrcoef(without.ravel(), expected_betas().ravel())[0, 1] < r


def test_lss_has_another_model_for_each_trial(study):
    lss, lsa = (opened(study, single_trials=method).trials.betas for method in ("lss", "lsa"))
    assert lss.shape == lsa.shape
    assert 0.5 < np.corrcoef(lss.ravel(), lsa.ravel())[0, 1] < 0.9999


def test_lsa_is_the_model_of_first_level_from_bids(study):
    """Its models, events and confounds, with a name for each trial, have the same effects."""
    import warnings

    from nilearn.glm.first_level import first_level_from_bids

    (
        study / "derivatives/fmriprep/sub-01/ses-1/func/sub-01_ses-1_task-rest_space-T1w_desc-preproc_bold.nii.gz"
    ).unlink()
    description = json.dumps({"Name": "study", "BIDSVersion": "1.9.0"})
    for folder in (study, study / "derivatives/fmriprep"):
        (folder / "dataset_description.json").write_text(description)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        (model,), (images,), (events,), (confounds,) = first_level_from_bids(
            study,
            "pics",
            space_label="T1w",
            sub_labels=["01"],
            img_filters=[("desc", "preproc")],
            t_r=2.0,
            hrf_model="spm",
            mask_img="derivatives",
            derivatives_folder="derivatives/fmriprep",
        )
        effects = []
        for image, table, confound in zip(images, events, confounds, strict=True):
            table = table.sort_values("onset")
            shown = table["stim_file"].notna()
            names = [f"trial {number}" for number in np.cumsum(shown) - 1]
            table["trial_type"] = np.where(shown, names, "fixation")
            model.fit(image, table, confound)
            trials = [f"trial {number}" for number in range(5)]
            effects += [model.compute_contrast(trial, output_type="effect_size") for trial in trials]
    expected = np.stack([np.asarray(effect.dataobj)[MASK] for effect in effects])
    found = opened(study, confounds=["trans_x", "rot_z", "csf"]).trials.betas
    # the files of nilearn are sorted as text: run 10 before run 2
    rows = np.concatenate([np.arange(5, 10), np.arange(5), np.arange(10, 15)])
    np.testing.assert_allclose(found[rows], expected, atol=2e-4)


def test_an_atlas_of_nuisance_events_has_one_regressor_for_each_category():
    events = Events(np.array([2.0, 20, 40, 60]), np.full(4, 2.0), np.array([0, -1, 1, -1]), ("a", "b", "a", "c"))
    scan = Scan(2.0, 0.0, {})
    design = np.zeros((N_VOLUMES, 3))
    series = 100 + np.random.default_rng(0).normal(size=design.shape)
    betas = estimate(series, events, scan)
    assert betas.shape == (2, 3)
    series[:, 1] = 7
    assert np.isnan(estimate(series, events, scan)[:, 1]).all()


def change_events(study, column, value):
    for path in study.rglob("*events.tsv"):
        table = pd.read_csv(path, sep="\t", keep_default_na=False)
        table[column] = value(table) if callable(value) else value
        table.to_csv(path, sep="\t", index=False)


def add_a_space(study):
    for path in study.rglob("*ses-*space-T1w_desc-preproc_bold.nii.gz"):
        path.with_name(path.name.replace("T1w", "MNI152NLin2009cAsym_res-2")).write_bytes(path.read_bytes())


def lose_a_run_of_another_space(study):
    add_a_space(study)
    next(study.rglob("*run-10*MNI*bold.nii.gz")).unlink()


def write_onsets_in_milliseconds(study):
    change_events(study, "onset", lambda table: 1000 * table["onset"].astype(float))


def name_categories_alone(study):
    change_events(study, "stim_file", "n/a")


def lose_confounds(study):
    for path in study.rglob("*confounds*"):
        path.unlink()


def lose_masks(study):
    for path in study.rglob("*brain_mask*"):
        path.unlink()


def lose_times(study):
    (study / "task-pics_bold.json").unlink()
    for path in study.rglob("*bold.nii.gz"):
        image = nibabel.load(path)
        image = nibabel.Nifti1Image(np.asarray(image.dataobj), AFFINE)
        image.header["pixdim"][4] = 0
        nibabel.save(image, path)


def change_nothing(study):
    assert study.is_dir()


def lose_an_events_file(study):
    next(study.rglob("*run-10_events.tsv")).unlink()


@pytest.mark.parametrize(
    ("change", "settings", "where"),
    [
        (add_a_space, {}, "data.space"),
        (add_a_space, {"space": "MNI305"}, "data.space"),
        (lose_a_run_of_another_space, {"space": "MNI152NLin2009cAsym"}, None),
        (write_onsets_in_milliseconds, {}, None),
        (name_categories_alone, {}, None),
        (lose_confounds, {}, "data.confounds"),
        (change_nothing, {"confounds": ["csff"]}, "data.confounds"),
        (lose_masks, {}, "data.mask"),
        (lose_times, {}, None),
        (lose_an_events_file, {}, "data.trials"),
        (change_nothing, {"responses": "stimuli"}, "data.responses"),
    ],
)
def test_a_mistake_is_named(study, change, settings, where):
    change(study)
    with pytest.raises(DataError) as caught:
        _ = opened(study, **settings).trials
    assert caught.value.where is not None
    assert where in (None, caught.value.where)


def test_a_named_space_is_read(study):
    add_a_space(study)
    trials = opened(study, space="MNI152NLin2009cAsym", mask=next(study.rglob("*brain_mask.nii.gz"))).trials
    assert trials.space == "MNI152NLin2009cAsym"
    np.testing.assert_allclose(trials.betas, opened(study, space="T1w").trials.betas, atol=1e-5)


def test_without_a_json_file_the_header_has_the_repetition_time(study):
    expected = opened(study).trials.betas
    (study / "task-pics_bold.json").unlink()
    np.testing.assert_allclose(opened(study).trials.betas, expected, atol=1e-6)


# ------------------------------------------------------------------------------------------------- the samples

needs_samples = pytest.mark.skipif(not SAMPLES.is_dir(), reason="the samples are not next to this clone")
FOLDER = SAMPLES / "bids_fmriprep"


def same_as_expected(trials, tolerance):
    expected = np.load(SAMPLES / "expected/nilearn_betas_4d.npz")
    np.testing.assert_allclose(trials.betas, expected["betas"], atol=tolerance)
    for name, found in {"stimulus_id": trials.stimulus_id, "run": trials.run}.items():
        np.testing.assert_array_equal(found, expected[name])
    for name in ("V1", "VT"):
        np.testing.assert_array_equal(trials.rois[name], expected[f"roi_{name}"])


@needs_samples
def test_betas_in_files_are_as_expected():
    rois = ["all", "V1", "VT"]
    same_as_expected(opened(FOLDER, responses="../nilearn_betas/one_4d_a_run", rois=rois).trials, 0)


@needs_samples
def test_betas_that_are_estimated_here_are_those_that_nilearn_wrote():
    names = ["trans_x", "framewise_displacement"]
    same_as_expected(opened(FOLDER, rois=["all", "V1", "VT"], confounds=names).trials, 5e-5)


@needs_samples
def test_one_file_a_trial_is_lss(tmp_path):
    import shutil

    for path in FOLDER.rglob("*ses-02*run-4*"):  # the files are of this run alone
        target = tmp_path / path.relative_to(FOLDER)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    more = {"images": SAMPLES / "stimuli", "n_folds": 2, "zscore_sessions": False}
    names = ["trans_x", "framewise_displacement"]
    made = load_data(tmp_path, "bids", "sub-01", single_trials="lss", confounds=names, **more).trials
    (mask,) = tmp_path.rglob("*brain_mask.nii.gz")
    files = load_data(SAMPLES / "nilearn_betas/one_nifti_a_trial", "trials", mask=mask, **more).trials
    np.testing.assert_allclose(made.betas, files.betas, atol=5e-5)
    np.testing.assert_array_equal(made.stimulus_id, files.stimulus_id)


@needs_samples
@pytest.mark.parametrize("settings", [["--set", "data.responses=../nilearn_betas/one_4d_a_run"], []])
def test_the_sample_is_checked_by_one_command(reseen, tmp_path, tiny_model, settings):
    command = ["check", "own_data", "--data", FOLDER, "--set", "data.kind=bids", "--set", 'data.subjects=["sub-01"]']
    _, out, err = reseen(*command, "--model", tiny_model, "--out", tmp_path, "--set", 'data.test="folds"', *settings)
    printed = " ".join((out + err).split())
    assert "240 trials of 60 images, 544 voxels in T1w" in printed
    assert "labels fit the betas" in printed


@needs_samples
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_the_sample_runs_to_scores_and_report(small_recipe, random_networks, tmp_path):
    settings = {"kind": "bids", "path": FOLDER, "subjects": '["sub-01"]', "rois": '["V1", "VT"]', "test": "runs"}
    rest = ["data.n_test=4", 'decode.rois.z=["V1"]', 'decode.rois.c=["VT"]', "reconstruct.n_samples=1"]
    recipe = with_settings(small_recipe, [*(f"data.{name}={value}" for name, value in settings.items()), *rest])
    pipeline.run(recipe, tmp_path / "out")
    assert len(pd.read_csv(tmp_path / "out/scores.csv"))
    assert (tmp_path / "out/report.html").is_file()


@needs_samples
def test_betas_of_glmsingle_and_of_lsa_identify_images_equally_well():
    """The same series, folds and decoder: identification accuracies of decoded z are within .02 of each other."""
    from reseen import decode, load_model
    from reseen.metrics import identification
    from reseen.recipe import Recipe

    more = {"subject": "sub-01", "rois": ["V1"], "n_folds": 10}
    subjects = {
        "glmsingle": load_data(SAMPLES / "glmsingle_python", "glmsingle", **more),
        "lsa": load_data(FOLDER, "bids", **more),
    }
    z = load_model("builtin").extract(subjects["lsa"].stimuli, ["z"])["z"]
    accuracy = {}
    for name, subject in subjects.items():
        _, decoded = decode.decode(
            subject.trials, subject.split, z, rois=["V1"], recipe=Recipe(name="both").decode, seed=0
        )
        mean = z.flat.mean(axis=0)  # of all images
        true = z.rows(decoded.stimulus_id).reshape(len(decoded.stimulus_id), -1)
        scores = identification(true - mean, decoded.flat - mean, direction="reconstruction")
        accuracy[name] = float(scores.mean())
    assert min(accuracy.values()) > 0.9
    assert abs(accuracy["glmsingle"] - accuracy["lsa"]) < 0.02, accuracy
