"""The tags that each builder takes for `weights`, so that an editor completes them.

A test keeps them equal to the catalogue.
"""

from __future__ import annotations

from typing import Literal

AlexnetTag = Literal["tv_in1k",]

CifarResnet20Tag = Literal["fashion_mnist",]

GooglenetTag = Literal["tv_in1k",]

InceptionV3Tag = Literal[
    "gluon_in1k",
    "tf_adv_in1k",
    "tf_in1k",
    "tv_in1k",
]

Lenet5Tag = Literal["fashion_mnist",]

Resnet101Tag = Literal[
    "a1_in1k",
    "a1h_in1k",
    "a2_in1k",
    "a3_in1k",
    "gluon_in1k",
    "tv2_in1k",
    "tv_in1k",
]

Resnet152Tag = Literal[
    "a1_in1k",
    "a1h_in1k",
    "a2_in1k",
    "a3_in1k",
    "gluon_in1k",
    "tv2_in1k",
    "tv_in1k",
]

Resnet18Tag = Literal[
    "a1_in1k",
    "a2_in1k",
    "a3_in1k",
    "fb_ssl_yfcc100m_ft_in1k",
    "fb_swsl_ig1b_ft_in1k",
    "gluon_in1k",
    "tv_in1k",
]

Resnet34Tag = Literal[
    "a1_in1k",
    "a2_in1k",
    "a3_in1k",
    "bt_in1k",
    "gluon_in1k",
    "ra4_e3600_r224_in1k",
    "tv_in1k",
]

Resnet50Tag = Literal[
    "a1_in1k",
    "a1h_in1k",
    "a2_in1k",
    "a3_in1k",
    "am_in1k",
    "b1k_in1k",
    "b2k_in1k",
    "bamboo",
    "bt_in1k",
    "c1_in1k",
    "c2_in1k",
    "d_in1k",
    "fb_ssl_yfcc100m_ft_in1k",
    "fb_swsl_ig1b_ft_in1k",
    "gluon_in1k",
    "ra_in1k",
    "ram_in1k",
    "tv2_in1k",
    "tv_in1k",
]

Resnext10132x8dTag = Literal[
    "fb_ssl_yfcc100m_ft_in1k",
    "fb_swsl_ig1b_ft_in1k",
    "fb_wsl_ig1b_ft_in1k",
    "tv2_in1k",
    "tv_in1k",
]

Resnext10164x4dTag = Literal[
    "c1_in1k",
    "gluon_in1k",
    "tv_in1k",
]

Resnext5032x4dTag = Literal[
    "a1_in1k",
    "a1h_in1k",
    "a2_in1k",
    "a3_in1k",
    "fb_ssl_yfcc100m_ft_in1k",
    "fb_swsl_ig1b_ft_in1k",
    "gluon_in1k",
    "ra_in1k",
    "tv2_in1k",
    "tv_in1k",
]

Vgg11Tag = Literal["tv_in1k",]

Vgg11BnTag = Literal["tv_in1k",]

Vgg13Tag = Literal["tv_in1k",]

Vgg13BnTag = Literal["tv_in1k",]

Vgg16Tag = Literal["tv_in1k",]

Vgg16BnTag = Literal["tv_in1k",]

Vgg19Tag = Literal["tv_in1k",]

Vgg19BnTag = Literal["tv_in1k",]

WideResnet1012Tag = Literal[
    "tv2_in1k",
    "tv_in1k",
]

WideResnet502Tag = Literal[
    "racm_in1k",
    "tv2_in1k",
    "tv_in1k",
]
