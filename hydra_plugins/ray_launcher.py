"""Runs the jobs of a sweep as Ray tasks, on an existing cluster or on one that is started here for the sweep.

Hydra finds launchers only in a package of this name. With hydra-ray-launcher, a lost job would end the whole sweep.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import socket
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.hydra_config import HydraConfig
from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn, JobStatus, configure_log, filter_overrides, run_job, setup_globals
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf, open_dict

from src.errors import UserError
from src.runs.folder import RunFolder
from src.sweeps.jobs import fail_job
from src.sweeps.progress import progress

if TYPE_CHECKING:
    from ray import ObjectRef

log = logging.getLogger(__name__)

# Options of a cluster that is started for one sweep: jobs share no data, and the dashboard is not used.
LOCAL_CLUSTER = {"include_dashboard": False, "object_store_memory": 80_000_000}
RESOURCES = {
    "num_cpus": "CPU",
    "num_gpus": "GPU",
    "memory": "memory",
}  # options of tasks and the resources of nodes that they request


class RayLauncher(Launcher):
    """
    Args:
        ray: `init`, the arguments of `ray.init`, and `remote`, those of `ray.remote`: the resources of a job.
    """

    def __init__(self, ray: DictConfig) -> None:
        self.init: Any = OmegaConf.to_container(ray.init, resolve=True)
        self.remote: Any = OmegaConf.to_container(ray.remote, resolve=True)

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self.hydra_context, self.task_function, self.config = hydra_context, task_function, config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Runs as many jobs in parallel as fit on the cluster and returns their results in the order of the jobs.

        Raises:
            UserError: Ray is not installed, the cluster is not reachable, or no node has the resources of a job.
        """
        setup_globals()
        configure_log(self.config.hydra.hydra_logging, self.config.hydra.verbose)
        root = Path(self.config.hydra.sweep.dir)
        root.mkdir(parents=True, exist_ok=True)
        with _cluster(self.init):
            _check_fit(self.remote)
            log.info("Launching %d jobs on Ray, sweep folder %s", len(job_overrides), root)
            jobs = dict(self._submit(number, given) for number, given in enumerate(job_overrides, initial_job_idx))
            found = {}
            for task in _as_completed(list(jobs)):
                found[task] = _job_return(task, jobs[task])
                print(progress(root), flush=True)
        return [found[job] for job in jobs]

    def _submit(self, number: int, overrides: Sequence[str]) -> tuple[ObjectRef[JobReturn], DictConfig]:
        import ray

        log.info("\t#%d : %s", number, " ".join(filter_overrides(overrides)))
        config = self.hydra_context.config_loader.load_sweep_config(self.config, list(overrides))
        with open_dict(config):
            config.hydra.job.id = config.hydra.job.num = number
        # A lost job continues when the same command is run again.
        task = ray.remote(max_retries=0, **self.remote)(_run_job)
        return task.remote(self.hydra_context, self.task_function, config, Path.cwd(), Singleton.get_state()), config


@contextlib.contextmanager
def _cluster(options: dict[str, Any]) -> Iterator[None]:
    # Ray reads this on import: no usage statistics are sent unless the user enables them.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ImportError:
        raise UserError("hydra/launcher=ray needs Ray, which is not installed.\npip install -e '.[ray]'") from None
    with contextlib.ExitStack() as stack:
        if options["address"] == "local":
            # In /tmp, since socket paths must be short.
            folder = stack.enter_context(
                tempfile.TemporaryDirectory(prefix="ray-", dir="/tmp", ignore_cleanup_errors=True)
            )
            options = {**LOCAL_CLUSTER, "_temp_dir": folder, **options}
        stack.callback(ray.shutdown)
        try:
            _check_reachable(options["address"])
            ray.init(**options)
        except (OSError, RuntimeError, TypeError, ValueError) as error:
            raise UserError(
                f"hydra.launcher.ray.init must connect to a Ray cluster; with {options} it does not: {error}\n"
                "Start one with `ray start --head`, or choose hydra.launcher.ray.init.address=local."
            ) from None
        # Ray's own handler aborts the process with a stack trace, and its calls lose the exit code.
        signal.signal(signal.SIGTERM, lambda *_: sys.exit())
        try:
            yield
        except SystemExit:
            raise SystemExit(143) from None


def _check_reachable(address: str | None) -> None:
    """Raises an OSError within seconds if nothing listens there, where Ray would retry for minutes."""
    host, _, port = (address or "").rpartition(":")
    if port.isdecimal() and "/" not in host:
        socket.create_connection((host, int(port)), timeout=10).close()


def _check_fit(job: dict[str, Any]) -> None:
    import ray

    list_nodes: Any = ray.nodes
    nodes = [node["Resources"] for node in list_nodes() if node["Alive"]]
    requested = {name: job.get(key) or 0 for key, name in RESOURCES.items()} | (job.get("resources") or {})
    if not any(all(node.get(name, 0) >= amount for name, amount in requested.items()) for node in nodes):
        found = "; ".join(", ".join(f"{node.get(name, 0):g} {name}" for name in requested) for node in nodes)
        raise UserError(
            f"hydra.launcher.ray.remote must not request more than one node of the cluster has; it requests "
            f"{', '.join(f'{amount:g} {name}' for name, amount in requested.items())}.\nThe nodes have: {found}."
        )


def _run_job(
    hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig, directory: Path, state: dict[Any, Any]
) -> JobReturn:
    """Runs a job on a worker of the cluster, in the way of all launchers."""
    os.chdir(directory)
    setup_globals()
    Singleton.set_state(state)
    HydraConfig.instance().set_config(config)
    try:
        return run_job(task_function, config, "hydra.sweep.dir", "hydra.sweep.subdir", hydra_context)
    except SystemExit as ended:
        # SystemExit would end the Ray worker too.
        raise RuntimeError(f"exit code {ended.code}") from None


def _as_completed(jobs: list[ObjectRef[JobReturn]]) -> Iterator[ObjectRef[JobReturn]]:
    import ray

    while jobs:
        (ended,), jobs = ray.wait(jobs, num_returns=1)
        yield ended


def _job_return(ended: ObjectRef[JobReturn], config: DictConfig) -> JobReturn:
    """Returns the result of a job; one that was lost with its worker or node is recorded as failed."""
    import ray

    try:
        return ray.get(ended)
    except ray.exceptions.RayError as error:
        lines = str(error).strip().splitlines() or [""]
        # Ray's own errors start with the cause; errors of the job's code end with it, after the traceback.
        cause = lines[-1] if isinstance(error, ray.exceptions.RayTaskError) else ". ".join(lines[0].split(". ")[:2])
    root = Path(config.hydra.sweep.dir)
    task = OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])
    fail_job(task, RunFolder(root / str(config.hydra.sweep.subdir)), root, f"lost on Ray ({cause})")
    return JobReturn(cfg=task, status=JobStatus.COMPLETED)
