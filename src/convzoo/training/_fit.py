"""`fit`: checks what it was given, sets up, and runs the loop."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from datetime import timedelta
from typing import Any, Literal, get_args

from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils.data import DataLoader

from convzoo._checks import check_choice, check_count, check_flags, check_number, check_path
from convzoo._classifier import Classifier
from convzoo._modes import check_network
from convzoo.datasets._prepared import (
    Columns,
    ImageData,
    ImageTransform,
    Prepared,
    Reader,
    Targets,
    usual_transform,
)
from convzoo.errors import InputError
from convzoo.training._accelerator import (
    MixedPrecision,
    accelerator,
    require_train_extra,
    seeded,
    sharded_wanted,
)
from convzoo.training._aid import DropBlockAid
from convzoo.training._checkpoint import how_often
from convzoo.training._class_balance import given_weights, image_weights
from convzoo.training._data import eval_loader, number_of_classes, steps_of
from convzoo.training._early_stopping import EarlyStopping
from convzoo.training._evaluate import unwrap
from convzoo.training._fit_aids import (
    EMAAid,
    L2SPAid,
    UnfreezingAid,
    image_aids,
    refuse_spread,
    schedule_aid,
)
from convzoo.training._l2_sp import L2SP
from convzoo.training._loop import Monitor, Run
from convzoo.training._mixing import Mixing, MixingName
from convzoo.training._progress import Progress
from convzoo.training._recipe import (
    CrossEntropy,
    Loss,
    LossName,
    OptimizerName,
    made_loss,
    make_optimizer,
    targets_of,
)
from convzoo.training._records import EpochRecord, History, StepRecord
from convzoo.training._replica import Replica, ShardedReplica
from convzoo.training._resizing import ProgressiveResizing
from convzoo.training._schedules import Schedule, ScheduleEvery
from convzoo.training._settings import settings_of
from convzoo.training._speed import compiled, layout
from convzoo.training._step import Stepper
from convzoo.training._sync_batch_norm import synchronised_batch_norm
from convzoo.training._trackers import TrackerName, Trackers
from convzoo.training._unfreezing import GradualUnfreezing


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
    layer_decay: float | None = None,
    weight_decay: float | None = None,
    l2_sp: float | None = None,
    optimizer: OptimizerName | Optimizer = "adamw",
    optimizer_options: Mapping[str, Any] | None = None,
    schedule: Schedule = "one_cycle",
    schedule_every: ScheduleEvery = "epoch",
    warmup: float | None = None,
    milestones: int | Sequence[float] | None = None,
    gamma: float | None = None,
    unfreeze_every: int | None = None,
    ema: float | None = None,
    label_smoothing: float = 0.0,
    class_weights: Literal["auto"] | Tensor | Sequence[float] | None = None,
    balanced: bool = False,
    loss: Loss | LossName | None = None,
    mixing: MixingName | Mixing | None = None,
    resizing: bool | ProgressiveResizing = False,
    flips: Literal["alternating"] | None = None,
    train_transform: ImageTransform | None = None,
    eval_transform: ImageTransform | None = None,
    monitor: Monitor | None = None,
    early_stopping: EarlyStopping | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    checkpoint_every: int | timedelta | None = timedelta(minutes=10),
    resume: bool = False,
    mixed_precision: MixedPrecision | None = None,
    channels_last: bool | None = None,
    compile: bool = False,  # noqa: A002 # torch's word for it
    gradient_accumulation: int = 1,
    max_grad_norm: float | None = None,
    sharded: bool | None = None,
    sync_batch_norm: bool = False,
    seed: int = 0,
    num_workers: int = 0,
    cpu: bool = False,
    progress: bool | None = None,
    on_step: Callable[[StepRecord], None] | None = None,
    on_epoch: Callable[[EpochRecord], None] | None = None,
    trackers: Sequence[TrackerName] = (),
    logging_dir: str | os.PathLike[str] | None = None,
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
        layer_decay: Factor by which rates fall from stage to stage towards the input, as in
            [param_groups][convzoo.param_groups].
        weight_decay: Not applied to biases and norms; None is 1e-2 for AdamW, 1e-4 for SGD, else 0;
            0 with `l2_sp`.
        l2_sp: Pull of the backbone towards the weights it has now, the `alpha` of
            [L2SP][convzoo.training.L2SP]; a tenth of it pulls the head to zero.
        optimizer: A name, or an optimizer over the network's parameters.
        optimizer_options: Further arguments of torch's class, by name: `{"momentum": 0.95}`.
        schedule: `"one_cycle"`, `"cosine"`, `"step"` or `"constant"`, as in
            [lr_schedule][convzoo.training.lr_schedule]; `"plateau"`, times `gamma` after 5 epochs
            in a row in which the monitored figure did not improve; or a function from the
            optimizer to one of torch's schedulers.
        schedule_every: After what torch's scheduler is stepped; a `ReduceLROnPlateau` sees the
            monitored figure.
        warmup: Share of all steps over which the learning rate rises, in [0, 1); None is 0.3 for
            `"one_cycle"`, else 0.
        milestones: For `"step"`: shares of the training; None is (0.5, 0.75).
        gamma: For `"step"` and `"plateau"`: the factor; None is 0.1.
        unfreeze_every: The head trains first, and the stages thaw one after the other, so many
            epochs apart ([GradualUnfreezing][convzoo.training.GradualUnfreezing]).
        ema: Decay of a moving average of the weights ([EMA][convzoo.training.EMA]), which is scored
            beside them; the better is kept, without `val` the average.
        label_smoothing: Share of the target spread over all classes, in [0, 1).
        class_weights: Weights of the classes in the training loss, (num_classes,); `"auto"` is
            [class_weights][convzoo.training.class_weights] of `train`.
        balanced: Whether to draw each class equally often, with replacement.
        loss: Called with what the network returned in training and the targets, (B,), or of mixed
            images (B, num_classes); returns the mean. None is cross-entropy, to which each
            auxiliary head adds its own times the network's `aux_weight`, if it has one, else 0.3.
            `"mse"`, the mean squared error, is for numbers: each label is a float, or as many as
            the network has outputs.
        mixing: [Mixing][convzoo.training.Mixing] of images: `"mixup"`, `"cutmix"`, or `"both"` in
            turn. Training accuracy is not counted then.
        resizing: Whether training images are small at first, by a
            [ProgressiveResizing][convzoo.training.ProgressiveResizing] with its defaults, or by the
            one given.
        flips: `"alternating"` mirrors each image every other epoch, in place of the preset's random
            flips ([AlternatingFlips][convzoo.training.AlternatingFlips]).
        train_transform: What to do with every training image instead of the preset's `train()`.
        eval_transform: What to do with every validation image instead of the preset's `eval()`.
        monitor: What makes an epoch the best: highest validation `"accuracy"` (of equals the one
            with the lowest loss) or lowest validation `"loss"`; None is the accuracy, of numbers
            the loss.
        early_stopping: Ends training when the monitored figure no longer improves; needs `val`.
        checkpoint: A folder. Every best network goes to its subfolder `best`, as
            [save][convzoo.save] writes it, and the state after each epoch to `last.pt`.
        checkpoint_every: How often the state is written within an epoch as well: after so many
            steps, or after so much time; None does not.
        resume: Go on from the checkpoint's `last.pt`, if it is there; the outcome is that of a run
            never interrupted.
        mixed_precision: `"bf16"` or `"fp16"` for the forward pass, `"auto"` for bf16 where the
            processor or GPU computes in it; None takes what `accelerate launch` was told, else full
            precision.
        channels_last: Whether weights and images lie in memory channels last while it trains; None
            chooses what is faster.
        compile: Whether to compile the network with `torch.compile`, which takes a minute at the
            first step and needs a C++ compiler, or on a GPU Triton.
        gradient_accumulation: Parts in which a step's batch goes through the network one after
            the other, to save memory. Batch normalisation sees the parts. Where the memory of one
            process does not suffice, the parts are halved by themselves, which the log says.
        max_grad_norm: Scales the gradient down to this norm, above 0, where it is larger.
        sharded: Whether several processes share out weights, gradients and optimizer state, stage
            by stage (PyTorch's FSDP2), instead of each holding all of them; None does what
            `accelerate launch` was told. One process holds all in any case.
        sync_batch_norm: Whether batch normalisation takes its statistics over the batches of all
            processes. PyTorch can do that on GPUs.
        seed: Of order, augmentation and dropout.
        num_workers: Processes that read and prepare images; 0 does it in this one.
        cpu: Whether to stay on the CPU where there is a GPU.
        progress: Whether to show bars and print a line an epoch; None does at a terminal and in a
            notebook.
        on_step: Called after every step, in every process.
        on_epoch: Called after every epoch, in every process; no line is printed then.
        trackers: Where the figures of every epoch and every 16th step go: `"csv"` (a file
            `metrics.csv`), `"tensorboard"`, `"trackio"`, `"wandb"`, `"mlflow"`; each but the first
            is an extra of its name.
        logging_dir: The folder for those that write files; None is the checkpoint's.

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
        ConvzooError: The `train` extra is not installed, or a tracker's.

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
    check_flags(
        resume=resume, compile=compile, sync_batch_norm=sync_batch_norm, cpu=cpu, balanced=balanced
    )
    if progress is not None:
        check_flags(progress=progress)
    epochs = check_count("epochs", epochs)
    batch_size = check_count("batch_size", batch_size)
    gradient_accumulation = check_count("gradient_accumulation", gradient_accumulation)
    labelled_by = targets_of(loss)
    monitor = _monitor(monitor, labelled_by)
    of_classes = {"balanced": balanced or None, "mixing": mixing, "class_weights": class_weights}
    for name, value in of_classes.items():
        if labelled_by == "numbers" and value is not None:
            raise InputError(f"{name}: belongs to classes, got loss={loss!r} as well")
    if val is None and early_stopping is not None:
        raise InputError("early_stopping: needs a validation set, got val=None")
    if resume and checkpoint is None:
        raise InputError("resume: needs a checkpoint folder, got checkpoint=None")
    if not isinstance(early_stopping, EarlyStopping | None):
        raise InputError(
            f"early_stopping: expected EarlyStopping(patience), got {early_stopping!r:.80}"
        )
    if max_grad_norm is not None and check_number("max_grad_norm", max_grad_norm, 0) == 0:
        raise InputError("max_grad_norm: expected a number above 0, or None for no limit, got 0")
    num_workers = check_count("num_workers", num_workers, least=0)
    if channels_last is not None:
        check_flags(channels_last=channels_last)
    checkpoint_every = how_often("checkpoint_every", checkpoint_every)
    # What torch's generators take, with room for the number of the epoch.
    seed = check_count("seed", seed, least=-(2**63), most=2**63 - 1)
    require_train_extra()
    folder = None if checkpoint is None else check_path("checkpoint", checkpoint)
    logs = folder if logging_dir is None else check_path("logging_dir", logging_dir)
    tracked = Trackers(trackers, logs)
    classes = number_of_classes(net)
    known = None if labelled_by == "numbers" else getattr(net, "labels", None)
    usual = usual_transform(net, train=True)
    reader = Reader("train", train_transform, usual, classes, labelled_by, columns, known)
    train_data, val_data = Prepared(train, reader), None
    if val is not None:
        usual = usual_transform(net, train=False)
        judged: Targets = "numbers" if labelled_by == "numbers" else "classes"
        reader = Reader("val", eval_transform, usual, classes, judged, columns, known)
        val_data = Prepared(val, reader)
    if balanced and train_data.loader is not None:
        raise InputError("balanced: a DataLoader draws by itself; give it a balanced_sampler(data)")
    numbered = train if isinstance(train, DataLoader) else train_data.data
    aids = image_aids(
        train_data, net, mixing=mixing, resizing=resizing, flips=flips, epochs=epochs, seed=seed
    )
    weights = given_weights(class_weights, numbered, classes, columns)
    loss = made_loss(loss, getattr(net, "aux_weight", 0.3), label_smoothing, weights)
    share = loss.share if isinstance(loss, CrossEntropy) else len

    with ExitStack() as stack:
        acc = stack.enter_context(accelerator(cpu=cpu, mixed_precision=mixed_precision))
        stack.callback(acc.free_memory)  # what refers to each other would stay for a while
        processes = acc.num_processes
        if processes > 1 and len(getattr(net, "hf_device_map", ())) > 1:
            raise InputError(
                "net: it lies on several devices, which one process trains; this job has "
                f"{processes} processes"
            )
        steps, batch_size = steps_of(
            train_data,
            acc,
            batch_size=batch_size,
            parts=gradient_accumulation,
            weights=image_weights(numbered, columns=columns) if balanced else None,
            num_workers=num_workers,
            seed=seed,
        )
        sharded = sharded_wanted(sharded, acc, optimizer)
        if sync_batch_norm:
            stack.enter_context(synchronised_batch_norm(net, acc.device, processes))
        if isinstance(net, Classifier):  # and its file will say so
            net.provenance = {**net.provenance, "trained": True}
        replica = ShardedReplica(net, acc.device, processes) if sharded else Replica(net)
        in_layout = stack.enter_context(
            layout(replica.trained, channels_last, acc.device, sharded=sharded)
        )
        if l2_sp is not None and weight_decay is None and isinstance(optimizer, str):
            weight_decay = 0.0
        made = make_optimizer(
            replica.trained,
            optimizer,
            lr=lr,
            head_lr=head_lr,
            weight_decay=weight_decay,
            layer_decay=layer_decay,
            options=optimizer_options,
            fused=not sharded and acc.device.type in ("cpu", "cuda"),
        )
        all_steps = epochs * steps.per_epoch
        aids.append(
            schedule_aid(
                made,
                schedule,
                steps=all_steps,
                warmup=warmup,
                milestones=milestones,
                gamma=gamma,
                every=schedule_every,
                monitor=monitor,
                scored=val is not None,
            )
        )
        if DropBlockAid.applies(replica.trained):
            aids.append(DropBlockAid(replica.trained, all_steps))
        refuse_spread(
            sharded=sharded, processes=processes, ema=ema, l2_sp=l2_sp, unfreeze=unfreeze_every
        )
        if l2_sp is not None:
            pull = L2SPAid(L2SP(net, l2_sp, l2_sp / 10), loss)
            aids.append(pull)
            loss = pull
        average = None if ema is None else EMAAid(replica.trained, ema)
        if average is not None:
            aids.append(average)
        if unfreeze_every is not None:
            unfreezing = GradualUnfreezing(net, made, every=unfreeze_every)
            stack.callback(unfreezing.finish)
            aids.append(UnfreezingAid(unfreezing))
        forward = vars(replica.trained).get("forward")
        # With evaluation_mode Accelerate leaves DistributedDataParallel out.
        model = acc.prepare_model(replica.trained, evaluation_mode=sharded)
        stepper = Stepper(
            acc=acc,
            replica=replica,
            model=model,
            forward=compiled(model) if compile else model,
            optimizer=acc.prepare_optimizer(made),
            loss=loss,
            aids=aids,
            max_grad_norm=max_grad_norm,
            channels_last=in_layout,
            parts=1 if train_data.loader is not None else gradient_accumulation,
            share=share,
        )
        given = {
            "label_smoothing": label_smoothing,
            "epochs": epochs,
            "batch_size": batch_size,
            "schedule": schedule if isinstance(schedule, str) else None,
            "warmup": warmup,
            "milestones": milestones,
            "gamma": gamma,
            "class_weights": None if weights is None else weights.tolist(),
            "balanced": balanced,
            "monitor": monitor,
            "max_grad_norm": max_grad_norm,
            "seed": seed,
            "sharded": sharded,
        }
        settings = {}
        if folder is not None or trackers:
            settings = settings_of(net, made, aids, train=train, val=val, loss=loss, given=given)
        run = Run(
            stepper=stepper,
            steps=steps,
            train=train,
            val_loader=None
            if val_data is None
            else acc.prepare_data_loader(
                eval_loader(
                    val_data,
                    batch_size=2 * batch_size,
                    num_workers=num_workers,
                    processes=processes,
                )
            ),
            epochs=epochs,
            seed=seed,
            monitor=monitor,
            early_stopping=early_stopping,
            checkpoint=folder,
            checkpoint_every=checkpoint_every,
            progress=Progress(progress, main=acc.is_main_process),
            on_step=on_step,
            on_epoch=on_epoch,
            trackers=tracked,
            settings=settings,
            regression=labelled_by == "numbers",
        )
        try:
            with seeded(seed, acc.device):
                history = run(resume=resume)
            if average is not None and val is None:
                average.finish()
            return history
        finally:
            unwrap(acc, model, forward)
            net.eval()


def _monitor(given: Monitor | None, targets: Targets) -> Monitor:
    """What chooses the best epoch."""
    if given is not None:
        check_choice("monitor", given, get_args(Monitor))
    if targets != "numbers":
        return given or "accuracy"
    if given == "accuracy":
        raise InputError('monitor: numbers are not right or wrong; pass "loss", or None')
    return "loss"
