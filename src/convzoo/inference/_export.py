"""Networks as files for other runtimes, each checked against the network it came from."""

from __future__ import annotations

import copy
import os
import tempfile
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Final, get_args

import torch
from torch import Tensor, nn
from torch.export import Dim

from convzoo._checks import check_choice, check_flags, check_path
from convzoo._contract import Contract
from convzoo._modes import evaluation
from convzoo.errors import ConvzooError, InputError, WeightsError
from convzoo.inference._formats import FORMATS, ExportFormat, Shape, Traced, check_installed, quiet
from convzoo.inference._in_graph import WithPreprocessing

if TYPE_CHECKING:
    from convzoo.presets import ImageTransform, Preset

# Of the largest score. Pillow rounds to grey levels between its steps, at times the other way.
_MOST_OFF: Final = 1e-3
_MOST_OFF_PREPARED: Final = 2e-2


@dataclass(frozen=True)
class Exported:
    """A file that was written, and how it did against the network.

    Attributes:
        path: The file.
        format: Its format.
        dtype: Of the input, `"uint8"` or `"float32"`.
        input_shape: Of the input, which is called `image`; an axis that may be of any length by
            its name. Empty for safetensors, which holds tensors only.
        output: The output's name: `"probabilities"`, `"scores"`, or `"features"` without a head.
        difference: The largest between the file's outputs and the network's, over the network's
            largest.
    """

    path: Path
    format: ExportFormat
    dtype: str
    input_shape: Shape
    output: str
    difference: float


def export(
    net: Contract,
    path: str | os.PathLike[str],
    to: ExportFormat | None = None,
    *,
    preprocessing: bool = False,
    overwrite: bool = False,
) -> Exported:
    """Write a network for another runtime, and run the file to see that it does the same.

    The batch may be of any size, and so may images where the network takes several sizes. Its
    architecture, options, labels, preset and provenance stand in the file: as ONNX's
    `metadata_props`, as OpenVINO's `rt_info` under `convzoo`, as `convzoo.json` among a `.pt2`'s
    extra files. A file that fails its check is not left behind.

    Args:
        net: A network, in any mode; it is written as in evaluation, and stays as it is.
        path: The file; its folder has to be there.
        to: Its format; None takes that of the suffix: `.onnx`, `.xml` (OpenVINO's, with a `.bin`
            beside it), `.pt2` or `.safetensors`.
        preprocessing: Whether the file takes images, uint8 (batch, height, width, channels) of any
            size, as `numpy.asarray` makes them of PIL's, and gives probabilities: resizing,
            cropping, normalising and softmax are inside. Otherwise it takes what the preset makes,
            float32 (batch, channels, height, width), and gives scores.
        overwrite: Whether a file that is there may be replaced.

    Returns:
        Where it is, what it takes and gives, and how far it is from the network.

    Raises:
        InputError: An argument does not fit, or the file is there already.
        MissingExtraError: The format needs the extra `fast`.
        WeightsError: The file does not do what the network does, or cannot be written.

    Examples:
        >>> import convzoo, torch
        >>> from convzoo.inference import export
        >>> net = convzoo.load("lenet5.fashion_mnist")
        >>> made = export(net, "lenet5.pt2", preprocessing=True)
        >>> made.input_shape, made.output
        (('batch', 'height', 'width', 1), 'probabilities')
        >>> lenet5 = torch.export.load("lenet5.pt2").module()
        >>> lenet5(torch.zeros(1, 40, 50, 1, dtype=torch.uint8)).shape
        torch.Size([1, 10])
    """
    check_flags(preprocessing=preprocessing, overwrite=overwrite)
    if not isinstance(net, Contract):
        raise InputError(f"net: expected one of convzoo's networks, got {net!r:.80}")
    if not isinstance(path, (str, os.PathLike)):
        raise InputError(f"path: expected a file name, got {path!r:.80}")
    place = check_path("path", path)
    kind = _format(place, to)
    # OpenVINO's weights go first: without an .xml nobody reads them.
    names = [*[place.with_suffix(".bin").name] * (kind == "openvino"), place.name]
    there = [name for name in names if os.path.lexists(place.with_name(name))]
    if there and not overwrite:
        raise InputError(
            f"path: {place.with_name(there[0])} is there already; overwrite=True (--overwrite) "
            "replaces it"
        )
    if any(place.with_name(name).is_dir() for name in there):
        raise InputError(f"path: {place.with_name(there[0])} is a folder")
    check_installed(kind)
    try:
        with tempfile.TemporaryDirectory(prefix=f".{place.name}.", dir=place.parent) as folder:
            fresh = Path(folder) / place.name
            with evaluation(net), torch.no_grad(), quiet():
                made = (
                    _keep(net, fresh, preprocessing)
                    if kind == "safetensors"
                    else _write(_on_cpu(net), fresh, kind, preprocessing)
                )
            if len(names) > 1:  # the old .xml must never stand beside new weights
                place.unlink(missing_ok=True)
            for name in names:
                fresh.with_name(name).replace(place.with_name(name))
    except OSError as error:
        if isinstance(error, ConvzooError):
            raise
        raise WeightsError(f"{place}: cannot be written: {error.strerror or error}") from error
    return Exported(place, kind, *made)


def _format(place: Path, to: ExportFormat | None) -> ExportFormat:
    suffixes: dict[ExportFormat, str] = {kind: form.suffix for kind, form in FORMATS.items()}
    suffixes["safetensors"] = ".safetensors"
    if to is not None:
        check_choice("to", to, get_args(ExportFormat))
        suffixes = {to: suffixes[to]}
    for kind, suffix in suffixes.items():
        if place.suffix.lower() == suffix:
            return kind
    wanted = " or ".join(suffixes.values())
    raise InputError(f"path: expected a name that ends in {wanted}, got {place.name!r:.80}")


def _on_cpu(net: Contract) -> Contract:
    tensors = [*net.parameters(), *net.buffers()]
    if any(tensor.is_meta for tensor in tensors):
        raise InputError("net: it is on the meta device, there are no numbers to write")
    for tensor in tensors:
        if tensor.is_floating_point() and tensor.dtype != torch.float32:
            raise InputError(f"net: expected float32, got {tensor.dtype}; net.float() is")
    on_cpu = all(tensor.device.type == "cpu" for tensor in tensors)
    return net if on_cpu else copy.deepcopy(net).cpu()


def _keep(net: Contract, path: Path, preprocessing: bool) -> tuple[str, Shape, str, float]:
    """As `save` writes it: one file that says all by its own metadata."""
    from convzoo import hub

    if preprocessing:
        raise InputError("preprocessing: safetensors holds no steps; the preset stands in it")
    (hub.save(net, path.with_name("kept")) / "model.safetensors").replace(path)
    ours, theirs = net.state_dict(), hub.load(path).state_dict()
    if not all(torch.equal(tensor.cpu(), theirs[key]) for key, tensor in ours.items()):
        raise WeightsError(f"{path.name}: not written: it does not come back as it was")
    return str(next(iter(ours.values())).dtype).removeprefix("torch."), (), _output(net, False), 0.0


def _output(net: Contract, preprocessing: bool) -> str:
    if net.num_classes == 0:
        return "features"
    return "probabilities" if preprocessing else "scores"


def _write(
    net: Contract, path: Path, kind: ExportFormat, preprocessing: bool
) -> tuple[str, Shape, str, float]:
    """Trace, write, run what was written, compare."""
    if net.preset is None:
        raise InputError("net: it has no preset, which says what it takes; set net.preset")
    preset, output = net.preset, _output(net, preprocessing)
    graph: nn.Module = WithPreprocessing(net, preset) if preprocessing else net
    graph.training = False
    least = (61, 83) if preprocessing else preset.height_width
    example = _draw(preset, 2, least, preprocessing)
    axes = (1, 2) if preprocessing else (2, 3)
    free = {} if net.max_size and not preprocessing else dict.fromkeys(axes, Dim.AUTO)
    sizes = ({0: Dim("batch", min=1), **free},)
    program = torch.export.export(graph, (example,), dynamic_shapes=sizes)
    named = dict(zip((0, *axes), ("batch", "height", "width"), strict=True))
    (image,) = program.graph_signature.user_inputs
    traced = next(node for node in program.graph.nodes if node.name == image).meta["val"].shape
    shape = tuple(s if isinstance(s, int) else named[axis] for axis, s in enumerate(traced))
    about = _about(net, preset, preprocessing)
    FORMATS[kind].write(Traced(program, shape, output, about), path)

    run = FORMATS[kind].run(path)
    transform, worst = preset.eval(), 0.0
    stride = net.stages[-1].stride
    larger = (least[0] + 2 * stride, least[1] + stride) if "height" in shape else least
    for batch, side in ((1, least), (3, larger)):
        given = _draw(preset, batch, side, preprocessing)
        found = run(given)
        expected = net(_prepared(transform, given) if preprocessing else given)
        compared = found, expected
        if preprocessing and net.num_classes:
            # Of probabilities nearly alike, as a fresh network's, only the logarithms tell.
            expected = expected.log_softmax(dim=1).clamp(min=-60)
            compared = _centred(found.clamp(min=1e-26).log()), _centred(expected)
            expected = expected.exp()
        off = _difference(*compared)
        if not off <= (_MOST_OFF_PREPARED if preprocessing else _MOST_OFF):  # nor is NaN
            raise WeightsError(
                f"{path.name}: not written: on {batch} image(s) of {side[0]} x {side[1]} pixels it "
                f"is off by {off:.2g} of the network's largest score"
            )
        worst = max(worst, _difference(found, expected))
    return str(example.dtype).removeprefix("torch."), shape, output, worst


def _about(net: Contract, preset: Preset, preprocessing: bool) -> dict[str, object]:
    return {
        "architecture": net.architecture or type(net).__name__,
        "options": dict(net.options),
        "labels": None if net.labels is None else list(net.labels),
        "preset": preset.to_dict(),
        "preprocessing": preprocessing,
        "provenance": dict(net.provenance),
        "convzoo": version("convzoo"),
    }


def _draw(preset: Preset, batch: int, side: tuple[int, int], preprocessing: bool) -> Tensor:
    noise = torch.Generator().manual_seed(batch)
    if preprocessing:
        shape = (batch, *side, preset.channels)
        return torch.randint(0, 256, shape, generator=noise, dtype=torch.uint8)
    return torch.randn(batch, preset.channels, *side, generator=noise)


def _prepared(transform: ImageTransform, images: Tensor) -> Tensor:
    """uint8 (B, H, W, C) -> what the preset makes of the same images from files."""
    from PIL import Image

    if images.shape[3] not in (1, 3):
        return transform(images.permute(0, 3, 1, 2))
    return torch.stack([transform(Image.fromarray(x.squeeze(-1).numpy())) for x in images])


def _centred(x: Tensor) -> Tensor:
    return x - x.mean(dim=1, keepdim=True)


def _difference(found: Tensor, expected: Tensor) -> float:
    if found.shape != expected.shape:
        return float("inf")
    return float((found - expected).abs().max() / expected.abs().max().clamp(min=1e-12))
