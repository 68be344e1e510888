"""LeNet-5, as in 1998 and as it is built today."""

from convzoo.models.lenet.blocks import *
from convzoo.models.lenet.counting import *
from convzoo.models.lenet.losses import *
from convzoo.models.lenet.network import *
