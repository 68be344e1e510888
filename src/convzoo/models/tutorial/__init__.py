"""The small networks of courses and tutorials, beside the famous ones.

- `linear_classifier`: the first network of every course.
- `mlp`: fully connected layers with leaky ReLU. By default 784-300-100-10, one of those that the
  LeNet-5 paper compares itself with (LeCun, Bottou, Bengio, Haffner, 1998).
- `mnist_cnn`: one convolution, one pooling, two fully connected layers; the first convolutional
  network of many Keras tutorials.
- `cifar2_cnn`: two convolutions with tanh that tell two classes of CIFAR-10 apart; Stevens,
  Antiga, Viehmann, "Deep Learning with PyTorch", 2020, chapter 8.
- `cifar_cnn3`: three convolutions of 5 x 5 with stride 2 instead of pooling.
- `cifar_cnn5`: five convolutions and three fully connected layers, AlexNet's plan on 32 x 32
  pixels, with 64 filters of 4 x 4 first. Its widths are ours.
- `cnn`: a stack of your own.

None comes from a paper of its own. Activation, pooling, padding, normalisation and initialisation
are chosen by name, so that a lesson can change one at a time. All are built for one
`image_size`; where strides or pooling drop the last pixels, images without those work too.
"""

from convzoo.models.tutorial.choices import *
from convzoo.models.tutorial.convolutional import *
from convzoo.models.tutorial.fully_connected import *
