"""VGG: the `network` and its builders, and its `dense` evaluation."""

from convzoo.models.vgg.dense import *
from convzoo.models.vgg.network import *
