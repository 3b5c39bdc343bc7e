"""What `reseen check` prints of NSD's files: a complete tree, a truncated session, an empty folder, a wrong subject."""

import hashlib
import os
import re
import shlex
import shutil
import subprocess
from fnmatch import fnmatch
from pathlib import Path

import h5py
import pytest
from loading import find_data
from typer.testing import CliRunner

from reseen.check import check as look
from reseen.check.costs import count_evaluations
from reseen.check.sizes import Sizes, guess_sizes
from reseen.cli import app
from reseen.datasets.nsd_facts import SUBJECTS, NsdFiles
from reseen.ldm import load_model
from reseen.networks.pretrained import NETWORKS, fetch_command
from reseen.recipe import Recipe, load_recipe, with_settings
from reseen.simulate.fullsize import write_full_size

BETAS = "nsddata_betas/ppdata/subj01/func1pt8mm/betas_fithrf_GLMdenoise_RR"
BUCKET = "s3://natural-scenes-dataset"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three sessions of NSD's own size and number of images; only the voxels of the ROIs are stored."""
    root = tmp_path_factory.mktemp("nsd") / "nsd"
    write_full_size(root, n_sessions=3, n_voxels=70, all_voxels=False)
    return root


@pytest.fixture
def tree(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "tree"))


@pytest.fixture
def check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Give the exit code and the lines that are printed about data; only with a model is all else looked at too."""

    def run(data: Path, *settings: str, subjects: str = '["subj01"]', model: object = "") -> tuple[int, list[str]]:
        changes = [f"data.subjects={subjects}", "data.sessions=3", *settings]
        options = [word for change in changes for word in ("--set", change)]
        where = ["--data", str(data), "--model", str(model), "--out", str(tmp_path / "out")]
        if not model:
            monkeypatch.setattr("reseen.check.check", lambda recipe, out, **_: list(find_data(recipe, out)))
        done = CliRunner().invoke(app, ["check", "takagi2023", *where, *options], catch_exceptions=False)
        about, lines = False, []
        for line in done.output.splitlines():
            if not line.startswith(" "):
                about = bool(re.match(r"(ok|NO|--)  (data|extras|fetch)|takagi2023 can", line))
            lines += [line] if about else []
        return done.exit_code, lines

    return run


def fetched(root: Path, lines: list[str], there: list[str]) -> set[str]:
    """Do what the printed commands do: give the files they bring, of those that the bucket and COCO have."""
    brought: set[str] = set()
    for words in (shlex.split(line.strip()) for line in lines if line.strip().startswith(("aws ", "mkdir "))):
        if words[:3] == ["aws", "s3", "cp"]:
            source = words[4].removeprefix(BUCKET + "/")
            assert words[5] == f"{root}/{source.rpartition('/')[0]}/"
            brought |= {source} & set(there)
        elif words[:3] == ["aws", "s3", "sync"]:
            folder = words[4].removeprefix(BUCKET + "/")
            assert words[5:8] == [f"{root}/{folder}", "--exclude", "*"]
            patterns = words[9::2]
            assert set(words[8::2]) == {"--include"}
            inside = {name: name.removeprefix(folder + "/") for name in there if name.startswith(folder + "/")}
            brought |= {name for name, short in inside.items() if any(fnmatch(short, one) for one in patterns)}
        else:
            assert words[-2] == "-d"
            folder = Path(words[-1]).relative_to(root).as_posix()
            brought |= {f"{folder}/{word.removeprefix('*/')}" for word in words if word.startswith("*/")}
    return brought


def bucket() -> list[str]:
    """List more than any recipe needs: every session of every subject, and files beside them."""
    names = []
    for subject, facts in SUBJECTS.items():
        files = NsdFiles(Path(), subject, "func1pt8mm", "betas_fithrf_GLMdenoise_RR")
        numbers = range(1, facts.n_sessions + 1)
        paths = [files.session(number, suffix) for number in numbers for suffix in ("hdf5", "nii.gz")]
        paths += [files.ncsnr, files.brainmask, files.responses, *files.transforms()]
        paths += [files.roi(atlas) for atlas in ("streams", "nsdgeneral", "floc-faces")]
        paths += [
            files.stimuli,
            files.design,
            files.stim_info,
            *(files.captions(part) for part in ("train2017", "val2017")),
        ]
        names += [path.as_posix() for path in paths]
    return names


def test_a_complete_tree_can_run_and_its_contents_are_listed(check, whole: Path, tiny_model: Path) -> None:
    code, lines = check(whole, model=tiny_model)
    assert code == 0
    assert lines[0].startswith("ok  data of subj01")
    assert re.search(r"10 files, [\d.]+ GB, in .*: 3 sessions of the 40 that NSD has; early 10 .*ventral 10", lines[0])
    assert "no maps on the cortex: lh.func1pt8-to-layerB1.mgz and 7 more are missing" in lines[1]
    assert lines[-1].startswith("takagi2023 can run, without: ")


def test_a_truncated_session_is_named_with_the_command_that_fetches_it_alone(check, tree: Path) -> None:
    path = tree / BETAS / "betas_session02.hdf5"
    path.write_bytes(path.read_bytes()[:-5000])
    code, lines = check(tree)
    assert code == 1
    assert re.search(r"NO  data of subj01 +10 files, .*: 9 complete, 1 damaged$", lines[0])
    assert re.match(r" +damaged  .*betas_session02\.hdf5 cannot be read \(.*truncated", lines[1])
    fetch = next(number for number, line in enumerate(lines) if "  fetch" in line)
    assert "1.05 GB" in lines[fetch]
    needed = lines[fetch : next(i for i, line in enumerate(lines) if "without which the recipe runs" in line)]
    assert fetched(tree, needed, bucket()) == {f"{BETAS}/betas_session02.hdf5"}
    assert lines[-1] == "takagi2023 cannot run: 1 to fix."


def test_an_empty_folder_lists_everything_and_the_commands_bring_exactly_that(check, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    code, lines = check(tmp_path / "empty", "data.sessions=37")
    text = "\n".join(lines)
    assert code == 1
    assert re.search(r"44 files, 78\.4 GB, are needed in .*: none complete, 44 missing", lines[0])
    assert "missing  nsddata_stimuli/stimuli/nsd/nsd_stimuli.hdf5, 39.6 GB" in text
    assert f"missing  {BETAS}/betas_session01.hdf5 to betas_session37.hdf5, 37 files, 38.8 GB" in text
    terms, first = text.index("# NSD asks you to accept its terms"), text.index("aws s3")
    assert terms < first, "the terms come before the first command"
    files = NsdFiles(Path(), "subj01", "func1pt8mm", "betas_fithrf_GLMdenoise_RR")
    wanted = [files.stimuli, files.design, files.stim_info, files.responses, files.roi("streams"), files.ncsnr]
    wanted += [*(files.captions(part) for part in ("train2017", "val2017")), *files.transforms()]
    wanted += [files.session(number) for number in range(1, 38)]
    assert fetched(tmp_path / "empty", lines, bucket()) == {path.as_posix() for path in wanted}


def test_a_folder_that_does_not_exist_is_reported_as_such(check, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert "does not exist" not in check(tmp_path / "empty")[1][0]
    _, lines = check(tmp_path / "mistyped")
    assert f"are needed in {tmp_path / 'mistyped'}, which does not exist: none complete, 10 missing" in lines[0]


def test_files_of_two_subjects_are_listed_once(check, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    _, lines = check(tmp_path / "empty", subjects='["subj01", "subj07"]')
    assert sum("aws" in line and "nsd_stimuli.hdf5" in line for line in lines) == 1
    assert {name for name in fetched(tmp_path / "empty", lines, bucket()) if "betas_session03" in name} == {
        f"{BETAS}/betas_session03.hdf5",
        f"{BETAS.replace('subj01', 'subj07')}/betas_session03.hdf5",
    }


def test_a_wrong_subject_is_refused_and_existing_ones_are_named(check, whole: Path) -> None:
    code, lines = check(whole, subjects='["subj09"]')
    assert code == 1
    assert "no subject 'subj09': NSD has subj01 to subj08" in lines[0]
    assert "holds subj01. Fix data.subjects" in lines[0]
    assert not any("aws s3" in line for line in lines)
    code, lines = check(whole, subjects='["subj02"]')
    assert code == 1
    assert lines[0].endswith("5 complete, 5 missing; the folder contains subj01")


def test_sessions_of_another_subject_are_recognised_by_their_shape(check, tree: Path) -> None:
    with h5py.File(tree / BETAS / "betas_session03.hdf5", "w") as file:
        file.create_dataset("betas", (750, 84, 106, 82), dtype="<i2", chunks=(750, 1, 1, 1))
    _, lines = check(tree)
    assert "a volume of (82, 106, 84); subj01 has a volume of (81, 104, 83) in func1pt8mm" in lines[1]


def test_a_session_that_was_fetched_in_part_is_found_by_its_content(check, tree: Path) -> None:
    with h5py.File(tree / BETAS / "betas_session01.hdf5", "w") as file:
        file.create_dataset("betas", (750, 83, 104, 81), dtype="<i2", chunks=(750, 1, 1, 1))
    _, lines = check(tree)
    assert "one and the same number in all trials of 8 of 8 ROI voxels" in lines[1]


@pytest.mark.parametrize(
    ("free", "says"),
    [
        (10**12, r"ok  fetch +42\.7 GB and some small files; paste into a shell:$"),
        (10**9, r"NO  fetch +42\.7 GB and some small files; only 1 GB are free"),
    ],
)
def test_a_disk_that_is_too_small_is_reported_before_anything_is_fetched(
    check, tmp_path: Path, monkeypatch, free: int, says: str
) -> None:
    (tmp_path / "empty").mkdir()
    usage = type("Usage", (), {"free": free})
    monkeypatch.setattr("reseen.check.files.shutil.disk_usage", lambda _: usage)
    _, lines = check(tmp_path / "empty")
    assert any(re.match(says, line) for line in lines)


STUBS = """
aws() { to=; for word; do case $word in /*) to=$word;; esac; done; mkdir -p "$to" && echo "$to" >> "$LOG"; }
curl() { test "$1" = -fo && test -d "$(dirname "$2")" && touch "$2" && echo "$2" >> "$LOG"; }
unzip() { eval "to=\\${$#}"; test -f "$3" && { test -d "$to" || mkdir "$to"; } && echo "$to" >> "$LOG"; }
"""
"""What fetches, without a network; like the real one, unzip makes one folder but not those above it."""


@pytest.mark.parametrize("name", ["data", "my data", "it's;touch pwn $(touch pwn)"])
def test_the_printed_commands_can_be_pasted_anywhere_and_write_only_below_the_data(
    check, tmp_path: Path, name: str, monkeypatch
) -> None:
    monkeypatch.setattr("reseen.datasets.nsd_facts.COCO_MD5", hashlib.md5(b"").hexdigest())  # of what the stub writes
    _, lines = check(tmp_path / name)
    commands = [line.strip() for line in lines if line.startswith("      ") and " missing  " not in line]
    script = "\n".join([STUBS, *(command for command in commands)])
    (tmp_path / "elsewhere").mkdir()
    log = tmp_path / "log"
    done = subprocess.run(
        ["bash", "-euc", script], cwd=tmp_path / "elsewhere", env={**os.environ, "LOG": str(log)}, check=False
    )
    assert done.returncode == 0
    assert list((tmp_path / "elsewhere").iterdir()) == []
    assert {path.name for path in tmp_path.iterdir()} == {name, "elsewhere", "log"}
    said = log.read_text().splitlines()
    assert len(said) == sum(command.count("aws s3") + 2 * command.count("curl") for command in commands)
    assert all(line.startswith(f"{tmp_path / name}/nsddata") for line in said)


@pytest.mark.parametrize("tool", ["md5sum", "md5"])
def test_cocos_archive_is_unpacked_only_if_its_checksum_is_right(tmp_path: Path, monkeypatch, tool: str) -> None:
    (path,) = [NsdFiles(tmp_path, "subj01", "func1pt8mm", "").captions("val2017")]
    log = tmp_path / "log"
    # macOS has md5, which prints the digits alone where it reads its standard input, and may have no md5sum
    other = "" if tool == "md5sum" else "md5sum() { return 127; }; md5() { command md5sum; };"
    for content, code in ((b"", 0), (b"other", 1)):
        monkeypatch.setattr("reseen.datasets.nsd_facts.COCO_MD5", hashlib.md5(content).hexdigest())
        command = NsdFiles(tmp_path, "subj01", "func1pt8mm", "").fetch_command(path)
        log.unlink(missing_ok=True)
        done = subprocess.run(
            ["bash", "-c", f"{STUBS}\n{other}\n{command}"],
            env={**os.environ, "LOG": str(log)},
            check=False,
            capture_output=True,
            text=True,
        )
        assert done.returncode == code
        assert len(log.read_text().splitlines()) == 2 - code  # fetched and unpacked, or fetched alone
        assert ("differs from its checksum" in done.stderr) == bool(code)


def test_nothing_is_fetched_without_encryption() -> None:
    files = NsdFiles(Path("/data"), "subj01", "func1pt8mm", "betas")
    commands = files.fetch_commands([files.stimuli, files.responses, files.captions("val2017"), files.session(1)])
    assert not [command for command in [*commands, *map(fetch_command, NETWORKS)] if "http:" in command]
    assert sum("https:" in command for command in commands) == 1


def test_a_simulated_subject_that_lost_a_file_is_written_again(check, tree: Path) -> None:
    (tree / "reseen_truth.json").write_text("{}")
    (tree / BETAS / "betas_session02.hdf5").unlink()
    _, lines = check(tree)
    assert any("reseen simulate" in line for line in lines)
    assert not any("aws s3" in line for line in lines)


@pytest.mark.parametrize(
    "name",
    [
        "nsddata/experiments/nsd/nsd_expdesign.mat",
        "nsddata/experiments/nsd/nsd_stim_info_merged.csv",
        "nsddata_stimuli/stimuli/nsd/annotations/captions_val2017.json",
        "nsddata_stimuli/stimuli/nsd/nsd_stimuli.hdf5",
        "nsddata/ppdata/subj01/func1pt8mm/roi/streams.nii.gz",
    ],
)
def test_one_damaged_file_is_reported_alone(check, tree: Path, name: str) -> None:
    content = (tree / name).read_bytes()
    (tree / name).write_bytes(content[: len(content) // 2])
    _, lines = check(tree)
    assert lines[0].endswith("9 complete, 1 damaged")
    assert Path(name).name in lines[1]
    brought = fetched(tree, lines, bucket())
    assert name in brought
    assert not any("betas_session" in other for other in brought)


def test_the_space_includes_cached_sessions() -> None:
    from reseen.check.costs import _kept

    recipe = with_settings(Recipe(), ['data.subjects=["subj01", "subj04"]', "data.sessions=37"])
    assert _kept(recipe, 1000) == 4 * 1000 * 750 * (37 + 30)


@pytest.mark.parametrize(
    ("setting", "what", "says"),
    [
        ("reconstruct.strength=0.01", "denoising", "leaves no step to denoise"),
        ("reconstruct.n_steps=2000", "denoising", "this model samples in 1 to"),
        ('reconstruct.conditions=["c"]\nreconstruct.n_steps=2000', "denoising", "this model samples in 1 to"),
        ("reconstruct.strength=1.0\nreconstruct.noise_index=compvis", "denoising", "noises one step further"),
        ("extract.z_size=13", "z", "extract.z_size is 13; the model"),
    ],
)
def test_limits_of_the_model_are_reported_before_anything_is_decoded(
    tiny_model: Path, tmp_path: Path, setting: str, what: str, says: str
) -> None:
    recipe = with_settings(load_recipe("tiny"), [f"model.name={tiny_model}"])
    assert {"denoising", "z"} <= {finding.what for finding in look(recipe, tmp_path) if finding.ok}
    found = {finding.what: finding for finding in look(with_settings(recipe, setting.splitlines()), tmp_path)}
    assert not found[what].ok
    assert says in found[what].found


def test_z_alone_takes_no_denoising_that_could_fail(tiny_model: Path, tmp_path: Path) -> None:
    settings = [f"model.name={tiny_model}", 'reconstruct.conditions=["z"]', "reconstruct.n_steps=2000"]
    found = look(with_settings(load_recipe("tiny"), settings), tmp_path)
    assert all(finding.ok for finding in found)
    assert "denoising" not in {finding.what for finding in found}


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ([], Sizes(10_000, 1000, 1000, 1, 15_000)),
        (["data.test=folds", "data.n_folds=4"], Sizes(10_000, 10_000, 10_000, 4, 15_000)),
        (["data.kind=simulated"], Sizes(1030, 100, 100, 1, 2500)),
        (["data.kind=simulated", "data.test=folds"], Sizes(1030, 1030, 1030, 10, 2500)),
        (["data.kind=simulated", "data.n_test=24", "data.test_trials=single"], Sizes(1030, 24, 72, 1, 2500)),
    ],
)
def test_folds_hold_every_image_out_and_single_trials_are_counted_each(settings: list[str], expected: Sizes) -> None:
    assert guess_sizes(with_settings(Recipe(), settings)) == expected


def test_the_count_of_evaluations_is_that_of_the_recipe_of_the_figures() -> None:
    figures = Sizes(n_stimuli=20, n_tested=20, n_items=119, n_folds=20, n_voxels=967)
    assert count_evaluations(load_recipe("miyawaki2008"), figures, load_model("builtin")) == 46_440


def test_arrays_are_counted_and_other_sizes_are_marked_as_estimates(small_recipe: Recipe, tmp_path: Path) -> None:
    def held_out(*settings: str) -> tuple[bool, str]:
        finding = {one.what: one for one in look(with_settings(small_recipe, settings), tmp_path)}["held out"]
        return finding.ok, finding.found

    assert held_out() == (True, "4 of 8 images")
    assert held_out("data.test_trials=single") == (True, "4 of 8 images, 10 items to decode")
    assert held_out("data.test=folds", "data.n_folds=4") == (True, "8 of 8 images in 4 folds")
    ok, told = held_out("data.test=folds", "data.n_folds=9")
    assert (ok, "2 to 8 folds of 8 stimuli are possible" in told) == (False, True)
    assert held_out("data.kind=simulated", "data.rois=['early', 'ventral', 'low', 'high']", "data.path=") == (
        True,
        "about 100 of 1,030 images, by the recipe; the data were not counted",
    )
    assert held_out("data.path=/nosuch")[1].endswith("the data were not counted")
