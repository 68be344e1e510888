"""transformers: Auto classes, pipelines and the Trainer."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import Tensor

import convzoo

transformers = pytest.importorskip("transformers")

DISTRIBUTION = "transformers"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    net = convzoo.resnet18(num_classes=3).eval()
    net.labels = ("ant", "bee", "cow")
    net.preset = convzoo.presets.IMAGENET.replace(input_size=64, resize=64)
    return convzoo.save(net, tmp_path / "net")


def test_auto_classes(folder: Path) -> None:
    """AutoModelForImageClassification and AutoImageProcessor on a saved folder"""
    from transformers import AutoImageProcessor, AutoModelForImageClassification

    model = AutoModelForImageClassification.from_pretrained(folder).eval()
    process = AutoImageProcessor.from_pretrained(folder)
    scores = model(**process(Image.new("RGB", (80, 70)), return_tensors="pt")).logits

    net = convzoo.load(folder).eval()
    assert net.preset is not None
    ours = net(net.preset.eval()(Image.new("RGB", (80, 70)))[None])
    assert torch.allclose(scores, ours, atol=1e-4)
    assert model.config.id2label == {0: "ant", 1: "bee", 2: "cow"}


def test_pipeline(folder: Path) -> None:
    """pipeline("image-classification") on a saved folder"""
    from transformers import pipeline

    classify = pipeline("image-classification", model=str(folder), device="cpu")
    found = classify(Image.new("RGB", (80, 70)))

    assert {entry["label"] for entry in found} == {"ant", "bee", "cow"}


@pytest.mark.verdict("works with these lines")
def test_pipeline_of_networks_that_timm_lacks(net: convzoo.ResNet, tmp_path: Path) -> None:
    """pipeline("image-classification") on a network that timm lacks"""
    from transformers import pipeline

    import convzoo.integrations.timm

    convzoo.integrations.timm.register()
    folder = convzoo.save(net, tmp_path / "clothes")
    classify = pipeline("image-classification", model=str(folder), device="cpu")

    found = classify(Image.new("L", (28, 28), 200).convert("RGB"))
    assert found[0]["label"] in net.labels


def test_trainer(net: convzoo.ResNet, x: Tensor, y: Tensor, tmp_path: Path) -> None:
    """Trainer, with the loss in the usual place"""
    from torch.nn.functional import cross_entropy
    from transformers import Trainer, TrainingArguments

    class Classification(Trainer):
        def compute_loss(self, model, inputs, return_outputs=False, **_):
            scores = model(inputs["x"])
            loss = cross_entropy(scores, inputs["labels"])
            return (loss, {"scores": scores}) if return_outputs else loss

    arguments = TrainingArguments(
        tmp_path,
        max_steps=2,
        remove_unused_columns=False,
        label_names=["labels"],
        use_cpu=True,
        report_to=[],
    )
    rows = [{"x": image, "labels": label} for image, label in zip(x, y, strict=True)]
    trainer = Classification(net, arguments, train_dataset=rows, eval_dataset=rows)
    result = trainer.train()

    assert result.global_step == 2
    assert torch.isfinite(torch.tensor(trainer.evaluate()["eval_loss"]))
