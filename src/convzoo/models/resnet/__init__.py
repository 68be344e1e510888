"""The ResNet family: `norms` and `blocks`, the `network` made of them, and its `builders`."""

from convzoo.models.resnet.blocks import *
from convzoo.models.resnet.builders import *
from convzoo.models.resnet.network import *
from convzoo.models.resnet.norms import *
