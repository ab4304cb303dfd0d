"""Strategies: the exact set of parameters that trains, and what does not fit."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from src.errors import UserError
from src.freezing.multi_phase import Gradual, LpFt
from src.freezing.reached_phases import fitted, reached
from src.freezing.strategy import Phase, Stage, Strategy, depth
from src.freezing.whole_stages import Bottom, Cut, Embeddings, Everything, Nothing, Pattern, Top

STAGES = [
    Stage("embeddings", ("embeddings.word.weight", "embeddings.norm.bias")),
    Stage("layer.0", ("encoder.layer.0.attention.weight", "encoder.layer.0.output.bias")),
    Stage("layer.1", ("encoder.layer.1.attention.weight", "encoder.layer.1.output.bias")),
    Stage("pooler", ("pooler.dense.weight",)),
    Stage("head", ("head.linear.weight",)),
]
EMBEDDINGS, FIRST, SECOND, POOLER, HEAD = (set(stage.parameters) for stage in STAGES)


@pytest.mark.parametrize(
    ("strategy", "trains", "frozen_stages", "name"),
    [
        (Nothing(), EMBEDDINGS | FIRST | SECOND | POOLER | HEAD, 0, "none"),
        (Everything(), HEAD, 4, "all"),
        (Embeddings(), FIRST | SECOND | POOLER | HEAD, 1, "embeddings"),
        (Bottom(0), FIRST | SECOND | POOLER | HEAD, 1, "bottom:0"),
        (Bottom(1), SECOND | POOLER | HEAD, 2, "bottom:1"),
        (Bottom(2), POOLER | HEAD, 3, "bottom:2"),
        (Top(0), HEAD, 4, "top:0"),
        (Top(1), SECOND | POOLER | HEAD, 2, "top:1"),
        (Pattern([r"layer\.0\."]), EMBEDDINGS | SECOND | POOLER | HEAD, 0, r"pattern:layer\.0\."),
        (
            Pattern(["^embeddings", "attention"]),
            {*FIRST, *SECOND, *POOLER, *HEAD}
            - {"encoder.layer.0.attention.weight", "encoder.layer.1.attention.weight"},
            1,
            "pattern:^embeddings|attention",
        ),
    ],
    ids=lambda value: getattr(value, "name", None),
)
def test_each_strategy_trains_exactly_its_parameters(
    strategy: Strategy, trains: set[str], frozen_stages: int, name: str
) -> None:
    phases = strategy.phases(STAGES)
    assert phases == [Phase(frozenset(trains))]
    assert depth(STAGES, phases) == frozen_stages
    assert strategy.name == name


@pytest.mark.parametrize(
    ("strategy", "kept", "trains", "name"),
    [
        (Cut(1), [EMBEDDINGS, FIRST, POOLER, HEAD], HEAD, "cut:1"),
        (Cut(1, 1), [EMBEDDINGS, FIRST, POOLER, HEAD], FIRST | POOLER | HEAD, "cut:1+1"),
        (Cut(2), [EMBEDDINGS, FIRST, SECOND, POOLER, HEAD], HEAD, "cut:2"),
        (
            Cut(2, 1, reinit_top=1),
            [EMBEDDINGS, FIRST, SECOND, POOLER, HEAD],
            SECOND | POOLER | HEAD,
            "cut:2+1+reinit:1",
        ),
    ],
    ids=lambda value: getattr(value, "name", None),
)
def test_a_cut_drops_the_layers_above_it(strategy: Strategy, kept: list[set[str]], trains: set[str], name: str) -> None:
    stages = strategy.kept(STAGES)
    assert [set(stage.parameters) for stage in stages] == kept
    # What is declared of the whole backbone and what is left of it lead to the same phases.
    assert strategy.phases(STAGES) == strategy.phases(stages) == [Phase(frozenset(trains))]
    assert strategy.name == name


def test_a_cut_out_of_range_is_answered_with_the_range() -> None:
    with pytest.raises(UserError, match=r"freeze\.layers must lie in 1\.\.2 .* got 3\."):
        Cut(3).kept(STAGES)
    with pytest.raises(UserError, match=r"freeze\.train must lie in 0\.\.1, .* got 2\."):
        Cut(1, 2).kept(STAGES)
    with pytest.raises(ValidationError):
        Cut(0)


def test_depth_counts_what_trains_in_no_phase() -> None:
    phases = [Phase(frozenset(HEAD)), Phase(frozenset(SECOND))]
    assert depth(STAGES, phases) == 2


@pytest.mark.parametrize("strategy", [Bottom(3), Top(3)])
def test_a_layer_out_of_range_is_answered_with_the_range(strategy: Strategy) -> None:
    with pytest.raises(UserError, match=r"must lie in 0\.\.2 .* got 3\.\nChoose freeze=all"):
        strategy.phases(STAGES)


def test_a_pattern_that_matches_nothing_is_answered_with_names() -> None:
    with pytest.raises(UserError, match=r"decoder matches none of its 7\.\nExamples of their names: embeddings\.word"):
        Pattern(["attention", "decoder"]).phases(STAGES)


def test_a_pattern_never_freezes_the_head() -> None:
    with pytest.raises(UserError, match="matches none"):
        Pattern(["^head"]).phases(STAGES)
    assert set(Pattern([".*"]).phases(STAGES)[0].trainable) == HEAD


def test_bad_arguments_are_refused() -> None:
    for make in (lambda: Bottom(-1), lambda: Pattern([]), lambda: Pattern(["("])):
        with pytest.raises(ValidationError):
            make()


FITTED = {  # epochs of the training: those of each phase but the last, and what the phases train besides the head
    1: ([], [4]),
    2: ([1], [0, 4]),
    3: ([1, 1], [0, 2, 4]),
    5: ([1, 1, 1, 1], [0, 1, 2, 3, 4]),
    14: ([2, 2, 2, 2], [0, 1, 2, 3, 4]),
}


@pytest.mark.parametrize("epochs", FITTED)
def test_gradual_unfreezing_fits_into_the_epochs_that_there_are(epochs: int) -> None:
    strategy = Gradual(None, "epochs", 1, 0.0, 1, "embeddings", False)
    phases = fitted(strategy.phases(STAGES), epochs)
    lengths, unfrozen = FITTED[epochs]
    assert [phase.end.epochs for phase in phases[:-1]] == lengths
    assert [len(STAGES) - 1 - depth(STAGES, [phase]) for phase in phases] == unfrozen
    assert reached(phases, epochs, every=1) == len(phases)
    assert strategy.name == "gradual:fit"


@pytest.mark.parametrize(("epochs", "probe"), [(1, []), (2, [1]), (3, [1]), (10, [3])])
def test_a_linear_probe_takes_a_third_of_the_epochs(epochs: int, probe: list[int]) -> None:
    phases = fitted(LpFt(None, None, None, True).phases(STAGES), epochs)
    assert [phase.end.epochs for phase in phases[:-1]] == probe
    assert phases[-1].trainable == EMBEDDINGS | FIRST | SECOND | POOLER | HEAD


def test_lengths_that_are_given_are_kept() -> None:
    phases = LpFt(5, None, None, True).phases(STAGES)
    assert fitted(phases, 2) == phases
