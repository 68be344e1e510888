"""The tags that each builder takes for `weights`, so that an editor completes them.

Written by `make generated`, from the catalogue.
"""

from typing import Literal

# fmt: off
Alexnet = Literal["default", "tv_in1k"]
CifarResnet20 = Literal["default", "fashion_mnist"]
Googlenet = Literal["default", "tv_in1k"]
InceptionV3 = Literal["default", "gluon_in1k", "tf_adv_in1k", "tf_in1k", "tv_in1k"]
Lenet5 = Literal["default", "fashion_mnist"]
Resnet101 = Literal["default", "a1_in1k", "a1h_in1k", "a2_in1k", "a3_in1k", "gluon_in1k",
    "tv2_in1k", "tv_in1k"]
Resnet152 = Literal["default", "a1_in1k", "a1h_in1k", "a2_in1k", "a3_in1k", "gluon_in1k",
    "tv2_in1k", "tv_in1k"]
Resnet18 = Literal["default", "a1_in1k", "a2_in1k", "a3_in1k", "fb_ssl_yfcc100m_ft_in1k",
    "fb_swsl_ig1b_ft_in1k", "gluon_in1k", "tv_in1k"]
Resnet34 = Literal["default", "a1_in1k", "a2_in1k", "a3_in1k", "bt_in1k", "gluon_in1k",
    "ra4_e3600_r224_in1k", "tv_in1k"]
Resnet50 = Literal["default", "a1_in1k", "a1h_in1k", "a2_in1k", "a3_in1k", "am_in1k", "b1k_in1k",
    "b2k_in1k", "bamboo", "bt_in1k", "c1_in1k", "c2_in1k", "d_in1k", "fb_ssl_yfcc100m_ft_in1k",
    "fb_swsl_ig1b_ft_in1k", "gluon_in1k", "ra_in1k", "ram_in1k", "tv2_in1k", "tv_in1k"]
Resnext10132x8d = Literal["default", "fb_ssl_yfcc100m_ft_in1k", "fb_swsl_ig1b_ft_in1k",
    "fb_wsl_ig1b_ft_in1k", "tv2_in1k", "tv_in1k"]
Resnext10164x4d = Literal["default", "c1_in1k", "gluon_in1k", "tv_in1k"]
Resnext5032x4d = Literal["default", "a1_in1k", "a1h_in1k", "a2_in1k", "a3_in1k",
    "fb_ssl_yfcc100m_ft_in1k", "fb_swsl_ig1b_ft_in1k", "gluon_in1k", "ra_in1k", "tv2_in1k",
    "tv_in1k"]
Vgg11 = Literal["default", "tv_in1k"]
Vgg11Bn = Literal["default", "tv_in1k"]
Vgg13 = Literal["default", "tv_in1k"]
Vgg13Bn = Literal["default", "tv_in1k"]
Vgg16 = Literal["default", "tv_in1k"]
Vgg16Bn = Literal["default", "tv_in1k"]
Vgg19 = Literal["default", "tv_in1k"]
Vgg19Bn = Literal["default", "tv_in1k"]
WideResnet1012 = Literal["default", "tv2_in1k", "tv_in1k"]
WideResnet502 = Literal["default", "racm_in1k", "tv2_in1k", "tv_in1k"]
