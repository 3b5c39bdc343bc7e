"""The repository: make without developer tools, a wrong Python, workflows whose commands exist, and the citation."""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import typer
import yaml

import reseen
from reseen.cli import app

ROOT = Path(__file__).resolve().parents[1]
GITHUB = ROOT / ".github"
WORKFLOWS = sorted((GITHUB / "workflows").glob("*.yml"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
TARGETS = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))


def make(*words, **variables):
    settings = [f"{name}={value}" for name, value in variables.items()]
    outside = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}  # not of `make test`
    line = ["make", *words, *settings]
    return subprocess.run(line, cwd=ROOT, env=outside, capture_output=True, text=True, check=False)


def stand_in(path, version, log):
    """Write a Python that says it has another version, makes environments of itself and records what pip installs."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        f"""#!/bin/sh
case "$1 $2" in
    "-m venv") mkdir -p "$3/bin" && cp "$0" "$3/bin/python" ;;
    "-m pip") echo "$@" >> "{log}" ;;
    *) exec {sys.executable} -c 'import sys; sys.version_info = {version}; exec(sys.argv[2])' "$@" ;;
esac
"""
    )
    path.chmod(0o755)
    return path


def test_users_install_no_developer_tools_and_tests_add_them(tmp_path):
    python, log, venv = (
        stand_in(tmp_path / "python3", (3, 12, 1), tmp_path / "log"),
        tmp_path / "log",
        tmp_path / "venv",
    )
    for _ in range(2):  # the second time nothing is installed
        assert make("install", PYTHON=python, VENV=venv).returncode == 0
    (line,) = log.read_text().splitlines()
    assert line.endswith("-c constraints.txt -e .[cluster,live,metrics]")
    assert make("develop", PYTHON=python, VENV=venv).returncode == 0
    assert log.read_text().splitlines()[1].endswith("-e .[dev,cluster,live,metrics]")
    assert make("install", "develop", PYTHON=python, VENV=venv).returncode == 0
    assert len(log.read_text().splitlines()) == 2


def test_what_make_runs_with_the_users_install_and_with_the_developers():
    for target, has_developer_tools in (("install", False), ("demo", False), ("check", True), ("test", True)):
        lines = make("-n", target, VENV="nosuch").stdout
        assert ("-e '.[dev,cluster,live,metrics]'" in lines) == has_developer_tools, target
        assert ("-e '.[cluster,live,metrics]'" in lines) != has_developer_tools, target


def test_the_site_is_built_without_developer_tools():
    lines = make("-n", "docs", VENV="nosuch").stdout
    assert "-e '.[docs,cluster,live,metrics]'" in lines
    assert "dev" not in re.findall(r"\[([\w,]+)\]", lines)[0].split(",")


@pytest.mark.parametrize("target", ["install", "develop", "demo", "test", "docs"])
def test_an_old_python_is_refused_in_a_sentence_and_leaves_nothing(tmp_path, target):
    python = stand_in(tmp_path / "python3", (3, 9, 2), tmp_path / "log")
    done = make(target, PYTHON=python, VENV=tmp_path / "venv")
    assert done.returncode == 2
    said = [line for line in done.stdout.splitlines() if not line.startswith("make")]
    assert said == [
        f"reseen needs Python 3.11 or newer, and {python} is older: name another with make PYTHON=/path/to/python3 "
        "VENV=.venv-new."
    ]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["python3"]


def test_a_python_that_does_not_exist_is_named_and_an_incomplete_environment_is_deleted(tmp_path):
    done = make("install", PYTHON="nosuch-python", VENV=tmp_path / "venv")
    assert done.returncode == 2
    assert "There is no nosuch-python here" in done.stdout
    python = tmp_path / "python3"
    python.write_text(f'#!/bin/sh\ncase "$2" in venv) mkdir -p "$3/bin"; exit 1;; esac\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    assert make("install", PYTHON=python, VENV=tmp_path / "venv").returncode == 2
    assert not (tmp_path / "venv").exists()


def test_the_oldest_python_of_the_makefile_is_that_of_the_project():
    oldest = PROJECT["requires-python"].removeprefix(">=")
    assert f"sys.version_info < ({oldest.replace('.', ', ')})" in (ROOT / "Makefile").read_text()


def workflow(path):
    found = yaml.safe_load(path.read_text(encoding="utf-8"))
    found["on"] = found.pop(True)  # YAML 1.1 reads the key "on" as true
    return found


def steps(path):
    """Every step of a workflow."""
    return [step for job in workflow(path)["jobs"].values() for step in job["steps"]]


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_a_workflow_has_the_structure_that_github_expects(path):
    found = workflow(path)
    assert set(found) <= {"name", "on", "permissions", "concurrency", "jobs"}
    assert set(found["on"]) <= {"push", "pull_request", "schedule"}
    for name, job in found["jobs"].items():
        allowed = {"name", "runs-on", "container", "strategy", "steps", "needs", "environment", "permissions"}
        assert set(job) <= allowed, name
        assert "runs-on" in job
        assert set([job["needs"]] if "needs" in job else []) <= set(found["jobs"])
        matrix = job.get("strategy", {}).get("matrix", {})
        assert set(re.findall(r"matrix\.(\w+)", str(job))) == set(matrix), name
        for step in job["steps"]:
            assert ("uses" in step) != ("run" in step), step
            assert set(step) <= {"name", "uses", "with", "run", "working-directory"}
            if "uses" in step:
                assert re.fullmatch(r"[\w-]+/[\w-]+@[\w./]+", step["uses"])


@pytest.mark.parametrize("path", [*WORKFLOWS, ROOT / ".pre-commit-config.yaml"], ids=lambda path: path.name)
def test_the_commands_of_a_workflow_exist(path):
    if path in WORKFLOWS:
        lines = [line for step in steps(path) if "run" in step for line in step["run"].splitlines()]
    else:
        hooks = yaml.safe_load(path.read_text(encoding="utf-8"))["repos"][0]["hooks"]
        lines = [hook["entry"] for hook in hooks]
        assert all(hook["language"] == "system" for hook in hooks)
    assert lines
    commands = typer.main.get_command(app).commands
    for line in lines:
        assert set(re.findall(r"\bmake (\w+)", line)) <= TARGETS, line
        assert [name for name in re.findall(r"(?:tests|tools)/\w+\.py", line) if not (ROOT / name).is_file()] == []
        for extras in re.findall(r"-e \"\.\[([\w,]+)\]\"", line):
            assert set(extras.split(",")) <= set(PROJECT["optional-dependencies"])
        assert set(re.findall(r"bin/reseen (\w+)", line)) <= set(commands)
        if line.startswith(".ci/"):
            assert (ROOT / line).is_file()


def test_the_workflows_test_every_supported_python_and_system():
    jobs = workflow(GITHUB / "workflows/tests.yml")["jobs"]
    named = [entry.rpartition(" ")[2] for entry in PROJECT["classifiers"] if ":: Python :: 3." in entry]
    assert jobs["linux"]["strategy"]["matrix"]["python"] == named
    assert jobs["systems"]["strategy"]["matrix"]["system"] == ["macos-latest", "windows-latest"]
    settings = [step.get("with", {}) for step in jobs["oldest"]["steps"]]
    oldest = [known["python-version"] for known in settings if "python-version" in known]
    assert oldest == [PROJECT["requires-python"].removeprefix(">=")]


def test_a_release_is_published_without_a_password():
    path = GITHUB / "workflows/release.yml"
    publish = workflow(path)["jobs"]["publish"]
    assert publish["permissions"] == {"id-token": "write"}
    assert "secrets." not in path.read_text()
    (check,) = [step["run"] for step in steps(path) if "GITHUB_REF_NAME" in step.get("run", "")]
    for tag, code in ((f"v{reseen.__version__}", 0), ("v0.0.0", 1)):
        line = check.replace("$(python ", f"$({sys.executable} ")
        done = subprocess.run(["sh", "-c", line], cwd=ROOT, env={"GITHUB_REF_NAME": tag}, check=False)
        assert done.returncode == code


@pytest.mark.parametrize("path", sorted((GITHUB / "ISSUE_TEMPLATE").glob("*.yml")), ids=lambda path: path.name)
def test_a_template_is_a_form_with_fields_of_known_types(path):
    form = yaml.safe_load(path.read_text(encoding="utf-8"))
    if path.stem == "config":
        assert form == {"blank_issues_enabled": True}
        return
    assert set(form) == {"name", "description", "labels", "body"}
    names = [field["id"] for field in form["body"]]
    assert len(set(names)) == len(names)
    assert {field["type"] for field in form["body"]} <= {"textarea", "input", "checkboxes"}
    assert all(field["attributes"]["label"] for field in form["body"])


def test_the_citations_agree_with_each_other_and_with_the_project():
    cff = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    bibtex = (ROOT / "docs/citing.md").read_text(encoding="utf-8")
    assert cff["version"] == reseen.__version__
    assert f"version = {{{reseen.__version__}}}" in bibtex
    assert cff["license"] == PROJECT["license"]
    (paper,) = cff["references"]
    assert f"title = {{{paper['title']}}}" in bibtex
    authors = " and ".join(f"{author['family-names']}, {author['given-names']}" for author in paper["authors"])
    assert f"author = {{{authors}}}" in bibtex


def test_links_of_the_pages_of_the_repository_lead_somewhere():
    for name in ("CONTRIBUTING.md", "CODE_OF_CONDUCT.md", "SECURITY.md"):
        text = (ROOT / name).read_text(encoding="utf-8")
        for target in re.findall(r"\]\((?!http)([^)#\s]+)", text):
            assert (ROOT / target).exists(), (name, target)
