"""The classic convolutional networks for PyTorch: true to their papers, typed, quick to load.

What costs time to import (the Hub, training, transfer) is imported when it is first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from convzoo import (
    errors as errors,
    layers as layers,
    models as models,
    presets as presets,
    registry as registry,
)
from convzoo._build import BuildOptions as BuildOptions
from convzoo._classifier import Classifier as Classifier
from convzoo._construct import construct as construct
from convzoo._contract import Stage as Stage
from convzoo._lazy import exported as _exported, lazy as _attributes
from convzoo.by_name import create_model as create_model, list_models as list_models, load as load
from convzoo.errors import (
    CheckpointError as CheckpointError,
    ConvzooError as ConvzooError,
    CorruptWeightsError as CorruptWeightsError,
    DataError as DataError,
    InputError as InputError,
    MissingExtraError as MissingExtraError,
    UnknownNameError as UnknownNameError,
    WeightsError as WeightsError,
)
from convzoo.layers import (
    DropBlock1d as DropBlock1d,
    DropBlock2d as DropBlock2d,
    DropBlock3d as DropBlock3d,
    DropBlockConfig as DropBlockConfig,
    DropBlockSchedule as DropBlockSchedule,
    LocalResponseNorm as LocalResponseNorm,
)
from convzoo.models import (
    MLP as MLP,
    VGG as VGG,
    AlexNet as AlexNet,
    AlexNet2012 as AlexNet2012,
    FullyConvolutionalVGG as FullyConvolutionalVGG,
    GoogLeNet as GoogLeNet,
    GoogLeNetWithAux as GoogLeNetWithAux,
    InceptionV3 as InceptionV3,
    InceptionV3WithAux as InceptionV3WithAux,
    LeNet5 as LeNet5,
    LeNet1998 as LeNet1998,
    LinearClassifier as LinearClassifier,
    PreActResNet as PreActResNet,
    ResNet as ResNet,
    TutorialCNN as TutorialCNN,
    ZFNet as ZFNet,
    alexnet as alexnet,
    alexnet_2012 as alexnet_2012,
    cifar2_cnn as cifar2_cnn,
    cifar_cnn3 as cifar_cnn3,
    cifar_cnn5 as cifar_cnn5,
    cifar_plain20 as cifar_plain20,
    cifar_plain32 as cifar_plain32,
    cifar_plain44 as cifar_plain44,
    cifar_plain56 as cifar_plain56,
    cifar_plain110 as cifar_plain110,
    cifar_preact110 as cifar_preact110,
    cifar_preact164 as cifar_preact164,
    cifar_preact1001 as cifar_preact1001,
    cifar_resnet20 as cifar_resnet20,
    cifar_resnet32 as cifar_resnet32,
    cifar_resnet44 as cifar_resnet44,
    cifar_resnet56 as cifar_resnet56,
    cifar_resnet110 as cifar_resnet110,
    cifar_resnet1202 as cifar_resnet1202,
    cnn as cnn,
    googlenet as googlenet,
    googlenet_2014 as googlenet_2014,
    inception_v3 as inception_v3,
    lenet5 as lenet5,
    lenet5_1998 as lenet5_1998,
    linear_classifier as linear_classifier,
    loss_with_aux as loss_with_aux,
    mlp as mlp,
    mnist_cnn as mnist_cnn,
    plain18 as plain18,
    plain34 as plain34,
    preact_resnet50 as preact_resnet50,
    preact_resnet101 as preact_resnet101,
    preact_resnet152 as preact_resnet152,
    preact_resnet200 as preact_resnet200,
    resnet18 as resnet18,
    resnet34 as resnet34,
    resnet50 as resnet50,
    resnet50_v1 as resnet50_v1,
    resnet101 as resnet101,
    resnet101_v1 as resnet101_v1,
    resnet152 as resnet152,
    resnet152_v1 as resnet152_v1,
    resnext50_32x4d as resnext50_32x4d,
    resnext101_32x8d as resnext101_32x8d,
    resnext101_64x4d as resnext101_64x4d,
    to_fully_convolutional as to_fully_convolutional,
    vgg11 as vgg11,
    vgg11_bn as vgg11_bn,
    vgg11_lrn as vgg11_lrn,
    vgg13 as vgg13,
    vgg13_bn as vgg13_bn,
    vgg16 as vgg16,
    vgg16_1x1 as vgg16_1x1,
    vgg16_bn as vgg16_bn,
    vgg19 as vgg19,
    vgg19_bn as vgg19_bn,
    wide_resnet50_2 as wide_resnet50_2,
    wide_resnet101_2 as wide_resnet101_2,
    zfnet as zfnet,
)
from convzoo.presets import (
    Preset as Preset,
    channel_stats as channel_stats,
    load_image as load_image,
)
from convzoo.registry import (
    ModelInfo as ModelInfo,
    Paper as Paper,
    architecture as architecture,
    model_info as model_info,
)

if TYPE_CHECKING:
    from convzoo import (
        datasets as datasets,
        hub as hub,
        inference as inference,
        integrations as integrations,
        labels as labels,
        training as training,
        transfer as transfer,
        visualize as visualize,
        weights as weights,
    )
    from convzoo._extractor import (
        FeatureExtractor as FeatureExtractor,
        create_feature_extractor as create_feature_extractor,
    )
    from convzoo._summary import Summary as Summary, summary as summary
    from convzoo.hub import fetch as fetch, push as push, save as save, verify as verify
    from convzoo.inference import (
        Accelerated as Accelerated,
        Predictor as Predictor,
        accelerate as accelerate,
    )
    from convzoo.labels import map_labels as map_labels
    from convzoo.layers import (
        DropConnectConv2d as DropConnectConv2d,
        DropConnectLinear as DropConnectLinear,
        apply_drop_connect as apply_drop_connect,
        mc_dropout as mc_dropout,
        remove_drop_connect as remove_drop_connect,
    )
    from convzoo.models.alexnet_split import (
        alexnet_tensor_parallel as alexnet_tensor_parallel,
        alexnet_two_gpu as alexnet_two_gpu,
    )
    from convzoo.training import (
        EarlyStopping as EarlyStopping,
        Evaluation as Evaluation,
        History as History,
        evaluate as evaluate,
        fit as fit,
        linear_probe as linear_probe,
        lr_find as lr_find,
    )
    from convzoo.transfer import (
        cached_features as cached_features,
        find_head_lr as find_head_lr,
        fit_head as fit_head,
        freeze as freeze,
        param_groups as param_groups,
        replace_head as replace_head,
        report as report,
        unfreeze as unfreeze,
    )
    from convzoo.weights import (
        WeightsInfo as WeightsInfo,
        list_weights as list_weights,
        weights_info as weights_info,
    )
else:
    _names = {
        "convzoo._extractor": ["FeatureExtractor", "create_feature_extractor"],
        "convzoo.hub": ["fetch", "push", "save", "verify"],
        "convzoo.inference": ["Accelerated", "Predictor", "accelerate"],
        "convzoo.labels": ["map_labels"],
        "convzoo._summary": ["Summary", "summary"],
        "convzoo.layers": [
            *("DropConnectConv2d", "DropConnectLinear"),
            *("apply_drop_connect", "mc_dropout", "remove_drop_connect"),
        ],
        "convzoo.models.alexnet_split": ["alexnet_tensor_parallel", "alexnet_two_gpu"],
        "convzoo.training": [
            *("EarlyStopping", "Evaluation", "History"),
            *("evaluate", "fit", "linear_probe", "lr_find"),
        ],
        "convzoo.transfer": [
            *("cached_features", "find_head_lr", "fit_head", "freeze", "param_groups"),
            *("replace_head", "report", "unfreeze"),
        ],
        "convzoo.weights": ["WeightsInfo", "list_weights", "weights_info"],
    }
    __getattr__ = _attributes(
        __name__,
        _names,
        [
            *("datasets", "hub", "inference", "integrations", "labels", "training", "transfer"),
            *("visualize", "weights"),
        ],
    )
    __all__ = [*_exported(__name__, _names), "__version__"]

__version__ = "0.1.0"
