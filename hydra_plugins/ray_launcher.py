"""Jobs on a Ray cluster, one to a task: a cluster that there is, or one on this machine for as long as the sweep.

Hydra takes launchers only from a package of this name. Under hydra-ray-launcher, a job that is lost ends its sweep.
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
from src.sweeps.jobs import fail_job, progress

if TYPE_CHECKING:
    from ray import ObjectRef

log = logging.getLogger(__name__)

# Of a cluster for one sweep: jobs hand no data to each other, and nobody looks at its web page.
OWN = {"include_dashboard": False, "object_store_memory": 80_000_000}
AMOUNTS = {"num_cpus": "CPU", "num_gpus": "GPU", "memory": "memory"}  # as tasks ask for them, and as nodes have them


class RayLauncher(Launcher):
    """
    Args:
        ray: `init`, the arguments of `ray.init`, and `remote`, those of `ray.remote`: what a job takes of its node.
    """

    def __init__(self, ray: DictConfig) -> None:
        self.init: Any = OmegaConf.to_container(ray.init, resolve=True)
        self.remote: Any = OmegaConf.to_container(ray.remote, resolve=True)

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self.hydra_context, self.task_function, self.config = hydra_context, task_function, config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Runs jobs side by side, as many as fit on the cluster, and returns what they came to in their order.

        Raises:
            UserError: Ray is not installed, there is no such cluster, or none of its nodes has what a job asks for.
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
            for ended in _as_they_end(list(jobs)):
                found[ended] = _outcome(ended, jobs[ended])
                print(progress(root), flush=True)
        return [found[job] for job in jobs]

    def _submit(self, number: int, overrides: Sequence[str]) -> tuple[ObjectRef[JobReturn], DictConfig]:
        import ray

        log.info("\t#%d : %s", number, " ".join(filter_overrides(overrides)))
        config = self.hydra_context.config_loader.load_sweep_config(self.config, list(overrides))
        with open_dict(config):
            config.hydra.job.id = config.hydra.job.num = number
        # A job that is lost goes on when the same command is given again.
        task = ray.remote(max_retries=0, **self.remote)(_run_job)
        return task.remote(self.hydra_context, self.task_function, config, Path.cwd(), Singleton.get_state()), config


@contextlib.contextmanager
def _cluster(options: dict[str, Any]) -> Iterator[None]:
    # Ray reads it when it is imported: nothing is sent anywhere unless the user asks for it.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ImportError:
        raise UserError("hydra/launcher=ray needs Ray, which is not installed.\npip install -e '.[ray]'") from None
    with contextlib.ExitStack() as stack:
        if options["address"] == "local":
            # In /tmp, since the paths of sockets must be short.
            folder = stack.enter_context(
                tempfile.TemporaryDirectory(prefix="ray-", dir="/tmp", ignore_cleanup_errors=True)
            )
            options = {**OWN, "_temp_dir": folder, **options}
        stack.callback(ray.shutdown)
        try:
            _knock(options["address"])
            ray.init(**options)
        except (OSError, RuntimeError, TypeError, ValueError) as error:
            raise UserError(
                f"hydra.launcher.ray.init must lead to a Ray cluster; with {options} there is none: {error}\n"
                "Start one with `ray start --head`, or choose hydra.launcher.ray.init.address=local."
            ) from None
        # Ray's own handler aborts the process with a report, and its calls lose the code of an exit.
        signal.signal(signal.SIGTERM, lambda *_: sys.exit())
        try:
            yield
        except SystemExit:
            raise SystemExit(143) from None


def _knock(address: str) -> None:
    """Raises an OSError at once where Ray would try for minutes."""
    host, _, port = address.rpartition(":")
    if port.isdecimal() and "/" not in host:
        socket.create_connection((host, int(port)), timeout=10).close()


def _check_fit(job: dict[str, Any]) -> None:
    import ray

    list_nodes: Any = ray.nodes
    nodes = [node["Resources"] for node in list_nodes() if node["Alive"]]
    wanted = {name: job.get(key) or 0 for key, name in AMOUNTS.items()} | (job.get("resources") or {})
    if not any(all(node.get(name, 0) >= amount for name, amount in wanted.items()) for node in nodes):
        found = "; ".join(", ".join(f"{node.get(name, 0):g} {name}" for name in wanted) for node in nodes)
        raise UserError(
            f"hydra.launcher.ray.remote must ask for no more than one node of the cluster has; it asks for "
            f"{', '.join(f'{amount:g} {name}' for name, amount in wanted.items())}.\nThe nodes have: {found}."
        )


def _run_job(
    hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig, directory: Path, state: dict[Any, Any]
) -> JobReturn:
    """On a worker of the cluster: the job, as every launcher runs it."""
    os.chdir(directory)
    setup_globals()
    Singleton.set_state(state)
    HydraConfig.instance().set_config(config)
    try:
        return run_job(task_function, config, "hydra.sweep.dir", "hydra.sweep.subdir", hydra_context)
    except SystemExit as ended:
        # It would take Ray's worker along.
        raise RuntimeError(f"exit code {ended.code}") from None


def _as_they_end(jobs: list[ObjectRef[JobReturn]]) -> Iterator[ObjectRef[JobReturn]]:
    import ray

    while jobs:
        (ended,), jobs = ray.wait(jobs, num_returns=1)
        yield ended


def _outcome(ended: ObjectRef[JobReturn], config: DictConfig) -> JobReturn:
    """What a job came to; one that is lost with its worker or node is a failed job of the sweep."""
    import ray

    try:
        return ray.get(ended)
    except ray.exceptions.RayError as error:
        lines = str(error).strip().splitlines() or [""]
        # Ray's own errors begin with what happened; those of the worker's code end with it, after the traceback.
        said = lines[-1] if isinstance(error, ray.exceptions.RayTaskError) else ". ".join(lines[0].split(". ")[:2])
    root = Path(config.hydra.sweep.dir)
    task = OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])
    fail_job(task, RunFolder(root / str(config.hydra.sweep.subdir)), root, f"lost on Ray ({said})")
    return JobReturn(cfg=task, status=JobStatus.COMPLETED)
