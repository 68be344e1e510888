"""All networks: the families' classes, blocks, options and builders.

The builders are functions of the package (`convzoo.resnet50(...)`); where only a string is at
hand, [create_model][convzoo.create_model] takes it.
"""

from convzoo.models.alexnets import *
from convzoo.models.inception import *
from convzoo.models.lenet import *
from convzoo.models.resnet import *
from convzoo.models.tutorial import *
from convzoo.models.vgg import *
from convzoo.models.zeiler_fergus import *
