"""Jobs of a sweep: each in a process of its own, none twice, and none that takes others with it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.types import RunMode
from omegaconf import OmegaConf

from src.config.folder import CONF
from src.errors import UserError
from src.files import locks
from src.runs.find import runs_in
from src.runs.folder import RunFolder
from src.sweeps import folders, progress, starting
from src.sweeps import jobs as sweeps_jobs
from src.sweeps.multirun import Multirun, compared
from tests.conftest import Command, composed, refusal

JOBS = {
    1: "import json, pathlib; write(accuracy=0.5)",
    2: "raise RuntimeError('out of luck')",
    3: "sys.exit(3)",
    4: "import os, signal; os.kill(os.getpid(), signal.SIGKILL)",
    5: "import resource; resource.setrlimit(resource.RLIMIT_DATA, (2**28, 2**28)); bytearray(2**30)",
    6: "print('freeze.layers must lie in 0..6', file=sys.stderr); sys.exit(2)",
}
JOB = """
import json, pathlib, sys
folder = pathlib.Path(sys.argv[-2].removeprefix('run="').removesuffix('"'))
def write(accuracy):
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(pathlib.Path({config!r}).read_text())
    (folder / "status.json").write_text(json.dumps({{"state": "finished"}}))
    metrics = {{"validation": {{"loss": 1 - accuracy}}, "test": {{"accuracy": accuracy}}}}
    result = {{"format": 1, "objective": "mlm", "labels": [], "metrics": metrics}}
    (folder / "result.json").write_text(json.dumps(result))
{body}
"""


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[int]:
    """Makes small scripts of the jobs; the seeds of those that were started."""
    seeds: list[int] = []
    real = sweeps_jobs.run_process

    def run(arguments: Sequence[str], variables: Mapping[str, str], warm: bool) -> tuple[int, str]:
        (seed,) = (int(a.removeprefix("seed=")) for a in arguments if a.startswith("seed="))
        seeds.append(seed)
        config = tmp_path / f"{seed}.yaml"
        RunFolder(tmp_path / f"job-{seed}-{len(seeds)}").claim(composed(f"seed={seed}"))
        config.write_text((tmp_path / f"job-{seed}-{len(seeds)}" / "config.yaml").read_text())
        return real(["-c", JOB.format(config=str(config), body=JOBS[seed]), *arguments], variables, warm)

    monkeypatch.setattr(sweeps_jobs, "run_process", run)
    return seeds


def sweep(monkeypatch: pytest.MonkeyPatch, root: Path, seeds: Sequence[int]) -> dict[int, float | None]:
    found = {}
    for number, seed in enumerate(seeds):
        given = SimpleNamespace(task=[f"seed={seed}", "run=elsewhere"])
        nowhere = SimpleNamespace(config_sources=[])
        how = {"launcher": {"_target_": "processes"}, "sweeper": {}}
        task = SimpleNamespace(overrides=given, sweep=SimpleNamespace(dir=str(root)), runtime=nowhere, **how)
        monkeypatch.setattr(sweeps_jobs.HydraConfig, "get", lambda task=task: task)
        found[seed] = sweeps_jobs.run_job(
            composed(f"seed={seed}"), RunFolder(Path(os.path.relpath(root / str(number))))
        )
    return found


def test_a_job_that_fails_costs_only_itself(
    started: list[int], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    root = tmp_path / "sweep"
    found = sweep(monkeypatch, root, [2, 3, 4, 5, 6, 1])
    assert found == {1: 0.5, 2: None, 3: None, 4: None, 5: None, 6: None}
    reasons = {int(folder.saved_config().seed): folder.problem() for folder in map(RunFolder, root.iterdir())}
    assert "RuntimeError: out of luck" in reasons[2]
    assert "exit code 3" in reasons[3]
    assert reasons[4] == "killed by SIGKILL"
    assert "MemoryError" in reasons[5]
    assert reasons[6] == "freeze.layers must lie in 0..6"
    logs = {int(folder.saved_config().seed): folder.log for folder in map(RunFolder, root.iterdir())}
    assert "Traceback" in logs[2].read_text()
    assert logs[4].read_text() == "Failed: killed by SIGKILL\n\n"


def test_the_same_sweep_again_runs_what_has_not_finished(
    started: list[int], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    root = tmp_path / "sweep"
    sweep(monkeypatch, root, [1, 2, 3])
    started.clear()
    assert sweep(monkeypatch, root, [2, 1, 3])[1] == 0.5
    assert started == [2, 3]
    assert sorted(folder.name for folder in root.iterdir()) == ["0", "1", "2"]
    sweep(monkeypatch, root, [4])
    assert sorted(folder.name for folder in root.iterdir()) == ["0", "0_2", "1", "2"]


@pytest.mark.parametrize("inner", ["", "pretraining"])
def test_a_job_that_another_process_still_trains_is_left_alone(
    inner: str, started: list[int], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "sweep"
    live = RunFolder(root / "0")
    live.claim(composed("seed=1"))
    live.write_status("running")
    part = RunFolder(live.path / inner)
    if inner:
        part.claim(composed("seed=1"))
    held = locks.acquire(part.path / "config.yaml")
    assert held is not None
    try:
        assert sweep(monkeypatch, root, [1]) == {1: None}
        sweeps_jobs.fail_job(composed("seed=1"), live, root, "lost")
    finally:
        locks.release(held)
    assert (started, live.state()) == ([], "running")
    assert f"{part.path.name} is being trained by" in capsys.readouterr().err
    assert sweep(monkeypatch, root, [1]) == {1: 0.5}  # once the other has ended


def test_the_folder_of_a_job_begins_with_strategy_and_seed() -> None:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = compose("train", ["freeze=bottom", "seed=3", "hydra.job.num=4"], return_hydra_config=True)
    assert cfg.hydra.sweep.subdir == "bottom_seed_3_4"


def test_a_job_that_goes_on_elsewhere_leaves_no_folder(
    started: list[int], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    root = tmp_path / "sweep"
    sweep(monkeypatch, root, [1])
    (root / "1").mkdir()  # by the launcher
    sweep(monkeypatch, root, [2, 1])
    assert sorted(folder.name for folder in root.iterdir()) == ["0", "0_2"]


def test_only_the_jobs_of_this_command_are_counted(
    started: list[int], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "sweep"
    for seed in (8, 9):  # of an earlier command
        RunFolder(root / str(seed)).claim(composed(f"seed={seed}"))
        RunFolder(root / str(seed)).write_status("finished")
    sweep(monkeypatch, root, [1])
    for file in root.glob("*/*.json"):
        os.utime(file, (1e9, 1e9))
    monkeypatch.setenv(progress.JOBS, f"3 {time.time() - 60}")
    assert progress.progress(root) == "Sweep: 0 of 3 jobs done, 0 failed, 0 running"
    sweep(monkeypatch, root, [1, 2])
    said = capsys.readouterr().out
    assert "Sweep: 1 of 3 jobs done, 0 failed, 0 running\n" in said  # it took no time, so nothing is expected yet
    assert "Sweep: 1 of 3 jobs done, 1 failed, 0 running; expected to end" in said
    command = ["-m", "seed=range(1,4)", "sweep.rerun=all", f"hydra.sweep.dir={root}"]
    assert progress.interruption(root, command) == (
        "Interrupted; 1 of 3 jobs have not begun. Go on with: "
        f"python -m src.train -m 'seed=range(1,4)' hydra.sweep.dir={root}"
    )


@pytest.mark.rare
def test_jobs_that_end_together_tell_their_progress_once(
    started: list[int], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root, began = tmp_path / "sweep", time.time() - 60
    sweep(monkeypatch, root, [1])
    monkeypatch.setenv(progress.JOBS, f"3 {began}")
    monkeypatch.setenv(starting.TOLD, str(tmp_path / "told"))
    capsys.readouterr()
    RunFolder(root / "9").claim(composed("seed=9"))
    RunFolder(root / "9").write_status("finished")  # meanwhile, by a job whose process has not ended
    for _ in range(2):  # both processes end
        sweep(monkeypatch, root, [1])
    assert capsys.readouterr().out.count("Sweep: 2 of 3 jobs done, 0 failed") == 1
    sweep(monkeypatch, root, [1, 2])
    assert "Sweep: 2 of 3 jobs done, 1 failed" in capsys.readouterr().out


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(143), SystemExit(1)])
def test_an_interrupted_multirun_says_what_is_left(
    error: BaseException, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def ended() -> None:
        raise error

    monkeypatch.setenv(progress.JOBS, f"3 {time.time()}")
    monkeypatch.setattr(Multirun, "begun", OmegaConf.create({"hydra": {"sweep": {"dir": str(tmp_path)}}}))
    with pytest.raises(type(error)):
        compared(ended)()
    assert ("3 of 3 jobs have not begun" in capsys.readouterr().err) == (error.args != (1,))


def test_jobs_read_the_config_folders_that_the_user_names(monkeypatch: pytest.MonkeyPatch) -> None:
    sources = [("/conf", "main"), ("/own", "command-line"), ("/more", "hydra.searchpath in command-line")]
    named = [SimpleNamespace(path=path, schema="file", provider=provider) for path, provider in sources]
    task = SimpleNamespace(runtime=SimpleNamespace(config_sources=named))
    monkeypatch.setattr(sweeps_jobs.HydraConfig, "get", lambda: task)
    assert sweeps_jobs.config_folders() == ["--config-dir=/own", 'hydra.searchpath=["file:///more"]']


def test_a_job_outside_of_its_sweep_is_refused(
    started: list[int], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    task = SimpleNamespace(overrides=SimpleNamespace(task=[]), sweep=SimpleNamespace(dir=str(tmp_path / "sweep")))
    monkeypatch.setattr(sweeps_jobs.HydraConfig, "get", lambda: task)
    (tmp_path / "x.csv,seed=1").mkdir()  # Hydra makes it
    with pytest.raises(UserError, match=r"inside the folder of their sweep, .*/sweep; this job has .*/x\.csv,seed=1"):
        sweeps_jobs.run_job(composed("seed=1"), RunFolder(Path(os.path.relpath(tmp_path / "x.csv,seed=1"))))
    assert not started
    assert not list(tmp_path.iterdir())


def test_the_same_command_goes_on_in_its_folder(tmp_path: Path) -> None:
    def choose(*arguments: str) -> Path:
        folder, lock = folders.choose_folder(arguments, tmp_path)
        locks.release(lock)
        return folder

    one = choose("-m", "freeze=all,none", "seed=1")
    assert choose("seed=1", "freeze=all,none", "--multirun") == one
    other = choose("-m", "freeze=all,none", "seed=2")
    anew = choose("-m", "freeze=all,none", "seed=1", "sweep.rerun=all")
    assert len({one, other, anew}) == 3
    assert choose("-m", "freeze=all,none", "seed=1") == anew
    # The same words mean other runs in another folder of configs.
    own = choose("--config-dir=a", "-m", "seed=1")
    assert choose("-m", "seed=1", "--config-dir=a") == own
    assert own not in (choose("--config-dir=b", "-m", "seed=1"), choose("-m", "seed=1"))


def test_only_the_command_of_a_sweep_makes_it_a_folder() -> None:
    assert folders.is_sweep(["-m", "seed=1,2"])
    assert folders.is_sweep(["sweep=frozen_vs_unfrozen"])
    assert not folders.is_sweep(["sweep=frozen_vs_unfrozen", "seed=1", "run=x", "hydra.mode=RUN"])
    assert not folders.is_sweep(["seed=1"])


@pytest.mark.parametrize("command", [["-m", "a=1", "b=2"], ["a=1", "b=2", "-m"], ["--config-dir", "x", "a=1", "-m"]])
def test_the_folder_stands_where_hydra_reads_the_other_values(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    given = ["src/train.py", *command]
    with folders.with_folder(given):
        place = next(i for i, argument in enumerate(given) if argument.startswith("hydra.sweep.dir="))
        assert given[place + 1] == "a=1"
        assert [*given[:place], *given[place + 1 :]] == ["src/train.py", *command]


def test_two_sweeps_at_once_never_share_a_folder(tmp_path: Path) -> None:
    chosen = [folders.choose_folder(["-m", "seed=1,2"], tmp_path) for _ in range(5)]
    assert len({folder for folder, _ in chosen}) == 5
    for _, lock in chosen:
        locks.release(lock)


HOLDING = """
import sys, pathlib
from src.sweeps.folders import hold
hold(pathlib.Path(sys.argv[1]))
print(flush=True)
sys.stdin.read()
"""


def test_a_folder_belongs_to_one_multirun_until_it_ends_or_is_killed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "sweep"
    command = [sys.executable, "-c", HOLDING, str(root)]
    with subprocess.Popen(command, cwd=CONF.parent, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        other.stdout.readline()
        said = refusal("train", ["-m", "seed=1,2", f"hydra.sweep.dir={root}"], capsys)
        assert f"{root} is held by process {other.pid} on " in said
        other.kill()
    folders.hold(root)
    folders.hold(root)  # which this process holds already
    with folders.with_folder(["src/train.py", "seed=1"]):
        pass
    assert not locks.HELD


def test_a_multirun_without_runs_leaves_no_folder_that_was_not_there(tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    with folders.with_folder(["src/train.py", "seed=1"]):
        folders.hold(tmp_path / "new")
        folders.hold(tmp_path / "old")
    assert [folder.name for folder in tmp_path.iterdir()] == ["old"]


@pytest.mark.slow
def test_a_whole_sweep_ends_with_its_failures_and_goes_on(multirun: Command, tmp_path: Path) -> None:
    command = ("freeze=bottom", "freeze.layers=1", "optimizer.eps=1e-8,-1")
    first = multirun(*command)
    assert first.returncode == 1
    assert "Sweep: 1 of 2 jobs done, 1 failed, 0 running\n" in first.stdout
    shown = first.stdout[first.stdout.index("Runs in") :]
    assert re.search(r"^bottom:1 +1e-08 +1 ", shown, re.MULTILINE)
    assert "seed 42: optimizer cannot be built" in shown
    when = (tmp_path / "sweep" / "bottom_seed_42_0" / "result.json").stat().st_mtime_ns
    again = multirun(*command)
    assert again.returncode == 1
    assert "sweep/bottom_seed_42_0 has already finished" in again.stdout
    assert (tmp_path / "sweep" / "bottom_seed_42_0" / "result.json").stat().st_mtime_ns == when
    (problem,) = json.loads((tmp_path / "sweep" / "comparison.json").read_text())["problems"]
    assert problem["run"].endswith("sweep/bottom_seed_42_1")


@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["joblib", "submitit_local"])
def test_other_launchers_run_each_job_in_its_own_process_too(multirun: Command, tmp_path: Path, launcher: str) -> None:
    jobs = "hydra.launcher.n_jobs=2" if launcher == "joblib" else "hydra.launcher.timeout_min=5"
    ended = multirun("freeze=bottom", "freeze.layers=1", "optimizer.eps=1e-8,-1", f"hydra/launcher={launcher}", jobs)
    assert ended.returncode == 1, ended.stderr
    found = json.loads((tmp_path / "sweep" / "comparison.json").read_text())
    assert len(found["rows"]) == 1
    assert "optimizer cannot be built" in found["problems"][0]["problem"]


def test_a_cluster_gets_what_it_is_asked_for() -> None:
    pytest.importorskip("submitit")
    options = ["hydra/launcher=submitit_slurm", "hydra.launcher.partition=gpu", "hydra.launcher.gpus_per_node=1"]
    with initialize_config_dir(str(CONF), version_base="1.3"):
        launcher = compose("train", ["run=unset", *options], return_hydra_config=True).hydra.launcher
    assert launcher._target_.endswith("SlurmLauncher")
    assert (launcher.partition, launcher.gpus_per_node, launcher.tasks_per_node) == ("gpu", 1, 1)


@pytest.mark.parametrize(
    ("given", "jobs"),
    [
        (["freeze=glob(*)", "seed=1,2"], 2 * len(list(CONF.glob("freeze/*.yaml")))),
        (["freeze=glob([a*,l*],exclude=lp*)"], 2),
        (["sweep=frozen_vs_unfrozen", "seed=range(1,3)"], 12),
    ],
)
def test_the_jobs_of_a_sweep_are_counted(given: list[str], jobs: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(starting, "refuse_mistakes", lambda *_: None)
    for variable in (progress.JOBS, starting.TOLD):
        monkeypatch.setenv(variable, "")
    with initialize_config_dir(str(CONF), version_base="1.3"):
        loader = GlobalHydra.instance().config_loader()
        config = loader.load_configuration("train", given, run_mode=RunMode.MULTIRUN)
        starting.begin_sweep(config)
    assert os.environ[progress.JOBS].split()[0] == str(jobs)


def test_a_multirun_over_what_makes_no_difference_is_refused() -> None:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        loader = GlobalHydra.instance().config_loader()
        given = ["callbacks.checkpoint.weights_only=true,false", "logger=csv", "seed=1,2"]
        config = loader.load_configuration("train", given, run_mode=RunMode.MULTIRUN)
        with pytest.raises(UserError, match=r"; callbacks\.checkpoint\.weights_only does not change that"):
            starting.begin_sweep(config)


def test_a_search_for_the_worst_value_is_refused() -> None:
    hydra = {"sweeper": {"n_trials": 2, "direction": "minimize"}, "overrides": {"task": []}}
    config = OmegaConf.create({"monitor": {"metric": "validation/accuracy"}, "hydra": hydra})
    with pytest.raises(UserError, match=r"hydra\.sweeper\.direction is minimize"):
        starting.begin_sweep(config)


@pytest.mark.slow
def test_a_search_leaves_its_best_values_as_an_experiment(multirun: Command, tmp_path: Path) -> None:
    pytest.importorskip("optuna")
    space = ("optimizer.head_lr=interval(1e-4, 1e-1)", "freeze=choice(all,embeddings)")
    mode = ("monitor.metric=validation/accuracy", "monitor.mode=max")
    command = ("sweep=search", "hydra.sweeper.n_trials=2", *space, *mode)
    ended = multirun(*command)
    assert ended.returncode == 0, ended.stderr
    root = tmp_path / "sweep"
    jobs = [(run.saved_config(), run.read_result()) for run in runs_in(root)]
    cfg, _ = max(jobs, key=lambda job: job[1]["metrics"]["validation"]["accuracy"])
    assert f"--config-dir {root} experiment=best" in ended.stdout
    best = OmegaConf.load(root / "experiment" / "best.yaml")
    assert best.optimizer.head_lr == cfg.optimizer.head_lr
    assert {"override /freeze": "all" if cfg.freeze._target_.endswith("Everything") else "embeddings"} in best.defaults
    again = multirun(*command)
    assert again.stdout.count("has already finished") == 2


@pytest.mark.slow
def test_a_search_of_which_all_trials_fail_ends_like_any_other_multirun(multirun: Command, tmp_path: Path) -> None:
    pytest.importorskip("optuna")
    command = ("sweep=search", "hydra.sweeper.n_trials=2", "+optimizer.momentums=choice(8,9)")
    ended = multirun(*command)
    assert ended.returncode == 1, ended.stderr
    *_, last = ended.stderr.strip().split("None of these runs has finished:\n")
    assert len(last.splitlines()) == 2
    assert all("train.log: optimizer cannot be built" in line for line in last.splitlines())
    assert "cannot be composed" not in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_mistake_in_a_search_is_told_as_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def mistaken() -> None:
        raise ValueError("no such distribution")

    monkeypatch.setattr(Multirun, "begun", OmegaConf.create({"hydra": {"sweep": {"dir": str(tmp_path)}}}))
    with pytest.raises(ValueError, match="no such distribution"):  # no job has begun
        compared(mistaken)()
    for name, state in (("0", "failed"), ("1", "finished")):
        RunFolder(tmp_path / name).claim(composed())
        RunFolder(tmp_path / name).write_status(state)
    with pytest.raises(ValueError, match="no such distribution"):
        compared(mistaken)()


@pytest.mark.parametrize(
    ("error", "said", "code"),
    [
        (OSError(28, "No space left on device"), "must be usable: [Errno 28] No space left on device", 2),
        (UserError("no such column"), "no such column", 2),
        (KeyError("a bug"), "Traceback", 1),
    ],
)
def test_nothing_that_goes_wrong_around_the_jobs_is_a_mere_warning(
    error: Exception, said: str, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As Hydra makes of what its callbacks raise."""

    def fails(*_: object, **__: object) -> None:
        raise error

    config = OmegaConf.create({"hydra": {"sweep": {"dir": "sweep"}}, "sweep": {"by": None}})
    for name in ("begin_sweep", "check_folders", "compare"):
        monkeypatch.setattr(f"src.sweeps.multirun.{name}", fails)
    for callback, wanted in ((Multirun().on_multirun_start, code), (Multirun().on_multirun_end, 1)):
        with pytest.raises(SystemExit) as ended:
            callback(config)
        assert ended.value.code == wanted
        shown = capsys.readouterr().err
        assert said in shown
        assert ("Traceback" in shown) == (said == "Traceback")
