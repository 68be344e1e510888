"""All networks by name.

The builders are functions of this package (`convzoo.resnet50(...)`); where only a string is at
hand, [create_model][convzoo.create_model] takes it.
"""

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
    TowerNorm,
    alexnet,
    alexnet_2012,
)
from convzoo.models.inception import (
    GoogLeNet,
    GoogLeNetName,
    GoogLeNetOptions,
    GoogLeNetOutput,
    GoogLeNetStem,
    GoogLeNetWithAux,
    InceptionA,
    InceptionB,
    InceptionC,
    InceptionD,
    InceptionE,
    InceptionNaive,
    InceptionReduced,
    InceptionV3,
    InceptionV3Name,
    InceptionV3Options,
    InceptionV3Output,
    InceptionV3WithAux,
    fold_input_affine,
    fold_preset,
    googlenet,
    googlenet_2014,
    inception_v3,
    loss_with_aux,
)
from convzoo.models.inception.googlenet import MODELS as _GOOGLENET
from convzoo.models.inception.inception_v3 import MODELS as _INCEPTION_V3
from convzoo.models.lenet import (
    C3_TABLE,
    LeNet5,
    LeNet1998,
    LeNet1998Name,
    LeNet1998Options,
    LeNetActivation,
    LeNetMAPLoss,
    LeNetMSELoss,
    LeNetName,
    LeNetOptions,
    LeNetPool,
    RBFOutput,
    ScaledTanh,
    SparseConv2d,
    Subsampling,
    connections,
    digit_codes,
    layer_connections,
    lenet5,
    lenet5_1998,
)
from convzoo.models.lenet import MODELS as _LENET
from convzoo.models.resnet import (
    BasicBlock,
    Bottleneck,
    CifarPreActResNetName,
    CifarResNetName,
    PaddedShortcut,
    PlainBlock,
    PreActBasicBlock,
    PreActBottleneck,
    PreActResNet,
    PreActResNetName,
    ResNet,
    ResNetName,
    ResNetOptions,
    Shortcut,
    Stem,
    StrideIn,
    cifar_plain20,
    cifar_plain32,
    cifar_plain44,
    cifar_plain56,
    cifar_plain110,
    cifar_preact110,
    cifar_preact164,
    cifar_preact1001,
    cifar_resnet20,
    cifar_resnet32,
    cifar_resnet44,
    cifar_resnet56,
    cifar_resnet110,
    cifar_resnet1202,
    make_shortcut,
    plain18,
    plain34,
    preact_resnet50,
    preact_resnet101,
    preact_resnet152,
    preact_resnet200,
    resnet18,
    resnet34,
    resnet50,
    resnet50_v1,
    resnet101,
    resnet101_v1,
    resnet152,
    resnet152_v1,
    resnext50_32x4d,
    resnext101_32x8d,
    resnext101_64x4d,
    wide_resnet50_2,
    wide_resnet101_2,
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
    cifar2_cnn,
    cifar_cnn3,
    cifar_cnn5,
    linear_classifier,
    mlp,
    mnist_cnn,
)
from convzoo.models.tutorial import MODELS as _TUTORIAL
from convzoo.models.vgg import MODELS as _VGG
from convzoo.models.vgg import (
    VGG,
    FullyConvolutionalVGG,
    VGGName,
    VGGOptions,
    to_fully_convolutional,
    vgg11,
    vgg11_bn,
    vgg11_lrn,
    vgg13,
    vgg13_bn,
    vgg16,
    vgg16_1x1,
    vgg16_bn,
    vgg19,
    vgg19_bn,
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


__all__ = [
    "C3_TABLE",
    "MLP",
    "MODELS",
    "VGG",
    "AlexNet",
    "AlexNet2012",
    "AlexNet2012Name",
    "AlexNet2012Options",
    "AlexNetName",
    "AlexNetOptions",
    "BasicBlock",
    "Bottleneck",
    "CifarPreActResNetName",
    "CifarResNetName",
    "FullyConvolutionalVGG",
    "GoogLeNet",
    "GoogLeNetName",
    "GoogLeNetOptions",
    "GoogLeNetOutput",
    "GoogLeNetStem",
    "GoogLeNetWithAux",
    "InceptionA",
    "InceptionB",
    "InceptionC",
    "InceptionD",
    "InceptionE",
    "InceptionNaive",
    "InceptionReduced",
    "InceptionV3",
    "InceptionV3Name",
    "InceptionV3Options",
    "InceptionV3Output",
    "InceptionV3WithAux",
    "LeNet5",
    "LeNet1998",
    "LeNet1998Name",
    "LeNet1998Options",
    "LeNetActivation",
    "LeNetMAPLoss",
    "LeNetMSELoss",
    "LeNetName",
    "LeNetOptions",
    "LeNetPool",
    "LinearClassifier",
    "LinearClassifierName",
    "LinearClassifierOptions",
    "MLPName",
    "MLPOptions",
    "PaddedShortcut",
    "PlainBlock",
    "PreActBasicBlock",
    "PreActBottleneck",
    "PreActResNet",
    "PreActResNetName",
    "RBFOutput",
    "ResNet",
    "ResNetName",
    "ResNetOptions",
    "ScaledTanh",
    "Shortcut",
    "SparseConv2d",
    "Stem",
    "StrideIn",
    "Subsampling",
    "TowerNorm",
    "TutorialCNN",
    "TutorialCNNName",
    "TutorialCNNOptions",
    "VGGName",
    "VGGOptions",
    "alexnet",
    "alexnet_2012",
    "cifar2_cnn",
    "cifar_cnn3",
    "cifar_cnn5",
    "cifar_plain20",
    "cifar_plain32",
    "cifar_plain44",
    "cifar_plain56",
    "cifar_plain110",
    "cifar_preact110",
    "cifar_preact164",
    "cifar_preact1001",
    "cifar_resnet20",
    "cifar_resnet32",
    "cifar_resnet44",
    "cifar_resnet56",
    "cifar_resnet110",
    "cifar_resnet1202",
    "connections",
    "create_model",
    "digit_codes",
    "fold_input_affine",
    "fold_preset",
    "googlenet",
    "googlenet_2014",
    "inception_v3",
    "layer_connections",
    "lenet5",
    "lenet5_1998",
    "linear_classifier",
    "list_models",
    "loss_with_aux",
    "make_shortcut",
    "mlp",
    "mnist_cnn",
    "model_info",
    "plain18",
    "plain34",
    "preact_resnet50",
    "preact_resnet101",
    "preact_resnet152",
    "preact_resnet200",
    "resnet18",
    "resnet34",
    "resnet50",
    "resnet50_v1",
    "resnet101",
    "resnet101_v1",
    "resnet152",
    "resnet152_v1",
    "resnext50_32x4d",
    "resnext101_32x8d",
    "resnext101_64x4d",
    "to_fully_convolutional",
    "vgg11",
    "vgg11_bn",
    "vgg11_lrn",
    "vgg13",
    "vgg13_bn",
    "vgg16",
    "vgg16_1x1",
    "vgg16_bn",
    "vgg19",
    "vgg19_bn",
    "wide_resnet50_2",
    "wide_resnet101_2",
]
