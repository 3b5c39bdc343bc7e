from __future__ import annotations

import numpy as np
import pytest

from reseen.recipe import SimulateRecipe
from reseen.simulate import SimulatedSubject, simulated_subjects
from reseen.simulate.anatomy import N_VOXELS, STREAMS, Anatomy, build_anatomy
from reseen.simulate.attributes import ATTRIBUTES, describe
from reseen.simulate.filters import convolve, early_channels, receptive_fields
from reseen.simulate.images import Shown
from reseen.simulate.noise import N_LEADING, _krylov_vectors, measure_ncsnr
from reseen.simulate.painting import draw_scene
from reseen.simulate.scenes import sample_scene
from reseen.simulate.voxels import MAX_CATEGORY_PROPORTION, sample_cortex, sample_ncsnr

RECIPE = SimulateRecipe(n_sessions=3, trials_per_session=180, n_train=140, n_test=40, voxel_fraction=0.1, seed=2)


@pytest.fixture(scope="module")
def world() -> tuple[Anatomy, Shown, SimulatedSubject]:
    anatomy, shown, (subject,) = simulated_subjects(RECIPE)
    return anatomy, shown, subject


def noise_correlation(subject: SimulatedSubject) -> np.ndarray:
    betas = np.concatenate([(part - part.mean(axis=0)) / part.std(axis=0) for part in subject.betas])
    ids = np.concatenate(subject.stimulus_id)
    rest = np.concatenate([betas[ids == i] - betas[ids == i].mean(axis=0) for i in np.unique(ids)])
    return np.corrcoef(rest.T)


def test_streams_have_the_voxels_they_should_and_lie_on_the_cortex() -> None:
    anatomy = build_anatomy()
    for name, count in N_VOXELS.items():
        assert anatomy.where(name).sum() == count
    assert anatomy.cortex.ravel()[anatomy.voxel_index].all()
    assert np.all(np.diff(anatomy.voxel_index) > 0)
    at = np.stack(np.unravel_index(anatomy.voxel_index, anatomy.volume_shape), axis=1)
    np.testing.assert_allclose(at @ anatomy.affine[:3, :3].T + anatomy.affine[:3, 3], anatomy.position)


def test_the_left_brain_sees_the_right_of_the_view_and_lower_voxels_see_the_upper_half() -> None:
    anatomy = build_anatomy()
    across = np.cos(anatomy.angle)
    assert np.all(across[anatomy.position[:, 0] < 0] >= -1e-9)
    assert np.all(across[anatomy.position[:, 0] > 0] <= 1e-9)
    early = anatomy.where("early")
    assert np.corrcoef(np.sin(anatomy.angle[early]), anatomy.position[early, 2])[0, 1] < -0.5


def test_receptive_fields_grow_with_eccentricity_and_along_the_streams() -> None:
    anatomy = build_anatomy()
    cortex = sample_cortex(anatomy, np.random.default_rng(0))
    eccentricity = np.hypot(cortex.x, cortex.y)
    medians = [np.median(cortex.size[anatomy.area == area]) for area in (1, 2, 3)]
    assert medians == sorted(medians)
    assert np.median(cortex.size[anatomy.where("ventral")]) > 2 * medians[1]
    for area in (1, 2, 3):
        assert np.corrcoef(eccentricity[anatomy.area == area], cortex.size[anatomy.area == area])[0, 1] > 0.5


def test_early_voxels_do_not_answer_to_categories(world: tuple[Anatomy, Shown, SimulatedSubject]) -> None:
    anatomy, shown, subject = world
    images = shown.small[:20]
    other = np.random.default_rng(0).standard_normal((20, len(ATTRIBUTES))).astype(np.float32)
    true, false = (subject.cortex.respond(images, a).signal for a in (shown.attributes[:20], other))
    early, ventral = anatomy.where("early"), anatomy.where("ventral")
    np.testing.assert_array_equal(true[:, early], false[:, early])
    assert np.abs(true[:, ventral] - false[:, ventral]).mean() > 0.1


def test_categories_make_no_more_than_a_third_of_any_voxels_signal(
    world: tuple[Anatomy, Shown, SimulatedSubject],
) -> None:
    anatomy, _, subject = world
    share, own = subject.responses.category_proportion(), subject.responses.category.var(axis=0)
    assert share.max() <= MAX_CATEGORY_PROPORTION
    assert own.max() <= MAX_CATEGORY_PROPORTION
    assert own[anatomy.where("early")].max() == 0
    assert np.median(share[anatomy.where("ventral")]) > 0.15


def test_responses_have_unit_variance_and_depend_on_the_image_alone(
    world: tuple[Anatomy, Shown, SimulatedSubject],
) -> None:
    _, shown, subject = world
    np.testing.assert_allclose(subject.responses.signal.std(axis=0), 1, atol=1e-3)
    together = subject.cortex.respond(shown.small[:7], shown.attributes[:7]).signal
    alone = subject.cortex.respond(shown.small[3:4], shown.attributes[3:4]).signal
    np.testing.assert_allclose(together[3:4], alone, atol=1e-4)


def test_an_early_voxel_answers_to_its_own_part_of_the_image(world: tuple[Anatomy, Shown, SimulatedSubject]) -> None:
    anatomy, _, subject = world
    grey = np.full((1, 64, 64, 3), 128, dtype=np.uint8)
    right = grey.copy()
    right[:, :, 40:, :] = np.where(np.indices((64, 24)).sum(axis=0) // 4 % 2, 255, 0)[None, :, :, None]
    blank = np.zeros((1, len(ATTRIBUTES)), dtype=np.float32)
    change = np.abs(subject.cortex.respond(right, blank).signal - subject.cortex.respond(grey, blank).signal)[0]
    inside = anatomy.where("early") & (subject.cortex.x > 1.5) & (subject.cortex.x < 3.5)
    outside = anatomy.where("early") & (subject.cortex.x < -1.5)
    assert change[inside].mean() > 5 * change[outside].mean()


def test_ventral_voxels_tell_images_of_one_description_apart(world: tuple[Anatomy, Shown, SimulatedSubject]) -> None:
    anatomy, shown, subject = world
    attributes = shown.attributes[:30]
    same = np.broadcast_to(attributes[:1], attributes.shape).copy()
    ventral = anatomy.where("ventral")
    spread = subject.cortex.respond(shown.small[:30], same).signal[:, ventral].var(axis=0)
    assert np.median(spread) > 0.4


def test_ventral_voxels_bear_a_shift_better_than_early_ones(world: tuple[Anatomy, Shown, SimulatedSubject]) -> None:
    anatomy, shown, subject = world
    cortex = subject.cortex
    moved = np.roll(shown.small[:40], 4, axis=2)
    here, there = (cortex.respond(p, shown.attributes[:40]).signal for p in (shown.small[:40], moved))
    alike = np.array([np.corrcoef(a, b)[0, 1] for a, b in zip(here.T, there.T, strict=True)])
    fine = anatomy.where("early") & (cortex.size < 0.5)
    assert np.median(alike[anatomy.where("ventral")]) > np.median(alike[fine])


def test_measured_noise_ceilings_have_the_quartiles_aimed_at(world: tuple[Anatomy, Shown, SimulatedSubject]) -> None:
    anatomy, _, subject = world
    for voxels in (anatomy.where("early"), anatomy.where("ventral"), np.ones(len(anatomy), dtype=bool)):
        wanted, found = (np.percentile(v[voxels], (25, 50, 75)) for v in (subject.scanner.ncsnr, subject.ncsnr))
        np.testing.assert_allclose(found, wanted, rtol=0.15)
    assert np.corrcoef(subject.scanner.ncsnr, subject.ncsnr)[0, 1] > 0.85


def test_noise_ceilings_of_a_whole_brain_spread_like_those_of_real_ones() -> None:
    anatomy = build_anatomy()
    ncsnr = np.stack([sample_ncsnr(anatomy, np.random.default_rng(k)) for k in range(4)])
    assert 0.40 < np.median(ncsnr) < 0.50
    medians = {name: np.median(ncsnr[:, anatomy.where(name)]) for name in STREAMS}
    assert max(medians, key=lambda name: medians[name]) == "early"
    low, high = np.percentile(ncsnr, (25, 75))
    assert high / low > 1.7


def test_ncsnr_is_that_of_the_formula() -> None:
    rng = np.random.default_rng(0)
    signal, ids = rng.standard_normal((2000, 1)), np.tile(np.arange(2000), 3)
    betas = (0.5 * signal[ids] + rng.standard_normal((6000, 1))).astype(np.float32)
    session = np.repeat(np.arange(4), 1500)
    np.testing.assert_allclose(measure_ncsnr(betas, ids, session), 0.5, atol=0.03)
    assert measure_ncsnr(rng.standard_normal((6000, 1)).astype(np.float32), ids, session)[0] < 0.15
    assert measure_ncsnr(betas[:2000], ids[:2000], session[:2000])[0] == 0


@pytest.mark.parametrize("n_showings", [4, 5])
def test_ncsnr_is_measured_where_every_image_is_shown_more_than_three_times(n_showings: int) -> None:
    rng = np.random.default_rng(0)
    ids = np.tile(np.arange(2000), n_showings)
    betas = (0.5 * rng.standard_normal((2000, 1))[ids] + rng.standard_normal((len(ids), 1))).astype(np.float32)
    np.testing.assert_allclose(measure_ncsnr(betas, ids, ids % 4), 0.5, atol=0.03)


def test_ncsnr_is_that_of_the_first_three_showings_of_every_image_that_has_as_many() -> None:
    rng = np.random.default_rng(3)
    ids = rng.permutation(np.repeat(np.arange(60), np.arange(60) % 6 + 1))  # shown once to six times
    betas = (rng.standard_normal((60, 5))[ids] + rng.standard_normal((len(ids), 5))).astype(np.float32)
    scaled = (betas - betas.mean(axis=0)) / betas.std(axis=0)
    showings = [np.flatnonzero(ids == i)[:3] for i in range(60)]
    noise = np.mean([scaled[rows].var(axis=0, ddof=1) for rows in showings if len(rows) == 3], axis=0)
    expected = np.sqrt((1 - noise) / noise)
    np.testing.assert_allclose(measure_ncsnr(betas, ids, np.zeros_like(ids)), expected, rtol=1e-4)


def test_noise_is_shared_by_near_voxels_and_along_the_signals_leading_dimensions(
    world: tuple[Anatomy, Shown, SimulatedSubject],
) -> None:
    anatomy, _, subject = world
    correlation = noise_correlation(subject)
    distance = np.linalg.norm(anatomy.position[:, None] - anatomy.position, axis=2)
    alike = np.corrcoef(subject.responses.signal.T)
    pairs = np.triu(np.ones_like(alike, dtype=bool), 1)
    near, far = pairs & (distance < 6), pairs & (distance > 40)
    assert 0.15 < correlation[near].mean() < 0.45
    assert abs(correlation[far].mean()) < 0.08
    assert correlation[far & (alike > 0.4)].mean() > 0.08
    assert correlation[far & (alike < -0.4)].mean() < 0


@pytest.mark.parametrize("seed", range(3))
def test_leading_eigenvectors_from_a_small_space_are_lapacks_with_their_signs(seed: int) -> None:
    rng = np.random.default_rng(seed)
    signal = rng.standard_normal((700, 900)) * np.arange(1, 901) ** -0.6
    whole = np.linalg.eigh(signal @ signal.T)[1]
    found = _krylov_vectors(signal, 400)
    assert found.shape == (700, 350)
    np.testing.assert_allclose(found[:, -N_LEADING:], whole[:, -N_LEADING:], atol=1e-9)


def test_a_small_space_ends_where_the_signal_has_no_further_dimension() -> None:
    signal = np.random.default_rng(0).standard_normal((300, 30)) * np.arange(1, 31) ** -0.6
    found = _krylov_vectors(signal, 100)
    assert found.shape[1] < 35
    whole = np.linalg.eigh(signal @ signal.T)[1]
    np.testing.assert_allclose(np.abs(found[:, -N_LEADING:]), np.abs(whole[:, -N_LEADING:]), atol=1e-9)


def test_lapses_weaken_the_answer(world: tuple[Anatomy, Shown, SimulatedSubject]) -> None:
    _, _, subject = world
    lapse = np.concatenate(subject.lapse)
    assert 0 < lapse.mean() < 0.08
    seen = np.searchsorted(subject.seen, np.concatenate(subject.stimulus_id))
    signal = subject.responses.signal[seen]
    betas = np.concatenate([(part - part.mean(axis=0)) / part.std(axis=0) for part in subject.betas])
    follows = np.mean(signal * betas, axis=1)
    assert follows[lapse].mean() < 0.6 * follows[~lapse].mean()


def test_convolution_is_the_sum_over_a_window() -> None:
    rng = np.random.default_rng(0)
    inputs, weights = rng.standard_normal((1, 2, 6, 6)), rng.standard_normal((3, 2, 3, 3))
    found = convolve(inputs.astype(np.float32), weights.astype(np.float32), stride=2)
    padded = np.pad(inputs, ((0, 0), (0, 0), (1, 1), (1, 1)))
    expected = [
        [[np.sum(weights[o] * padded[0, :, i : i + 3, j : j + 3]) for j in (0, 2, 4)] for i in (0, 2, 4)]
        for o in range(3)
    ]
    np.testing.assert_allclose(found[0], expected, atol=1e-5)


def test_edges_answer_to_their_orientation_and_not_to_phase() -> None:
    x = np.arange(64)
    waves = [127 + 100 * np.cos(2 * np.pi * 9 * x / 64 + phase) for phase in (0, np.pi / 2)]
    upright = np.stack([np.broadcast_to(wave[None, :, None], (64, 64, 3)) for wave in waves]).astype(np.uint8)
    energy = early_channels(upright)[:, 10:14].mean(axis=(2, 3))
    assert np.argmax(energy[0]) == 0
    np.testing.assert_allclose(energy[0, 0], energy[1, 0], rtol=0.02)
    turned = early_channels(upright.transpose(0, 2, 1, 3))[:, 10:14].mean(axis=(2, 3))
    assert np.argmax(turned[0]) == 2


def test_a_receptive_field_inside_the_image_sums_to_one_and_lies_where_it_should() -> None:
    field = receptive_fields(np.array([2.0]), np.array([1.0]), np.array([0.5]), 32).reshape(32, 32)
    np.testing.assert_allclose(field.sum(), 1, atol=1e-3)
    row, column = np.unravel_index(field.argmax(), field.shape)
    assert column > 16
    assert row < 16


def test_attributes_tell_what_captions_do_not() -> None:
    rng = np.random.default_rng(0)
    scene = sample_scene(rng)
    turned = scene.__class__(
        **{
            **scene.__dict__,
            "things": tuple(t.__class__(**{**t.__dict__, "mirrored": not t.mirrored}) for t in scene.things),
        }
    )
    one, other = describe([scene, turned])
    assert [name for name, a, b in zip(ATTRIBUTES, one, other, strict=True) if a != b] == ["facing"]
    assert not np.array_equal(draw_scene(scene), draw_scene(turned))


def test_a_cortex_that_was_never_tuned_says_so() -> None:
    anatomy = build_anatomy(0.02)
    cortex = sample_cortex(anatomy, np.random.default_rng(0))
    with pytest.raises(ValueError, match="tuned"):
        cortex._combine(np.zeros((4, 1, len(anatomy)), dtype=np.float32))
