"""The page of live decoding, its server, and the command: started, killed, started again, and replayed."""

import http.client
import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest
from browser import Browser, find_chromium
from fields import raises_with
from live_runs import decode_files, one, run_of, write_trial
from results_page import check_files

from reseen import Results, load_nsd
from reseen.errors import RecipeError
from reseen.live import Board, KnownStimuli, Recording, listen, read_key, serving
from reseen.live.server import HEADERS

ROOT = Path(__file__).resolve().parents[1]
REQUIRED = os.environ.get("RESEEN_BROWSER") == "required"
PATIENCE = 120.0  # seconds: the machine may be busy
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def results(simulated_tree, tiny_model, tmp_path_factory):
    return run_of(simulated_tree, tiny_model, tmp_path_factory.mktemp("run") / "results")


@pytest.fixture(scope="module")
def raw(simulated_tree):
    return load_nsd(simulated_tree, "subj01", zscore_sessions=False).trials


@pytest.fixture(scope="module")
def recorded(results, raw, tmp_path_factory):
    """A recording of three trials, one of an unknown stimulus, and a bad file, with its messages."""
    root = tmp_path_factory.mktemp("recorded")
    (root / "in").mkdir()
    for row in range(3):
        write_trial(root / "in", row, one(raw, row), **({"stimulus_id": None} if row == 2 else {}))
    (root / "in/half.npz").write_bytes(b"PK\x03\x04 half")
    _, board = decode_files(results, root / "in", root / "out", stimuli=KnownStimuli(results, "subj01", "z"))
    return root / "out", board


ABOUT = {
    "title": "a < b",
    "facts": ["One fact."],
    "start": "z",
    "first": "z",
    "condition": "zc",
    "images": True,
    "notes": [],
}


@pytest.fixture
def address(recorded):
    folder, board = recorded
    with serving(board, folder, read_key(folder), ABOUT, listen(0)) as found:
        yield found


def ask(address, path="", host=None, method="GET"):
    """Answer of the server: status, headers, content."""
    parts = urlsplit(address)
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=PATIENCE)
    connection.request(method, parts.path + path, headers={"Host": host} if host else {})
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    return answer.status, dict(answer.getheaders()), content


def events(address, n):
    """The first messages of the stream."""
    parts = urlsplit(address)
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=PATIENCE)
    connection.request("GET", f"{parts.path}events")
    answer = connection.getresponse()
    assert answer.getheader("content-type").startswith("text/event-stream")
    found = []
    while len(found) < n:
        line = answer.readline().decode()
        if line.startswith("data: "):
            found.append(json.loads(line.removeprefix("data: ")))
    connection.close()
    return found


def test_the_page_is_served_with_headers_that_forbid_other_sources(address):
    status, headers, content = ask(address)
    page = content.decode()
    assert status == 200
    assert {name: headers[name.lower()] for name in HEADERS} == HEADERS
    assert "<title>Live: a &lt; b</title>" in page
    assert not re.search(r"(src|href)=.(https?:)?//|@import|url\(", page)


def test_other_keys_other_hosts_and_other_methods_get_nothing(address):
    parts = urlsplit(address)
    root = f"http://{parts.netloc}/"
    assert ask(root)[0] == ask(root, "wrong/")[0] == ask(root, "wrong/events")[0] == 404
    assert ask(address, host="evil.example")[0] == 400
    assert ask(address, host=f"evil.example:{parts.port}")[0] == 400
    assert ask(address, host=f"localhost:{parts.port}")[0] == 200
    assert ask(address, method="POST")[0] == 405


def test_images_are_served_and_other_files_are_not(address, recorded):
    status, headers, content = ask(address, "trials/0/zc.png")
    assert (status, headers["content-type"]) == (200, "image/png")
    assert content == (recorded[0] / "trials/00000/zc.png").read_bytes()
    for path in (
        "trials/9/zc.png",
        "trials/0/nosuch.png",
        "trials/0/trial.json",
        "trials/0/..%2F..%2Flive.png",
        ".key",
    ):
        assert ask(address, path)[0] == 404, path


def test_the_server_listens_on_this_machine_only(address):
    parts = urlsplit(address)
    assert parts.hostname == "127.0.0.1"
    with socket.socket() as other, pytest.raises(OSError, match="refused"):
        other.connect(("127.0.0.2", parts.port))  # a server on all addresses would answer


def test_the_stream_has_all_messages_so_far_and_then_new_ones(recorded):
    folder, board = recorded
    growing = Board()
    for message in board.since(0):
        growing.publish(message)
    with serving(growing, folder, "key", ABOUT, listen(0)) as address:
        assert events(address, 7) == list(board.since(0))
        growing.publish({"kind": "bad", "file": "new", "error": "no trial", "time": 0.0})
        assert events(address, 8)[-1]["file"] == "new"


def test_the_key_is_secret_and_stays(recorded):
    folder, _ = recorded
    key = read_key(folder)
    assert len(key) > 20
    assert read_key(folder) == key
    assert (folder / ".key").stat().st_mode & 0o777 == 0o600


def test_a_port_that_is_in_use_is_refused():
    with listen(0) as taken:
        port = taken.getsockname()[1]
        with raises_with(RecipeError, where="port", found=port):
            listen(port)
    with raises_with(RecipeError, where="port", found=70_000):
        listen(70_000)


# ---------------------------------------------------------------------------------------------------- the command


class Command:
    """`reseen live` in a process of its own."""

    def __init__(self, *words):
        line = [sys.executable, "-m", "reseen", "live", *map(str, words), "--port", "0"]
        environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "PYTHONUNBUFFERED": "1"}
        self.process = subprocess.Popen(
            line, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment
        )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate(timeout=PATIENCE)

    def address(self):
        """Wait for the address of the page."""
        for line in self.process.stdout:
            if line.startswith("page: "):
                return line.removeprefix("page: ").strip()
        raise AssertionError(f"no page, exit code {self.process.wait(PATIENCE)}")

    def end(self):
        out = self.process.communicate(timeout=PATIENCE)[0]
        return self.process.returncode, out


def wait_until(what):
    until = time.monotonic() + PATIENCE
    while not what():
        assert time.monotonic() < until, "this never came true"
        time.sleep(0.02)


def test_a_command_that_is_killed_and_started_again_loses_and_repeats_nothing(results, raw, tmp_path):
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    words = (results.path, "--watch", folder, "--condition", "zc", "--steps", 2, "--out", out)
    with Command(*words) as first:
        address = first.address()
        for row in range(4):
            write_trial(folder, row, one(raw, row))
        wait_until(lambda: len(list((out / "trials").glob("*/trial.json"))) >= 2)  # images are pending
        first.process.send_signal(signal.SIGKILL)
        first.process.wait(PATIENCE)
    for row in range(4, 8):  # while nothing runs
        write_trial(folder, row, one(raw, row))
    (folder / "damaged.npz").write_bytes(b"damaged")
    with Command(*words, "--n-trials", 8) as second:
        assert urlsplit(second.address()).path == urlsplit(address).path  # an open page connects again
        code, said = second.end()
    assert (code, "8 trials" in said) == (0, True), said
    recording = Recording.read(out)
    check_files("Files of reseen live", out)
    log = (out / "log.txt").read_text(encoding="utf-8")
    assert [log.count(f" trial {number}, trial{number}.npz: z after ") for number in range(8)] == [1] * 8
    assert [log.count(word) for word in (" start: live decoding of ", " end: live decoding of ")] == [2, 1]
    assert [record.file for record in recording.trials] == [f"trial{row}.npz" for row in range(8)]
    assert recording.pending == []
    assert all(not record.error for record in recording.images.values())
    expected = results.apply(raw.take(np.arange(8)), scaling="causal", conditions=[])
    for name in ("z", "c"):
        found = np.stack([recording.feature(number, name) for number in range(8)])
        np.testing.assert_allclose(found, expected.features[name].array, rtol=0, atol=1e-6)


def test_a_signal_ends_the_command_and_says_how_to_resume(reseen, results, raw, tmp_path):
    (tmp_path / "in").mkdir()
    write_trial(tmp_path / "in", 0, one(raw, 0))
    with Command(results.path, "--watch", tmp_path / "in", "--no-images", "--out", tmp_path / "out") as running:
        address = running.address()
        assert events(address, 1)[0]["file"] == "trial0.npz"
        running.process.send_signal(signal.SIGTERM)
        code, said = running.end()
    assert code == 143
    assert "1 trials are in" in said
    assert "Run the same command again to resume." in said
    (tmp_path / "other").mkdir()  # its trial0.npz would be taken for the one that is recorded
    arguments = ("--watch", tmp_path / "other", "--no-images", "--out", tmp_path / "out", "--port", 0)
    code, _, error = reseen("live", results.path, *arguments)
    assert code == 1
    assert "source" in error


def write_series(raw, folder):
    """Write a series of 30 volumes of noise, and a table of three trials."""
    import nibabel

    shape, index = raw.volume_shape, np.sort(raw.voxel_index)
    rng = np.random.default_rng(0)
    volumes = np.zeros((int(np.prod(shape)), 30), dtype=np.float32)
    volumes[index] = 500 + rng.normal(size=(len(index), 30))
    image = nibabel.Nifti1Image(volumes.reshape(*shape, 30), np.eye(4))
    image.header.set_zooms((1.8, 1.8, 1.8, 1.6))
    image.to_filename(folder / "bold.nii")
    (folder / "events.tsv").write_text("onset\tduration\n4\t3\n12\t3\n20\t3\n")


def test_a_series_is_decoded_by_the_command_and_its_replay_writes_nothing(results, raw, tmp_path):
    write_series(raw, tmp_path)
    words = (results.path, "--from-series", tmp_path / "bold.nii", "--events", tmp_path / "events.tsv")
    with Command(*words, "--out", tmp_path / "out", "--n-trials", 3, "--steps", 2) as running:
        code, said = running.end()
    assert code == 0, said
    recording = Recording.read(tmp_path / "out")
    assert [record.file for record in recording.trials] == [f"bold.nii, trial {k}" for k in range(3)]
    assert recording.feature(2, "z").shape == results.decoder("z").shape_
    (tmp_path / "out/.key").unlink()
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*")}
    with Command("--replay", tmp_path / "out", "--speed", 100) as running:
        assert len(events(running.address(), 3)) == 3
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*")} == before


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("{run}",),
        ("{run}", "--watch", "in", "--from-series", "a.nii"),
        ("{run}", "--from-series", "a.nii"),
        ("{run}", "--replay", "out"),
    ],
)
def test_wrong_usage_is_refused(reseen, results, words):
    assert reseen("live", *(word.format(run=results.path) for word in words))[0] == 2


def test_without_the_extra_the_command_names_it(reseen, results, monkeypatch):
    import importlib.util

    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *_: None if name == "uvicorn" else found(name))
    code, _, error = reseen("live", results.path, "--watch", ".")
    assert code == 1
    assert "pip install 'reseen[live]'" in error


# ---------------------------------------------------------------------------------------------------- the browser


@pytest.fixture
def browser(tmp_path):
    program = find_chromium()
    if program is None:
        say = pytest.fail if REQUIRED else pytest.skip
        say("there is no Chromium here; .ci/run installs it from Debian's packages")
    with Browser(program, tmp_path / "browser") as found:
        yield found


def text(browser, selector):
    return browser.run(f"document.querySelector({json.dumps(selector)}).innerText")


def test_the_page_shows_the_newest_trial_and_any_earlier_one(browser, recorded):
    folder, board = recorded
    growing, messages = Board(), list(board.since(0))
    trials = [message for message in messages if message["kind"] == "trial"]
    with serving(growing, folder, "key", ABOUT, listen(0)) as address:
        browser.open(address)
        browser.wait_for("document.getElementById('state').innerText === 'connected'")
        assert text(browser, "#waiting") == "The first trial appears here."
        growing.publish(trials[0])
        browser.wait_for("document.querySelectorAll('#images img').length === 2")  # presented, z; zc follows
        assert "being generated" in text(browser, "#images")
        for message in messages:
            if message != trials[0]:
                growing.publish(message)
        browser.wait_for("document.querySelectorAll('#trials li').length === 3")
        browser.wait_for("document.querySelectorAll('#images img').length === 2")  # unknown stimulus: z, zc
        assert text(browser, "#which") == "Trial 2"
        assert "stimulus unknown" in text(browser, "#meta")
        assert text(browser, "#count") == "3 trials, 3 images"
        assert "half.npz" in text(browser, "#bad")
        browser.run("document.querySelector('#trial-0 button').click()")  # it is below the window
        browser.wait_for("document.getElementById('which').innerText === 'Trial 0'")
        assert browser.run("document.querySelectorAll('#images img').length") == 3
        assert "correlation with the true z" in text(browser, "#confidence")
        browser.click("#follow")
        browser.wait_for("document.getElementById('which').innerText === 'Trial 2'")
        widths = browser.run(
            "Promise.all([...document.images].map((image) => image.decode().then(() => image.naturalWidth)))"
        )
        assert min(widths) >= 32
        asked = [event["params"]["request"]["url"] for event in browser.events if "request" in event.get("params", {})]
        assert all(url.startswith((f"http://{urlsplit(address).netloc}/", "data:")) for url in asked)
        assert browser.errors == []
        browser.screenshot(folder / "phone.png", width=380)
        assert browser.run("document.documentElement.scrollWidth <= window.innerWidth")
    browser.wait_for("document.getElementById('state').innerText.startsWith('no connection')")


# ------------------------------------------------------------------------------------------------------- the docs


def test_every_command_of_the_page_on_live_decoding_runs(results, raw, tmp_path, monkeypatch):
    lines = re.findall(r"^\$ (reseen live\b.*)", (ROOT / "docs/live.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert len(lines) >= 3
    monkeypatch.chdir(tmp_path)
    shutil.copytree(results.path, "out/a")
    Path("incoming").mkdir()
    write_trial(Path("incoming"), 0, one(raw, 0))
    write_series(raw, tmp_path)
    for line in lines:
        words = shlex.split(line, comments=True)[2:]
        with Command(*words) as running:
            address = running.address()
            assert events(address, 1)[0]["kind"] == "trial", line


def test_the_python_of_the_page_runs(results, raw, tmp_path, monkeypatch):
    blocks = re.findall(r"^```python\n(.*?)^```", (ROOT / "docs/live.md").read_text("utf-8"), re.MULTILINE | re.DOTALL)
    assert blocks
    monkeypatch.chdir(tmp_path)
    shutil.copytree(results.path, "out/a")
    write_trial(tmp_path, 0, raw.take(np.arange(3)), name="scan.npz")
    names = {}
    for block in blocks:
        exec(block, names)
    assert isinstance(names["results"], Results)
    assert names["image"].shape == (32, 32, 3)
