"""What a network sees: maps, gradients, filters, diagrams, and pictures of training.

Functions return tensors or records; those that begin with `draw_` make pictures of them and need
the `plot` extra. Figures are made without pyplot, so that no window opens, no global state changes,
and a machine without a display will do.
"""

from convzoo.visualize._class_maps import cam, grad_cam, grad_cam_pp
from convzoo.visualize._gradients import (
    gradients,
    guided_backprop,
    integrated_gradients,
    smooth_grad,
)
from convzoo.visualize._occlusion import Occlusion, occlusion
from convzoo.visualize._pixels import ImageInput, pixels
from convzoo.visualize._randomise import randomise
from convzoo.visualize._training import confusion_matrix, learning_curve
