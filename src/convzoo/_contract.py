"""The contract that every network of the zoo keeps.

A network is an ordinary `torch.nn.Module` that can be asked, in the same way for every
architecture, for its feature map, its head, its stages and the input it accepts. Nothing here knows
of the Hub: [Classifier][convzoo.Classifier] adds how a network is kept and fetched.
"""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, is_dataclass
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn
from torch.fx import Proxy

from convzoo._checkpointing import run_in_parts
from convzoo._checks import (
    LARGEST,
    check_count,
    check_images,
    check_labels,
    check_probability,
)
from convzoo._heads import head_width, new_head, no_head
from convzoo.errors import InputError, UnknownNameError

if TYPE_CHECKING:
    from convzoo.presets import Preset


class Stage(NamedTuple):
    """A named place in a network where the feature map can be read.

    Attributes:
        name: The stage's name, e.g. `"layer3"` in a ResNet.
        module: Path of the submodule whose output is the stage's feature map.
        channels: Channels of that feature map.
        stride: Input pixels per step of the feature map, along either axis.
    """

    name: str
    module: str
    channels: int
    stride: int


class _StopHere(Exception):  # noqa: N818 - no error: the last map that was asked for is there
    """Ends a forward pass."""


class Contract(nn.Module, ABC):
    """What a network that scores the classes of an image promises.

    Subclasses set `head_path`, `in_channels`, `num_features`, `min_size` and `stages`, and
    implement `forward_features`, `forward_head` and `reset_parameters`. Submodules are registered
    in the order in which they run, so that "everything up to `layer3`" has a meaning.

    Attributes:
        head_path: Path of the last layer, the one that scores the classes.
        aux_head_paths: Paths of the last layers of auxiliary heads, where there are any.
        in_channels: Channels of the input image.
        num_features: Channels of what `forward_features` returns.
        min_size: Smallest side of an input image in pixels.
        max_size: Largest side, or None where any larger image will do.
        stages: The places where the feature map can be read, in the order they run.
        preset: How images become inputs; it travels with the weights.
        architecture: The name of the builder that made the network, or None.
        options: The options that builder was given, for saving and loading.
        provenance: Where the weights come from, for the model card; empty for fresh ones.
        grad_checkpointing: Whether training keeps the input of each stage only.
    """

    head_path: ClassVar[str]
    aux_head_paths: ClassVar[tuple[str, ...]] = ()

    in_channels: int
    num_features: int
    min_size: int
    max_size: int | None = None
    stages: tuple[Stage, ...]
    preset: Preset | None = None
    architecture: str | None = None
    options: Mapping[str, object] = {}
    provenance: Mapping[str, object] = {}
    grad_checkpointing: bool = False

    @abstractmethod
    def forward_features(self, x: Tensor) -> Tensor:
        """The last feature map, before any global pooling.

        Args:
            x: Images, (B, in_channels, H, W), with H and W at least `min_size`.

        Returns:
            The feature map, (B, num_features, h, w).
        """

    @abstractmethod
    def forward_head(self, f: Tensor, pre_logits: bool = False) -> Tensor:
        """Score a feature map.

        Args:
            f: What `forward_features` returned, (B, num_features, h, w).
            pre_logits: Stop before the last layer and return its input.

        Returns:
            The class scores, (B, num_classes); or the last layer's input, (B, D).
        """

    @abstractmethod
    def reset_parameters(self) -> None:
        """Fill every parameter and buffer afresh, as a newly built network has them."""

    @classmethod
    def preset_for(cls, preset: Preset, options: Mapping[str, Any]) -> Preset:
        """How images become inputs under the given options of a builder.

        Args:
            preset: The family's usual preset.
            options: What the builder was given.

        Returns:
            `preset`, unless an option makes the network one for other images.
        """
        del options
        return preset

    @classmethod
    def kept_options(cls, options: Mapping[str, Any]) -> dict[str, Any]:
        """The options of a builder as `save` keeps them: what JSON holds.

        Args:
            options: What the builder was given.

        Returns:
            The same, a record as the mapping of its fields; constructors take that as well.
        """
        return {
            key: asdict(value)
            if is_dataclass(value) and not isinstance(value, type)
            else copy.deepcopy(value)
            for key, value in options.items()
        }

    def forward(self, x: Tensor) -> Tensor:
        """Images (B, in_channels, H, W) -> class scores (B, num_classes)."""
        return self.forward_head(self.forward_features(x))

    if TYPE_CHECKING:

        def __call__(self, x: Tensor) -> Tensor:
            """Images (B, in_channels, H, W) -> class scores (B, num_classes)."""
            ...

    @property
    def num_classes(self) -> int:
        """How many classes the network scores; 0 without a head."""
        return head_width(self.get_submodule(self.head_path), f"net.{self.head_path}")

    @property
    def head_hidden_size(self) -> int:
        """Length of what the last layer gets, and of what `forward` returns without a head."""
        return no_head(self.get_submodule(self.head_path)).in_features

    @property
    def labels(self) -> tuple[str, ...] | None:
        """The classes' names in the order of the scores, one for each, where they are known."""
        names: tuple[str, ...] | None = vars(self).get("labels")
        return names

    @labels.setter
    def labels(self, names: Sequence[str] | None) -> None:
        if names is not None:
            names = check_labels(names, self.num_classes)
        vars(self)["labels"] = names

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> object:
            if name == "num_classes":
                # Python comes here once the property has failed, and torch would forget why.
                return head_width(self.get_submodule(self.head_path), f"net.{self.head_path}")
            return super().__getattr__(name)

    def intermediates(self, x: Tensor, names: Sequence[str] | None = None) -> dict[str, Tensor]:
        """The feature maps of the named stages, or what any other modules return.

        Hooks of your own still fire, and gradients flow through what is returned. Runs in eager
        mode.

        Args:
            x: Images, (B, in_channels, H, W).
            names: What to read; None means all `stages`. A name is a stage's first, else the path
                of a submodule, as [summary][convzoo.summary] prints it.

        Returns:
            Name -> feature map, a stage's (B, channels, H / stride, W / stride), in running
            order.

        Raises:
            UnknownNameError: A name is neither.
            InputError: A module does not run when images are scored (an auxiliary head).

        Examples:
            >>> import torch, convzoo
            >>> net = convzoo.cifar_resnet20()
            >>> maps = net.intermediates(torch.zeros(1, 3, 32, 32), ["layer1", "layer3"])
            >>> {name: tuple(f.shape) for name, f in maps.items()}
            {'layer1': (1, 16, 32, 32), 'layer3': (1, 64, 8, 8)}
        """
        if names is None:
            names = [stage.name for stage in self.stages]
        found, _ = self._read(x, [names] if isinstance(names, str) else names)
        return found

    def _read(
        self, x: Tensor, names: Sequence[str], stop_at: str | None = None
    ) -> tuple[dict[str, Tensor], Tensor]:
        """The maps of the named places, and the last map that was computed."""
        modules = dict(self.named_modules())
        stages = {stage.name: modules[stage.module] for stage in self.stages}
        found: dict[str, Tensor] = {}
        handles = []
        for name in dict.fromkeys(names):
            module = stages.get(name, modules.get(name) if name else None)
            if module is None:
                raise UnknownNameError("stage", name, {**stages, **modules})

            def keep(_module: nn.Module, _inputs: object, output: Tensor, name: str = name) -> None:
                # What is no stage may be overwritten by the ReLU after it.
                found[name] = output if name in stages else output.clone()
                if name == stop_at:
                    raise _StopHere

            handles.append(module.register_forward_hook(keep))
        try:
            features = self.forward_features(x)
            if any(name not in stages for name in names):
                self.forward_head(features)
        except _StopHere:
            features = found[str(stop_at)]
        finally:
            for handle in handles:
                handle.remove()
        for name in names:
            if name not in found:
                raise InputError(f"names: {name!r} does not run when images are scored")
        return found, features

    def reset_head(self, num_classes: int, *, dropout: float = 0.0) -> None:
        """Replace every head's last layer (auxiliary ones too) by a fresh one, or take it away.

        [replace_head][convzoo.replace_head] does this for any network, and freezes if asked.

        Args:
            num_classes: Classes the new head scores. 0 leaves none, and `forward` returns what
                the last layer got, (B, head_hidden_size); auxiliary heads are removed.
            dropout: Probability of dropping an input of the new layer, in [0, 1).
        """
        if check_count("num_classes", num_classes, least=0, most=LARGEST) == 0:
            check_probability("dropout", dropout)
            self._drop_aux_heads()
        like = next(self.parameters(), None)
        for path in self.head_paths():
            self.set_submodule(path, self._last_layer(path, num_classes, dropout, like))
        self.labels = None

    def _last_layer(
        self, path: str, num_classes: int, dropout: float, like: Tensor | None
    ) -> nn.Module:
        """A head's last layer for other classes."""
        old = self.get_submodule(path)
        return new_head(old, num_classes, dropout, like) if num_classes else no_head(old)

    def _drop_aux_heads(self) -> None:
        """Remove the auxiliary heads for good, and say so in the options."""
        for path in tuple(self.head_paths())[1:]:
            setattr(self, path.partition(".")[0], None)
        self.options = {k: v for k, v in self.options.items() if k != "aux_heads"}

    def head_paths(self) -> Iterator[str]:
        """Paths of the last layers of all heads that this network has, the main one first."""
        yield self.head_path
        present = dict(self.named_modules())
        yield from (path for path in self.aux_head_paths if path in present)

    def _run(self, x: Tensor, *layers: nn.Module | None) -> Tensor:
        """Layers one after the other, None being none; in parts while gradients are checkpointed.

        A part ends where a stage does.
        """
        if self.grad_checkpointing and torch.is_grad_enabled() and not isinstance(x, Proxy):
            ends = {self.get_submodule(stage.module) for stage in self.stages}
            return run_in_parts(x, [layer for layer in layers if layer is not None], ends)
        for layer in layers:
            x = x if layer is None else layer(x)
        return x

    def _check_input(self, x: Tensor) -> None:
        """Refuse what the first convolution would answer with a riddle."""
        check_images(x, self.in_channels, self.min_size, self.max_size, self._name())

    def _name(self) -> str:
        return self.architecture or type(self).__name__
