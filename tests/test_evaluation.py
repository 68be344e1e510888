"""What an evaluation says beyond its accuracy: bounds, classes, calibration, the worst images."""

from __future__ import annotations

import copy
import json
import math
import pickle

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from convzoo import training, visualize
from convzoo.errors import InputError
from convzoo.training import Evaluation, wilson_interval


class Fixed(nn.Module):
    """Its input is its scores."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.flatten(1)


def data(scores: torch.Tensor, labels: list[int]) -> TensorDataset:
    return TensorDataset(scores.view(len(scores), -1, 1, 1), torch.tensor(labels))


def result(count: int = 40, classes: int = 7) -> tuple[Evaluation, torch.Tensor, list[int]]:
    scores = 2 * torch.randn(count, classes)
    labels = [i % classes for i in range(count)]
    found = training.evaluate(Fixed(), data(scores, labels), batch_size=16, cpu=True)
    return found, scores, labels


@pytest.mark.parametrize(
    ("correct", "samples", "low", "high"),
    [  # R's prop.test(correct = FALSE) and the 1998 paper of Newcombe
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
        (29, 29, 0.8830, 1.0),
    ],
)
def test_wilson(correct: int, samples: int, low: float, high: float) -> None:
    assert wilson_interval(correct, samples) == pytest.approx((low, high), abs=6e-5)


def test_wilson_without_samples_and_beyond() -> None:
    assert wilson_interval(0, 0) is None
    narrow, wide = wilson_interval(5, 10, 0.5), wilson_interval(5, 10, 0.99)
    assert wide[0] < narrow[0] < 0.5 < narrow[1] < wide[1]
    for arguments in ((3, 2), (-1, 2), (1, 2, 1.0), (1, 2, 0)):
        with pytest.raises(InputError):
            wilson_interval(*arguments)


def test_top_losses_are_the_largest_and_read_their_images_late() -> None:
    found, scores, labels = result()
    losses = nn.functional.cross_entropy(scores, torch.tensor(labels), reduction="none")
    worst = found.top_losses(5)
    assert [one.index for one in worst] == losses.argsort(descending=True)[:5].tolist()
    first = worst[0]
    assert first.loss == pytest.approx(float(losses[first.index]), rel=1e-5)
    chances = scores.softmax(1)[first.index]
    assert first.probability == pytest.approx(float(chances[labels[first.index]]), rel=1e-4)
    assert first.confidence == pytest.approx(float(chances.max()), rel=1e-5)
    assert (first.truth, first.prediction) == (
        str(labels[first.index]),
        str(int(chances.argmax())),
    )
    assert torch.equal(first.image, scores[first.index].view(-1, 1, 1))
    assert len(found.top_losses(1000)) == 40


def test_images_of_rows_loaders_and_what_is_not_known() -> None:
    rows = [{"img": torch.full((3, 1, 1), float(i)), "label": i % 3} for i in range(4)]
    found = training.evaluate(Fixed(), rows, cpu=True)
    assert all(float(one.image[0]) == one.index for one in found.top_losses())
    tensors = data(torch.randn(6, 3), [0, 1, 2, 0, 1, 2])
    ordered = training.evaluate(Fixed(), DataLoader(tensors, 2), cpu=True)
    assert torch.equal(ordered.results([4])[0].image, tensors[4][0])
    shuffled = training.evaluate(Fixed(), DataLoader(tensors, 2, shuffle=True), cpu=True)
    with pytest.raises(InputError, match=r"image: .* pass the data set: top_losses\(data=...\)"):
        _ = shuffled.top_losses()[0].image
    again = pickle.loads(pickle.dumps(ordered))
    assert torch.equal(again.top_losses(1, data=tensors)[0].image, ordered.top_losses(1)[0].image)
    with pytest.raises(InputError, match="expected the data set of 6 images that was scored"):
        again.top_losses(data=rows)
    with pytest.raises(InputError, match="indices: expected an integer from 0 to 5, got 6"):
        ordered.results([6])


def test_json_with_and_without_every_image() -> None:
    found, _, _ = result()
    text = json.dumps(found.to_dict())
    back = Evaluation.from_dict(json.loads(text))
    assert back == found
    assert back.calibration == found.calibration
    with pytest.raises(InputError, match="what was said of each image is not known"):
        back.top_losses()
    whole = Evaluation.from_dict(json.loads(json.dumps(found.to_dict(images=True))))
    assert whole.top_losses(3) == found.top_losses(3)
    old = {k: v for k, v in found.to_dict().items() if k != "calibration"}
    assert Evaluation.from_dict(old).calibration is None
    columns = found.to_dict(images=True)["images"]
    for wrong in (
        *({"calibration": {}}, {"images": {"truth": ["x"]}}, {"images": 3}),
        {"images": {**columns, "loss": [1.0]}},
        {"images": {**columns, "truth": [7] * 40}},
        {"counts": [[[7, 1]]] * 7},
    ):
        with pytest.raises(InputError, match="not those of an Evaluation"):
            Evaluation.from_dict({**found.to_dict(), **wrong})


def test_per_class_precision_recall_and_f1() -> None:
    one = Evaluation(9, 0.5, 5 / 9, None, ((3, 1, 0), (2, 2, 0), (1, 0, 0)), tuple("abc"))
    a, b, c = one.per_class
    assert (a.recall, a.precision, a.f1) == (3 / 4, 3 / 6, 2 * 3 / 10)
    assert (b.precision, b.predicted) == (2 / 3, 3)
    assert (c.recall, c.precision, c.f1) == (0.0, None, 0.0)
    assert a.interval() == wilson_interval(3, 4)
    assert one.interval() == wilson_interval(5, 9)
    nobody = Evaluation(1, 0.5, 1.0, None, ((1, 0), (0, 0)), tuple("ab")).per_class[1]
    assert (nobody.recall, nobody.precision, nobody.f1, nobody.interval()) == (None,) * 4
    assert "a           4    75.00%     50.00%   60.00%" in str(one)
    assert str(one).splitlines()[1] == "top-1    55.56%  (95 %: 26.67% to 81.12%)"


def test_names_for_other_classes_than_there_are() -> None:
    net = Fixed()
    net.num_classes = 7
    with pytest.raises(InputError, match="labels: expected a name for each of 7 classes, got"):
        training.evaluate(net, data(torch.zeros(2, 7), [0, 1]), labels=("a", "b"), cpu=True)


def test_most_confused() -> None:
    one = Evaluation(9, 0.5, 5 / 9, None, ((3, 1, 0), (2, 2, 0), (1, 0, 0)), tuple("abc"))
    assert one.most_confused() == (
        ("b", "a", 2, 0.5),
        ("c", "a", 1, 1.0),
        ("a", "b", 1, 0.25),
    )
    assert one.most_confused(1)[0].images == 2
    assert Evaluation(1, 0.0, 1.0, None, ((1, 0), (0, 0)), ("a", "b")).most_confused() == ()


def test_calibration_by_hand_and_as_visualize_has_it() -> None:
    # Sure by 0.9 twice and right once, by 0.6 once and right.
    chances = torch.tensor([[0.9, 0.1], [0.9, 0.1], [0.4, 0.6]])
    tensors = data(chances.log(), [0, 1, 1])
    found = training.evaluate(Fixed(), tensors, cpu=True).calibration
    assert found.samples == (1, 2)
    assert found.confidence == pytest.approx((0.6, 0.9))
    assert found.accuracy == (1.0, 0.5)
    assert found.error == pytest.approx((0.4 + 2 * 0.4) / 3)
    judged = visualize.predictions(Fixed(), tensors)
    assert visualize.calibration(judged, 15).error == pytest.approx(found.error)
    assert visualize.draw_calibration(found).axes


def test_scores_that_are_no_numbers_are_the_worst() -> None:
    scores = torch.tensor([[1.0, 0.0], [math.nan, 0.0], [0.0, 30.0]])
    found = training.evaluate(Fixed(), data(scores, [0, 0, 0]), cpu=True)
    assert math.isnan(found.loss)
    assert [one.index for one in found.top_losses()] == [1, 2, 0]


def test_a_label_beyond_the_scores_is_named() -> None:
    with pytest.raises(InputError, match="has label 4, the network scores 3 classes"):
        training.evaluate(Fixed(), data(torch.zeros(2, 3), [0, 4]), cpu=True)


def test_the_result_holds_16_bytes_an_image_and_can_be_copied() -> None:
    found, _, _ = result(1000)
    held = sum(
        getattr(found.images, n).nbytes for n in ("truth", "prediction", "loss", "confidence")
    )
    assert held == 16_000
    assert copy.deepcopy(found) == found
