"""The names of the catalogue, so that an editor completes them; a test keeps them equal to it."""

from __future__ import annotations

from typing import Literal

ResNetWeights = Literal[
    "cifar_resnet20.fashion_mnist",
    "resnet101.a1_in1k",
    "resnet101.a1h_in1k",
    "resnet101.a2_in1k",
    "resnet101.a3_in1k",
    "resnet101.gluon_in1k",
    "resnet101.tv2_in1k",
    "resnet101.tv_in1k",
    "resnet152.a1_in1k",
    "resnet152.a1h_in1k",
    "resnet152.a2_in1k",
    "resnet152.a3_in1k",
    "resnet152.gluon_in1k",
    "resnet152.tv2_in1k",
    "resnet152.tv_in1k",
    "resnet18.a1_in1k",
    "resnet18.a2_in1k",
    "resnet18.a3_in1k",
    "resnet18.fb_ssl_yfcc100m_ft_in1k",
    "resnet18.fb_swsl_ig1b_ft_in1k",
    "resnet18.gluon_in1k",
    "resnet18.tv_in1k",
    "resnet34.a1_in1k",
    "resnet34.a2_in1k",
    "resnet34.a3_in1k",
    "resnet34.bt_in1k",
    "resnet34.gluon_in1k",
    "resnet34.ra4_e3600_r224_in1k",
    "resnet34.tv_in1k",
    "resnet50.a1_in1k",
    "resnet50.a1h_in1k",
    "resnet50.a2_in1k",
    "resnet50.a3_in1k",
    "resnet50.am_in1k",
    "resnet50.b1k_in1k",
    "resnet50.b2k_in1k",
    "resnet50.bamboo",
    "resnet50.bt_in1k",
    "resnet50.c1_in1k",
    "resnet50.c2_in1k",
    "resnet50.d_in1k",
    "resnet50.fb_ssl_yfcc100m_ft_in1k",
    "resnet50.fb_swsl_ig1b_ft_in1k",
    "resnet50.gluon_in1k",
    "resnet50.ra_in1k",
    "resnet50.ram_in1k",
    "resnet50.tv2_in1k",
    "resnet50.tv_in1k",
    "resnext101_32x8d.fb_ssl_yfcc100m_ft_in1k",
    "resnext101_32x8d.fb_swsl_ig1b_ft_in1k",
    "resnext101_32x8d.fb_wsl_ig1b_ft_in1k",
    "resnext101_32x8d.tv2_in1k",
    "resnext101_32x8d.tv_in1k",
    "resnext101_64x4d.c1_in1k",
    "resnext101_64x4d.gluon_in1k",
    "resnext101_64x4d.tv_in1k",
    "resnext50_32x4d.a1_in1k",
    "resnext50_32x4d.a1h_in1k",
    "resnext50_32x4d.a2_in1k",
    "resnext50_32x4d.a3_in1k",
    "resnext50_32x4d.fb_ssl_yfcc100m_ft_in1k",
    "resnext50_32x4d.fb_swsl_ig1b_ft_in1k",
    "resnext50_32x4d.gluon_in1k",
    "resnext50_32x4d.ra_in1k",
    "resnext50_32x4d.tv2_in1k",
    "resnext50_32x4d.tv_in1k",
    "wide_resnet101_2.tv2_in1k",
    "wide_resnet101_2.tv_in1k",
    "wide_resnet50_2.racm_in1k",
    "wide_resnet50_2.tv2_in1k",
    "wide_resnet50_2.tv_in1k",
]
"""Weights of ResNets, ResNeXts, wide ResNets, and those for CIFAR."""

VGGWeights = Literal[
    "vgg11.tv_in1k",
    "vgg11_bn.tv_in1k",
    "vgg13.tv_in1k",
    "vgg13_bn.tv_in1k",
    "vgg16.tv_in1k",
    "vgg16_bn.tv_in1k",
    "vgg19.tv_in1k",
    "vgg19_bn.tv_in1k",
]
"""Weights of VGG."""

AlexNetWeights = Literal["alexnet.tv_in1k",]
"""Weights of AlexNet."""

GoogLeNetWeights = Literal["googlenet.tv_in1k",]
"""Weights of GoogLeNet."""

InceptionV3Weights = Literal[
    "inception_v3.gluon_in1k",
    "inception_v3.tf_adv_in1k",
    "inception_v3.tf_in1k",
    "inception_v3.tv_in1k",
]
"""Weights of Inception-v3."""

LeNetWeights = Literal["lenet5.fashion_mnist",]
"""Weights of LeNet."""
