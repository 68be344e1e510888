"""peft: LoRA on convolutions."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

import convzoo

pytest.importorskip("peft")

DISTRIBUTION = "peft"


def test_lora(net: convzoo.ResNet, x: Tensor) -> None:
    """LoRA on the convolutions, the head trained whole, merged again"""
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(r=2, target_modules=["conv1", "conv2"], modules_to_save=["fc"])
    adapted = get_peft_model(net, config)
    merged = adapted.merge_and_unload()

    assert isinstance(merged, convzoo.ResNet)
    fresh = convzoo.cifar_resnet20(weights="fashion_mnist").eval()
    assert torch.allclose(merged.eval()(x), fresh(x), atol=1e-4)
