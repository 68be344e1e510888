"""What a network sees: maps, gradients, filters, diagrams, and pictures of training.

Functions return tensors or records; those that begin with `draw_` make pictures of them and need
the `plot` extra. Figures are made without pyplot, so that no window opens, no global state changes,
and a machine without a display will do.
"""

from convzoo.training import Calibration
from convzoo.visualize._activations import (
    ActivationCurve,
    ActivationName,
    activations,
    draw_activations,
)
from convzoo.visualize._architecture import architecture
from convzoo.visualize._class_maps import cam, grad_cam, grad_cam_pp
from convzoo.visualize._convolve import (
    Matrix,
    PoolMode,
    Sliding,
    convolution_steps,
    convolve,
    pooling_steps,
)
from convzoo.visualize._convolve_drawn import draw_steps
from convzoo.visualize._deconvolve import Patch, deconvnet, top_patches
from convzoo.visualize._embedding import (
    Metric,
    Projection,
    draw_embedding,
    embed,
    embedding_map,
    nearest,
)
from convzoo.visualize._explorer import explore
from convzoo.visualize._fields import ReceptiveField, draw_receptive_field, receptive_field
from convzoo.visualize._filters import draw_feature_maps, feature_maps, filters
from convzoo.visualize._gradient_flow import LayerGradient, draw_gradient_flow, gradient_flow
from convzoo.visualize._gradients import (
    gradients,
    guided_backprop,
    integrated_gradients,
    smooth_grad,
)
from convzoo.visualize._grids import augmentations, batch_grid
from convzoo.visualize._judged import Judged, calibration, predictions, top_losses
from convzoo.visualize._judged_drawn import draw_calibration, draw_predictions, draw_top_k
from convzoo.visualize._kernels import KernelName, kernel, text
from convzoo.visualize._occlusion import Occlusion, occlusion
from convzoo.visualize._occlusion_drawn import draw_occlusion
from convzoo.visualize._patches_drawn import draw_patches
from convzoo.visualize._pixels import ImageInput, pixels
from convzoo.visualize._randomise import randomise
from convzoo.visualize._reported import evaluation_report
from convzoo.visualize._training import confusion_matrix, draw_lr_curve, learning_curve

__all__ = [
    "ActivationCurve",
    "ActivationName",
    "Calibration",
    "ImageInput",
    "Judged",
    "KernelName",
    "LayerGradient",
    "Matrix",
    "Metric",
    "Occlusion",
    "Patch",
    "PoolMode",
    "Projection",
    "ReceptiveField",
    "Sliding",
    "activations",
    "architecture",
    "augmentations",
    "batch_grid",
    "calibration",
    "cam",
    "confusion_matrix",
    "convolution_steps",
    "convolve",
    "deconvnet",
    "draw_activations",
    "draw_calibration",
    "draw_embedding",
    "draw_feature_maps",
    "draw_gradient_flow",
    "draw_lr_curve",
    "draw_occlusion",
    "draw_patches",
    "draw_predictions",
    "draw_receptive_field",
    "draw_steps",
    "draw_top_k",
    "embed",
    "embedding_map",
    "evaluation_report",
    "explore",
    "feature_maps",
    "filters",
    "grad_cam",
    "grad_cam_pp",
    "gradient_flow",
    "gradients",
    "guided_backprop",
    "integrated_gradients",
    "kernel",
    "learning_curve",
    "nearest",
    "occlusion",
    "pixels",
    "pooling_steps",
    "predictions",
    "randomise",
    "receptive_field",
    "smooth_grad",
    "text",
    "top_losses",
    "top_patches",
]
