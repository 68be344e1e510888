"""AlexNet split as in 2012: a tower on each of two devices, or in each of two processes.

Krizhevsky, Sutskever, Hinton, "ImageNet Classification with Deep Convolutional Neural Networks",
2012. Both forms are the same function as `alexnet_2012` and share the
weights' names, so that what one of them learned the others can go on with.
"""

from convzoo.models.alexnet_split._costs import DeviceMemory, Exchange, communication, memory
from convzoo.models.alexnet_split._tensor_parallel import (
    AlexNetTensorParallel,
    alexnet_tensor_parallel,
    gather,
)
from convzoo.models.alexnet_split._towers import AlexNetTowersOptions, Tower, merge, split
from convzoo.models.alexnet_split._two_gpu import AlexNetTwoGPU, alexnet_two_gpu

__all__ = [
    "AlexNetTensorParallel",
    "AlexNetTowersOptions",
    "AlexNetTwoGPU",
    "DeviceMemory",
    "Exchange",
    "Tower",
    "alexnet_tensor_parallel",
    "alexnet_two_gpu",
    "communication",
    "gather",
    "memory",
    "merge",
    "split",
]
