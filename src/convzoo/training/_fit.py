"""`fit`: checks what it was given, sets up, and runs the loop."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from contextlib import ExitStack
from numbers import Real
from pathlib import Path
from typing import Any

from torch import nn
from torch.optim import Optimizer
from torch.utils.data import DataLoader

from convzoo._checks import check_count, check_flags
from convzoo._classifier import Classifier
from convzoo._modes import check_network
from convzoo.datasets._prepared import (
    Columns,
    ImageData,
    ImageTransform,
    Prepared,
    Reader,
    usual_transform,
)
from convzoo.errors import InputError, UnknownNameError
from convzoo.layers import DropBlock1d, DropBlock2d, DropBlock3d, DropBlockSchedule
from convzoo.training._accelerator import (
    MixedPrecision,
    accelerator,
    require_train_extra,
    seeded,
    sharded_wanted,
)
from convzoo.training._data import (
    EpochSampler,
    LoaderEpochs,
    eval_loader,
    fingerprint,
    number_of_classes,
    train_loader,
)
from convzoo.training._early_stopping import EarlyStopping
from convzoo.training._evaluate import unwrap
from convzoo.training._loop import Monitor, Run
from convzoo.training._recipe import (
    CrossEntropy,
    Loss,
    OptimizerName,
    Schedule,
    make_optimizer,
    make_schedule,
)
from convzoo.training._records import EpochRecord, History
from convzoo.training._replica import Replica, ShardedReplica
from convzoo.training._sync_batch_norm import synchronised_batch_norm


def fit(
    net: nn.Module,
    train: ImageData | DataLoader[Any],
    val: ImageData | DataLoader[Any] | None = None,
    *,
    epochs: int = 10,
    batch_size: int = 32,
    columns: Columns | None = None,
    lr: float | None = None,
    head_lr: float | None = None,
    weight_decay: float | None = None,
    optimizer: OptimizerName | Optimizer = "adamw",
    schedule: Schedule = "one_cycle",
    warmup: float | None = None,
    label_smoothing: float = 0.0,
    loss: Loss | None = None,
    train_transform: ImageTransform | None = None,
    eval_transform: ImageTransform | None = None,
    monitor: Monitor = "accuracy",
    early_stopping: EarlyStopping | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    resume: bool = False,
    mixed_precision: MixedPrecision | None = None,
    gradient_accumulation: int = 1,
    max_grad_norm: float | None = None,
    sharded: bool | None = None,
    sync_batch_norm: bool = False,
    seed: int = 0,
    num_workers: int = 0,
    cpu: bool = False,
    progress: bool = False,
    on_epoch: Callable[[EpochRecord], None] | None = None,
) -> History:
    """Train a network in place; with a validation set, keep its best epoch.

    The rate of DropBlock layers rises linearly over all steps, as in its paper.

    Runs on Accelerate: unchanged on one CPU or GPU, and on several processes under `torchrun` or
    `accelerate launch`; a script for those ends with [leave][convzoo.training.leave]. Only
    parameters with `requires_grad` train; parts frozen with [freeze][convzoo.freeze] stay as they
    are, batch statistics included. The same seed gives the same result on the same machine, and
    the global random generators are left as they were found.

    Args:
        net: Any module that maps images (B, C, H, W) to class scores (B, num_classes), or in
            training mode to a tuple of them, the main head's first. It is moved to the device,
            and left there in evaluation mode.
        train: Pairs of image and class index, or rows by name as Hugging Face's data sets have
            them. Raw images (PIL or uint8) go through the `train()` transform of the network's
            preset, float tensors are taken as they are. Or a DataLoader, whose batches, order and
            workers are taken as they come. Each batch is shared out among the processes;
            `gradient_accumulation` is how many of them make a step.
        val: Likewise, through the preset's `eval()` transform.
        epochs: Times to go through `train`.
        batch_size: Images an optimizer step, over all processes and accumulated parts; at most
            `len(train)` are taken. What does not fill a last step is left out of that epoch. A
            DataLoader brings its own.
        columns: Names of image and label in rows by name; None finds the usual ones (`image`,
            `img`, `label`, `labels` and their kin).
        lr: Highest learning rate; None is 1e-3, or 1e-2 for SGD.
        head_lr: The head's; None is `lr`.
        weight_decay: Not applied to biases and norms; None is 1e-2 for AdamW, 1e-4 for SGD, else 0.
        optimizer: A name, or an optimizer over the network's parameters.
        schedule: `"one_cycle"` (rises, then falls along a cosine; the momentum runs against it),
            `"cosine"` (falls along a half-cosine to 0) or `"constant"`.
        warmup: Share of all steps over which the learning rate rises, in [0, 1); None is 0.3 for
            `"one_cycle"`, else 0.
        label_smoothing: Share of the target spread over all classes, in [0, 1).
        loss: Called with what the network returned in training and the targets, (B,); returns the
            mean. None is cross-entropy, to which each auxiliary head adds its own times the
            network's `aux_weight`, if it has one, else 0.3.
        train_transform: What to do with every training image instead of the preset's `train()`.
        eval_transform: What to do with every validation image instead of the preset's `eval()`.
        monitor: What makes an epoch the best: highest validation `"accuracy"` (of equals the one
            with the lowest loss) or lowest validation `"loss"`.
        early_stopping: Ends training when the monitored figure no longer improves; needs `val`.
        checkpoint: A folder. Every best network goes to its subfolder `best`, as
            [save][convzoo.save] writes it, and the state after each epoch to `last.pt`.
        resume: Go on from the checkpoint's `last.pt`, if it is there; the outcome is that of a run
            never interrupted.
        mixed_precision: `"bf16"` or `"fp16"` for the forward pass; None takes what
            `accelerate launch` was told, else full precision.
        gradient_accumulation: Parts in which a step's batch goes through the network one after
            the other, to save memory. Batch normalisation sees the parts.
        max_grad_norm: Scales the gradient down to this norm, above 0, where it is larger.
        sharded: Whether several processes share out weights, gradients and optimizer state, stage
            by stage (PyTorch's FSDP2), instead of each holding all of them; None does what
            `accelerate launch` was told. One process holds all in any case.
        sync_batch_norm: Whether batch normalisation takes its statistics over the batches of all
            processes. PyTorch can do that on GPUs.
        seed: Of order, augmentation and dropout.
        num_workers: Processes that read and prepare images; 0 does it in this one.
        cpu: Whether to stay on the CPU where there is a GPU.
        progress: Whether to show progress bars.
        on_epoch: Called after every epoch, in every process.

    Returns:
        What happened, epoch by epoch.

    Raises:
        InputError: An argument is wrong.
        CheckpointError: `resume` found a state that does not belong to this run.
        TrainingDivergedError: The loss became NaN or infinite. The network has its best weights so
            far, if there were any.
        ProcessLostError: Another process of the job has ended, or cannot be reached.
        TrainingInterrupted: Ctrl-C; a `KeyboardInterrupt` that carries the history. The network has
            its best weights so far, if there were any.
        ConvzooError: The `train` extra is not installed.

    Examples:
        >>> import convzoo
        >>> from convzoo import datasets, training
        >>> data = datasets.digits()
        >>> net = convzoo.cifar_resnet20(in_channels=1)
        >>> net.preset = convzoo.presets.MNIST.replace(input_size=8, resize=None)
        >>> history = training.fit(net, data.train.subset(range(64)), data.val, epochs=1)
        >>> len(history.epochs), history.best_epoch, history.stopped
        (1, 1, 'finished')
    """
    check_network(net)
    check_flags(resume=resume, sync_batch_norm=sync_batch_norm, cpu=cpu, progress=progress)
    epochs = check_count("epochs", epochs)
    batch_size = check_count("batch_size", batch_size)
    gradient_accumulation = check_count("gradient_accumulation", gradient_accumulation)
    if monitor not in ("accuracy", "loss"):
        raise UnknownNameError("monitor", str(monitor), ("accuracy", "loss"))
    if val is None and early_stopping is not None:
        raise InputError("early_stopping: needs a validation set, got val=None")
    if resume and checkpoint is None:
        raise InputError("resume: needs a checkpoint folder, got checkpoint=None")
    if not isinstance(early_stopping, EarlyStopping | None):
        raise InputError(
            f"early_stopping: expected EarlyStopping(patience), got {early_stopping!r:.80}"
        )
    if max_grad_norm is not None and (
        not isinstance(max_grad_norm, Real)
        or isinstance(max_grad_norm, bool)
        or not max_grad_norm > 0
    ):
        raise InputError(
            f"max_grad_norm: expected a number above 0, or None for no limit, got {max_grad_norm!r}"
        )
    num_workers = check_count("num_workers", num_workers, least=0)
    # What torch's generators take, with room for the number of the epoch.
    seed = check_count("seed", seed, least=-(2**63), most=2**63 - 1)
    require_train_extra()
    classes = number_of_classes(net)
    usual, any_target = usual_transform(net, train=True), loss is not None
    known = getattr(net, "labels", None)
    reader = Reader("train", train_transform, usual, classes, any_target, columns, known)
    train_data, val_data = Prepared(train, reader), None
    if val is not None:
        usual = usual_transform(net, train=False)
        reader = Reader("val", eval_transform, usual, classes, columns=columns, labels=known)
        val_data = Prepared(val, reader)
    if loss is None:
        loss = CrossEntropy(label_smoothing, getattr(net, "aux_weight", 0.3))
    elif label_smoothing:
        raise InputError("label_smoothing: belongs to the usual loss, got a loss function as well")

    with ExitStack() as stack:
        acc = stack.enter_context(
            accelerator(
                cpu=cpu,
                mixed_precision=mixed_precision,
                gradient_accumulation=gradient_accumulation,
            )
        )
        sampler: EpochSampler | LoaderEpochs
        if train_data.loader is not None:
            sampler = LoaderEpochs(train_data.loader, "train", gradient_accumulation)
        else:
            images = len(train_data)
            batch_size = _batch_size(batch_size, images, gradient_accumulation, acc.num_processes)
            sampler = EpochSampler(images, batch_size, seed)
        if acc.num_processes > 1 and len(getattr(net, "hf_device_map", ())) > 1:
            raise InputError(
                "net: it lies on several devices, which one process trains; this job has "
                f"{acc.num_processes} processes"
            )
        sharded = sharded_wanted(sharded, acc, optimizer)
        if sync_batch_norm:
            stack.enter_context(synchronised_batch_norm(net, acc.device, acc.num_processes))
        if isinstance(net, Classifier):  # and its file will say so
            net.provenance = {**net.provenance, "trained": True}
        replica = ShardedReplica(net, acc.device, acc.num_processes) if sharded else Replica(net)
        made = make_optimizer(
            replica.trained, optimizer, lr=lr, head_lr=head_lr, weight_decay=weight_decay
        )
        scheduler = make_schedule(made, schedule, steps=epochs * sampler.steps, warmup=warmup)
        forward = vars(replica.trained).get("forward")
        # With evaluation_mode Accelerate leaves DistributedDataParallel out.
        model = acc.prepare_model(replica.trained, evaluation_mode=sharded)
        prepared_optimizer, loader = acc.prepare(
            made,
            train_loader(
                train_data,
                sampler,
                batch_size=batch_size // gradient_accumulation,
                num_workers=num_workers,
                processes=acc.num_processes,
            ),
        )
        run = Run(
            acc=acc,
            replica=replica,
            model=model,
            optimizer=prepared_optimizer,
            scheduler=scheduler,
            loader=loader,
            val_loader=None
            if val_data is None
            else acc.prepare_data_loader(
                eval_loader(
                    val_data,
                    batch_size=2 * batch_size,
                    num_workers=num_workers,
                    processes=acc.num_processes,
                )
            ),
            sampler=sampler,
            loss=loss,
            epochs=epochs,
            seed=seed,
            monitor=monitor,
            early_stopping=early_stopping,
            checkpoint=None if checkpoint is None else Path(checkpoint),
            max_grad_norm=max_grad_norm,
            drop_block=_drop_block_schedule(replica.trained, epochs * sampler.steps),
            progress=progress,
            on_epoch=on_epoch,
            settings={}
            if checkpoint is None
            else _settings(
                net,
                made,
                train=train,
                val=val,
                loss=loss,
                label_smoothing=label_smoothing,
                epochs=epochs,
                batch_size=batch_size,
                schedule=schedule,
                warmup=warmup,
                monitor=monitor,
                max_grad_norm=max_grad_norm,
                seed=seed,
                sharded=sharded,
            ),
        )
        try:
            with seeded(seed, acc.device):
                return run(resume=resume)
        finally:
            unwrap(acc, model, forward)
            net.eval()


def _settings(
    net: nn.Module,
    optimizer: Optimizer,
    *,
    train: ImageData | DataLoader[Any],
    val: ImageData | DataLoader[Any] | None,
    loss: Loss,
    **given: object,
) -> dict[str, object]:
    """What has to be the same for a run to go on as if never interrupted, as JSON has it.

    Who computes it, how many share it and in which precision may change.
    """
    loss_name = str(getattr(loss, "__qualname__", None) or type(loss).__qualname__)
    groups = optimizer.param_groups
    parts: dict[str, object] = {
        f"files of {name}": fingerprint(data) for name, data in (("train", train), ("val", val))
    }
    settings = {
        "network": getattr(net, "architecture", None) or type(net).__qualname__,
        "options": dict(getattr(net, "options", {})),
        "tensors": {key: list(value.shape) for key, value in net.state_dict().items()},
        "trained parameters": [n for n, p in net.named_parameters() if p.requires_grad],
        "classes": getattr(train, "classes", None) or getattr(net, "labels", None),
        "images": len(train),
        **parts,
        "optimizer": type(optimizer).__qualname__,
        "lr": [group.get("max_lr", group.get("initial_lr", group["lr"])) for group in groups],
        "weight_decay": [group.get("weight_decay") for group in groups],
        "loss": loss_name,
        "aux_weight": getattr(loss, "aux_weight", None),
        **given,
    }
    as_json: dict[str, object] = json.loads(json.dumps(settings, default=str))
    return as_json


def _drop_block_schedule(net: nn.Module, steps: int) -> DropBlockSchedule | None:
    blocks = (DropBlock1d, DropBlock2d, DropBlock3d)
    return (
        DropBlockSchedule(net, steps) if any(isinstance(m, blocks) for m in net.modules()) else None
    )


def _batch_size(wanted: int, images: int, parts: int, processes: int) -> int:
    """The batch of a step, cut evenly into the parts that go through the network one by one."""
    unit = parts * processes
    if wanted % unit:
        raise InputError(
            f"batch_size: expected a multiple of {unit} ({processes} process(es) times "
            f"gradient_accumulation={parts}), got {wanted}"
        )
    if images < unit:
        raise InputError(f"train: expected at least {unit} images for one step, got {images}")
    return min(wanted, images // unit * unit)
