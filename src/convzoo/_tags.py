"""The tags that each builder takes for `weights`, so that an editor completes them.

Written by `make generated`, from the catalogue.
"""

from typing import Literal

# fmt: off
Alexnet = Literal["tv_in1k"]
CifarResnet20 = Literal["fashion_mnist"]
Googlenet = Literal["tv_in1k"]
InceptionV3 = Literal["gluon_in1k", "tf_adv_in1k", "tf_in1k", "tv_in1k"]
Lenet5 = Literal["fashion_mnist"]
Resnet101 = Literal["a1_in1k", "a1h_in1k", "a2_in1k", "a3_in1k", "gluon_in1k", "tv2_in1k",
    "tv_in1k"]
Resnet152 = Literal["a1_in1k", "a1h_in1k", "a2_in1k", "a3_in1k", "gluon_in1k", "tv2_in1k",
    "tv_in1k"]
Resnet18 = Literal["a1_in1k", "a2_in1k", "a3_in1k", "fb_ssl_yfcc100m_ft_in1k",
    "fb_swsl_ig1b_ft_in1k", "gluon_in1k", "tv_in1k"]
Resnet34 = Literal["a1_in1k", "a2_in1k", "a3_in1k", "bt_in1k", "gluon_in1k", "ra4_e3600_r224_in1k",
    "tv_in1k"]
Resnet50 = Literal["a1_in1k", "a1h_in1k", "a2_in1k", "a3_in1k", "am_in1k", "b1k_in1k", "b2k_in1k",
    "bamboo", "bt_in1k", "c1_in1k", "c2_in1k", "d_in1k", "fb_ssl_yfcc100m_ft_in1k",
    "fb_swsl_ig1b_ft_in1k", "gluon_in1k", "ra_in1k", "ram_in1k", "tv2_in1k", "tv_in1k"]
Resnext10132x8d = Literal["fb_ssl_yfcc100m_ft_in1k", "fb_swsl_ig1b_ft_in1k", "fb_wsl_ig1b_ft_in1k",
    "tv2_in1k", "tv_in1k"]
Resnext10164x4d = Literal["c1_in1k", "gluon_in1k", "tv_in1k"]
Resnext5032x4d = Literal["a1_in1k", "a1h_in1k", "a2_in1k", "a3_in1k", "fb_ssl_yfcc100m_ft_in1k",
    "fb_swsl_ig1b_ft_in1k", "gluon_in1k", "ra_in1k", "tv2_in1k", "tv_in1k"]
Vgg11 = Literal["tv_in1k"]
Vgg11Bn = Literal["tv_in1k"]
Vgg13 = Literal["tv_in1k"]
Vgg13Bn = Literal["tv_in1k"]
Vgg16 = Literal["tv_in1k"]
Vgg16Bn = Literal["tv_in1k"]
Vgg19 = Literal["tv_in1k"]
Vgg19Bn = Literal["tv_in1k"]
WideResnet1012 = Literal["tv2_in1k", "tv_in1k"]
WideResnet502 = Literal["racm_in1k", "tv2_in1k", "tv_in1k"]
