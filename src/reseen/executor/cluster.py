"""Units of work on Dask workers: local ones, processes of one thread each, or those of a running cluster."""

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
from reseen.executor.units import C, Context, Progress, R, U
from reseen.executor.worker import Loan, do_unit, forget, is_installed

if TYPE_CHECKING:
    from distributed import Client, Future, SpecCluster

CONNECT_SECONDS = 20
CLOSE_SECONDS = 60  # what closing may take on a busy machine; Dask ends a local worker by force after 4
GIVE_BACK_NOTHING = {"distributed.nanny.pre-spawn-environ.MALLOC_TRIM_THRESHOLD_": None}
"""Dask has workers return freed memory to the system at once; networks want it back at the next layer, and half of the
time would go into that."""
PATIENCE = 600.0
"""Seconds without any worker after which a run stops."""
POLL_SECONDS = 0.02
LOOK_SECONDS = 1.0
"""Seconds between two looks at whether any worker is there."""
WAITING = "waiting for workers"
SHELF = ".shared"
"""Name of the folder that data for workers are laid into."""


class DaskExecutor:
    """Executor of units on Dask workers; see `open_executor` for the parameters.

    A running cluster is reached at once, local workers start when there is something for them to do.

    Raises
    ------
    ClusterError
        If Dask or what it needs is not installed, or if the cluster cannot be reached.
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
        self._shelf: Path | None = None
        self._lent: tuple[Context, Loan] | None = None
        self._cluster: SpecCluster | None = None
        self._client: Client | None = None
        self.progress: Progress | None = None
        if address is not None:
            self._client = _reach(address)

    def run(self, work: Callable[[C, U], R], units: Sequence[U], context: C) -> Iterator[tuple[int, R]]:
        """Do every unit; see `Executor.run`. What workers warn of is warned of here, in the order of the units."""
        if not units:
            return
        client = self._start()
        warned: dict[int, list[tuple[type[Warning], str]]] = {}
        n_told = 0
        if context.needs_gpu:
            _check_gpus(client)
        futures = client.map(
            do_unit,
            units,
            work=work,
            loan=self._lend(context),
            pure=False,
            resources={"GPU": 1} if context.needs_gpu else None,
        )
        number_of = {future.key: number for number, future in enumerate(futures)}
        try:
            for future in self._as_completed(client, futures, needs_gpu=context.needs_gpu):
                number = number_of[future.key]
                result, warned[number] = _result(future)
                future.release()
                n_told = _warn_in_turn(warned, n_told)
                yield number, result
        finally:
            with suppress(Exception):  # a cluster that is gone has nothing left to cancel
                client.cancel(futures, force=True)
            for number in sorted(warned):
                _warn_in_turn(warned, number)

    def _as_completed(self, client: Client, futures: Sequence[Future], *, needs_gpu: bool) -> Iterator[Future]:
        """Return futures as they complete; report that no worker is there, and stop when that lasts too long."""
        from distributed import as_completed

        completed = as_completed(futures, loop=client.loop)
        seen = looked = time.monotonic()
        while not completed.is_empty():
            if completed.has_ready():
                yield next(completed)
                seen = time.monotonic()
                continue
            time.sleep(POLL_SECONDS)
            if time.monotonic() - looked < LOOK_SECONDS:
                continue
            looked = time.monotonic()  # each look is a question to the scheduler
            if client.status != "running" or _n_usable(client, needs_gpu=needs_gpu):
                seen = looked
                continue
            waited = looked - seen
            if self.progress is not None:
                self.progress(WAITING, min(int(waited), int(self._patience)), int(self._patience))
            if waited >= self._patience:
                raise _no_workers(client, self._patience, needs_gpu=needs_gpu)

    def close(self) -> None:
        """Release the workers; local ones end."""
        client, cluster = self._client, self._cluster
        self._client = self._cluster = self._lent = None
        try:
            if client is not None:
                if cluster is None:
                    with suppress(Exception):  # a cluster that is gone keeps nothing
                        client.run(forget, on_error="ignore")
                client.close()
        finally:
            if cluster is not None:
                cluster.close(timeout=CLOSE_SECONDS)
            if self._shelf is not None:
                shutil.rmtree(self._shelf, ignore_errors=True)
                self._shelf = None

    def _start(self) -> Client:
        if self._client is None:
            from distributed import Client

            self._cluster = _local_cluster(self._n_workers, self._device)
            # results need no way round by the scheduler, which is a thread of this process
            self._client = Client(
                self._cluster, security=self._cluster.security, set_as_default=False, direct_to_workers=True
            )
        return self._client

    def _lend(self, context: Context) -> Loan:
        """Write a context for the workers, unless it is the last one, which they have."""
        if self._lent is None or self._lent[0] is not context:
            if self._shelf is None:
                self._shelf = _empty_folder(self._folder)
            for old in self._shelf.iterdir():
                shutil.rmtree(old, ignore_errors=True)
            key = uuid.uuid4().hex
            folder = self._shelf / key
            folder.mkdir()
            self._lent = context, Loan(key, context.lend(folder))
        return self._lent[1]


def _reach(address: str) -> Client:
    """Connect to a running cluster and make sure that its workers have reseen."""
    from distributed import Client

    if not re.search(r":\d+$", address):  # Dask would wait, and end in a traceback
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
        raise ClusterError(f"the cluster at {address} has {error}. Install there what is installed here.") from error
    return client


def _local_cluster(n_workers: int | None, device: str) -> SpecCluster:
    """Start workers on this machine: processes of one thread each.

    Dask runs what it is sent, and other users of the machine can connect to 127.0.0.1. Scheduler, nannies and workers
    therefore talk by TLS and accept only the certificate that is made here, which lives in the memory of this process
    and its workers. Dask's HTTP servers, which have no such check, are not started.
    """
    from dask import config
    from distributed import Nanny, SpecCluster
    from distributed.security import Security

    from reseen.executor.silent import SilentScheduler, SilentWorker

    security = Security.temporary()
    here = {"host": "127.0.0.1", "protocol": "tls://", "security": security, "dashboard": False}
    # a worker that ends is no news to the user: its unit is done by another
    quiet = {"silence_logs": logging.ERROR}
    # no limit of memory: Dask's own would write what it holds to disk, as pickles
    worker: dict[str, Any] = {**here, **quiet, "nthreads": 1, "memory_limit": 0, "worker_class": SilentWorker}
    gpus = _visible_gpus() if device.startswith("cuda") else []
    if device.startswith("cuda") and not gpus:
        raise ClusterError(
            "no GPU is visible here, and --device cuda needs one for each worker. Look whether `nvidia-smi` lists one "
            "and CUDA_VISIBLE_DEVICES hides none, or say --device cpu."
        )
    count = n_workers or len(gpus) or _n_processors()
    if gpus and count > len(gpus):
        raise ClusterError(f"{count} workers need a GPU each; {len(gpus)} are visible. Ask for {len(gpus)} or fewer.")
    workers = {}
    for number in range(count):
        own = {"env": {"CUDA_VISIBLE_DEVICES": gpus[number]}, "resources": {"GPU": 1}} if gpus else {}
        workers[number] = {"cls": Nanny, "options": {**worker, **own}}
    with config.set(GIVE_BACK_NOTHING):
        scheduler = {"cls": SilentScheduler, "options": {**here, "port": 0}}
        return SpecCluster(workers=workers, scheduler=scheduler, security=security, **quiet)


def _n_processors() -> int:
    """Count the processors that this process may use; macOS tells only how many there are."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _visible_gpus() -> list[str]:
    """Name the GPUs that this process may use, as CUDA_VISIBLE_DEVICES names them."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is not None:
        return [name for name in named.split(",") if name]
    import torch

    return [str(number) for number in range(torch.cuda.device_count())]


def _n_usable(client: Client, *, needs_gpu: bool) -> int:
    """Count the workers that can take a unit, as this process last heard of them."""
    workers = client.scheduler_info(n_workers=-1)["workers"].values()
    return sum(1 for worker in workers if not needs_gpu or worker["resources"].get("GPU"))


def _no_workers(client: Client, seconds: float, *, needs_gpu: bool) -> ClusterError:
    address = client.scheduler.address if client.scheduler is not None else "its address"
    gpu = ' --resources "GPU=1"' if needs_gpu else ""
    return ClusterError(
        f"no worker{' with a GPU' if needs_gpu else ''} was at the Dask scheduler for {seconds:.0f} s. Start some with "
        f"`dask worker {address} --nthreads 1{gpu}` and run the same command again: it continues where it stopped. "
        "Workers that wait longer in a queue need open_executor(..., patience=SECONDS)."
    )


def _check_gpus(client: Client) -> None:
    workers = client.scheduler_info(n_workers=-1)["workers"].values()
    if workers and not any(worker["resources"].get("GPU") for worker in workers):
        raise ClusterError(
            f"none of the cluster's {len(workers)} workers says that it has a GPU. Start them with "
            '`dask worker --nthreads 1 --resources "GPU=1"`, one for each GPU.'
        )


def _warn_in_turn(warned: dict[int, list[tuple[type[Warning], str]]], number: int) -> int:
    """Warn of what units warned of from this one on, up to one that is not done; give that one's number."""
    while number in warned:
        for category, text in warned.pop(number):
            warnings.warn(text, category, stacklevel=3)
        number += 1
    return number


def _result(future: Future) -> Any:
    """Return what a unit made, or raise what stopped it."""
    from concurrent.futures import CancelledError

    from distributed import KilledWorker

    try:
        return future.result()
    except KilledWorker as error:
        raise ClusterError(
            "one unit of work ended several workers one after the other, most likely for want of memory. Give each "
            "worker more (fewer workers, or a smaller reconstruct.batch_size) and run the same command again: it goes "
            "on where it stopped."
        ) from error
    except CancelledError as error:
        raise ClusterError(
            f"the connection to the Dask scheduler was lost ({error}). Run the same command again: it continues "
            "where it stopped."
        ) from error


def _empty_folder(parent: Path | None) -> Path:
    """Make the folder that contexts are laid out in; what a killed run left there is thrown away."""
    if parent is None:
        return Path(tempfile.mkdtemp(prefix="reseen-"))
    folder = parent.resolve() / SHELF
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def _no_scheduler(address: str, why: object) -> ClusterError:
    return ClusterError(
        f"no Dask scheduler answers at {address} ({why}). Give the address that `dask scheduler` prints, such as "
        "tcp://node7:8786."
    )


def check_installed(*, local: bool) -> None:
    """Check that Dask is installed, and for local workers the library that makes their certificate.

    Raises
    ------
    ClusterError
        If one of them is missing.
    """
    needed = ("dask", "distributed", "cryptography") if local else ("dask", "distributed")
    if missing := [name for name in needed if find_spec(name) is None]:
        raise ClusterError(
            f"the executor dask needs {' and '.join(missing)}, which {'is' if len(missing) == 1 else 'are'} not "
            "installed: pip install 'reseen[cluster]'."
        )
