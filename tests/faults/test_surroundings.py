"""Full disks, folders that cannot be written, a clock that jumps, many processes at once, and damaged files."""

from __future__ import annotations

import contextlib
import random
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from src.errors import UserError
from src.runs.checkpoints import newest_valid
from src.runs.folder import RunFolder
from tests.faults.conftest import Make
from tests.faults.runs import Ended, Moment
from tests.faults.test_kills import same

pytestmark = pytest.mark.slow


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A small disk of its own."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=8m", "thaw", folder], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("this user may not mount disks")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


def fill(folder: Path) -> None:
    """Takes all the space that is left on a disk."""
    with contextlib.suppress(OSError), (folder / "filler").open("wb", buffering=0) as file:
        while file.write(b"0" * 4096):
            pass


def turn_the_clock_back() -> None:
    real = time.time
    time.time = lambda: real() - 86_400


def test_a_full_disk_costs_nothing_that_was_saved(disk: Path, make: Make, untouched: Callable[[str], Ended]) -> None:
    training = make("unfrozen")
    training.folder = disk / "run"
    ended = training(Moment("on_train_batch_start", 12, instead=partial(fill, disk)))
    assert ended.code == 2, ended.output
    assert "cannot be written: " in ended.output
    assert "Traceback" not in ended.output
    assert newest_valid(RunFolder(training.folder).checkpoints) is not None
    (disk / "filler").unlink()
    same(training(resume=True), untouched("unfrozen"))


def test_a_disk_that_is_too_small_is_refused_before_the_training(disk: Path, make: Make) -> None:
    training = make("unfrozen")
    training.folder = disk / "run"
    (disk / "most").write_bytes(b"0" * (8 * 1024**2 - 400_000))
    ended = training()
    assert ended.code == 2, ended.output
    assert "must have room for the checkpoints" in ended.output


def test_a_full_disk_of_the_log_ends_the_run_in_order(
    disk: Path, make: Make, untouched: Callable[[str], Ended]
) -> None:
    training = make("unfrozen", f"logger.tensorboard.save_dir={disk}")
    ended = training(Moment("on_train_batch_start", 12, instead=partial(fill, disk)))
    assert ended.code == 2, ended.output
    assert "No space left on device" in ended.output.splitlines()[-2]
    (disk / "filler").unlink()
    same(training(resume=True), untouched("unfrozen"))


@pytest.mark.parametrize("place", ["temporary files", "store"])
def test_other_full_disks_cost_nothing(place: str, disk: Path, make: Make, untouched: Callable[[str], Ended]) -> None:
    environment = {"TMPDIR": str(disk)} if place == "temporary files" else {}
    training = make("stored", cache=disk if place == "store" else None, **environment)
    fill(disk)
    ended = training()
    assert "Traceback" not in ended.output
    same(ended, untouched("stored"), live=place == "store")


def test_a_clock_that_jumps_changes_nothing(make: Make, untouched: Callable[[str], Ended]) -> None:
    moment = Moment("on_train_batch_start", 5, instead=turn_the_clock_back)
    same(make("stored")(moment), untouched("stored"))


def test_eight_processes_share_one_store(make: Make, tmp_path: Path, untouched: Callable[[str], Ended]) -> None:
    runs = [make("stored", cache=tmp_path / "cache") for _ in range(8)]
    started = [run.start() for run in runs]
    for run, process in zip(runs, started, strict=True):
        same(run.wait(process), untouched("stored"))
    assert len(list((tmp_path / "cache" / "activations").iterdir())) == 1


@pytest.mark.parametrize("place", ["run", "cache"])
def test_folders_that_may_not_be_written(place: str, make: Make, untouched: Callable[[str], Ended]) -> None:
    training = make("stored")
    closed = training.root / "closed"
    closed.mkdir(mode=0o555)
    if place == "run":
        training.folder = closed / "run"
    else:
        training.options = [*(o for o in training.options if not o.startswith("cache=")), f"cache={closed}"]
    ended = training(ordinary=True)
    assert list(closed.iterdir()) == []
    if place == "cache":
        same(ended, untouched("stored"), live=True)
    else:
        assert ended.code == 2, ended.output
        assert "must be writable" in ended.output


def test_no_damage_goes_unnoticed(untouched: Callable[[str], Ended], tmp_path: Path) -> None:
    shutil.copytree(untouched("unfrozen").folder / "checkpoints", tmp_path / "checkpoints")
    folder, chance = RunFolder(tmp_path), random.Random(0)
    content = folder.last_checkpoint.read_bytes()
    assert _found(folder) == folder.last_checkpoint
    for _ in range(10):
        folder.last_checkpoint.write_bytes(content[: chance.randrange(len(content))])
        assert _found(folder) == folder.best_checkpoint
    for _ in range(100):
        flipped = bytearray(content)
        flipped[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
        folder.last_checkpoint.write_bytes(flipped)
        assert _found(folder) == folder.best_checkpoint
    folder.best_checkpoint.write_bytes(content[:-1])
    with pytest.raises(UserError, match="No checkpoint is left"):
        _found(folder)


def _found(folder: RunFolder) -> Path:
    found = newest_valid(folder.checkpoints)
    assert found is not None
    return found[0]
