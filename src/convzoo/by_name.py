"""Networks by their names: for configuration files, command lines, and loops over the zoo.

The overloads are for type checkers and editors, which can ask neither the registry nor the
catalogue; `make generated` writes them.
"""

from __future__ import annotations

import fnmatch
import os
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Literal, TypedDict, Unpack, cast, overload

import torch

from convzoo import models
from convzoo._build import BuildOptions
from convzoo._classifier import Classifier
from convzoo.errors import InputError
from convzoo.registry import MODELS, model_info

if TYPE_CHECKING:
    from convzoo.hub._cache import Verify


class LoadOptions(TypedDict, total=False):
    """What `load` takes besides a name of the catalogue."""

    num_classes: int | None
    in_channels: int | None
    device: torch.device | str | None
    verify: Verify
    token: str | None


class FileOptions(LoadOptions, total=False):
    """What `load` takes besides a file or an address."""

    architecture: str | None
    allow_pickle: bool
    rename: Mapping[str, str] | None


# generated: create_model
# fmt: off
@overload
def create_model(name: Literal["alexnet"], *, weights: str | None = None, **options:
    Unpack[models.AlexNetOptions]) -> models.AlexNet: ...
@overload
def create_model(name: Literal["alexnet_2012"], *, weights: str | None = None, **options:
    Unpack[models.AlexNet2012Options]) -> models.AlexNet2012: ...
@overload
def create_model(name: Literal["inception_v3"], *, weights: str | None = None, aux_heads:
    Literal[False] = False, **options: Unpack[models.InceptionV3Options]) -> models.InceptionV3: ...
@overload
def create_model(name: Literal["inception_v3"], *, weights: str | None = None, aux_heads:
    Literal[True], **options: Unpack[models.InceptionV3Options]) -> models.InceptionV3WithAux: ...
@overload
def create_model(name: Literal["inception_v3"], *, weights: str | None = None, aux_heads: bool,
    **options:
    Unpack[models.InceptionV3Options]) -> models.InceptionV3 | models.InceptionV3WithAux: ...
@overload
def create_model(name: Literal["googlenet", "googlenet_2014"], *, weights: str | None = None,
    aux_heads: Literal[False] = False, **options:
    Unpack[models.GoogLeNetOptions]) -> models.GoogLeNet: ...
@overload
def create_model(name: Literal["googlenet", "googlenet_2014"], *, weights: str | None = None,
    aux_heads: Literal[True], **options:
    Unpack[models.GoogLeNetOptions]) -> models.GoogLeNetWithAux: ...
@overload
def create_model(name: Literal["googlenet", "googlenet_2014"], *, weights: str | None = None,
    aux_heads: bool, **options:
    Unpack[models.GoogLeNetOptions]) -> models.GoogLeNet | models.GoogLeNetWithAux: ...
@overload
def create_model(name: Literal["lenet5"], *, weights: str | None = None, **options:
    Unpack[models.LeNetOptions]) -> models.LeNet5: ...
@overload
def create_model(name: Literal["lenet5_1998"], *, weights: str | None = None, **options:
    Unpack[models.LeNet1998Options]) -> models.LeNet1998: ...
@overload
def create_model(name: Literal["resnet18", "resnet34", "resnet50", "resnet101", "resnet152",
    "resnet50_v1", "resnet101_v1", "resnet152_v1", "plain18", "plain34", "resnext50_32x4d",
    "resnext101_32x8d", "resnext101_64x4d", "wide_resnet50_2", "wide_resnet101_2", "cifar_resnet20",
    "cifar_resnet32", "cifar_resnet44", "cifar_resnet56", "cifar_resnet110", "cifar_resnet1202",
    "cifar_plain20", "cifar_plain32", "cifar_plain44", "cifar_plain56", "cifar_plain110"], *,
    weights: str | None = None, **options: Unpack[models.ResNetOptions]) -> models.ResNet: ...
@overload
def create_model(name: Literal["preact_resnet50", "preact_resnet101", "preact_resnet152",
    "preact_resnet200", "cifar_preact110", "cifar_preact164", "cifar_preact1001"], *, weights: str |
    None = None, **options: Unpack[models.ResNetOptions]) -> models.PreActResNet: ...
@overload
def create_model(name: Literal["linear_classifier"], *, weights: str | None = None, **options:
    Unpack[models.LinearClassifierOptions]) -> models.LinearClassifier: ...
@overload
def create_model(name: Literal["mlp"], *, weights: str | None = None, **options:
    Unpack[models.MLPOptions]) -> models.MLP: ...
@overload
def create_model(name: Literal["mnist_cnn", "cifar2_cnn", "cifar_cnn3", "cifar_cnn5", "cnn"], *,
    weights: str | None = None, **options:
    Unpack[models.TutorialCNNOptions]) -> models.TutorialCNN: ...
@overload
def create_model(name: Literal["vgg11", "vgg11_lrn", "vgg13", "vgg16_1x1", "vgg16", "vgg19",
    "vgg11_bn", "vgg13_bn", "vgg16_bn", "vgg19_bn"], *, weights: str | None = None, **options:
    Unpack[models.VGGOptions]) -> models.VGG: ...
@overload
def create_model(name: Literal["zfnet"], *, weights: str | None = None, **options:
    Unpack[models.ZFNetOptions]) -> models.ZFNet: ...
# fmt: on
# generated: end
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
        weights: As in the builder: a tag, `"default"`, a folder, a file or a `hf-hub:` address.
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
    return cast("Classifier", model_info(name).builder(weights=weights, **options))


def list_models(
    pattern: str = "*",
    *,
    include: str | Iterable[str] | None = None,
    exclude: str | Iterable[str] | None = None,
) -> list[str]:
    """Names of the models that match shell patterns, sorted.

    Args:
        pattern: E.g. `"resnet*"` or `"*preact*"`.
        include: As in torchvision: one pattern or several, of which one has to match as well.
        exclude: One pattern or several, none of which may match.

    Returns:
        The names; empty if none matches.

    Examples:
        >>> import convzoo
        >>> convzoo.list_models("wide*")
        ['wide_resnet101_2', 'wide_resnet50_2']
        >>> convzoo.list_models(include=["vgg1*", "alex*"], exclude=["*_bn", "*_*"])
        ['alexnet', 'vgg11', 'vgg13', 'vgg16', 'vgg19']
    """

    def fits(name: str, patterns: str | Iterable[str]) -> bool:
        listed = [patterns] if isinstance(patterns, str) else patterns
        return any(fnmatch.fnmatchcase(name, one) for one in listed)

    found = (name for name in MODELS if fits(name, pattern))
    if include is not None:
        found = (name for name in found if fits(name, include))
    return sorted(name for name in found if exclude is None or not fits(name, exclude))


# generated: load
# fmt: off
@overload
def load(source: Literal["alexnet.default", "alexnet.tv_in1k"], **options:
    Unpack[LoadOptions]) -> models.AlexNet: ...
@overload
def load(source: Literal["cifar_resnet20.default", "cifar_resnet20.fashion_mnist",
    "resnet101.default", "resnet101.a1_in1k", "resnet101.a1h_in1k", "resnet101.a2_in1k",
    "resnet101.a3_in1k", "resnet101.gluon_in1k", "resnet101.tv2_in1k", "resnet101.tv_in1k",
    "resnet152.default", "resnet152.a1_in1k", "resnet152.a1h_in1k", "resnet152.a2_in1k",
    "resnet152.a3_in1k", "resnet152.gluon_in1k", "resnet152.tv2_in1k", "resnet152.tv_in1k",
    "resnet18.default", "resnet18.a1_in1k", "resnet18.a2_in1k", "resnet18.a3_in1k",
    "resnet18.fb_ssl_yfcc100m_ft_in1k", "resnet18.fb_swsl_ig1b_ft_in1k", "resnet18.gluon_in1k",
    "resnet18.tv_in1k", "resnet34.default", "resnet34.a1_in1k", "resnet34.a2_in1k",
    "resnet34.a3_in1k", "resnet34.bt_in1k", "resnet34.gluon_in1k", "resnet34.ra4_e3600_r224_in1k",
    "resnet34.tv_in1k", "resnet50.default", "resnet50.a1_in1k", "resnet50.a1h_in1k",
    "resnet50.a2_in1k", "resnet50.a3_in1k", "resnet50.am_in1k", "resnet50.b1k_in1k",
    "resnet50.b2k_in1k", "resnet50.bamboo", "resnet50.bt_in1k", "resnet50.c1_in1k",
    "resnet50.c2_in1k", "resnet50.d_in1k", "resnet50.fb_ssl_yfcc100m_ft_in1k",
    "resnet50.fb_swsl_ig1b_ft_in1k", "resnet50.gluon_in1k", "resnet50.ra_in1k", "resnet50.ram_in1k",
    "resnet50.tv2_in1k", "resnet50.tv_in1k", "resnext101_32x8d.default",
    "resnext101_32x8d.fb_ssl_yfcc100m_ft_in1k", "resnext101_32x8d.fb_swsl_ig1b_ft_in1k",
    "resnext101_32x8d.fb_wsl_ig1b_ft_in1k", "resnext101_32x8d.tv2_in1k", "resnext101_32x8d.tv_in1k",
    "resnext101_64x4d.default", "resnext101_64x4d.c1_in1k", "resnext101_64x4d.gluon_in1k",
    "resnext101_64x4d.tv_in1k", "resnext50_32x4d.default", "resnext50_32x4d.a1_in1k",
    "resnext50_32x4d.a1h_in1k", "resnext50_32x4d.a2_in1k", "resnext50_32x4d.a3_in1k",
    "resnext50_32x4d.fb_ssl_yfcc100m_ft_in1k", "resnext50_32x4d.fb_swsl_ig1b_ft_in1k",
    "resnext50_32x4d.gluon_in1k", "resnext50_32x4d.ra_in1k", "resnext50_32x4d.tv2_in1k",
    "resnext50_32x4d.tv_in1k", "wide_resnet101_2.default", "wide_resnet101_2.tv2_in1k",
    "wide_resnet101_2.tv_in1k", "wide_resnet50_2.default", "wide_resnet50_2.racm_in1k",
    "wide_resnet50_2.tv2_in1k", "wide_resnet50_2.tv_in1k"], **options:
    Unpack[LoadOptions]) -> models.ResNet: ...
@overload
def load(source: Literal["googlenet.default", "googlenet.tv_in1k"], **options:
    Unpack[LoadOptions]) -> models.GoogLeNet: ...
@overload
def load(source: Literal["inception_v3.default", "inception_v3.gluon_in1k",
    "inception_v3.tf_adv_in1k", "inception_v3.tf_in1k", "inception_v3.tv_in1k"], **options:
    Unpack[LoadOptions]) -> models.InceptionV3: ...
@overload
def load(source: Literal["lenet5.default", "lenet5.fashion_mnist"], **options:
    Unpack[LoadOptions]) -> models.LeNet5: ...
@overload
def load(source: Literal["vgg11.default", "vgg11.tv_in1k", "vgg11_bn.default", "vgg11_bn.tv_in1k",
    "vgg13.default", "vgg13.tv_in1k", "vgg13_bn.default", "vgg13_bn.tv_in1k", "vgg16.default",
    "vgg16.tv_in1k", "vgg16_bn.default", "vgg16_bn.tv_in1k", "vgg19.default", "vgg19.tv_in1k",
    "vgg19_bn.default", "vgg19_bn.tv_in1k"], **options: Unpack[LoadOptions]) -> models.VGG: ...
# fmt: on
# generated: end
@overload
def load(source: str | os.PathLike[str], **options: Unpack[FileOptions]) -> Classifier: ...
def load(
    source: str | os.PathLike[str],
    *,
    architecture: str | None = None,
    num_classes: int | None = None,
    in_channels: int | None = None,
    device: torch.device | str | None = None,
    allow_pickle: bool = False,
    rename: Mapping[str, str] | None = None,
    verify: Verify = "changed",
    token: str | None = None,
) -> Classifier:
    """A network with its weights, from one string.

    Args:
        source: A name of the catalogue (`"resnet50.a1_in1k"`), `"hf-hub:owner/name[@revision]"`,
            a folder that `save` wrote, or a weights file with its config.json beside it; it may be
            `model.safetensors.index.json` with the files that it names.
        architecture: The builder to use where the source does not name one (a lone file).
        num_classes: Classes to score; other than the weights' own, the head is fresh.
        in_channels: Channels of the images; other than the weights' own, the first convolution
            is adapted.
        device: Where the network goes; None means torch's default device.
        allow_pickle: Read a `.pth` or `.bin` file, with torch's restricted unpickler.
        rename: Names in the file's keys -> the network's, `{"linear": "fc", "shortcut":
            "downsample"}`: whole parts of a key, or several joined by dots.
        verify: When to hash a file in the Hub's cache again: when it `"changed"` since the last
            time, or `"always"`.
        token: An access token for the Hub; None takes the one you logged in with.

    Returns:
        The network, in training mode, as the builders return it.

    Raises:
        UnknownNameError: There are no such weights.
        WeightsError: They cannot be found, fetched or read.
        CorruptWeightsError: They are not what was published.
        CheckpointError: They do not fit the network.

    Examples:
        >>> import convzoo
        >>> folder = convzoo.save(convzoo.cifar_resnet20(num_classes=3), "three")
        >>> convzoo.load(folder).num_classes
        3
    """
    from convzoo import hub  # reads files and, where it must, the network: only when asked

    net = hub.load(
        source,
        architecture=architecture,
        num_classes=num_classes,
        in_channels=in_channels,
        device=device,
        allow_pickle=allow_pickle,
        rename=rename,
        verify=verify,
        token=token,
    )
    if not isinstance(net, Classifier):
        raise InputError(f"source: {source} is a {type(net).__name__}, which is no Classifier")
    return net
