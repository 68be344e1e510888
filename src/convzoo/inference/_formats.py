"""How an exported program is written in each format, and how the file is run again."""

from __future__ import annotations

import importlib
import json
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

import torch
from torch import Tensor
from torch.export import ExportedProgram

from convzoo._engines._openvino import core
from convzoo.errors import MissingExtraError

ExportFormat = Literal["onnx", "openvino", "pt2", "safetensors"]
"""`"onnx"` for onnxruntime and many others, `"openvino"` for Intel's (`.xml`, with its `.bin`),
`"pt2"` for `torch.export.load`, `"safetensors"` for `convzoo.load`."""

Shape = tuple[int | str, ...]
"""Of a file's input; an axis that may be of any length by its name."""


class Traced(NamedTuple):
    """What there is to write.

    Attributes:
        program: The network, and what comes before it.
        shape: Of the input called `image`.
        output: The output's name.
        about: What stands in the file's metadata.
    """

    program: ExportedProgram
    shape: Shape
    output: str
    about: Mapping[str, object]

    def texts(self) -> dict[str, str]:
        """What stands in the metadata, as text: JSON, where it is not text."""
        return {k: v if isinstance(v, str) else json.dumps(v) for k, v in self.about.items()}


def write_onnx(traced: Traced, path: Path) -> None:
    """With the metadata in `metadata_props`."""
    made: Any = torch.onnx.export(
        traced.program,
        dynamo=True,
        verbose=False,
        input_names=["image"],
        output_names=[traced.output],
    )
    image, scores = made.model.graph.inputs[0], made.model.graph.outputs[0]
    image.shape = type(image.shape)(traced.shape)
    scores.shape = type(scores.shape)((traced.shape[0], *list(scores.shape)[1:]))
    made.model.metadata_props.update(traced.texts())
    made.save(path)


def run_onnx(path: Path) -> Callable[[Tensor], Tensor]:
    """The file in onnxruntime, on the CPU."""
    import onnxruntime

    session = onnxruntime.InferenceSession(path.read_bytes(), providers=["CPUExecutionProvider"])
    return lambda x: torch.from_numpy(session.run(None, {"image": x.numpy()})[0])


def write_openvino(traced: Traced, path: Path) -> None:
    """With the metadata in `rt_info`, and the weights in a `.bin` beside it."""
    import openvino

    model = openvino.convert_model(traced.program)
    sides = [-1 if isinstance(side, str) else side for side in traced.shape]
    model.reshape({0: openvino.PartialShape(sides)})
    model.inputs[0].get_tensor().set_names({"image"})
    model.outputs[0].get_tensor().set_names({traced.output})
    for key, text in traced.texts().items():
        model.set_rt_info(text, ["convzoo", key])
    openvino.save_model(model, path, compress_to_fp16=False)


def run_openvino(path: Path) -> Callable[[Tensor], Tensor]:
    """The file on the CPU, in float32 even where the processor has less."""
    plugins = core()
    plugins.set_property({"ENABLE_MMAP": False})  # an open file could not be replaced on Windows
    model = plugins.compile_model(
        plugins.read_model(path), "CPU", {"INFERENCE_PRECISION_HINT": "f32"}
    )
    return lambda x: torch.from_numpy(model(x.numpy())[0].copy())


def write_pt2(traced: Traced, path: Path) -> None:
    """With the metadata in an extra file."""
    extra = {"convzoo.json": json.dumps(traced.about)}
    torch.export.save(traced.program, path, extra_files=extra)


def run_pt2(path: Path) -> Callable[[Tensor], Tensor]:
    """The file in torch."""
    run: Callable[[Tensor], Tensor] = torch.export.load(path).module()
    return run


class Format(NamedTuple):
    """One format: its suffix, what it needs, how it is written and run."""

    suffix: str
    needs: tuple[str, ...]
    write: Callable[[Traced, Path], None]
    run: Callable[[Path], Callable[[Tensor], Tensor]]


FORMATS: Final[Mapping[ExportFormat, Format]] = {
    "onnx": Format(".onnx", ("onnx", "onnxscript", "onnxruntime"), write_onnx, run_onnx),
    "openvino": Format(".xml", ("openvino",), write_openvino, run_openvino),
    "pt2": Format(".pt2", (), write_pt2, run_pt2),
}
"""The formats that hold a program; safetensors is `save`'s."""


def check_installed(kind: ExportFormat) -> None:
    """Say what a format needs, where it is missing.

    Raises:
        MissingExtraError: Something is.
    """
    for module in FORMATS[kind].needs if kind in FORMATS else ():
        try:
            importlib.import_module(module)
        except ModuleNotFoundError as error:
            if error.name != module:
                raise
            raise MissingExtraError(
                f"{kind} needs {module}, which is not installed: pip install 'convzoo[fast]'"
            ) from None


@contextmanager
def quiet() -> Iterator[None]:
    """Without what the exporters say of their own inner life."""
    solver = logging.getLogger("torch.fx.experimental.symbolic_shapes")
    level = solver.level
    solver.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        solver.setLevel(level)
