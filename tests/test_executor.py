"""Tasks on two Dask workers: the same files as in one process, also when one of the workers is killed."""

from __future__ import annotations

import asyncio
import logging
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
import warnings
from contextlib import suppress
from functools import partial
from pathlib import Path

import numpy as np
import psutil
import pytest
from distributed import LocalCluster, SpecCluster
from distributed.comm import connect
from distributed.security import Security
from test_decode import RECIPE, TEST, TRAIN, subject
from test_pipeline import contents

from reseen import cli, decode, pipeline
from reseen.decode import Decoder
from reseen.errors import ClusterError, DataError
from reseen.executor import Serial, open_executor, read_shared, write_shared
from reseen.executor.cluster import _n_processors
from reseen.executor.silent import SilentScheduler
from reseen.recipe import DecodeRecipe, load_recipe, with_settings
from reseen.ridge import EdgeWarning
from reseen.split import Split

pytestmark = pytest.mark.filterwarnings("ignore::reseen.ridge.EdgeWarning")  # a few trials leave the penalty undecided
SPLIT = Split.fixed(TRAIN, TEST)


def workers_of(process):
    """Return the worker processes that a process has started and that still run."""
    found = []
    for child in process.children():
        with suppress(psutil.NoSuchProcess):  # it ended while it was looked at; a zombie counts as gone
            found += [child] if "spawn_main" in " ".join(child.cmdline()) else []
    return found


@pytest.fixture(scope="module")
def workers():
    """Two local workers for the whole module; none of them is left behind."""
    with open_executor("dask", n_workers=2) as executor:
        executor._start()
        yield executor
        until = time.monotonic() + 30
        while len(family := workers_of(psutil.Process())) < 2 and time.monotonic() < until:
            time.sleep(0.1)  # a killed one may still be on its way back; now and then Dask gives one up
    assert family
    assert psutil.wait_procs(family, timeout=60)[1] == []


class Folder:
    """A context that records in a file which process loaded it."""

    needs_gpu = False

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def share(self, folder):
        write_shared(folder, {"numbers": np.arange(5)})
        return partial(load_folder, self.folder, folder)


def load_folder(folder, shared):
    (folder / f"by-{os.getpid()}-{time.monotonic_ns()}").touch()
    context = Folder(folder)
    context.numbers = read_shared(shared)["numbers"]
    return context


def add(context, task):
    time.sleep(0.05)  # so that both workers get some
    return task + int(context.numbers.sum())


def warn_and_add(context, task):
    warnings.warn(f"task {task} of {len(context.numbers)}", UserWarning, stacklevel=2)
    return task


def end_the_worker(_context, _task):
    os.kill(os.getpid(), signal.SIGKILL)


def test_tasks_of_this_process_are_done_in_order():
    assert list(Serial().run(lambda context, task: context + task, [1, 2, 3], 10)) == [(0, 11), (1, 12), (2, 13)]


def test_every_task_is_done_once_and_its_context_is_loaded_once_on_each_worker(workers, tmp_path):
    context = Folder(tmp_path)
    for _ in range(2):  # the second call finds the context where the first left it
        found = dict(workers.run(add, list(range(12)), context))
        assert found == {task: task + 10 for task in range(12)}
    made = [path.name.split("-")[1] for path in tmp_path.iterdir()]
    assert len(made) == len(set(made)) == 2


def listeners():
    """Every TCP port that this process and its workers listen at."""
    family = [psutil.Process(), *psutil.Process().children(recursive=True)]
    found = [each for process in family for each in process.net_connections(kind="inet")]
    return [each.laddr for each in found if each.status == psutil.CONN_LISTEN]


def answer(port, context):
    """Return the answer of a listener to a connection, plain or by TLS; Dask greets accepted ones."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as plain:
        try:
            if context is None:
                plain.sendall(b"GET / HTTP/1.0\r\n\r\n")
                said = plain.recv(1 << 16)
                return b"" if said[:1] == b"\x15" else said  # an alert of TLS
            with context.wrap_socket(plain) as secure:
                return secure.recv(1 << 16)
        except (ssl.SSLError, ConnectionResetError):
            return b""


def test_a_stranger_on_this_machine_can_reach_nothing_of_a_local_cluster(workers):
    address = workers._client.scheduler.address
    own = {int(re.search(r":(\d+)$", worker)[1]) for worker in workers._client.scheduler_info()["workers"]}
    ports = listeners()
    # scheduler, two nannies, two workers; no HTTP server
    assert len(ports) == 5
    assert {at.ip for at in ports} == {"127.0.0.1"}
    assert {*own, int(address.rpartition(":")[2])} <= {at.port for at in ports}
    own_certificate = workers._cluster.security.get_connection_args("client")["ssl_context"]
    others_certificate = Security.temporary().get_connection_args("client")["ssl_context"]
    no_certificate = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    for context in (no_certificate, others_certificate):  # strangers who do not mind whom they talk to
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    for at in ports:
        assert answer(at.port, own_certificate)
        for context in (None, no_certificate, others_certificate):
            assert answer(at.port, context) == b""
    for stranger in (f"tcp://127.0.0.1:{ports[0].port}", address):
        options = {} if stranger.startswith("tcp") else Security.temporary().get_connection_args("client")
        with pytest.raises(OSError, match=r"Timed out|reset|closed|TLS"):
            asyncio.run(connect(stranger, timeout=1, **options))
    assert len(workers._client.scheduler_info()["workers"]) == 2


def test_nothing_to_do_starts_no_worker():
    with open_executor("dask", n_workers=2) as executor:
        assert list(executor.run(add, [], Folder(Path()))) == []
        assert executor._cluster is None


def test_decoders_fitted_on_workers_are_the_same_bytes(workers, monkeypatch):
    monkeypatch.setattr(decode.tasks, "TARGETS_AT_ONCE", 2)
    trials, feature = subject()
    split = Split.leave_out(trials.stimulus_id, 2, seed=1)
    seen = []
    for permutation in (None, 1):
        options = {
            "rois": ["early"],
            "recipe": RECIPE,
            "seed": 0,
            "train_trials": "averaged",
            "permutation": permutation,
        }
        maps, decoded = decode.decode(trials, split, feature, **options)
        others, same = decode.decode(
            trials, split, feature, **options, executor=workers, progress=lambda *counts: seen.append(counts)
        )
        assert decoded.array.tobytes() == same.array.tobytes()
        assert len(maps) == len(others)
        for one, other in zip(maps, others, strict=True):
            same_arrays, same_text = other.describe()
            arrays, text = one.describe()
            assert text == same_text
            assert arrays.keys() == same_arrays.keys()
            for name, value in arrays.items():
                np.testing.assert_array_equal(value, same_arrays[name], err_msg=name)
        assert seen[-6:] == [(k + 1, 6) for k in range(6)]


def test_blocks_of_targets_join_to_the_map_of_all_targets(monkeypatch):
    trials, feature = subject()
    whole = Decoder(["early"]).fit(trials.select(TRAIN), feature).map_
    monkeypatch.setattr(decode.tasks, "TARGETS_AT_ONCE", 4)
    joined = Decoder(["early"]).fit(trials.select(TRAIN), feature).map_
    for name, value in vars(whole).items():
        np.testing.assert_allclose(vars(joined)[name], value, rtol=1e-4, atol=1e-5, err_msg=name)


def test_one_penalty_for_all_targets_is_chosen_in_one_task(monkeypatch):
    monkeypatch.setattr(decode.tasks, "TARGETS_AT_ONCE", 2)
    trials, feature = subject()
    fitted = Decoder(["early"], share_alpha=True).fit(trials.select(TRAIN), feature).map_
    assert len(np.unique(fitted.alpha)) == 1


def test_errors_and_warnings_of_a_task_reach_this_process(workers, tmp_path, monkeypatch):
    with pytest.warns(UserWarning, match="task ") as caught:
        list(workers.run(warn_and_add, [0, 1, 2], Folder(tmp_path)))
    assert [str(found.message) for found in caught] == [f"task {task} of 5" for task in range(3)]
    trials, feature = subject()
    fit = partial(decode.decode, split=SPLIT, feature=feature, rois=["early"], seed=0)
    monkeypatch.setattr(decode.tasks, "TARGETS_AT_ONCE", 2)
    with pytest.warns(EdgeWarning, match="of 6 targets chose the largest penalty of the grid") as caught:
        fit(trials, recipe=DecodeRecipe(alphas=(1e-6, 1e-5)), executor=workers)
    assert len(caught) == 1
    trials.betas[np.flatnonzero(np.isin(trials.stimulus_id, TRAIN))[3], 7] = np.nan
    said = []
    for executor in (Serial(), workers):
        with pytest.raises(DataError, match="1 numbers that are not finite") as caught:
            fit(trials, recipe=RECIPE, executor=executor)
        said.append(str(caught.value))
    assert said[0] == said[1]


def warn_of_task(_context, task):
    warnings.warn(f"of task {task}", UserWarning, stacklevel=1)


def test_warnings_of_tasks_are_repeated_in_order_and_as_soon_as_possible(workers, tmp_path):
    done = set()
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        for number, _ in workers.run(warn_of_task, range(4), Folder(tmp_path)):
            done.add(number)
            in_turn = [f"of task {task}" for task in range(4) if done.issuperset(range(task + 1))]
            assert [str(one.message) for one in told if "of task" in str(one.message)] == in_turn


class Waiting:
    """An executor whose first tasks of some types wait until one of two busy workers was killed."""

    def __init__(self, workers, folder, *kinds):
        self.workers, self.folder, self.kinds = workers, folder, kinds

    def run(self, work, tasks, context):
        if work.__name__ not in self.kinds:
            return self.workers.run(work, tasks, context)
        (self.folder / work.__name__).mkdir(parents=True, exist_ok=True)
        return self.workers.run(partial(wait_and_work, work, self.folder / work.__name__), tasks, context)

    def kill(self):
        for kind in self.kinds:
            busy = []
            while len(busy) < 2:
                time.sleep(0.02)
                busy = [path.name for path in (self.folder / kind).glob("*")]
            os.kill(int(busy[0]), signal.SIGKILL)
            (self.folder / kind / "killed").touch()


def wait_and_work(work, folder, context, task):
    if not (folder / "killed").exists():
        (folder / str(os.getpid())).touch()
    while not (folder / "killed").exists():
        time.sleep(0.02)
    return work(context, task)


def test_workers_killed_while_fitting_and_while_sampling_change_no_file(workers, small_recipe, tmp_path, monkeypatch):
    monkeypatch.setattr(decode.tasks, "TARGETS_AT_ONCE", 64)
    pipeline.run(small_recipe, tmp_path / "here", until="reconstruct")
    waiting = Waiting(workers, tmp_path / "tasks", "_fit_task", "_reconstruct")
    killer = threading.Thread(target=waiting.kill, daemon=True)
    killer.start()
    pipeline.run(small_recipe, tmp_path / "there", until="reconstruct", executor=waiting)
    assert not killer.is_alive()
    assert contents(tmp_path / "there") == contents(tmp_path / "here")


def test_a_task_that_ends_several_workers_stops_the_run(workers, tmp_path):
    workers._cluster.scheduler.allowed_failures, before = 0, workers._cluster.scheduler.allowed_failures
    with pytest.raises(ClusterError, match="because memory ran out"):
        list(workers.run(end_the_worker, [0], Folder(tmp_path)))
    workers._cluster.scheduler.allowed_failures = before


@pytest.mark.usefixtures("random_networks")
@pytest.mark.filterwarnings("ignore:.*captions are longer than the 24 tokens")  # the tiny model reads few
def test_tiny_on_two_workers_of_a_running_cluster_ends_like_a_run_here(tiny_model, tmp_path, monkeypatch):
    options = {"threads_per_worker": 1, "dashboard_address": None, "silence_logs": logging.ERROR}
    with LocalCluster(n_workers=2, **options) as cluster:
        compare_runs(cluster.scheduler_address, tiny_model, tmp_path, monkeypatch)


def compare_runs(address, tiny_model, tmp_path, monkeypatch):
    arguments = ["run", "tiny", "--out", str(tmp_path / "there"), "--model", str(tiny_model)]
    spread = ["--executor", "dask", "--cluster", address]
    monkeypatch.setattr(sys, "argv", ["reseen", *arguments, *spread])
    with pytest.raises(SystemExit, match="0"):
        cli.main()
    recipe = with_settings(load_recipe("tiny"), [f"model.name={tiny_model}"])
    pipeline.run(recipe, tmp_path / "here", data=tmp_path / "there/data", until="evaluate")
    here, there = contents(tmp_path / "here"), contents(tmp_path / "there")
    made = {name for name in here if name.endswith((".png", ".safetensors")) or name == "provenance.json"}
    assert len(made) > 100
    assert {name: there[name] for name in made} == {name: here[name] for name in made}


LONG_RUN = """
import signal, sys, time
from functools import partial
from pathlib import Path

from reseen.executor import open_executor

class Folder:
    needs_gpu = False
    def share(self, folder):
        return partial(Path, sys.argv[1])

def work(context, task):
    (context / "busy").touch()
    time.sleep(60)

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job would ignore it
    with open_executor("dask", n_workers=1, folder=Path(sys.argv[1])) as executor:
        list(executor.run(work, [1, 2, 3], Folder()))
"""


def test_workers_end_when_the_run_they_belong_to_is_killed(tmp_path):
    (tmp_path / "long.py").write_text(LONG_RUN, encoding="utf-8")
    run = subprocess.Popen([sys.executable, str(tmp_path / "long.py"), str(tmp_path)], start_new_session=True)
    while run.poll() is None and not (tmp_path / "busy").exists():
        time.sleep(0.05)
    family = psutil.Process(run.pid).children(recursive=True)
    run.kill()  # the worker is in the middle of a task of a minute
    run.wait()
    assert family
    assert psutil.wait_procs(family, timeout=30)[1] == []


def test_an_interrupt_leaves_no_worker_and_no_file_behind(tmp_path):
    (tmp_path / "long.py").write_text(LONG_RUN, encoding="utf-8")
    command = [sys.executable, str(tmp_path / "long.py"), str(tmp_path)]
    run = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)
    while run.poll() is None and not (tmp_path / "busy").exists():
        time.sleep(0.05)
    family = psutil.Process(run.pid).children(recursive=True)
    os.killpg(run.pid, signal.SIGINT)  # as a terminal does: the workers hear it too
    said = run.communicate(timeout=180)[1]  # the workers' ends of the pipe are closed then, too
    assert (
        "KeyboardInterrupt" in said.splitlines()
    )  # a worker that Dask ends by force on a busy machine may say so later
    assert run.returncode == -signal.SIGINT
    assert family
    assert psutil.wait_procs(family, timeout=60)[1] == []
    assert not (tmp_path / ".shared").exists()


def test_waiting_for_workers_is_reported_and_ends(tmp_path):
    told = []
    with (
        SpecCluster({}, {"cls": SilentScheduler, "options": {"host": "127.0.0.1", "dashboard": False}}) as cluster,
        open_executor("dask", cluster=cluster.scheduler_address, patience=1.5) as executor,
    ):
        executor.progress = lambda *said: told.append(said)
        said = rf"scheduler for 2 s. Start some with `dask worker {cluster.scheduler_address} --nthreads 1`"
        with pytest.raises(ClusterError, match=said):
            list(executor.run(add, [1], Folder(tmp_path)))
    assert told
    assert {what for what, _, _ in told} == {"waiting for workers, seconds"}


@pytest.mark.parametrize("missing", [("dask", "distributed"), ("cryptography",)])
def test_dask_that_is_not_installed_is_named_at_once(monkeypatch, missing):
    monkeypatch.setattr("reseen.executor.cluster.find_spec", lambda name: None if name in missing else object())
    with (
        pytest.raises(ClusterError, match=r"pip install 'reseen\[cluster\]'") as raised,
        open_executor("dask", n_workers=2),
    ):
        pass
    assert raised.value.expected == missing


@pytest.mark.parametrize(
    ("options", "where", "expected", "found"),
    [
        ({"kind": "slurm"}, "kind", ("serial", "dask"), "slurm"),
        ({"n_workers": 2}, "kind", "dask", "serial"),
        ({"cluster": "tcp://127.0.0.1:8786"}, "kind", "dask", "serial"),
        ({"kind": "dask", "n_workers": 0}, "n_workers", 1, 0),
        ({"kind": "dask", "n_workers": 2, "cluster": "tcp://127.0.0.1:8786"}, "n_workers", None, 2),
        ({"kind": "dask", "device": "cuda:1"}, "device", "cuda", "cuda:1"),
        ({"kind": "dask", "cluster": "tcp://127.0.0.1:9"}, "cluster", None, "tcp://127.0.0.1:9"),
        ({"kind": "dask", "cluster": "nonsense://here"}, "cluster", None, "nonsense://here"),
    ],
)
def test_options_that_cannot_work_are_refused_at_once(monkeypatch, options, where, expected, found):
    monkeypatch.setattr("reseen.executor.cluster.CONNECT_SECONDS", 1)
    with pytest.raises(ClusterError) as raised, open_executor(**options):
        pass
    error = raised.value
    assert (error.where, error.expected, error.found) == (where, expected, found)


def test_workers_with_a_gpu_each_are_refused_where_no_gpu_is_visible(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    for n_workers in (None, 2):
        with (
            open_executor("dask", n_workers=n_workers, device="cuda") as executor,
            pytest.raises(ClusterError, match="no GPU is visible here") as raised,
        ):
            list(executor.run(add, [1], Folder(Path())))
        assert (raised.value.where, raised.value.found) == ("device", "cuda")


def test_processors_are_counted_on_systems_without_affinity(monkeypatch):
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    assert _n_processors() == os.cpu_count()


def test_a_worker_without_access_to_the_disk_is_reported():
    with pytest.raises(ClusterError, match="cannot find the folder") as raised:
        read_shared(Path("/nosuch"))
    assert raised.value.where == Path("/nosuch")
