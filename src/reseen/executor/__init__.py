"""Executor: units of work done here, one after the other, or spread over Dask workers.

A unit is worth seconds to minutes: a batch of images, a block of targets of one fit. What the units of a job share
(data, a model) is its *context*. It never travels with a unit: a worker makes its own, once, from files or from a
recipe, and keeps it for the next unit. Units do not know of each other, so that a worker that is lost costs the unit
it was at, which another worker takes over.

::

    units.py      Executor, its Context, and Serial: here, one after the other
    cluster.py    DaskExecutor: on local workers or a running cluster
    silent.py     scheduler and worker of local clusters, without HTTP servers
    worker.py     what happens there
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from reseen.errors import ClusterError
from reseen.executor.units import Context, Executor, Progress, Serial
from reseen.executor.worker import check_seen, read_shared, write_shared

__all__ = ["Context", "Executor", "Progress", "Serial", "check_seen", "open_executor", "read_shared", "write_shared"]


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
    """Return an executor, and let go of its workers afterwards, whatever happens.

    Parameters
    ----------
    kind
        ``"serial"`` or ``"dask"``.
    cluster
        Address of the scheduler of a running Dask cluster, such as ``"tcp://node7:8786"``. Left out: local workers.
    n_workers
        How many local workers; left out: one for each processor, or one for each GPU.
    device
        With ``"cuda"``, each local worker sees one GPU.
    folder
        Where to lay data for workers; all of them must see it. Left out: a temporary folder, good for local workers.
    patience
        Seconds to wait while no worker is there, such as for the queue of a cluster; left out: ten minutes.

    Raises
    ------
    ClusterError
        If the options do not go together, Dask is not installed or the cluster cannot be reached.
    """
    if kind not in ("serial", "dask"):
        raise ClusterError(f"there is no executor {kind!r}; expected serial or dask.")
    if kind == "serial" and (cluster is not None or n_workers is not None):
        raise ClusterError("a cluster and a number of workers belong to the executor dask; say --executor dask too.")
    if cluster is not None and n_workers is not None:
        raise ClusterError("a running cluster has its own workers: give its address or a number of workers, not both.")
    if n_workers is not None and n_workers < 1:
        raise ClusterError(f"expected at least one worker; found {n_workers}.")
    if kind == "dask" and device.startswith("cuda:"):
        raise ClusterError(f"each worker takes a GPU of its own: say cuda, not {device}.")
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
