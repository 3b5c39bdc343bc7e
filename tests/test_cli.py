import os
import re
import shutil
import signal
import subprocess
import sys

import pytest
import torch
from PIL import Image

from reseen.cli.recipes import read_recipe
from reseen.errors import DataError
from reseen.recipe import Recipe, load_recipe, to_toml
from reseen.results.manifest import write_table

COMMANDS = (
    *("demo", "run", "check", "recipe", "simulate"),
    *("extract", "decode", "encode", "reconstruct", "evaluate", "report", "compare", "raters"),
)


@pytest.fixture
def recipe_file(small_recipe, tmp_path):
    path = tmp_path / "small.toml"
    path.write_text(to_toml(small_recipe), encoding="utf-8")
    return path


def test_help_names_every_command(reseen):
    code, out, _ = reseen("--help")
    assert code == 0
    assert [name for name in COMMANDS if not re.search(rf"^\s*{name}\s", out, re.MULTILINE)] == []


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(reseen, command):
    code, out, _ = reseen(command, "--help")
    assert code == 0
    assert "Usage" in out


def test_help_loads_no_heavy_library():
    code = """
import sys
from reseen.cli import main
sys.argv = ["reseen", "--help"]
try:
    main()
except SystemExit:
    heavy = ("torch", "pandas", "pydantic", "numpy", "h5py", "matplotlib")
    print([name for name in heavy if name in sys.modules])
"""
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip().endswith("[]")


def test_recipe_prints_a_template_that_is_a_recipe(reseen, tmp_path):
    code, out, _ = reseen("recipe")
    assert code == 0
    (tmp_path / "template.toml").write_text(out, encoding="utf-8")
    assert load_recipe(tmp_path / "template.toml") == Recipe()


def test_recipe_prints_one_that_comes_with_reseen(reseen, tmp_path):
    _, out, _ = reseen("recipe", "demo")
    (tmp_path / "demo.toml").write_text(out, encoding="utf-8")
    assert load_recipe(tmp_path / "demo.toml") == load_recipe("demo")


def test_layers_lists_modules_with_shapes_and_marks_the_default_ones(reseen, tiny_model):
    code, out, _ = reseen("layers", "tiny", "--model", tiny_model)
    assert code == 0
    lines = out.splitlines()
    assert sum(line.startswith("* ") for line in lines) == 5 + 1
    assert any(line.split() == ["*", "mid_block", "32", "x", "4", "x", "4"] for line in lines)
    assert "down_blocks.0.resnets.0.conv1" not in out
    assert "down_blocks.0.resnets.0.conv1" in reseen("layers", "tiny", "--model", tiny_model, "--all")[1]


@pytest.mark.usefixtures("random_networks")
@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["nosuch"], 2, "nosuch"),
        (["run"], 2, "RECIPE"),
        (["run", "demo", "--nosuch"], 2, "--nosuch"),
        (["run", "nosuch"], 1, "cannot read the recipe nosuch"),
        (["run", "tiny", "--set", "reconstruct.n_stepz=3"], 1, "reconstruct.n_stepz: unknown key"),
        (["run", "tiny", "--set", "nonsense"], 1, "expected section.key=value"),
        (["run", "tiny", "--device", "cuda:99"], 1, "cuda"),
        (["run", "tiny", "--device", "toaster"], 1, "toaster"),
        (["run", "tiny", "--model", "nosuch"], 1, "there is no model 'nosuch'"),
        (["run", "takagi2023", "--model", "builtin"], 1, "no data folder was given"),
        (["run", "takagi2023", "--model", "builtin", "--data", "/nosuch"], 1, "there is no data folder /nosuch"),
        (["run", "tiny", "--workers", "2"], 2, "add --executor dask"),
        (["run", "tiny", "--cluster", "tcp://x:1"], 2, "add --executor dask"),
        (["run", "tiny", "--executor", "slurm"], 2, "expected serial or dask"),
        (["run", "tiny", "--executor", "dask", "--workers", "0"], 2, "at least one worker"),
        (["run", "tiny", "--executor", "dask", "--workers", "2", "--cluster", "tcp://x:1"], 2, "not both"),
        (["run", "tiny", "--data", "mistyped"], 2, "reseen simulate mistyped --recipe tiny"),
        (["check", "tiny", "--data", "mistyped"], 2, "there is no folder mistyped"),
        (["run", "tiny", "--model", "3"], 1, "there is no model '3'"),
        (["recipe", "nosuch"], 1, "cannot read the recipe nosuch"),
    ],
)
def test_a_users_mistake_gives_a_message_and_its_exit_code(reseen, tmp_path, monkeypatch, arguments, code, says):
    monkeypatch.chdir(tmp_path)
    found, _, err = reseen(*arguments)
    assert found == code
    assert says in err
    assert "Traceback" not in err


def test_a_mistake_of_our_own_is_not_hidden(reseen, monkeypatch):
    def fail(*_args, **_options):
        raise ZeroDivisionError

    monkeypatch.setattr("reseen.recipe.to_toml", fail)
    with pytest.raises(ZeroDivisionError):
        reseen("recipe")


@pytest.mark.usefixtures("random_networks")
@pytest.mark.filterwarnings("ignore::reseen.ridge.EdgeWarning")
class TestOnASmallBrain:
    def test_run_prints_scores_and_the_path_of_the_report(self, reseen, recipe_file, tmp_path):
        code, out, err = reseen("run", recipe_file, "--out", tmp_path / "out")
        assert code == 0, err
        assert f"report: {tmp_path / 'out' / 'report.html'}" in out.replace("\n", "")
        assert "oracle" in out
        assert "classifier late" in out

    @pytest.mark.parametrize(
        ("command", "made"),
        [
            ("extract", "features/subj01/c.safetensors"),
            ("decode", "subj01/decode/c.safetensors"),
            ("encode", "encoding.csv"),
        ],
    )
    def test_a_verb_runs_the_recipe_up_to_itself(self, reseen, recipe_file, tmp_path, command, made):
        code, _, err = reseen(command, recipe_file, "--out", tmp_path / "out")
        assert code == 0, err
        assert (tmp_path / "out" / made).is_file()
        assert not (tmp_path / "out/subj01/images").exists()

    def test_a_verb_prints_no_scores_while_a_table_of_them_is_missing(self, reseen, recipe_file, tmp_path):
        (tmp_path / "out").mkdir()
        (tmp_path / "out/scores.csv").write_text("subject")
        code, out, err = reseen("extract", recipe_file, "--out", tmp_path / "out")
        assert code == 0, err
        assert "Scores between" not in out

    def test_a_recipe_that_does_not_fit_the_folder_is_refused(self, reseen, recipe_file, tmp_path):
        reseen("extract", recipe_file, "--out", tmp_path / "out")
        code, _, err = reseen("run", recipe_file, "--out", tmp_path / "out", "--set", "reconstruct.guidance=3")
        assert code == 1
        assert "reconstruct.guidance: expected 5.0, found 3.0" in err
        assert "found are those of this command" in err

    def test_an_interrupted_run_prints_how_to_resume(self, reseen, recipe_file, tmp_path, monkeypatch):
        def interrupt(*_args, **_options):
            raise KeyboardInterrupt

        monkeypatch.setattr("reseen.pipeline.extract.extraction.extract", interrupt)
        code, _, err = reseen("run", recipe_file, "--out", tmp_path / "out")
        assert code == 130
        kept = f"Every complete file in {tmp_path / 'out'} is kept; log.txt there has the last step."
        assert err.endswith(f"stopped by Ctrl-C. {kept} Run the same command again to continue.\n")

    @pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129)])
    def test_a_run_that_a_signal_stops_reports_it_and_resumes(
        self, reseen, recipe_file, tmp_path, monkeypatch, number, code
    ):
        before = signal.signal(number, signal.SIG_DFL)  # one that is ignored, as nohup has it, stays so
        try:
            with monkeypatch.context() as patch:
                patch.setattr(
                    "reseen.pipeline.encode.encoding.encode", lambda *_args, **_options: os.kill(os.getpid(), number)
                )
                found, _, err = reseen("run", recipe_file, "--out", tmp_path / "out")
        finally:
            signal.signal(number, before)
        assert found == code
        kept = f"Every complete file in {tmp_path / 'out'} is kept; log.txt there has the last step."
        assert err.endswith(f"stopped by {number.name}. {kept} Run the same command again to continue.\n")
        assert f"stopped by {number.name}\n" in (tmp_path / "out/log.txt").read_text()
        assert list((tmp_path / "out").rglob("*.part")) == []
        assert reseen("encode", recipe_file, "--out", tmp_path / "out")[0] == 0

    def test_a_refused_first_command_leaves_nothing_behind(self, reseen, recipe_file, tmp_path):
        for setting in ("encode.n_folds=99", "encode.export=['nifti']", "data.rois=['low', 'high', 'x']"):
            code, _, err = reseen("run", recipe_file, "--out", tmp_path / "new/out", "--set", setting)
            assert code == 1, err
            assert not (tmp_path / "new").exists()
        assert reseen("extract", recipe_file, "--out", tmp_path / "new/out")[0] == 0

    def test_a_first_command_that_fails_before_any_result_claims_no_folder(
        self, reseen, recipe_file, tmp_path, monkeypatch
    ):
        def fail(*_args, **_options):
            raise DataError("the betas are damaged.")

        with monkeypatch.context() as patch:
            patch.setattr("reseen.check.inputs.Inputs.open_subject", fail)
            assert reseen("run", recipe_file, "--out", tmp_path / "new/out")[0] == 1
        assert not (tmp_path / "new").exists()
        assert reseen("extract", recipe_file, "--out", tmp_path / "new/out")[0] == 0
        with monkeypatch.context() as patch:
            patch.setattr("reseen.check.inputs.Inputs.open_subject", fail)
            assert reseen("decode", recipe_file, "--out", tmp_path / "new/out")[0] == 1
        assert (tmp_path / "new/out/features/subj01/c.safetensors").is_file()

    def test_progress_off_a_terminal_is_dated_lines_there_and_in_the_log(self, reseen, recipe_file, tmp_path):
        _, _, err = reseen("extract", recipe_file, "--out", tmp_path / "out")
        dated = r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d\d:\d\d extract subj01: 8 of 8$"
        assert re.search(dated, err, re.MULTILINE)
        log = (tmp_path / "out/log.txt").read_text()
        assert re.search(dated, log, re.MULTILINE)
        assert log.splitlines()[-1].endswith("end: run up to extract on cpu")

    def test_check_reports_the_needs_of_a_recipe(self, reseen, recipe_file, tmp_path):
        code, out, _ = reseen("check", recipe_file, "--out", tmp_path / "out")
        assert code == 0
        assert "U-Net evaluations" in out
        assert out.rstrip().endswith("can run.")

    def test_check_fails_where_the_data_are_missing(self, reseen, recipe_file, tmp_path):
        code, out, _ = reseen("check", recipe_file, "--out", tmp_path / "out", "--data", tmp_path / "nosuch")
        assert code == 1
        assert "cannot run" in out

    def test_the_report_is_written_anew_on_request(self, reseen, recipe_file, tmp_path):
        reseen("report", recipe_file, "--out", tmp_path / "out")
        page = tmp_path / "out/report.html"
        page.write_text("old")
        reseen("report", recipe_file, "--out", tmp_path / "out")
        assert page.stat().st_size > 10_000

    def test_a_refused_report_leaves_the_old_one_where_it_is(self, reseen, recipe_file, tmp_path):
        reseen("report", recipe_file, "--out", tmp_path / "out")
        code, _, _ = reseen("report", recipe_file, "--out", tmp_path / "out", "--set", "reconstruct.guidance=3")
        assert code == 1
        assert (tmp_path / "out/report.html").is_file()

    def test_compare_prints_paired_differences_and_writes_them(self, reseen, recipe_file, tmp_path):
        reseen("evaluate", recipe_file, "--out", tmp_path / "a")
        shutil.copytree(tmp_path / "a", tmp_path / "b")
        recipe = tmp_path / "b/recipe.toml"
        recipe.write_text(recipe.read_text().replace("guidance = 5.0", "guidance = 3.0"))
        each = tmp_path / "b/images.csv"
        changed = re.sub(r"(subj01,zc,.*),[-0-9.e]+$", r"\1,0.5", each.read_text(), flags=re.MULTILINE)
        write_table(tmp_path / "b", "images.csv", changed)
        code, out, err = reseen("compare", tmp_path / "a", tmp_path / "b", "--csv", tmp_path / "table.csv")
        assert code == 0, err
        assert "reconstruct.guidance: 5.0 -> 3.0" in out
        assert len([line for line in out.splitlines() if line.startswith("│") and "classifier late" in line]) == 1
        assert "headline of subj01, zc by classifier late: 0." in out
        assert "18 of 27 scores are the same image by image" in out.replace("\n", "")
        assert len((tmp_path / "table.csv").read_text().splitlines()) == 1 + 5 * (2 + 2 * 3 * 2 + 2)
        out = reseen("compare", tmp_path / "a", tmp_path / "b", "--all")[1]
        assert len([line for line in out.splitlines() if line.startswith("│") and "classifier late" in line]) == 2 * 5

    def test_compare_refuses_a_folder_without_results(self, reseen, tmp_path):
        code, _, err = reseen("compare", tmp_path, tmp_path)
        assert code == 1
        assert "is no results folder" in err


def test_simulate_refuses_a_folder_with_content(reseen, tmp_path):
    (tmp_path / "mine.txt").write_text("keep me")
    code, _, err = reseen("simulate", tmp_path, "--recipe", "tiny")
    assert code == 1
    assert "is not empty" in err
    assert (tmp_path / "mine.txt").read_text() == "keep me"


def test_another_model_is_not_sought_at_the_commit_of_the_recipes_own():
    recipe = read_recipe("takagi2023", None, None, None)
    assert recipe.model.revision is not None
    assert read_recipe("takagi2023", None, "someone/else", None).model.revision is None


@pytest.mark.parametrize(
    ("arguments", "called"),
    [
        (["check", "tiny"], "reseen.check.check"),
        (["simulate", "new"], "reseen.simulate.write_data_set"),
        (["evaluate", "--images", "a", "--truth", "b"], "reseen.scoring.score"),
        (["raters", "page", "out"], "reseen.results.ResultsFolder.read"),
        (["raters", "score", "out", "file"], "reseen.raters.Design.load"),
        (["compare", "a", "b"], "reseen.results.ResultsFolder.read"),
        (["layers", "tiny"], "reseen.ldm.load_model"),
    ],
)
def test_ctrl_c_is_answered_in_a_line_by_every_command(reseen, tmp_path, monkeypatch, arguments, called):
    def interrupt(*_args, **_options):
        raise KeyboardInterrupt

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(called, interrupt)
    code, _, err = reseen(*arguments)
    assert code == 130
    assert err.splitlines()[-1].startswith("stopped by Ctrl-C.")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "command",
    [
        "check takagi2023",
        "check tiny --model x.ckpt",
        "layers takagi2023",
        "layers tiny --model x.ckpt",
        "evaluate --images made --truth shown --protocol takagi2023",
    ],
)
def test_no_command_uses_the_network_unasked(reseen, connections, tmp_path, monkeypatch, command):
    monkeypatch.chdir(tmp_path)
    torch.save({"state_dict": {"a": torch.zeros(1)}}, tmp_path / "x.ckpt")
    for folder in ("made", "shown"):
        (tmp_path / folder).mkdir()
        for name in range(3):
            Image.new("RGB", (32, 32), (name * 80, 0, 0)).save(tmp_path / folder / f"{name}.png")
    for name in ("HF_HOME", "HF_HUB_CACHE", "TORCH_HOME"):
        monkeypatch.setenv(name, str(tmp_path / "cache"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    assert reseen(*command.split())[0] == 1
    assert connections == []


def test_the_test_of_connections_notices_one(connections):
    import urllib.error
    import urllib.request

    import huggingface_hub

    with pytest.raises(urllib.error.URLError, match="no network"):
        urllib.request.urlopen("https://example.org")
    n_tried = len(connections)
    assert n_tried > 0
    with pytest.raises(Exception, match=r"network|connect"):
        huggingface_hub.HfApi().model_info("CompVis/stable-diffusion-v1-4", timeout=1)
    assert len(connections) > n_tried
