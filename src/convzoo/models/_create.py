"""The registry of all networks, and building one by its name."""

from __future__ import annotations

import fnmatch
from typing import Any, Final, Literal, Unpack, overload

from convzoo._build import BuildOptions
from convzoo._classifier import Classifier
from convzoo._registry import ModelInfo
from convzoo.errors import UnknownNameError
from convzoo.models.alexnet import MODELS as _ALEXNET
from convzoo.models.alexnet import (
    AlexNet,
    AlexNet2012,
    AlexNet2012Name,
    AlexNet2012Options,
    AlexNetName,
    AlexNetOptions,
)
from convzoo.models.inception import (
    GoogLeNet,
    GoogLeNetName,
    GoogLeNetOptions,
    GoogLeNetWithAux,
    InceptionV3,
    InceptionV3Name,
    InceptionV3Options,
    InceptionV3WithAux,
)
from convzoo.models.inception.googlenet import MODELS as _GOOGLENET
from convzoo.models.inception.inception_v3 import MODELS as _INCEPTION_V3
from convzoo.models.lenet import MODELS as _LENET
from convzoo.models.lenet import (
    LeNet5,
    LeNet1998,
    LeNet1998Name,
    LeNet1998Options,
    LeNetName,
    LeNetOptions,
)
from convzoo.models.resnet import (
    CifarPreActResNetName,
    CifarResNetName,
    PreActResNet,
    PreActResNetName,
    ResNet,
    ResNetName,
    ResNetOptions,
)
from convzoo.models.resnet import cifar as _cifar
from convzoo.models.resnet import imagenet as _imagenet
from convzoo.models.tutorial import (
    MLP,
    LinearClassifier,
    LinearClassifierName,
    LinearClassifierOptions,
    MLPName,
    MLPOptions,
    TutorialCNN,
    TutorialCNNName,
    TutorialCNNOptions,
)
from convzoo.models.tutorial import MODELS as _TUTORIAL
from convzoo.models.vgg import MODELS as _VGG
from convzoo.models.vgg import (
    VGG,
    VGGName,
    VGGOptions,
)

MODELS: Final[dict[str, ModelInfo]] = {
    info.name: info
    for info in (
        *_ALEXNET,
        *_VGG,
        *_GOOGLENET,
        *_INCEPTION_V3,
        *_LENET,
        *_TUTORIAL,
        *_imagenet.MODELS,
        *_cifar.MODELS,
    )
}
"""Every builder by name, with its paper."""


@overload
def create_model(
    name: AlexNetName,
    *,
    weights: str | None = None,
    **options: Unpack[AlexNetOptions],
) -> AlexNet: ...
@overload
def create_model(
    name: AlexNet2012Name,
    *,
    weights: str | None = None,
    **options: Unpack[AlexNet2012Options],
) -> AlexNet2012: ...
@overload
def create_model(
    name: VGGName,
    *,
    weights: str | None = None,
    **options: Unpack[VGGOptions],
) -> VGG: ...
@overload
def create_model(
    name: GoogLeNetName,
    *,
    weights: str | None = None,
    aux_heads: Literal[False] = False,
    **options: Unpack[GoogLeNetOptions],
) -> GoogLeNet: ...
@overload
def create_model(
    name: GoogLeNetName,
    *,
    weights: str | None = None,
    aux_heads: Literal[True],
    **options: Unpack[GoogLeNetOptions],
) -> GoogLeNetWithAux: ...
@overload
def create_model(
    name: GoogLeNetName,
    *,
    weights: str | None = None,
    aux_heads: bool,
    **options: Unpack[GoogLeNetOptions],
) -> GoogLeNet | GoogLeNetWithAux: ...
@overload
def create_model(
    name: InceptionV3Name,
    *,
    weights: str | None = None,
    aux_heads: Literal[False] = False,
    **options: Unpack[InceptionV3Options],
) -> InceptionV3: ...
@overload
def create_model(
    name: InceptionV3Name,
    *,
    weights: str | None = None,
    aux_heads: Literal[True],
    **options: Unpack[InceptionV3Options],
) -> InceptionV3WithAux: ...
@overload
def create_model(
    name: InceptionV3Name,
    *,
    weights: str | None = None,
    aux_heads: bool,
    **options: Unpack[InceptionV3Options],
) -> InceptionV3 | InceptionV3WithAux: ...
@overload
def create_model(
    name: LeNetName,
    *,
    weights: str | None = None,
    **options: Unpack[LeNetOptions],
) -> LeNet5: ...
@overload
def create_model(
    name: LeNet1998Name,
    *,
    weights: str | None = None,
    **options: Unpack[LeNet1998Options],
) -> LeNet1998: ...
@overload
def create_model(
    name: LinearClassifierName,
    *,
    weights: str | None = None,
    **options: Unpack[LinearClassifierOptions],
) -> LinearClassifier: ...
@overload
def create_model(
    name: MLPName,
    *,
    weights: str | None = None,
    **options: Unpack[MLPOptions],
) -> MLP: ...
@overload
def create_model(
    name: TutorialCNNName,
    *,
    weights: str | None = None,
    **options: Unpack[TutorialCNNOptions],
) -> TutorialCNN: ...
@overload
def create_model(
    name: ResNetName | CifarResNetName,
    *,
    weights: str | None = None,
    **options: Unpack[ResNetOptions],
) -> ResNet: ...
@overload
def create_model(
    name: PreActResNetName | CifarPreActResNetName,
    *,
    weights: str | None = None,
    **options: Unpack[ResNetOptions],
) -> PreActResNet: ...
@overload
def create_model(
    name: str, *, weights: str | None = None, **options: Unpack[BuildOptions]
) -> Classifier: ...
@overload
def create_model(name: str, *, weights: str | None = None, **options: object) -> Classifier: ...
def create_model(name: str, *, weights: str | None = None, **options: Any) -> Classifier:
    """Build a network by its name.

    Args:
        name: A builder's name, as `list_models` gives it.
        weights: As in the builder: a tag, a folder, a file or a `hf-hub:` address.
        **options: As in the builder: `num_classes`, `in_channels`, `device` and its own.

    Returns:
        What the builder returns; a literal name is typed as that builder's class.

    Raises:
        UnknownNameError: There is no such model or option; the nearest names are suggested.

    Examples:
        >>> import convzoo
        >>> convzoo.create_model("resnet18", num_classes=10).num_classes
        10
    """
    return model_info(name).builder(weights=weights, **options)


def list_models(pattern: str = "*") -> list[str]:
    """Names of the models that match a shell pattern, sorted.

    Args:
        pattern: E.g. `"resnet*"` or `"*preact*"`.

    Returns:
        The names; empty if none matches.

    Examples:
        >>> import convzoo
        >>> convzoo.list_models("wide*")
        ['wide_resnet101_2', 'wide_resnet50_2']
    """
    return sorted(name for name in MODELS if fnmatch.fnmatchcase(name, pattern))


def model_info(name: str) -> ModelInfo:
    """A model's builder, family, paper and departures.

    Args:
        name: A builder's name.

    Returns:
        The registry's entry.

    Raises:
        UnknownNameError: There is no such model.
    """
    if name not in MODELS:
        raise UnknownNameError("model", name, MODELS)
    return MODELS[name]
