import json
import tracemalloc
import unicodedata

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from stand_ins import stand_in

from reseen import metrics, networks, scoring
from reseen.errors import DataError, ModelError, RecipeError, ShapeError
from reseen.evaluate import folders
from reseen.protocols import PROTOCOL_NAMES
from reseen.scoring import score
from reseen.tables import SCORE_COLUMNS

N = 6
FEW = {"n_pairings": 19, "n_bootstrap": 10}


def save(folder, name, image):
    folder.mkdir(exist_ok=True)
    Image.fromarray(image).save(folder / name)


@pytest.fixture
def two(tmp_path):
    """Six images and two noisy draws of each."""
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 256, (N, 8, 8, 3), dtype=np.uint8).repeat(4, axis=1).repeat(4, axis=2)
    made = np.clip(truth[:, None] + rng.normal(0, 60, (N, 2, 32, 32, 3)), 0, 255).astype(np.uint8)
    for k in range(N):
        save(tmp_path / "truth", f"{k:05d}.png", truth[k])
        for sample in range(2):
            save(tmp_path / "made", f"{k:05d}_{sample}.png", made[k, sample])
    return tmp_path / "made", tmp_path / "truth"


def test_files_are_joined_by_name_and_scored_as_a_recipes_are(two):
    table = score(*two, **FEW).table
    assert tuple(table.columns) == SCORE_COLUMNS
    assert set(table["subject"]) == {""}
    assert set(table["protocol"]) == {"builtin"}
    rows = table[(table["metric"] == "pixcorr") & (table["level"] == "result")]
    truth, made = (
        np.stack([np.asarray(Image.open(path)) for path in sorted(folder.iterdir())]) for folder in two[::-1]
    )
    expected = np.mean([metrics.pixcorr(truth, made[sample::2]) for sample in range(2)])
    assert rows["value"].item() == pytest.approx(expected)
    assert rows["n"].item() == N
    late = table[(table["network"] == "classifier") & (table["layer"] == "late") & (table["direction"] == "original")]
    assert set(late["metric"]) == {"identification", "identification_null_sd", "identification_p"}


def test_the_truth_scores_one_and_the_order_of_files_does_not_matter(two):
    table = score(two[1], two[1], **FEW).table
    found = table[(table["level"] == "result") & (table["metric"] == "identification")]
    assert set(found["value"]) == {1.0}


def test_single_trials_share_their_stimulus(two):
    made, truth = two
    for path in list(made.iterdir()):
        stimulus, sample = path.stem.split("_")
        path.rename(made / f"{stimulus}-t{sample}_0.png")
    pairs = folders.join_names(sorted(made.iterdir()), sorted(truth.iterdir()), made, truth)
    assert pairs.items[:2] == ("00000-t0", "00000-t1")
    assert pairs.stimulus_id.tolist() == np.repeat(np.arange(N), 2).tolist()


def test_a_name_like_that_of_a_sample_is_a_name_if_a_presented_image_has_it(two):
    made, truth = two
    for k in range(N):
        (truth / f"{k:05d}.png").rename(truth / f"cat_{k}.png")
        (made / f"{k:05d}_0.png").rename(made / f"cat_{k}.png")
        (made / f"{k:05d}_1.png").unlink()
    pairs = folders.join_names(sorted(made.iterdir()), sorted(truth.iterdir()), made, truth)
    assert pairs.items == tuple(f"cat_{k}" for k in range(N))
    assert {len(paths) for paths in pairs.made.values()} == {1}


def blue(side):
    return np.full((side, side, 3), (0, 0, 255), dtype=np.uint8)


def faint(side):
    """Give an image with an alpha channel, opaque but for one pixel."""
    alpha = np.full((side, side, 1), 255, dtype=np.uint8)
    alpha[0, 0] = 254
    return np.concatenate([blue(side), alpha], axis=2)


@pytest.mark.parametrize(
    ("folder", "file", "content", "expected", "found"),
    [
        ("made", "9_0.png", blue(32), None, ["9_0.png"]),
        ("truth", "9.png", blue(32), None, ["9.png"]),
        ("made", "00003_1.png", None, 2, ["00003"]),
        ("made", "00003_01.png", blue(32), None, ["00003_1.png"]),
        ("truth", "00003.bmp", blue(32), None, ["00003.bmp"]),
    ],
)
def test_files_without_a_partner_are_named(two, folder, file, content, expected, found):
    path = dict(zip(("made", "truth"), two, strict=True))[folder]
    if content is None:
        (path / file).unlink()
    else:
        save(path, file, content)
    with pytest.raises(DataError, match=found[0]) as refused:
        score(*two, **FEW)
    assert (refused.value.where, refused.value.expected, refused.value.found) == (path, expected, found)


def test_an_image_of_another_size_is_named(two):
    save(two[0], "00003_0.png", blue(16))
    with pytest.raises(DataError, match=r"00000_0.png has 32 x 32 pixels, 00003_0.png 16 x 16") as refused:
        score(*two, **FEW)
    assert refused.value.where == two[0] / "00003_0.png"
    assert (refused.value.expected, refused.value.found) == ((32, 32, 3), (16, 16, 3))


@pytest.mark.parametrize(
    ("folder", "file", "content", "says"),
    [
        ("truth", "00002.png", "no image", r"cannot read the image .*00002.png"),
        ("made", "00002_1.png", blue(32)[..., 0].astype(np.uint16), r"00002_1.png has more than 8 bits.* mode I;16"),
        ("made", "00002_1.png", faint(32), r"00002_1.png is transparent in places.*without an alpha channel"),
        ("truth", "00001.png", faint(32)[..., 2:], r"00001.png is transparent in places"),
    ],
)
def test_images_that_cannot_be_read_as_they_are_shown_are_named(two, folder, file, content, says):
    path = dict(zip(("made", "truth"), two, strict=True))[folder]
    if isinstance(content, str):
        (path / file).write_text(content)
    else:
        save(path, file, content)
    with pytest.raises(DataError, match=says):
        score(*two, **FEW)


def test_an_opaque_alpha_channel_changes_no_score(two):
    without = score(*two, **FEW).table
    for path in (*two[0].iterdir(), *two[1].iterdir()):
        Image.open(path).convert("RGBA").save(path)
    pd.testing.assert_frame_equal(score(*two, **FEW).table, without)


def test_a_palette_with_a_transparent_colour_is_refused(two):
    palette = Image.fromarray(blue(32)).quantize(2)
    palette.save(two[0] / "00000_0.png", transparency=palette.getpixel((0, 0)))
    with pytest.raises(DataError, match=r"00000_0.png is transparent in places"):
        score(*two, **FEW)


def test_images_are_read_into_one_array_and_no_copy(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (40, 64, 64, 3), dtype=np.uint8)
    for k, image in enumerate(images):
        save(tmp_path, f"{k:02d}.png", image)
    paths = sorted(tmp_path.iterdir())
    folders._read(paths[:1])  # what Pillow loads once
    tracemalloc.start()
    found = folders._read(paths)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (found == images).all()
    assert peak < 1.5 * images.nbytes


def test_folders_and_protocols_that_are_not_there_are_named(two, tmp_path):
    (tmp_path / "empty").mkdir()
    for name, says in (("nosuch", "there is no folder"), ("empty", "contains no images")):
        with pytest.raises(DataError, match=says) as refused:
            score(tmp_path / name, two[1])
        assert refused.value.where == tmp_path / name
    with pytest.raises(RecipeError, match="no protocol 'takagi'") as refused:
        score(*two, protocol="takagi")
    assert refused.value.expected == PROTOCOL_NAMES


def test_two_images_are_too_few(two):
    made, truth = two
    for path in [*made.iterdir(), *truth.iterdir()]:
        if int(path.stem[:5]) > 1:
            path.unlink()
    with pytest.raises(ShapeError, match="at least three test images; found 2"):
        score(*two, **FEW)


@pytest.fixture
def without_clip(monkeypatch):
    def load_panel(protocol, builtin=(), *, device="cpu"):
        def load(name, *, device):
            if name == "clip_vit_l14":
                raise ModelError("its weights are not there; to fetch them: hf download it")
            return stand_in(name)

        return networks.load_panel(protocol, builtin, device=device, load=load)

    monkeypatch.setattr(scoring, "load_panel", load_panel)


def test_a_missing_network_is_warned_of_and_the_other_scores_exist(two, without_clip):
    with pytest.warns(UserWarning, match=r"takagi2023 lacks clip: .*hf download it"):
        table = score(*two, protocol=["builtin", "takagi2023"], **FEW).table
    found = table[table["protocol"] == "takagi2023"]
    assert set(found["network"]) == {"inception", "alexnet"}
    assert set(found["direction"]) == {"original"}
    assert "classifier" in set(table[table["protocol"] == "builtin"]["network"])


def test_a_protocol_without_any_network_is_refused_with_the_command_that_helps(two, monkeypatch):
    def load_panel(protocol, builtin=(), *, device="cpu"):
        def load(name, *, device):
            raise ModelError("fetch them")

        return networks.load_panel(protocol, builtin, device=device, load=load)

    monkeypatch.setattr(scoring, "load_panel", load_panel)
    with pytest.raises(ModelError, match=r"takagi2023 lacks inception, alexnet, clip: fetch them"):
        score(*two, protocol="takagi2023", **FEW)
    with pytest.warns(UserWarning, match="mindeye2 lacks alexnet"):
        assert set(score(*two, protocol="mindeye2", **FEW).table["network"]) == {""}


@pytest.mark.filterwarnings("default:protocol takagi2023")
def test_the_command_prints_a_table_and_writes_it(two, without_clip, tmp_path, reseen):
    made, truth = two
    files = ("--csv", tmp_path / "scores.csv", "--json", tmp_path / "scores.json")
    code, out, err = reseen("evaluate", "--images", made, "--truth", truth, "--protocol", "takagi2023", *files)
    assert code == 0, err
    assert "identification alexnet features.5" in out
    assert "hf download it" in err
    assert tuple(pd.read_csv(tmp_path / "scores.csv").columns) == SCORE_COLUMNS
    records = json.loads((tmp_path / "scores.json").read_text())
    assert (records[0]["network"], records[0]["layer"]) == ("inception", "flatten")
    assert {row["n"] for row in records} == {N}
    assert all(row["low"] <= row["result"] <= row["high"] and 0 < row["p"] <= 1 for row in records)


@pytest.mark.parametrize("option", ["--csv", "--json"])
def test_scores_are_printed_before_they_are_written_so_that_a_bad_path_loses_none(two, tmp_path, reseen, option):
    (tmp_path / "file").write_text("")
    code, out, err = reseen("evaluate", "--images", two[0], "--truth", two[1], option, tmp_path / "file" / "scores")
    assert code == 1
    assert "error: " in err
    assert "identification classifier late" in out


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "give a RECIPE"),
        (["--images", "made"], "both --images and --truth"),
        (["tiny", "--images", "made", "--truth", "truth"], "not for a RECIPE"),
        (["--images", "made", "--truth", "truth", "--out", "x"], "only --device"),
        (["--images", "made", "--truth", "truth", "--full"], "only --device"),
    ],
)
def test_wrong_usage_is_reported(reseen, arguments, says):
    code, _, err = reseen("evaluate", *arguments)
    assert code == 2
    assert says in " ".join(err.replace("│", " ").split())


def test_the_help_names_every_protocol(reseen):
    from reseen.protocols import PROTOCOL_NAMES

    _, out, _ = reseen("evaluate", "--help")
    assert [name for name in PROTOCOL_NAMES if f"\n  {name} " not in out] == []


def test_names_that_differ_in_their_unicode_form_alone_are_the_same(tmp_path):
    names = ["café", "Zürich", "ñandú"]
    for folder, form in (("truth", "NFC"), ("made", "NFD")):
        (tmp_path / folder).mkdir()
        for name in names:
            (tmp_path / folder / f"{unicodedata.normalize(form, name)}.png").touch()
    files = [sorted((tmp_path / folder).iterdir()) for folder in ("made", "truth")]
    pairs = folders.join_names(*files, tmp_path / "made", tmp_path / "truth")
    assert sorted(pairs.items) == sorted(unicodedata.normalize("NFC", name) for name in names)
    for item in pairs.items:
        assert {unicodedata.normalize("NFC", path.stem) for path in (*pairs.made[item], pairs.true[item])} == {item}
