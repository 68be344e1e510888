"""What a saved network was, in timm's terms and in ours.

The weights file holds the text in its metadata, `config.json` beside it for others. It is timm's
(`architecture`, `num_classes`, `pretrained_cfg`, `label_names`), so that timm and transformers load
it; under `convzoo` it holds what theirs has no room for. A file from somewhere else is untrusted,
and every value is checked.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, cast

from convzoo._checks import LARGEST, MOST_CHANNELS, check_labels
from convzoo._contract import Contract
from convzoo._heads import head_dropout
from convzoo._idioms import timm_config
from convzoo.errors import ConvzooError, InputError, WeightsError
from convzoo.hub import _key_maps
from convzoo.hub._safetensors import read_json
from convzoo.presets import Interpolation, Preset
from convzoo.registry import model_info

MAX_BYTES: Final = 16 << 20
"""Largest config.json that is read."""

TRAINING_OPTIONS: Final = frozenset(
    {"dropout", "dropout_aux", "inplace", "paper_init", "zero_init_residual"}
)
"""Builders' options that change how a network trains, never what trained weights compute."""

TIMM_HAS: Final = frozenset(
    {
        *("inception_v3", "resnet18", "resnet34", "resnet50", "resnet101", "resnet152"),
        *("resnext50_32x4d", "resnext101_32x8d", "resnext101_64x4d"),
        *("vgg11", "vgg11_bn", "vgg13", "vgg13_bn", "vgg16", "vgg16_bn", "vgg19", "vgg19_bn"),
        *("wide_resnet50_2", "wide_resnet101_2"),
    }
)
"""The networks that timm has under the same name."""

FLOATS: Final = ("float64", "float32", "float16", "bfloat16")
"""The dtypes that a whole network may be in."""

_INTERPOLATIONS: Final = ("nearest", "bilinear", "bicubic", "box", "hamming", "lanczos")


@dataclass(frozen=True)
class SavedConfig:
    """What there is to know about a network besides its tensors.

    Attributes:
        architecture: The builder's name; None where nobody says.
        module: Where that builder is, if it is not one of convzoo's.
        num_classes: Classes it scores; None where nobody says, 0 for weights without a head.
        in_channels: Channels of its images; None where nobody says.
        options: The builder's options.
        labels: The classes' names.
        preset: How images are prepared.
        head_dropout: Dropout before the last layer.
        dtype: Name of the floating-point dtype to keep, e.g. `"bfloat16"`; None: the network's.
        licence: The licence's name, e.g. `"apache-2.0"`.
        weights_id: What tied config.json to its weights before the weights file said all itself.
        sha256: Of the tensors' bytes in the weights file.
        provenance: Where the weights come from: base weights, revision, versions, licence.
    """

    architecture: str | None = None
    module: str | None = None
    num_classes: int | None = None
    in_channels: int | None = None
    options: Mapping[str, object] = field(default_factory=dict)
    labels: tuple[str, ...] | None = None
    preset: Preset | None = None
    head_dropout: float = 0.0
    dtype: str | None = None
    licence: str | None = None
    weights_id: str | None = None
    sha256: str | None = None
    provenance: Mapping[str, object] = field(default_factory=dict)


def read_config(path: Path) -> SavedConfig:
    """Read and check a config.json, ours or timm's.

    Args:
        path: The file.

    Returns:
        What it says.

    Raises:
        WeightsError: The file cannot be read, or a value in it is not what it should be.
    """
    try:
        with path.open("rb") as file:
            text = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read: {error.strerror or error}") from error
    if len(text) > MAX_BYTES:
        raise WeightsError(f"{path}: larger than {MAX_BYTES} bytes")
    return parse_config(text, str(path))


def parse_config(text: bytes | str, what: str) -> SavedConfig:
    """Check the text of a config.json, or its like in a weights file; see `read_config`."""

    def checked(key: str, value: Any) -> Any:
        expected, holds = _CHECKS.get(key, ("an object", lambda v: isinstance(v, dict)))
        if value is not None and not holds(value):
            raise WeightsError(f"{what}: {key}: expected {expected}, got {value!r:.80}")
        return value

    raw = checked("the file", read_json(text, what)) or {}
    published, own, arguments = (
        checked(key, raw.get(key)) or {} for key in ("pretrained_cfg", "convzoo", "model_args")
    )
    num_classes = checked("num_classes", raw.get("num_classes", published.get("num_classes")))
    input_size = published.get("input_size")
    in_channels = own.get("in_channels", arguments.get("in_chans"))
    if in_channels is None and isinstance(input_size, list) and len(input_size) == 3:
        in_channels = input_size[0]
    labels: Any = raw.get("label_names", published.get("label_names"))
    if isinstance(labels, dict):  # timm: index -> name, where indices have gaps
        found = [labels.get(str(index)) for index in range(len(labels))]
        labels = None if None in found else found
    if checked("label_names", labels) is not None and num_classes not in (None, len(labels)):
        raise WeightsError(
            f"{what}: label_names: expected {num_classes} names, got {len(labels)} of them"
        )
    try:
        kept = checked("preset", own.get("preset"))
        preset = timm_preset(published) if kept is None else Preset.from_dict(kept)
    except (ConvzooError, TypeError, OverflowError) as error:
        raise WeightsError(f"{what}: preset: {error}") from error
    options = checked("options", own.get("options")) or {}
    return SavedConfig(
        architecture=checked("architecture", own.get("architecture", raw.get("architecture"))),
        module=checked("module", own.get("module")),
        num_classes=num_classes,
        in_channels=checked("in_channels", in_channels),
        options={key: _frozen(value) for key, value in options.items()},
        labels=None if labels is None else tuple(labels),
        preset=preset,
        head_dropout=float(checked("head_dropout", own.get("head_dropout")) or 0.0),
        dtype=checked("dtype", own.get("dtype")),
        licence=checked("license", published.get("license")),
        weights_id=checked("weights_id", own.get("weights_id")),
        sha256=checked("sha256", own.get("sha256")),
        provenance=checked("provenance", own.get("provenance")) or {},
    )


def _is_short(value: object) -> bool:
    return isinstance(value, str) and 0 < len(value) <= 200


# What a value should be, by its key; all others are objects.
_CHECKS: Final[dict[str, tuple[str, Callable[[Any], bool]]]] = {
    **dict.fromkeys(
        ("architecture", "license", "weights_id", "sha256"), ("a short string", _is_short)
    ),
    "module": (
        "a module's name", lambda v: _is_short(v) and all(map(str.isidentifier, v.split(".")))
    ),
    "num_classes": (
        f"an integer from 0 to {LARGEST}", lambda v: type(v) is int and 0 <= v <= LARGEST
    ),
    "in_channels": (
        f"an integer from 1 to {MOST_CHANNELS}",
        lambda v: type(v) is int and 1 <= v <= MOST_CHANNELS,
    ),
    "head_dropout": (
        "a probability in [0, 1)", lambda v: type(v) in (int, float) and 0 <= v < 1
    ),
    "dtype": (f"one of {', '.join(FLOATS)}", lambda v: v in FLOATS),
    "label_names": (
        "a list of strings", lambda v: isinstance(v, list) and all(isinstance(n, str) for n in v)
    ),
}  # fmt: skip


def _frozen(value: object) -> object:
    """A value of JSON with tuples for its lists, as builders' options have them."""
    return tuple(map(_frozen, value)) if isinstance(value, (list, tuple)) else value


def options_as_loaded(net: Contract) -> dict[str, object]:
    """What loading will give to the builder, after a way through JSON.

    Args:
        net: The network to be saved.

    Returns:
        The options.

    Raises:
        InputError: One of them would come back otherwise.
    """
    found: dict[str, object] = {}
    for key, value in net.options.items():
        try:
            found[key] = _frozen(json.loads(json.dumps(value)))
        except (TypeError, ValueError):
            found[key] = None
        if found[key] != _frozen(value):
            raise InputError(
                f"net: its option {key}={value!r:.80} cannot go through JSON unchanged; "
                "use numbers, strings, tuples of them, or mappings by string"
                + ("; a layer by its name, such as 'group_norm'" * callable(value))
            )
    return found


def timm_preset(published: Mapping[str, Any]) -> Preset | None:
    """A preset from timm's `pretrained_cfg`, at its test size; None if it says nothing.

    Args:
        published: `pretrained_cfg` of a config.json.

    Returns:
        The preset.

    Raises:
        ConvzooError: A value is out of range.
    """
    size = published.get("test_input_size") or published.get("input_size")
    mean, std = published.get("mean"), published.get("std")
    if size is None or mean is None or std is None:
        return None
    if (
        not isinstance(size, (list, tuple))
        or len(size) != 3
        or not all(type(n) is int for n in size)
    ):
        raise WeightsError(f"expected input_size [channels, height, width], got {size!r:.80}")
    crop_pct = published.get("test_crop_pct") or published.get("crop_pct") or 0.875
    if not isinstance(crop_pct, (int, float)) or not 0.1 <= crop_pct <= 2:
        raise WeightsError(f"crop_pct: expected a number in [0.1, 2], got {crop_pct!r:.80}")
    channels, height, width = size
    interpolation = published.get("interpolation", "bilinear")
    return Preset(
        input_size=(height, width),
        resize=math.floor(min(height, width) / crop_pct),
        mean=tuple(mean),
        std=tuple(std),
        crop="squash" if published.get("crop_mode") == "squash" else "center",
        interpolation=cast(
            "Interpolation", interpolation if interpolation in _INTERPOLATIONS else "bilinear"
        ),
        channels=channels,
    )


def in_timm(net: Contract) -> bool:
    """Whether timm, which knows no option of ours, builds this network by its builder's name."""
    return net.architecture in TIMM_HAS and not set(net.options) - TRAINING_OPTIONS


def name_for_timm(architecture: str) -> str:
    """What config.json calls a network that timm lacks.

    timm and transformers say no more of a name that they do not know than the name itself, and
    transformers to upgrade timm: so the name is what would help.

    Args:
        architecture: The builder's name.

    Returns:
        The name that `convzoo.integrations.timm.register()` gives to timm.
    """
    return f"{architecture}_convzoo_integrations_timm_register"


def saved_layout(net: Contract) -> _key_maps.Layout:
    """The names that a saved file has for a network's tensors: timm's, where timm builds it."""
    return _key_maps.timms(str(net.architecture)) if in_timm(net) else _key_maps.get("torchvision")


def write_config(net: Contract, *, sha256: str, provenance: Mapping[str, object]) -> str:
    """The text of config.json for a network, in timm's terms and, under `convzoo`, in ours.

    Args:
        net: A network that a builder made.
        sha256: Of the tensors' bytes as they are saved.
        provenance: Where the weights come from.

    Returns:
        JSON, ending in a newline.

    Raises:
        InputError: It is a text that `parse_config` would refuse.
    """
    labels = check_labels(net.labels, net.num_classes)
    module = model_info(str(net.architecture)).builder.__module__
    layout, options = saved_layout(net), options_as_loaded(net)
    published: dict[str, object] = {
        **timm_config(net),
        "classifier": layout.their_key(f"{net.head_path}.weight").removesuffix(".weight"),
    }
    if provenance.get("licence"):
        published["license"] = provenance["licence"]
    dtypes = {value.dtype for value in net.parameters()}
    dtype = str(next(iter(dtypes))).removeprefix("torch.") if len(dtypes) == 1 else None
    # What changes the network itself; training is not what timm is to go on with.
    ours = {key: value for key, value in options.items() if key not in TRAINING_OPTIONS}
    architecture = str(net.architecture)
    config: dict[str, object] = {
        "architecture": architecture if in_timm(net) else name_for_timm(architecture),
        "num_classes": net.num_classes,
        "num_features": net.num_features,
        "global_pool": "avg",
        "model_args": {"in_chans": net.in_channels, **ours},
        "pretrained_cfg": published,
    }
    if labels is not None:
        config["label_names"] = list(labels)
    config["convzoo"] = {
        "format": 1,
        "architecture": net.architecture,
        **({"module": module} if module.partition(".")[0] not in ("convzoo", "__main__") else {}),
        "options": options,
        "in_channels": net.in_channels,
        "head_dropout": head_dropout(net.get_submodule(net.head_path)),
        "preset": None if net.preset is None else net.preset.to_dict(),
        "dtype": dtype if dtype in FLOATS else None,
        "key_layout": layout.name,
        "sha256": sha256,
        "provenance": dict(provenance),
    }
    try:
        text = json.dumps(config, indent=2, ensure_ascii=False) + "\n"
        parse_config(text.encode("utf-8"), "config.json")
    except (TypeError, ValueError, WeightsError) as error:
        raise InputError(f"net: load could not read what would be saved: {error}") from error
    return text
