"""The default network in stages is the default network, and its exits are what their committed tables say."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from kernels.bench.exits import answers, frames_of
from kernels.models.composed_scenes import FIRST_TRAINING_SEED, HELD_OUT_SEEDS, MEASURED_FRAMES
from kernels.models.evaluation.evaluate import mask_iou
from kernels.models.exit_tables import HELD_OUT, read_exit_tables
from kernels.models.networks import default_network, exit_heads
from kernels.models.networks.default_network import load_default_network
from kernels.models.networks.exit_heads import confidence
from kernels.models.networks.staged import INPUT, OUTPUT, STAGES, live_after, load_staged, shares
from kernels.models.predictions.tasks import agreement
from kernels.models.train_exits import distillation_loss, train
from profiler.latency.split_table import load_split_table

TRUNK_SHA256 = "73807a33bc66f415ecaae71bad302e564e2ef14b50c0574ca6a600ca15ce7b99"


@pytest.fixture(scope="module")
def frame() -> torch.Tensor:
    return torch.rand(1, 3, 64, 96, generator=torch.Generator().manual_seed(3))


def test_the_networks_own_weights_are_those_that_all_accuracies_were_measured_with() -> None:
    assert hashlib.sha256(default_network.WEIGHTS.read_bytes()).hexdigest() == TRUNK_SHA256
    assert exit_heads.WEIGHTS.stat().st_size < 300e3


@pytest.mark.parametrize("cut", STAGES)
def test_what_is_live_after_a_cut_is_all_that_the_rest_needs(cut: str, frame: torch.Tensor) -> None:
    staged = load_staged()
    with torch.inference_mode():
        whole = load_default_network()(frame)
    front = staged.run({INPUT: frame}, INPUT, cut)
    assert tuple(front) == live_after(cut)
    assert torch.equal(staged.run(front, cut, OUTPUT)[OUTPUT], whole)


def test_skip_connections_cross_a_cut() -> None:
    assert live_after("stage4") == ("stage4",)
    assert live_after("stage32") == ("stage4", "stage8", "stage16", "stage32")
    assert live_after("up8") == ("stage4", "up8")
    with pytest.raises(ValueError, match=r"cut must be after one of input, stem, .* \(got 'neck'\)"):
        live_after("neck")
    with pytest.raises(ValueError, match="until must not come before 'stage8'"):
        load_staged().run({}, "stage8", "stem")


def test_every_exit_reads_only_what_the_network_itself_still_needs(frame: torch.Tensor) -> None:
    staged = load_staged()
    for name in staged.exits:
        logits, embedding = staged.exit(staged.run({INPUT: frame}, INPUT, name), name)
        assert logits.shape == (1, 5, 16, 24)
        assert embedding.shape[1] == 24


def test_shares_of_arithmetic_are_those_of_the_split_table() -> None:
    trunk, heads = shares(load_staged())
    table = load_split_table("default")
    assert {cut.after: cut.arithmetic_share for cut in table.cuts} == pytest.approx(trunk, abs=1e-6)
    sizes = load_staged().elements(*table.resolution_px)
    for cut in table.cuts:
        live = live_after(cut.after)
        assert (cut.tensors, cut.elements) == (len(live), sum(sizes[name] for name in live))
    assert max(heads.values()) < 0.09


def test_confidence_is_the_iou_that_shares_expect() -> None:
    logits = torch.full((1, 3, 1, 4), -50.0)
    logits[0, 0, 0, :2] = logits[0, 1, 0, 2:] = 50.0
    assert confidence(logits) == pytest.approx(1.0)
    logits[0, :, 0, 3] = torch.log(torch.tensor([0.4, 0.6, 1e-9]))
    assert confidence(logits) == pytest.approx((1.0 + 0.6) / 2.0)  # ∩ 1.6; ∪ 1.6 + 2 − 1.6
    logits[0, :, 0, 1] = torch.log(torch.tensor([0.7, 0.3, 1e-9]))
    assert confidence(logits) == pytest.approx(1.6 / (1.9 + 2 - 1.6))
    nothing = torch.zeros(1, 3, 2, 2)
    nothing[0, 0] = 1.0
    assert confidence(nothing) == 1.0


def rows() -> list[dict[str, str]]:
    with HELD_OUT.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def test_the_held_out_table_covers_every_exit_and_grows_better_with_depth() -> None:
    found = rows()
    assert {row["seeds"] for row in found} == {"+".join(map(str, HELD_OUT_SEEDS))}
    assert {(row["preset"], row["exit"]) for row in found} == {
        (preset, name) for preset in ("calm", "walk", "drive") for name in load_staged().exits
    }
    assert min(float(row["foreground_iou"]) for row in found) > 0.9
    for preset in ("calm", "walk", "drive"):
        agreed = [float(row["agreement"]) for row in found if row["preset"] == preset]
        assert agreed == sorted(agreed)


def test_the_page_shows_the_held_out_table(repository: Path) -> None:
    page = (repository / "kernels" / "README.md").read_text(encoding="utf-8")
    for name in load_staged().exits:
        mine = [row for row in rows() if row["exit"] == name]
        shares_of = [f"{float(mine[0][key]):.3f}" for key in ("arithmetic_share", "head_share")]
        agreed = [row["agreement"][:5] for row in mine]
        over_presets = (np.mean([float(row[key]) for row in mine]) for key in ("agreement", "foreground_iou"))
        means = [f"{mean:.3f}" for mean in over_presets]
        assert f"| `{name}` | {' | '.join([*shares_of, *agreed, *means])} |" in page


def test_a_row_of_the_held_out_table_is_what_the_exits_give() -> None:
    staged = load_staged()
    values: dict[str, list[tuple[float, float]]] = {name: [] for name in staged.exits}
    for *_, frame in frames_of(("walk",), HELD_OUT_SEEDS, MEASURED_FRAMES[::3]):
        found, final = answers(staged, frame)
        for name, (_, result) in found.items():
            iou = mask_iou(result.foreground, final.foreground)
            values[name].append((agreement(result, final), iou))
    for row in rows():
        if row["preset"] == "walk":  # of 16 of its 40 frames
            agreed, iou = np.mean(values[row["exit"]], axis=0)
            assert agreed == pytest.approx(float(row["agreement"]), abs=0.06)
            assert iou == pytest.approx(float(row["foreground_iou"]), abs=0.02)


def test_confidence_follows_agreement_on_the_profiled_scenes() -> None:
    tables = read_exit_tables()
    assert tables.confidence.shape == tables.agreement.shape == (120, 3)
    for number in range(3):
        assert np.corrcoef(tables.confidence[:, number], tables.agreement[:, number])[0, 1] > 0.8


@pytest.mark.parametrize("cut", STAGES[1:-1])
def test_eight_bits_cost_under_a_thousandth_and_fewer_cost_more(cut: str) -> None:
    known = read_exit_tables().precision[cut]
    assert sorted(known) == list(range(2, 9))
    assert known[8].agreement > 0.999
    assert known[2].agreement < known[4].agreement < known[8].agreement
    weights = [known[bits].bytes_per_value for bits in sorted(known)]
    assert weights == sorted(weights)


def test_the_fewest_bits_are_the_fewest_that_keep_the_loss() -> None:
    tables = read_exit_tables()
    for cut, known in tables.precision.items():
        for loss in (0.005, 0.02, 0.1):
            wanted = next((bits for bits in sorted(known) if known[bits].agreement >= 1.0 - loss), 8)
            assert tables.fewest_bits(cut, loss) == wanted
        assert tables.fewest_bits(cut, 0.0) == 8


class Discs:
    """A source of frames with one bright disc on noise."""

    def __call__(
        self, preset: str, seed: int, indices: Sequence[int], size_px: int
    ) -> tuple[np.ndarray, np.ndarray]:
        assert seed >= FIRST_TRAINING_SEED
        random = np.random.default_rng(seed)
        images = random.integers(0, 90, (len(indices), size_px, size_px, 3), dtype=np.uint8)
        return images, np.zeros(images.shape[:3], np.uint8)


def test_same_steps_same_heads_and_the_network_stays_as_it_was() -> None:
    network = load_default_network()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    one, other = (
        train(Discs(), ("any",), steps=2, batch=2, frames_per_scene=4, network=network, log=lambda _: None)
        for _ in range(2)
    )
    for name, tensor in one.state_dict().items():
        assert torch.equal(tensor, other.state_dict()[name])
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, before[name])
    with pytest.raises(ValueError, match=r"steps must be > 0 \(got 0\)"):
        train(Discs(), ("any",), steps=0)


def test_the_loss_is_least_where_an_exit_says_what_the_network_says() -> None:
    final = 20 * torch.randn(2, 5, 8, 8, generator=torch.Generator().manual_seed(0))
    assert float(distillation_loss(final, final)) < float(distillation_loss(0.5 * final, final))
    assert float(distillation_loss(final.roll(1, dims=1), final)) > 10
