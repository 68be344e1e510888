"""What timm's helpers ask a network for, answered from the contract.

`create_optimizer_v2(net, layer_decay=...)`, `resolve_data_config(model=net)` and training scripts
that were written for timm's networks take these as they are.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from typing import Any, Literal, overload

from torch import Tensor, nn

from convzoo._checks import check_choice, check_count
from convzoo._contract import Contract
from convzoo._stages import blocks_by_stage, inside, is_norm
from convzoo.errors import InputError
from convzoo.presets import Preset


class Idioms(Contract):
    """A network with the methods that timm's networks have."""

    @overload
    def get_classifier(self, name_only: Literal[False] = False) -> nn.Module: ...
    @overload
    def get_classifier(self, name_only: Literal[True]) -> str: ...
    def get_classifier(self, name_only: bool = False) -> nn.Module | str:
        """The head's last layer, as in timm.

        Args:
            name_only: Return its path instead.

        Returns:
            The layer, or its path.
        """
        return self.head_path if name_only else self.get_submodule(self.head_path)

    def reset_classifier(self, num_classes: int, global_pool: str | None = None) -> None:
        """What timm calls [reset_head][convzoo.Classifier.reset_head].

        Args:
            num_classes: Classes the new head scores; 0 leaves none.
            global_pool: None; these networks pool as their papers say.
        """
        if global_pool is not None:
            raise InputError(
                f"global_pool: expected None, got {global_pool!r:.80}; {self._name()} pools as its "
                "paper says, and forward_features gives the map to pool otherwise"
            )
        self.reset_head(num_classes)

    @overload
    def forward_intermediates(
        self,
        x: Tensor,
        indices: int | Sequence[int] | None = None,
        norm: bool = False,
        stop_early: bool = False,
        output_fmt: Literal["NCHW", "NHWC"] = "NCHW",
        intermediates_only: Literal[False] = False,
    ) -> tuple[Tensor, list[Tensor]]: ...
    @overload
    def forward_intermediates(
        self,
        x: Tensor,
        indices: int | Sequence[int] | None = None,
        norm: bool = False,
        stop_early: bool = False,
        output_fmt: Literal["NCHW", "NHWC"] = "NCHW",
        *,
        intermediates_only: Literal[True],
    ) -> list[Tensor]: ...
    def forward_intermediates(
        self,
        x: Tensor,
        indices: int | Sequence[int] | None = None,
        norm: bool = False,
        stop_early: bool = False,
        output_fmt: Literal["NCHW", "NHWC"] = "NCHW",
        intermediates_only: bool = False,
    ) -> tuple[Tensor, list[Tensor]] | list[Tensor]:
        """The last feature map and those of stages by number, as in timm.

        [intermediates][convzoo.Classifier.intermediates] gives them by name.

        Args:
            x: Images, (B, in_channels, H, W).
            indices: Positions in `stages`, from the end where negative; a number takes the last
                so many, None all.
            norm: Read the last stage after what follows it in `forward_features` (the last
                normalisation of pre-activation networks).
            stop_early: Run no further than the last stage that is asked for; its map is then
                the last feature map.
            output_fmt: Order of the intermediate maps' axes.
            intermediates_only: Leave the last feature map out.

        Returns:
            `forward_features(x)` and the maps, in the order of `stages`; or the maps alone.

        Raises:
            InputError: An index is out of range.
        """
        check_choice("output_fmt", output_fmt, ("NCHW", "NHWC"))
        count = len(self.stages)
        if indices is None or isinstance(indices, int):
            last = count if indices is None else check_count("indices", indices, most=count)
            chosen = set(range(count - last, count))
        else:
            chosen = {
                check_count("indices", i + count if i < 0 else i, least=0, most=count - 1)
                for i in indices
            }
        names = [stage.name for index, stage in enumerate(self.stages) if index in chosen]
        end = names[-1] if stop_early and names else None
        maps, features = self._read(x, names, stop_at=end)
        if norm and count - 1 in chosen and not stop_early:
            maps[names[-1]] = features
        found = [maps[name] for name in names]
        if output_fmt == "NHWC":
            found = [f.permute(0, 2, 3, 1) for f in found]
        return found if intermediates_only else (features, found)

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Keep only the input of each stage for the backward pass, and compute the rest again.

        Gradients are the same, dropout drops the same, and batch normalisation counts a batch
        once; a step takes one more forward pass, and less memory. Hooks inside a stage fire
        twice.

        Args:
            enable: Whether to.

        Raises:
            InputError: The network is of a class of your own.

        Examples:
            >>> import torch, convzoo
            >>> net = convzoo.cifar_resnet20()
            >>> net.set_grad_checkpointing()
            >>> net(torch.zeros(2, 3, 32, 32)).sum().backward()
        """
        if not type(self).__module__.startswith("convzoo."):
            raise InputError(
                f"net: {type(self).__name__}.forward_features runs its layers itself; give them "
                "to torch.utils.checkpoint there"
            )
        self.grad_checkpointing = enable

    def group_matcher(self, coarse: bool = False) -> dict[str, str]:
        """Which parameters learn at one rate, as timm's `layer_decay` asks.

        Args:
            coarse: A group a stage, instead of a group a block.

        Returns:
            Name -> regular expression of the parameters' names, in running order; what none
            matches (the head) comes last.
        """
        paths = [path for path, _ in self.named_modules()]
        stage_of = blocks_by_stage(self, paths, "rest")
        beside = {path.partition(".")[0] for path in tuple(self.head_paths())[1:]}
        groups: dict[str, list[str]] = {}
        name = ""
        for path, module in _blocks(self):
            if path.partition(".")[0] in beside or inside(self.head_path, path):
                continue
            if not name or not is_norm(module):  # a norm counts with the block before it
                name = stage_of[path] if coarse else path
            groups.setdefault(name, []).append(path)
        return {name: rf"^(?:{'|'.join(map(re.escape, g))})\." for name, g in groups.items()}

    @property
    def pretrained_cfg(self) -> dict[str, Any]:
        """What timm's helpers read of a network: its preset and head, in timm's terms."""
        return {"architecture": self.architecture, **timm_config(self)}

    @property
    def default_cfg(self) -> dict[str, Any]:
        """Timm's older name of `pretrained_cfg`."""
        return self.pretrained_cfg


def _blocks(net: nn.Module, path: str = "") -> Iterator[tuple[str, nn.Module]]:
    """Modules with parameters that are no sequence of others, in running order."""
    for name, child in net.named_children():
        here = f"{path}.{name}" if path else name
        if isinstance(child, nn.Sequential):
            yield from _blocks(child, here)
        elif next(child.parameters(), None) is not None:
            yield here, child


def timm_config(net: Contract) -> dict[str, object]:
    """Timm's `pretrained_cfg` of a network, without its name."""
    return {
        "tag": "convzoo",
        "custom_load": False,
        "fixed_input_size": net.max_size is not None,
        **({} if net.preset is None else timm_fields(net.preset)),
        "num_classes": net.num_classes,
        "pool_size": None,
        "first_conv": first_convolution(net),
        "classifier": net.head_path,
    }


def timm_fields(preset: Preset) -> dict[str, object]:
    height, width = preset.height_width
    side = min(height, width)
    resize = side if preset.resize is None or preset.crop == "none" else preset.resize
    crop_pct = side / resize
    if math.floor(side / crop_pct) != resize:
        crop_pct = side / (resize + 0.5)  # timm rounds down, and 224 / (224 / 232) is below 232
    return {
        "input_size": (preset.channels, height, width),
        "interpolation": preset.interpolation,
        "crop_pct": crop_pct,
        "crop_mode": "squash" if preset.crop == "squash" else "center",
        "mean": preset.mean,
        "std": preset.std,
    }


def first_convolution(net: nn.Module) -> str | None:
    """Path of the convolution that sees the image; None in a network without any.

    Args:
        net: A network whose modules are registered in running order.

    Returns:
        The path of the first one.
    """
    convolutions = (path for path, m in net.named_modules() if isinstance(m, nn.Conv2d))
    return next(convolutions, None)
