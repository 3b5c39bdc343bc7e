"""Every benchmark runs at a toy size, so that none stops working unseen; every tool at least says what it does."""

from __future__ import annotations

import json
import runpy
import sys
import warnings
from pathlib import Path

import pytest
from himalaya.backend import set_backend

ROOT = Path(__file__).parents[1]
MAIN = 'if __name__ == "__main__":'
HISTORY = ROOT / "benchmarks/history.py"  # no benchmark
SCRIPTS = sorted(
    path for path in (ROOT / "benchmarks").glob("*.py") if path != HISTORY and MAIN in path.read_text(encoding="utf-8")
)
TOOLS = sorted(path for path in (ROOT / "tools").glob("*.py") if MAIN in path.read_text(encoding="utf-8"))


def test_there_are_benchmarks_and_tools() -> None:
    assert {"cluster", "ridge", "sampling"} <= {path.stem for path in SCRIPTS}
    assert len(TOOLS) > 5


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_a_benchmark_runs_at_toy_size(
    script: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A script without --quick, or without --json, fails here."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(script.parent))
    monkeypatch.setattr(sys, "argv", [str(script), "--quick", "--json", str(tmp_path / "figures.json")])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            runpy.run_path(str(script), run_name="__main__")
        finally:
            set_backend("numpy")  # benchmarks compare with himalaya on torch, and its back end is global
    written = json.loads((tmp_path / "figures.json").read_text(encoding="utf-8"))
    assert all({"name", "value", "unit", "goal"} == set(row) for row in written["figures"])
    assert any(isinstance(row["value"], (int, float)) for row in written["figures"])
    assert capsys.readouterr().out


@pytest.mark.parametrize("tool", TOOLS, ids=lambda path: path.stem)
def test_a_tool_says_what_it_does(
    tool: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.syspath_prepend(str(tool.parent))
    monkeypatch.setattr(sys, "argv", [str(tool), "--help"])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(tool), run_name="__main__")
    assert ended.value.code == 0
    assert "usage:" in capsys.readouterr().out


def test_the_history_of_benchmarks_gets_a_line_for_each_file_and_is_plotted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(HISTORY.parent))
    history, plot = tmp_path / "history.jsonl", tmp_path / "benchmarks.svg"
    for value in (0.2, 0.1):
        figures = [{"name": "import", "value": value, "unit": "s", "goal": ""}]
        figures.append({"name": "on a GPU", "value": "not measured", "unit": "s", "goal": ""})
        written = {"machine": "a, 2 cores", "versions": {}, "figures": figures}
        (tmp_path / "startup.json").write_text(json.dumps(written))
        for words in (["record", str(tmp_path / "startup.json")], ["plot", "--out", str(plot)]):
            monkeypatch.setattr(sys, "argv", [str(HISTORY), "--history", str(history), *words])
            kept = runpy.run_path(str(HISTORY), run_name="__main__")
    assert len(history.read_text().splitlines()) == 2
    (lines,) = kept["series"](history).values()
    assert [value for _, value in lines["a, 2 cores (true)"]] == [0.2, 0.1]
    assert plot.read_text().startswith("<?xml")
    (tmp_path / "startup.json").write_text("{}")
    with pytest.raises(ValueError, match="has no figures"):
        kept["record"]([tmp_path / "startup.json"], history)


def test_the_kept_history_has_the_fields_of_every_entry() -> None:
    entries = [json.loads(line) for line in HISTORY.with_name("history.jsonl").read_text().splitlines()]
    assert entries
    for entry in entries:
        assert set(entry) == {"date", "commit", "benchmark", "size", "machine", "versions", "figures"}
        assert entry["benchmark"] in {path.stem for path in SCRIPTS}
        assert entry["size"] in ("true", "quick")
