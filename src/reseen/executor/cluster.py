"""Tasks on Dask workers: local processes of one thread each, or the workers of a running cluster."""

from __future__ import annotations

import logging
import os
import re
import shutil
import tempfile
import time
import uuid
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reseen.errors import ClusterError
from reseen.executor.tasks import C, Context, Progress, R, U
from reseen.executor.worker import SharedContext, do_task, forget, is_installed

if TYPE_CHECKING:
    from distributed import Client, Future, SpecCluster

CONNECT_SECONDS = 20
CLOSE_SECONDS = 60  # limit for closing on a busy machine; Dask kills a local worker after 4 s
KEEP_FREED_MEMORY = {"distributed.nanny.pre-spawn-environ.MALLOC_TRIM_THRESHOLD_": None}
"""By default Dask's workers return freed memory to the system at once. Networks need it again at the next layer, which
would take half of the time."""
PATIENCE = 600.0
"""Seconds without any worker after which a run stops."""
POLL_SECONDS = 0.02
CHECK_SECONDS = 1.0
"""Seconds between two checks for workers."""
WAITING = "waiting for workers, seconds"
"""Name of the step in progress and log: seconds since the last worker left, of those after which the run stops."""
SHARED_FOLDER = ".shared"
"""Name of the folder of the data that workers share."""


class DaskExecutor:
    """Executor of tasks on Dask workers; see `open_executor` for the parameters.

    It connects to a running cluster at once. Local workers start with the first task.

    Raises
    ------
    ClusterError
        If Dask or one of its requirements is not installed, or if the cluster cannot be reached.
    """

    def __init__(
        self,
        address: str | None,
        n_workers: int | None,
        *,
        device: str = "cpu",
        folder: Path | None = None,
        patience: float = PATIENCE,
    ) -> None:
        check_installed(local=address is None)
        self._n_workers, self._device = n_workers, device
        self._folder, self._patience = folder, patience
        self._shared_folder: Path | None = None
        self._shared: tuple[Context, SharedContext] | None = None
        self._cluster: SpecCluster | None = None
        self._client: Client | None = None
        self.progress: Progress | None = None
        if address is not None:
            self._client = _reach(address)

    def run(self, work: Callable[[C, U], R], tasks: Sequence[U], context: C) -> Iterator[tuple[int, R]]:
        """Do every task; see `Executor.run`. Warnings of workers are repeated here, in the order of the tasks."""
        if not tasks:
            return
        client = self._start()
        warned: dict[int, list[tuple[type[Warning], str]]] = {}
        n_warned = 0
        if context.needs_gpu:
            _check_gpus(client)
        futures = client.map(
            do_task,
            tasks,
            work=work,
            shared=self._share(context),
            pure=False,
            resources={"GPU": 1} if context.needs_gpu else None,
        )
        number_of = {future.key: number for number, future in enumerate(futures)}
        try:
            for future in self._as_completed(client, futures, needs_gpu=context.needs_gpu):
                number = number_of[future.key]
                result, warned[number] = _result(future)
                future.release()
                n_warned = _repeat_warnings(warned, n_warned)
                yield number, result
        finally:
            with suppress(Exception):  # the cluster may be gone
                client.cancel(futures, force=True)
            for number in sorted(warned):
                _repeat_warnings(warned, number)

    def _as_completed(self, client: Client, futures: Sequence[Future], *, needs_gpu: bool) -> Iterator[Future]:
        """Yield futures as they complete; report a lack of workers, and raise an error when it lasts too long."""
        from distributed import as_completed

        completed = as_completed(futures, loop=client.loop)
        seen = checked = time.monotonic()
        while not completed.is_empty():
            if completed.has_ready():
                yield next(completed)
                seen = time.monotonic()
                continue
            time.sleep(POLL_SECONDS)
            if time.monotonic() - checked < CHECK_SECONDS:
                continue
            checked = time.monotonic()  # each check is a request to the scheduler
            if client.status != "running" or _n_usable(client, needs_gpu=needs_gpu):
                seen = checked
                continue
            waited = checked - seen
            if self.progress is not None:
                self.progress(WAITING, min(int(waited), int(self._patience)), int(self._patience))
            if waited >= self._patience:
                raise _no_workers(client, self._patience, needs_gpu=needs_gpu)

    def close(self) -> None:
        """Release the workers, and end local ones."""
        client, cluster = self._client, self._cluster
        self._client = self._cluster = self._shared = None
        try:
            if client is not None:
                if cluster is None:
                    with suppress(Exception):  # the cluster may be gone
                        client.run(forget, on_error="ignore")
                client.close()
        finally:
            if cluster is not None:
                cluster.close(timeout=CLOSE_SECONDS)
            if self._shared_folder is not None:
                shutil.rmtree(self._shared_folder, ignore_errors=True)
                self._shared_folder = None

    def _start(self) -> Client:
        if self._client is None:
            from distributed import Client

            self._cluster = _local_cluster(self._n_workers, self._device)
            # results come directly from the workers, not through the scheduler, which is a thread of this process
            self._client = Client(
                self._cluster, security=self._cluster.security, set_as_default=False, direct_to_workers=True
            )
        return self._client

    def _share(self, context: Context) -> SharedContext:
        """Write a context for the workers, unless it is the last one, which is written already."""
        if self._shared is None or self._shared[0] is not context:
            if self._shared_folder is None:
                self._shared_folder = _empty_folder(self._folder)
            for old in self._shared_folder.iterdir():
                shutil.rmtree(old, ignore_errors=True)
            key = uuid.uuid4().hex
            folder = self._shared_folder / key
            folder.mkdir()
            self._shared = context, SharedContext(key, context.share(folder))
        return self._shared[1]


def _reach(address: str) -> Client:
    """Connect to a running cluster and check that its workers have reseen."""
    from distributed import Client

    if not re.search(r":\d+$", address):  # Dask would wait, and then raise an error of its own
        raise _no_scheduler(address, "it names no port")
    try:
        client = Client(address, timeout=CONNECT_SECONDS, set_as_default=False)
    except (OSError, ValueError) as error:
        raise _no_scheduler(address, error) from error
    try:
        client.run_on_scheduler(is_installed)
        client.run(is_installed)
    except ModuleNotFoundError as error:
        client.close()
        message = f"the cluster at {address} has {error}. Install there what is installed here."
        raise ClusterError(message, where="cluster", found=address) from error
    return client


def _local_cluster(n_workers: int | None, device: str) -> SpecCluster:
    """Start workers on this machine: processes of one thread each.

    Dask runs any code that it receives, and other users of the machine can connect to 127.0.0.1. Scheduler, nannies and
    workers therefore use TLS and accept only a certificate that is created here. The certificate is only in the memory
    of this process and its workers. Dask's HTTP servers, which have no such check, are not started.
    """
    from dask import config
    from distributed import Nanny, SpecCluster
    from distributed.security import Security

    from reseen.executor.silent import SilentScheduler, SilentWorker

    security = Security.temporary()
    here = {"host": "127.0.0.1", "protocol": "tls://", "security": security, "dashboard": False}
    # no message when a worker ends: another worker does its task
    quiet = {"silence_logs": logging.ERROR}
    # no memory limit: at its limit Dask writes data to disk as pickles
    worker: dict[str, Any] = {**here, **quiet, "nthreads": 1, "memory_limit": 0, "worker_class": SilentWorker}
    gpus = _visible_gpus() if device.startswith("cuda") else []
    if device.startswith("cuda") and not gpus:
        raise ClusterError(
            "no GPU is visible here, and --device cuda needs one for each worker. Check that `nvidia-smi` lists one "
            "and that CUDA_VISIBLE_DEVICES hides none, or use --device cpu.",
            where="device",
            found=device,
        )
    count = n_workers or len(gpus) or _n_processors()
    if gpus and count > len(gpus):
        message = f"{count} workers need a GPU each; {len(gpus)} are visible. Use {len(gpus)} or fewer."
        raise ClusterError(message, where="n_workers", expected=len(gpus), found=count)
    workers = {}
    for number in range(count):
        own = {"env": {"CUDA_VISIBLE_DEVICES": gpus[number]}, "resources": {"GPU": 1}} if gpus else {}
        workers[number] = {"cls": Nanny, "options": {**worker, **own}}
    with config.set(KEEP_FREED_MEMORY):
        scheduler = {"cls": SilentScheduler, "options": {**here, "port": 0}}
        return SpecCluster(workers=workers, scheduler=scheduler, security=security, **quiet)


def _n_processors() -> int:
    """Count the processors that this process may use; on macOS, all processors."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _visible_gpus() -> list[str]:
    """Name the GPUs that this process may use, as CUDA_VISIBLE_DEVICES names them."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is not None:
        return [name for name in named.split(",") if name]
    import torch

    return [str(number) for number in range(torch.cuda.device_count())]


def _n_usable(client: Client, *, needs_gpu: bool) -> int:
    """Count the workers that can do a task, by the last report of the scheduler."""
    workers = client.scheduler_info(n_workers=-1)["workers"].values()
    return sum(1 for worker in workers if not needs_gpu or worker["resources"].get("GPU"))


def _no_workers(client: Client, seconds: float, *, needs_gpu: bool) -> ClusterError:
    address = client.scheduler.address if client.scheduler is not None else "its address"
    gpu = ' --resources "GPU=1"' if needs_gpu else ""
    return ClusterError(
        f"no worker{' with a GPU' if needs_gpu else ''} was at the Dask scheduler for {seconds:.0f} s. Start some with "
        f"`dask worker {address} --nthreads 1{gpu}` and run the same command again: it continues where it stopped. "
        "Workers that wait longer in a queue need open_executor(..., patience=SECONDS).",
        where=address,
        expected=1,
        found=0,
    )


def _check_gpus(client: Client) -> None:
    workers = client.scheduler_info(n_workers=-1)["workers"].values()
    if workers and not any(worker["resources"].get("GPU") for worker in workers):
        raise ClusterError(
            f"none of the cluster's {len(workers)} workers reports a GPU. Start them with "
            '`dask worker --nthreads 1 --resources "GPU=1"`, one for each GPU.',
            expected=1,
            found=0,
        )


def _repeat_warnings(warned: dict[int, list[tuple[type[Warning], str]]], number: int) -> int:
    """Repeat the warnings of tasks from this one to the first that is not done, and return the number of that one."""
    while number in warned:
        for category, text in warned.pop(number):
            warnings.warn(text, category, stacklevel=3)
        number += 1
    return number


def _result(future: Future) -> Any:
    """Return the result of a task, or raise its error."""
    from concurrent.futures import CancelledError

    from distributed import KilledWorker

    try:
        return future.result()
    except KilledWorker as error:
        raise ClusterError(
            "one task ended several workers one after the other, most likely because memory ran out. Use fewer "
            "workers or a smaller reconstruct.batch_size, and run the same command again: it continues where it "
            "stopped."
        ) from error
    except CancelledError as error:
        raise ClusterError(
            f"the connection to the Dask scheduler was lost ({error}). Run the same command again: it continues "
            "where it stopped."
        ) from error


def _empty_folder(parent: Path | None) -> Path:
    """Create the folder of shared contexts; files of a killed run are deleted."""
    if parent is None:
        return Path(tempfile.mkdtemp(prefix="reseen-"))
    folder = parent.resolve() / SHARED_FOLDER
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def _no_scheduler(address: str, why: object) -> ClusterError:
    return ClusterError(
        f"no Dask scheduler answers at {address} ({why}). Use the address that `dask scheduler` prints, such as "
        "tcp://node7:8786.",
        where="cluster",
        found=address,
    )


def check_installed(*, local: bool) -> None:
    """Check that Dask is installed, and for local workers the library for their certificate.

    Raises
    ------
    ClusterError
        If one of them is missing.
    """
    needed = ("dask", "distributed", "cryptography") if local else ("dask", "distributed")
    missing = tuple(name for name in needed if find_spec(name) is None)
    if missing:
        message = f"{' and '.join(missing)} must be installed for the executor dask: pip install 'reseen[cluster]'."
        raise ClusterError(message, expected=missing)
