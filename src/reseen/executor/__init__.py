"""Executor: tasks in this process, one after the other, or distributed over Dask workers.

A task takes seconds to minutes: a batch of images, a block of targets of one fit. The data that all tasks of a job
share (arrays, a model) are its *context*. A context is never sent with a task: a worker loads it once, from files or
from a recipe, and keeps it for the next task. Tasks are independent: when a worker is lost, another worker repeats its
task.

::

    tasks.py      Executor, its Context, and Serial: in this process
    cluster.py    DaskExecutor: local workers or a running cluster
    silent.py     scheduler and worker of local clusters, without HTTP servers
    worker.py     functions that run on a worker
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from reseen.errors import ClusterError
from reseen.executor.tasks import Context, Executor, Progress, Serial
from reseen.executor.worker import check_seen, read_shared, write_shared

__all__ = [
    "Context",
    "Executor",
    "Progress",
    "Serial",
    "check_options",
    "check_seen",
    "open_executor",
    "read_shared",
    "write_shared",
]

KINDS = ("serial", "dask")
"""Names of the executors."""


@contextmanager
def open_executor(
    kind: str = "serial",
    *,
    cluster: str | None = None,
    n_workers: int | None = None,
    device: str = "cpu",
    folder: Path | None = None,
    patience: float | None = None,
) -> Iterator[Executor]:
    """Return an executor, and release its workers at the end, also after an error.

    Parameters
    ----------
    kind
        ``"serial"`` or ``"dask"``.
    cluster
        Address of the scheduler of a running Dask cluster, such as ``"tcp://node7:8786"``. Left out: local workers.
    n_workers
        Number of local workers; left out: one for each processor, or one for each GPU.
    device
        With ``"cuda"``, each local worker uses one GPU.
    folder
        Folder of the data for workers; all workers need access. Left out: a temporary folder, for local workers.
    patience
        Seconds to wait for a worker, for example in the queue of a cluster; left out: ten minutes.

    Raises
    ------
    ClusterError
        If options exclude each other, Dask is not installed or the cluster cannot be reached.
    """
    check_options(kind, cluster, n_workers)
    if kind == "dask" and device.startswith("cuda:"):
        message = f"each worker uses its own GPU: use --device cuda, not {device}."
        raise ClusterError(message, where="device", expected="cuda", found=device)
    if kind == "serial":
        yield Serial()
        return
    from reseen.executor.cluster import PATIENCE, DaskExecutor

    executor = DaskExecutor(
        cluster, n_workers, device=device, folder=folder, patience=PATIENCE if patience is None else patience
    )
    try:
        yield executor
    finally:
        executor.close()


def check_options(kind: str, cluster: str | None, n_workers: int | None) -> None:
    """Check that the options of `open_executor` do not exclude each other.

    Raises
    ------
    ClusterError
        If they do, or if one of them is impossible.
    """
    if kind not in KINDS:
        message = f"--executor: there is no executor {kind!r}; expected {' or '.join(KINDS)}."
        raise ClusterError(message, where="kind", expected=KINDS, found=kind)
    if kind == "serial" and (cluster is not None or n_workers is not None):
        message = "--cluster and --workers need the executor dask: add --executor dask."
        raise ClusterError(message, where="kind", expected="dask", found=kind)
    if cluster is not None and n_workers is not None:
        message = "a running cluster has its own workers: give --cluster or --workers, not both."
        raise ClusterError(message, where="n_workers", found=n_workers)
    if n_workers is not None and n_workers < 1:
        message = f"--workers: expected at least one worker; found {n_workers}."
        raise ClusterError(message, where="n_workers", expected=1, found=n_workers)
