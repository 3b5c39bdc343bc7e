"""What every command has: help, version, verbosity, suggestions, JSON, exit codes, UTF-8 and completion."""

import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pandas as pd
import pytest
import typer

import reseen as package
from reseen.cli import app
from reseen.cli.terminal import EXIT_CODES
from reseen.errors import DataError
from reseen.recipe import load_recipe, to_toml
from reseen.recipe.section import suggestion

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs/command_line.md"


def every_command():
    """Words of each command, also those of groups: ``("raters", "score")``."""
    for name, command in typer.main.get_command(app).commands.items():
        yield (name,)
        yield from ((name, inner) for inner in getattr(command, "commands", ()))


@pytest.fixture
def recipe_file(small_recipe, tmp_path):
    path = tmp_path / "small.toml"
    path.write_text(to_toml(small_recipe), encoding="utf-8")
    return path


@pytest.mark.parametrize("words", [(), *every_command()], ids=" ".join)
def test_every_command_has_the_short_help_and_the_options_of_every_command(reseen, words):
    code, out, _ = reseen(*words, "-h")
    assert code == 0
    assert out == reseen(*words, "--help")[1]
    assert [option for option in ("-h, --help", "-q, --quiet", "-v, --verbose") if option not in out] == []


def test_the_version_has_one_place(reseen):
    assert reseen("--version") == (0, f"reseen {package.__version__}\n", "")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert "version" not in project["project"]
    assert project["project"]["dynamic"] == ["version"]
    assert (ROOT / project["tool"]["hatch"]["version"]["path"]).samefile(package.__file__)
    assert f"\nversion: {package.__version__}\n" in (ROOT / "CITATION.cff").read_text()
    assert f"\n## {package.__version__}" in (ROOT / "CHANGELOG.md").read_text()


@pytest.mark.usefixtures("random_networks")
@pytest.mark.parametrize("before", [True, False])
def test_quiet_hides_progress_but_not_the_log_or_the_results(reseen, recipe_file, tmp_path, before):
    words = ["extract", recipe_file, "--out", tmp_path / "out"]
    code, out, err = reseen("-q", *words) if before else reseen(*words, "-q")
    assert (code, err) == (0, "")
    assert "results: " in out
    assert "extract subj01: 8 of 8" in (tmp_path / "out/log.txt").read_text()
    _, _, err = reseen("extract", recipe_file, "--out", tmp_path / "other")  # quiet is not remembered
    assert "extract subj01: 8 of 8" in err


@pytest.mark.parametrize("words", [("-v", "recipe", "nosuch"), ("recipe", "nosuch", "-v")])
def test_verbose_shows_where_an_error_occurs(reseen, words):
    code, _, err = reseen(*words)
    assert code == 1
    assert "Traceback" in err
    assert err.splitlines()[-1].startswith("error: cannot read the recipe nosuch")
    assert "Traceback" not in reseen("recipe", "nosuch")[2]


@pytest.mark.filterwarnings("always")
def test_verbose_shows_warnings_of_libraries(reseen, monkeypatch):
    def warn(*_args, **_options):
        import warnings

        warnings.warn("an old function", FutureWarning, stacklevel=1)
        raise DataError("stopped here.")

    monkeypatch.setattr("reseen.recipe.to_toml", warn)
    assert "an old function" not in reseen("recipe")[2]
    assert "warning: an old function" in reseen("recipe", "-v")[2]


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["chek"], 2, "Did you mean 'check'?"),
        (["recipe", "dmeo"], 1, "did you mean demo?"),
        (["run", "tiny", "--set", "reconstruct.n_stepz=3"], 1, "did you mean reconstruct.n_steps?"),
        (["run", "tiny", "--set", "data.n_steps=3"], 1, "did you mean reconstruct.n_steps?"),
        (["run", "tiny", "--set", "recon.n_steps=3"], 1, "did you mean reconstruct?"),
        (["run", "tiny", "--set", "simulate.n_folds=3"], 1, "mean data.n_folds or decode.n_folds or encode.n_folds?"),
        (["run", "tiny", "--set", "zzz.qqq=1"], 1, "zzz: unknown key. Run"),
    ],
)
def test_a_mistyped_name_is_answered_with_a_similar_one(reseen, tmp_path, monkeypatch, words, code, says):
    monkeypatch.chdir(tmp_path)
    found, _, err = reseen(*words)
    assert found == code
    assert says in " ".join(err.replace("│", " ").split())


def test_a_name_that_resembles_none_gets_no_suggestion():
    assert suggestion("qqqq", ["demo", "tiny"]) == ""


@pytest.mark.usefixtures("random_networks")
def test_check_writes_its_table_as_json(reseen, recipe_file, tmp_path):
    words = ("check", recipe_file, "--out", tmp_path / "out")
    code, out, err = reseen(*words, "--json", tmp_path / "checks.json")
    assert code == 0, err
    records = json.loads((tmp_path / "checks.json").read_text(encoding="utf-8"))
    printed = [line for line in out.splitlines()[:-1] if not line.startswith("  ")]
    assert [record["check"] for record in records] == [line[4:].split("  ")[0].strip() for line in printed]
    assert {record["status"] for record in records} <= {"ok", "absent"}
    code, out, _ = reseen(*words, "--data", tmp_path / "nosuch", "--json", "-")
    assert code == 1
    assert "refused" in {record["status"] for record in json.loads(out)}


@pytest.mark.filterwarnings("ignore")
def test_printed_json_is_the_only_output(reseen, finished, tiny_model, tmp_path):
    rows = json.loads(reseen("layers", "tiny", "--model", tiny_model, "--json", "-")[1])
    assert {"module": "mid_block", "shape": [32, 4, 4], "default": True} in rows
    table = pd.DataFrame(json.loads(reseen("compare", finished, finished, "--json", "-")[1]))
    assert (table["difference"] == 0).all()
    rows = json.loads(reseen("retrieval", finished, "--size", "3", "--json", "-")[1])
    assert {row["metric"] for row in rows} == {"top1@3"}
    assert reseen("export", finished, tmp_path / "images")[0] == 0
    made, true = tmp_path / "images/reconstructed", tmp_path / "images/presented"
    rows = json.loads(reseen("evaluate", "--images", made, "--truth", true, "--json", "-")[1])
    assert {row["protocol"] for row in rows} == {"builtin"}
    assert {"result", "low", "high", "p"} <= set(rows[0])


def test_the_exit_codes_of_the_page_are_those_of_the_program(reseen):
    rows = re.findall(r"^\| (\d+) \| (.*) \|$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert {int(code): meaning for code, meaning in rows} == EXIT_CODES
    text = " ".join(reseen("--help")[1].split())
    assert [code for code, meaning in EXIT_CODES.items() if f"{code} {meaning}" not in text] == []


def run(words, **environment):
    """Run the command line in a process of its own, without variables that choose an encoding."""
    names = ("PYTHONIOENCODING", "PYTHONUTF8", "LANG", "LC_CTYPE", "LC_ALL")
    plain = {name: value for name, value in os.environ.items() if name not in names}
    line = [sys.executable, "-m", "reseen", *words]
    return subprocess.run(line, capture_output=True, check=False, env={**plain, **environment})


@pytest.mark.parametrize("locale", ["C", "POSIX"])
def test_output_is_utf_8_in_a_locale_without_it(tmp_path, locale):
    recipe = tmp_path / "recipe.toml"
    recipe.write_text('name = "naïve-猫"\n', encoding="utf-8")
    # without these two settings Python itself would choose UTF-8 in these locales
    done = run(["recipe", str(recipe)], LC_ALL=locale, PYTHONUTF8="0", PYTHONCOERCECLOCALE="0")
    assert (done.returncode, done.stderr) == (0, b"")
    (tmp_path / "copy.toml").write_bytes(done.stdout)
    assert load_recipe(tmp_path / "copy.toml").name == "naïve-猫"
    done = run(["recipe", str(recipe)], LC_ALL=locale, PYTHONIOENCODING="ascii")
    assert 'name = "naive-?"'.encode("ascii") in done.stdout


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("reseen ch", ["check"]),
        ("reseen run takagi2023_", ["takagi2023_as_released"]),
        ("reseen check demo --js", ["--json"]),
    ],
)
def test_a_shell_completes_commands_recipes_and_options(words, expected):
    code = "import sys; from reseen.cli import main; sys.argv = ['reseen']; main()"
    settings = {"_RESEEN_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, env={**os.environ, **settings}
    )
    assert done.stdout.split() == expected, done.stderr
