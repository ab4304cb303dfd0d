"""Runs that are killed at chosen and at random moments, and gone on with, end bit for bit as runs that were not."""

from __future__ import annotations

import random
import signal
from collections.abc import Callable

import pytest
import torch

from tests.faults.conftest import SITUATIONS, Make
from tests.faults.runs import Ended, Moment

pytestmark = pytest.mark.slow

PLACES = {
    "before the data is read": "src.data.corpus:load",
    "before the folder is the run's": "src.files.ranks:is_main_process",
    "while stages are encoded": "src.caching.encoding:_encode",
    "an epoch begins": "on_train_epoch_start",
    "a batch begins": "on_train_batch_start",
    "gradients are there": "on_after_backward",
    "a batch ends": "on_train_batch_end",
    "a validation begins": "on_validation_start",
    "within a validation": "on_validation_batch_end",
    "a validation ends": "on_validation_end",
    "a checkpoint is made": "on_save_checkpoint",
    "a checkpoint is on its way to the disk": "src.runs.checkpoints:sha256",
    "a checksum is written": "src.runs.checkpoints:write_atomic",
    "a checkpoint has its place": "src.runs.checkpoints:sync_folder",
    "between the last and the best": "src.callbacks.saving:hard_link",
    "the training is over": "on_train_end",
    "the test begins": "on_test_start",
    "the report is written": "src.report.run:_write_report",
}
ONCE = ("before the data is read", "the training is over", "the test begins", "the report is written")  # in a run


def same(found: Ended, expected: Ended, live: bool = False) -> None:
    """Weights, metrics, history, audit and the rows of each batch are those of the other run; operations too, unless it
    computed everything live."""
    result, other = found.result(), expected.result()
    varying = {"activations", "seconds", *(["operations"] if live else [])}
    for key in ("metrics", "history", "best", "phases"):
        assert _settled(result[key], varying) == _settled(other[key], varying), key
    assert found.batches() == expected.batches()
    weights, others = found.weights(), expected.weights()
    assert weights.keys() == others.keys()
    for name, tensor in weights.items():
        assert torch.equal(tensor, others[name]), name
    left = {file.name for file in found.folder.rglob("*") if file.is_file()}
    assert not {name for name in left if name.startswith(".")}


def _settled(content: object, varying: set[str]) -> object:
    """Without what may differ between two runs that are the same, such as seconds."""
    if isinstance(content, dict):
        return {k: _settled(v, varying) for k, v in content.items() if k not in varying}
    return [_settled(v, varying) for v in content] if isinstance(content, list) else content


CHOSEN = [
    ("unfrozen", "within a validation", 2),
    ("unfrozen", "between the last and the best", 3),  # after the last epoch, which is the best
    ("stored", "a checkpoint is on its way to the disk", 9),
    ("phases", "an epoch begins", 3),
    ("phases by plateau", "between the last and the best", 2),
    ("workers", "a batch begins", 11),
    ("restored", "an epoch begins", 2),
    ("lora", "a batch ends", 16),
    ("mix", "the training is over", 1),
    ("early stopping", "the test begins", 1),
    ("stored", "the report is written", 1),
    ("masked", "gradients are there", 10),
]


@pytest.mark.parametrize(("situation", "place", "count"), CHOSEN)
def test_killed_at_a_moment_that_tells(
    situation: str, place: str, count: int, make: Make, untouched: Callable[[str], Ended]
) -> None:
    training = make(situation)
    assert training(Moment(PLACES[place], count)).code == 128 + signal.SIGKILL
    same(training(resume=True), untouched(situation))


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "kill" in metafunc.fixturenames:
        metafunc.parametrize("kill", range(metafunc.config.getoption("--kills")))


def test_killed_at_random_and_gone_on_with(kill: int, make: Make, untouched: Callable[[str], Ended]) -> None:
    chance = random.Random(kill)
    situation = chance.choice(sorted(SITUATIONS))
    seconds = untouched(situation).seconds
    training, kills, killed, said = make(situation), chance.choice((1, 2)), 0, [situation]
    while killed < kills:
        place = chance.choice([*sorted(PLACES), *["any time"] * 6])
        started = (training.folder / "config.yaml").exists()
        if place == "any time":
            process = training.start(resume=started)
            process.join(chance.uniform(0.2, seconds))
            process.kill()
            ended = training.wait(process)
        else:
            count = 1 if place in ONCE else chance.choice((1, 2, 3, 5, 8, 13))
            ended = training(Moment(PLACES[place], count), resume=started)
        said.append(f"{place}: {ended.code}")
        assert ended.code in (0, 128 + signal.SIGKILL), (said, ended.output)
        if ended.code:
            killed += 1
        elif killed:  # gone on with to its end before the second moment came
            break
        else:  # the moment never came: another, of a new run
            training = make(situation)
    else:
        ended = training(resume=(training.folder / "config.yaml").exists())
    print("; ".join(said))
    same(ended, untouched(situation))
