"""GoogLeNet (`v1`) and Inception-v3 (`v3`): modules, networks, auxiliary heads and their loss."""

from convzoo.models.inception.auxiliary import *
from convzoo.models.inception.blocks import *
from convzoo.models.inception.folding import *
from convzoo.models.inception.v1 import *
from convzoo.models.inception.v3 import *
