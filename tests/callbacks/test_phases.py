"""Strategies in real trainings: what trains in each phase, what a resumed run comes to, what the audit finds."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from pytorch_lightning import Callback
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from src import train as training
from src.backbones.loading import load_encoder
from src.callbacks.audit import Audit, AuditError
from src.callbacks.phases import Phases
from src.errors import UserError
from src.freezing.reached_phases import reached
from src.freezing.strategy import End, Phase
from src.models.adapters import merge_adapters
from src.modules.classifier import TextClassifier
from src.runs.folder import RunFolder
from src.training import parts
from tests.backbones.test_backbones import source_of
from tests.commands.test_commands import run as command
from tests.conftest import BF16, composed

Run = Callable[..., tuple[RunFolder, dict[str, Any]]]
ARCHITECTURES = ("bert", "roberta", "distilbert", "electra", "deberta-v2", "modernbert")
LINKS = "[{train:[head],epochs:1},{train:[layer.1,head],epochs:1,lr:2e-3},{train:[layer.0-2]}]"
EVERYTHING = ["embeddings", "layer.0", "layer.1", "layer.2", "head"]
# The stages that train in each phase, and the pattern of the names that do, of a backbone with three layers.
STRATEGIES: dict[str, list[tuple[list[str], str]]] = {
    "freeze=gradual freeze.down_to=layer.1": [
        (["head"], "^head"),
        (["layer.2", "head"], r"layers?\.2\.|^head|final_norm"),
        (["layer.1", "layer.2", "head"], r"layers?\.[12]\.|^head|final_norm"),
    ],
    "freeze=lp_ft freeze.epochs=1": [(["head"], "^head"), (EVERYTHING, "")],
    f"freeze=chain freeze.links={LINKS}": [
        (["head"], "^head"),
        (["layer.1", "head"], r"layers?\.1\.|^head"),
        (["layer.0", "layer.1", "layer.2"], r"layers?\.[012]\.|encoder\.conv|final_norm"),
    ],
    "freeze=surgical freeze.first=0 freeze.last=1": [
        (["layer.0", "layer.1", "head"], r"layers?\.[01]\.|^head|encoder\.conv")
    ],
    "freeze=bitfit": [(EVERYTHING, r"^head|\.bias$")],
    "freeze=norms": [(EVERYTHING, r"^head|(?i:norm\.(weight|bias))$")],
    "freeze=lora": [(["layer.0", "layer.1", "layer.2", "head"], r"^head|lora_")],
    "freeze=mix": [(["head"], "^head")],
    "freeze=cut freeze.layers=2": [(["head"], "^head")],
    "freeze=cut freeze.layers=2 freeze.train=1": [(["layer.1", "head"], r"layers?\.1\.|^head|final_norm")],
    "freeze=cut freeze.layers=2 freeze.train=1 freeze.reinit_top=1": [
        (["layer.1", "head"], r"layers?\.1\.|^head|final_norm")
    ],
    "freeze=bottom freeze.layers=1 freeze.reinit_top=1": [
        (["layer.1", "layer.2", "head"], r"layers?\.[12]\.|^head|final_norm")
    ],
}
FEW = ["model=bert_linear", "optimizer.lr=1e-3", "trainer.max_epochs=3", "callbacks=no_early_stopping"]


class Watch(Callback):
    """What has moved in each epoch, and with which rates."""

    def __init__(self) -> None:
        self.moved: list[set[str]] = []
        self.trained: list[frozenset[str]] = []
        self.rows: list[list[int]] = []
        self.rates: list[dict[str, float]] = []

    def on_train_epoch_start(self, trainer: Any, pl_module: TextClassifier) -> None:
        self.module = pl_module
        self.before = {n: p.detach().clone() for n, p in pl_module.named_stage_parameters().items()}

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        self.module = pl_module
        self.rows.append(batch["rows"].tolist())

    def on_before_optimizer_step(self, trainer: Any, pl_module: Any, optimizer: Any) -> None:
        self.rates.append({group["name"]: group["lr"] for group in optimizer.param_groups})

    def on_train_epoch_end(self, trainer: Any, pl_module: TextClassifier) -> None:
        if hasattr(self, "before"):
            now = pl_module.named_stage_parameters()
            self.moved.append({n for n, tensor in self.before.items() if not torch.equal(tensor, now[n])})
            self.trained.append(pl_module.phases[pl_module.phase].trainable)


def add(monkeypatch: pytest.MonkeyPatch, *callbacks: Callback) -> None:
    """Puts callbacks behind the project's own in the trainers of the runs to come."""
    real = parts.build_trainer

    def build(*arguments: Any) -> Any:
        trainer = real(*arguments)
        place = next(i for i, own in enumerate(trainer.callbacks) if isinstance(own, Phases)) + 1
        trainer.callbacks[place:place] = callbacks
        return trainer

    monkeypatch.setattr(parts, "build_trainer", build)


@pytest.fixture
def watch(monkeypatch: pytest.MonkeyPatch) -> Watch:
    watching = Watch()
    add(monkeypatch, watching)
    return watching


# Every strategy on the two architectures that differ most, and on all others a strategy of each kind.
MOVES = [
    (strategy, architecture)
    for strategy in STRATEGIES
    for architecture in ARCHITECTURES
    if architecture in ("bert", "modernbert") or strategy.startswith(("freeze=gradual", "freeze=lora", "freeze=cut"))
]


@pytest.mark.parametrize(("strategy", "architecture"), MOVES)
def test_in_each_phase_exactly_its_parameters_move(
    strategy: str, architecture: str, run_tiny: Run, watch: Watch, backbone_folder: Callable[[str], Path]
) -> None:
    if (architecture, strategy) == ("modernbert", "freeze=bitfit"):
        with pytest.raises(UserError, match="needs a backbone that has biases"):
            run_tiny(*strategy.split(), f"backbone.name={backbone_folder(architecture)}", *FEW)
        return
    _, result = run_tiny(*strategy.split(), f"backbone.name={backbone_folder(architecture)}", *FEW)
    phases = STRATEGIES[strategy]
    if strategy not in ("freeze=bitfit", "freeze=norms"):  # which stages have biases and norms depends on the backbone
        assert [phase["trainable"] for phase in result["phases"]] == [stages for stages, _ in phases]
    for moved, trained in zip(watch.moved, watch.trained, strict=True):
        assert moved == trained
    for index, (phase, (_, pattern)) in enumerate(zip(result["phases"], phases, strict=True)):
        assert watch.module.phases[index].trainable == {n for n in watch.before if re.search(pattern, n)}
        for row in phase["audit"]:
            assert row["got_gradient"] == row["trainable"] <= row["in_optimizer"]
            assert (row["before"] != row["after"]) == (row["trainable"] > 0)


def test_each_phase_goes_on_from_a_store_of_its_own_depth(run_tiny: Run) -> None:
    options = ["freeze=gradual", "model=bert_linear", "trainer.max_epochs=6", "optimizer.lr=1e-3"]
    _, live = run_tiny(*options, "activations=off", name="live")
    _, stored = run_tiny(*options, name="stored")
    used = [phase["activations"] for phase in stored["phases"]]
    assert [found.get("depth", 0) for found in used] == [4, 3, 2, 1, 0]
    assert [found.get("what") for found in used] == ["mean vectors", *["token states"] * 3, None]
    for first, second in zip(live["history"], stored["history"], strict=True):
        assert second["train/loss"] == pytest.approx(first["train/loss"], abs=1e-4)
        assert second["validation/loss"] == pytest.approx(first["validation/loss"], abs=1e-4)


def test_a_late_stage_warms_up_on_its_own_and_phases_have_their_own_rates(run_tiny: Run, watch: Watch) -> None:
    schedule = ["scheduler=constant", "optimizer.thaw_warmup=0.5", "data.batch_size=8"]
    run_tiny("freeze=lp_ft", "freeze.epochs=1", "freeze.lr=2e-4", *FEW, *schedule)
    top, head = ([rates[name] for rates in watch.rates] for name in ("layer.2", "head"))
    steps = len(top) // 3
    # Half an epoch of eight steps: four fifths of the way after four steps.
    assert top[steps : 2 * steps] == pytest.approx([2e-4 * min(1, (i + 1) / 5) for i in range(steps)])
    assert top[2 * steps :] == pytest.approx([2e-4] * steps)
    assert head == pytest.approx([1e-3] * len(head))
    adam = watch.module.trainer.optimizers[0].state
    late, first = (next(iter(part.parameters())) for part in (watch.module.encoder.encoder.layer[2], watch.module.head))
    assert adam[late]["step"] == 2 * steps
    assert adam[first]["step"] == 3 * steps


def test_rates_fall_from_layer_to_layer(run_tiny: Run, watch: Watch) -> None:
    run_tiny("freeze=none", "optimizer.layer_decay=0.5", "optimizer.lr=8e-4", *FEW[:1], "scheduler=constant")
    rates = [watch.rates[0][name] for name in ("embeddings", "layer.0", "layer.1", "layer.2", "head")]
    assert rates == pytest.approx([1e-4, 2e-4, 4e-4, 8e-4, 1e-3])


def test_plateaus_end_phases_and_early_stopping_waits_for_the_last(run_tiny: Run) -> None:
    stuck = [
        "freeze=gradual",
        "freeze.until=plateau",
        "freeze.patience=2",
        "freeze.min_delta=9",
        "freeze.down_to=layer.2",
    ]
    _, result = run_tiny(
        *stuck, "callbacks.early_stopping.patience=1", "+callbacks.early_stopping.min_delta=9", "trainer.max_epochs=20"
    )
    assert [phase["epochs"] for phase in result["phases"]] == [3, 2]
    assert len(result["history"]) == 5


@pytest.mark.filterwarnings("ignore:.ModelCheckpoint:UserWarning")  # in the epochs that are not validated
def test_a_plateau_counts_validations_and_not_epochs_between_them(run_tiny: Run) -> None:
    stuck = ["freeze=gradual", "freeze.until=plateau", "freeze.min_delta=9", "freeze.down_to=layer.2"]
    _, result = run_tiny(*stuck, "trainer.check_val_every_n_epoch=2", "trainer.max_epochs=6")
    assert [phase["epochs"] for phase in result["phases"]] == [4, 2]


def test_the_warm_up_of_a_thawed_stage_counts_steps_of_the_optimizer(run_tiny: Run, watch: Watch) -> None:
    options = ["scheduler=constant", "optimizer.thaw_warmup=1.0", "data.batch_size=8"]
    run_tiny("freeze=lp_ft", "freeze.epochs=1", *FEW, *options, "trainer.accumulate_grad_batches=4")
    # Two steps an epoch; the rate is whole again two steps after the stage has thawed.
    assert [rates["layer.2"] for rates in watch.rates[2:]] == pytest.approx([1e-3 / 3, 2e-3 / 3, 1e-3, 1e-3])


def test_phases_that_are_never_reached_are_named(run_tiny: Run, caplog: pytest.LogCaptureFixture) -> None:
    _, result = run_tiny("freeze=gradual", "trainer.max_epochs=2")
    assert len(result["phases"]) == 2
    assert "The epochs do not reach phases 3 to 5." in caplog.text


UNREACHED = {
    "freeze=gradual trainer.max_epochs=1": {"head"},
    "freeze=gradual trainer.max_epochs=2": {"layer.2", "head"},
    "freeze=lp_ft freeze.epochs=5 trainer.max_epochs=2": {"head"},
    "freeze=gradual freeze.until=plateau freeze.patience=2 freeze.down_to=layer.2": {"head"},
}


@pytest.mark.parametrize("options", UNREACHED)
def test_what_only_trains_in_phases_that_are_never_reached_has_not_trained(
    options: str, run_tiny: Run, caplog: pytest.LogCaptureFixture
) -> None:
    _, result = run_tiny("model=bert_linear", *options.split())
    moved = {
        row["stage"]: row["parameters"]
        for phase in result["phases"]
        for row in phase["audit"]
        if row["before"] != row["after"]
    }
    assert moved.keys() == UNREACHED[options]
    assert result["parameters"]["trainable"] == sum(moved.values()) < result["parameters"]["total"]
    assert f"with {sum(moved.values()):,} of {result['parameters']['total']:,} parameters trained" in caplog.text


def test_a_resumed_run_without_a_step_left_has_not_trained_another_phase(
    run_tiny: Run, caplog: pytest.LogCaptureFixture
) -> None:
    folder, result = run_tiny("freeze=gradual", "model=bert_linear", "trainer.max_epochs=1")
    folder.write_status("failed")  # after its last epoch, which has ended its first phase
    caplog.clear()
    again = training.train(composed(f"run={folder.path}", "resume=true"), folder)
    for key in ("parameters", "phases", "operations", "metrics"):
        assert again[key] == result[key], key
    assert "The epochs do not reach phases 2 to 5." in caplog.text


@pytest.mark.parametrize(
    ("epochs", "every", "expected"),
    [(3, 1, 1), (4, 1, 2), (5, 1, 3), (7, 1, 3), (8, 1, 4), (6, 2, 1), (7, 2, 2), (8, 2, 3), (12, 2, 3), (13, 2, 4)],
)
def test_plateaus_come_at_the_soonest_when_their_patience_has_run_out(epochs: int, every: int, expected: int) -> None:
    ends = (End(None, patience=2), End(epochs=1), End(None, patience=2), End())
    assert reached([Phase(frozenset(), end) for end in ends], epochs, every) == expected


@pytest.mark.parametrize("fault", ["frozen moves", "trainable stays"])
def test_the_audit_fails_a_run_that_did_not_do_what_it_says(
    fault: str, run_tiny: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Fault(Callback):
        def on_before_optimizer_step(self, trainer: Any, pl_module: TextClassifier, optimizer: Any) -> None:
            tensor = pl_module.named_stage_parameters()["encoder.layer.2.output.dense.weight"]
            if fault == "frozen moves":
                tensor.data[0, 0] += 1
            else:
                tensor.grad = None

    add(monkeypatch, Fault())
    strategy = ["freeze=all"] if fault == "frozen moves" else ["freeze=none"]
    message = "frozen parameters have changed" if fault == "frozen moves" else "have not changed"
    with pytest.raises(AuditError, match=rf"phase 1: .*{message}: encoder\.layer\.2\.output\.dense\.weight"):
        run_tiny(*strategy, "activations=off")


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_steps_too_small_to_move_a_parameter_are_named_and_are_no_fault(
    optimizer: str, run_tiny: Run, caplog: pytest.LogCaptureFixture
) -> None:
    rates = ["optimizer.lr=1e-12", "optimizer.head_lr=1e-12", f"optimizer={optimizer}"]
    _, result = run_tiny("model=bert_linear", "freeze=none", "trainer.max_epochs=1", *rates)
    assert "no step was large enough to change these parameters in their precision: embeddings." in caplog.text
    rows = {row["stage"]: row for row in result["phases"][0]["audit"]}
    assert rows["layer.1"]["got_gradient"] == rows["layer.1"]["trainable"]


def test_a_step_that_a_scaler_leaves_out_moves_nothing_and_is_no_fault(run_tiny: Run, watch: Watch) -> None:
    run_tiny("model=bert_linear", "freeze=none", "trainer.max_epochs=1", "scheduler=constant")
    module, audit = watch.module, Audit()
    audit.begin(module)
    for parameter in module.parameters():
        parameter.grad = torch.ones_like(parameter)
    module.head.linear.bias.grad[0] = torch.inf
    audit.watch(module, module.trainer.optimizers[0])
    assert audit.end(module)[-1]["got_gradient"] == 0
    module.head.linear.bias.grad[0] = 1.0
    audit.watch(module, module.trainer.optimizers[0])
    with pytest.raises(AuditError, match="have not changed"):
        audit.end(module)


def test_phases_show_in_tensorboard(run_tiny: Run) -> None:
    folder, result = run_tiny("freeze=lp_ft", "freeze.epochs=1", *FEW)
    events = EventAccumulator(str(folder.path / "tensorboard" / "lp_ft_1_seed_42"))
    events.Reload()
    steps = [(phase["first_step"], phase["last_step"]) for phase in result["phases"]]
    shown = [(e.step, e.value) for e in events.Scalars("freezing/trainable_parameters")]
    counts = [phase["trainable_parameters"] for phase in result["phases"]]
    assert shown == [(step, count) for pair, count in zip(steps, counts, strict=True) for step in pair]
    assert [e.value for e in events.Scalars("freezing/phase")] == [1, 1, 2, 2]
    assert {"freezing/phase/text_summary", "freezing/audit/text_summary"} <= set(events.Tags()["tensors"])


@BF16
def test_phases_go_with_accumulation_and_bfloat16(run_tiny: Run, watch: Watch) -> None:
    mixed = ["trainer.accumulate_grad_batches=3", "trainer.precision=bf16-mixed", "data.batch_size=8"]
    _, result = run_tiny("freeze=lp_ft", "freeze.epochs=1", *FEW, *mixed)
    assert watch.moved == watch.trained
    assert [phase["last_step"] for phase in result["phases"]] == [3, 9]  # eight batches an epoch


@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing:FutureWarning")  # within PEFT
@pytest.mark.parametrize(
    ("strategy", "prefix"),
    [
        ("freeze=lora freeze.dropout=0", "lora_"),
        ("freeze=peft freeze.method=dora +freeze.options.r=2", "lora_"),
        ("freeze=peft freeze.method=ia3", "ia3_"),
        ("freeze=peft freeze.method=loha +freeze.options.r=2 freeze.targets=[query]", "hada_"),
        ("freeze=peft freeze.method=lokr +freeze.options.r=2", "lokr_"),
        ("freeze=peft freeze.method=oft +freeze.options.oft_block_size=4", "oft_"),
    ],
)
def test_adapters_are_small_can_be_loaded_by_peft_and_merged(
    strategy: str, prefix: str, run_tiny: Run, watch: Watch, tiny_bert: Path
) -> None:
    import transformers
    from peft import PeftModel

    folder, _ = run_tiny(*strategy.split(), *FEW)
    saved = folder.path / "adapter" / "adapter_model.safetensors"
    assert saved.stat().st_size < 20_000 < (tiny_bert / "model.safetensors").stat().st_size
    about = json.loads(saved.with_name("adapter_config.json").read_text())
    assert about["base_model_name_or_path"] == str(tiny_bert)
    state = torch.load(folder.best_checkpoint, weights_only=True)["state_dict"]
    assert all(prefix in name or name.startswith("head.") for name in state)
    assert any(prefix in name for name in state)
    encoder = watch.module.encoder.eval()
    ids = torch.arange(5, 25).view(2, 10)
    plain = transformers.AutoModel.from_pretrained(tiny_bert, add_pooling_layer=False)
    loaded = PeftModel.from_pretrained(plain, folder.path / "adapter").eval()
    with torch.no_grad():
        expected = encoder(input_ids=ids).last_hidden_state
        assert not torch.allclose(plain.base_model(input_ids=ids).last_hidden_state, 0 * expected)
        assert torch.allclose(loaded(input_ids=ids).last_hidden_state, expected, atol=1e-5)
        merge_adapters(encoder)
        assert not any(prefix in name for name, _ in encoder.named_parameters())
        assert torch.allclose(encoder(input_ids=ids).last_hidden_state, expected, atol=1e-5)


def test_restarted_layers_differ_from_the_pretrained_ones(
    run_tiny: Run, watch: Watch, backbone_folder: Callable[[str], Path]
) -> None:
    pretrained = dict(load_encoder(source_of(backbone_folder("bert"))).named_parameters())
    with pytest.raises(UserError, match=r"layer\.1 never trains and would stay random"):
        run_tiny("freeze=bottom", "freeze.layers=2", "freeze.reinit_top=2")
    run_tiny("freeze=reinit_top", "optimizer.lr=1e-6", "trainer.max_epochs=1")
    now = dict(watch.module.encoder.named_parameters())
    for name, tensor in pretrained.items():
        same = torch.allclose(tensor, now[name], atol=1e-4)
        assert same == ("layer.2" not in name or "bias" in name or "LayerNorm" in name), name


@pytest.mark.rare
def test_gradient_checkpointing_changes_nothing_but_memory(run_tiny: Run) -> None:
    options = ["freeze=embeddings", *FEW, "model.dropout=0.0"]
    _, plain = run_tiny(*options, name="plain")
    _, checkpointed = run_tiny(*options, "trainer.gradient_checkpointing=true", name="checkpointed")
    assert checkpointed["history"] == plain["history"]


@pytest.mark.slow
def test_compiled_training_thaws_what_the_next_phase_trains(tmp_path: Path, tiny_bert: Path) -> None:
    folder = tmp_path / "run"
    strategy = ["freeze=lp_ft", "freeze.epochs=1", "model=bert_linear", "optimizer.lr=1e-3", "trainer.max_epochs=2"]
    # In a process of its own: the compiler cannot see through the checks of shapes that the tests add.
    command(
        tmp_path, f"run={folder}", "trainer=cpu", "trainer.compile=true", "data.limit=60", *strategy, tiny=tiny_bert
    )
    trained = torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
    pretrained = dict(load_encoder(source_of(tiny_bert)).named_parameters())
    assert {name for name in trained if name.startswith("encoder.")} == {f"encoder.{name}" for name in pretrained}
    for name, tensor in pretrained.items():
        assert not torch.equal(trained[f"encoder.{name}"], tensor), name


@pytest.mark.slow
def test_two_processes_train_the_same_phases_to_the_same_weights(tmp_path: Path, tiny_bert: Path) -> None:
    options = ["freeze=gradual", "freeze.down_to=layer.1", "model=bert_linear", "model.dropout=0", "data.limit=60"]
    options += ["optimizer.lr=1e-3", "trainer.max_epochs=3"]
    # Without dropout nothing is drawn at random, so that only the sharing of the work can make a difference.
    still = shutil.copytree(tiny_bert, tmp_path / "still")
    config = json.loads((still / "config.json").read_text())
    config |= {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    (still / "config.json").write_text(json.dumps(config))
    one, two = tmp_path / "one", tmp_path / "two"
    command(tmp_path, f"run={one}", "trainer=cpu", *options, tiny=still)
    ddp = ["trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2"]
    command(tmp_path, f"run={two}", *ddp, *options, tiny=still)
    first, second = (torch.load(d / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"] for d in (one, two))
    assert first.keys() == second.keys()
    for name, tensor in first.items():
        assert torch.allclose(tensor, second[name], atol=1e-4), name


BAD = {
    "freeze=surgical freeze.first=1 freeze.last=3": r"must lie in 0\.\.2",
    "freeze=surgical freeze.first=2 freeze.last=1": "first <= last",
    "freeze=cut freeze.layers=4": r"freeze\.layers must lie in 1\.\.3 .* got 4\.\nfreeze\.layers=3 keeps",
    "freeze=cut freeze.layers=0": "greater than or equal to 1",
    "freeze=cut freeze.layers=2 freeze.train=3": r"freeze\.train must lie in 0\.\.2, .* got 3\.",
    "freeze=cut freeze.layers=2 freeze.train=-1": "greater than or equal to 0",
    "freeze=cut freeze.layers=2 freeze.train=1 freeze.reinit_top=2": r"layer\.0 never trains",
    "freeze=cut freeze.layers=2 freeze.train=2 freeze.reinit_top=3": r"must lie in 0\.\.2",
    "freeze=gradual freeze.down_to=layer.7": r"must be a stage of the backbone; got layer\.7",
    "freeze=lora freeze.targets=[nothing]": r"\[.nothing.\] matches none",
    "freeze=lora freeze.targets=[LayerNorm]": r"freeze\.targets must fit lora:8 and this backbone",
    "freeze=peft freeze.method=ia4": r"must be a method of PEFT that changes layers; got ia4\.\nDid you mean ia3\?",
    "freeze=peft freeze.method=lora": r"Choose freeze=lora\.",
    "freeze=peft freeze.method=adalora": "sets ranks in a step of its own",
    "freeze=peft freeze.method=randlora": "it has buffers, which checkpoints lack",
    "freeze=peft +freeze.options.rank=3": r"freeze\.options must fit peft:ia3 and this backbone: .*rank",
    "freeze=chain freeze.links=[{train:[head,head]}]": "head occurs more than once",
    "freeze=chain freeze.links=[{train:[layer.0-1,layer.1]}]": r"layer\.1 occurs more than once",
    "freeze=chain freeze.links=[{train:[layer.0-9]}]": r"must name layers of this backbone; got layer\.0-9",
    "freeze=chain freeze.links=[{train:[decoder]}]": "decoder is neither",
    "freeze=chain freeze.links=[{train:[]}]": "at least 1 item",
    "freeze=chain freeze.links=[{train:[head]},{train:[all]}]": "phase 1 has no epochs",
    "freeze=chain freeze.links=[{train:[head],epochs:1,until:plateau}]": "not both",
    "freeze=chain freeze.links=[{train:[head],epoch:1}]": "epoch",
    "freeze=mix model=bert_linear model.pooling=pooler": "the pooler only the last",
    "freeze=gradual freeze.until=plateau monitor.metric=train/loss": "needs a validation metric",
    "freeze=none freeze.reinit_top=4": r"must lie in 0\.\.3",
}


@pytest.mark.parametrize("options", BAD)
def test_a_strategy_that_does_not_fit_is_refused_before_a_folder_is_made(
    options: str, run_tiny: Run, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=BAD[options]):
        run_tiny(*options.split())
    assert not (tmp_path / "run").exists()
