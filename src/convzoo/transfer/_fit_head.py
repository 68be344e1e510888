"""A head trained on features that were computed once."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from typing import Final, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap
from torch.utils.data import TensorDataset

from convzoo._checks import check_count, check_number
from convzoo._modes import evaluation, kept_modes
from convzoo.errors import InputError
from convzoo.transfer._find_heads import find_heads, score_width, unwrap

_RATES: Final = (1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1)
FOLDS: Final = 3  # of a search for the rate
_MOST_SEARCHED: Final = 2_000  # images that a search for the rate looks at


def fit_head(
    net: nn.Module,
    features: TensorDataset,
    *,
    epochs: int = 100,
    lr: float = 1e-3,
    weight_decay: float = 1e-2,
    batch_size: int = 256,
    seed: int = 0,
) -> list[float]:
    """Train a network's head on cached features, with AdamW and cross-entropy.

    Only the last layer of the main head changes; auxiliary heads never see these features.

    Args:
        net: The network that the features came from.
        features: What [cached_features][convzoo.cached_features] returned. Of several views of an
            image, every epoch draws one.
        epochs: Passes over the features.
        lr: Learning rate at the start; it falls to zero along a cosine.
            [find_head_lr][convzoo.transfer.find_head_lr] finds a good one.
        weight_decay: Weight decay of the head's weights; biases have none.
        batch_size: Features in one step.
        seed: Seed of the order in which the features come, and of the views.

    Returns:
        The mean loss of each epoch.

    Raises:
        InputError: There are no features, they are not as long as the head's input, a class
            number is none of the head's classes, or a number is out of range.

    Examples:
        >>> import torch, convzoo
        >>> from torch.utils.data import TensorDataset
        >>> net = convzoo.replace_head(convzoo.cifar_resnet20(), 2, freeze="backbone")
        >>> data = TensorDataset(torch.randn(4, 3, 32, 32), torch.tensor([0, 1, 0, 1]))
        >>> losses = convzoo.fit_head(net, convzoo.cached_features(net, data), epochs=20)
        >>> losses[-1] < losses[0]
        True
    """
    recipe = HeadRecipe.checked(epochs, lr, weight_decay, batch_size, seed)
    head, x, y = _taken(net, features)
    if not any(p.requires_grad for p in head.parameters()):
        raise InputError("net: the head is frozen; unfreeze it before it is trained")
    with kept_modes(head):
        return _train(head, x, y, recipe)


class HeadRates(NamedTuple):
    """What [find_head_lr][convzoo.transfer.find_head_lr] tried.

    Attributes:
        best: The learning rate with the least loss.
        rates: All that were tried.
        losses: Mean loss of each on the images that were held out.
        accuracies: Share of these scored right, in [0, 1].
    """

    best: float
    rates: tuple[float, ...]
    losses: tuple[float, ...]
    accuracies: tuple[float, ...]


def find_head_lr(
    net: nn.Module,
    features: TensorDataset,
    *,
    rates: Sequence[float] = _RATES,
    folds: int = FOLDS,
    epochs: int = 100,
    weight_decay: float = 1e-2,
    batch_size: int = 256,
    seed: int = 0,
) -> HeadRates:
    """Find the learning rate for a head by cross-validation on cached features.

    For each rate the head is trained as [fit_head][convzoo.fit_head] does on all parts but one and
    judged on that one, each part in its turn; the parts have their share of each class. It is a
    fresh one each time, and the network's own stays as it is. Of more than 2,000 images that many
    are drawn.

    Args:
        net: As in `fit_head`.
        features: Likewise.
        rates: The learning rates to try.
        folds: How many parts, at least 2.
        epochs: As in `fit_head`, and best the same.
        weight_decay: Likewise.
        batch_size: Likewise.
        seed: Likewise, and of the parts.

    Returns:
        The best rate, and what each of them scored.

    Raises:
        InputError: As `fit_head` raises it, or there are fewer images than parts.
    """
    folds = check_count("folds", folds, least=2)
    if isinstance(rates, str) or not isinstance(rates, Sequence) or not rates:
        raise InputError(f"rates: expected learning rates, got {rates!r:.80}")
    recipes = [HeadRecipe.checked(epochs, lr, weight_decay, batch_size, seed) for lr in rates]
    head, x, y = _taken(net, features)
    order = torch.randperm(len(y), generator=torch.Generator().manual_seed(seed))
    order = order[:_MOST_SEARCHED].to(y.device)
    x, y = x[order], y[order]
    if len(y) < folds:
        raise InputError(f"features: expected at least {folds} images, one a part, got {len(y)}")
    part = torch.empty_like(y)
    part[y.argsort(stable=True)] = torch.arange(len(y), device=y.device) % folds
    tried = [_Trial(recipe.lr, fold) for recipe in recipes for fold in range(folds)]
    scores = _train_all(head, x, y, part, tried, recipes[0])  # (trials, N, classes)
    truth = torch.cat([y[part == fold] for fold in range(folds)])
    losses, accuracies = [], []
    for start in range(0, len(tried), folds):
        said = torch.cat([scores[start + fold][part == fold] for fold in range(folds)])
        losses.append(float(F.cross_entropy(said, truth)))
        accuracies.append(float((said.argmax(1) == truth).float().mean()))
    finite = [loss if math.isfinite(loss) else math.inf for loss in losses]
    best = recipes[finite.index(min(finite))].lr
    return HeadRates(best, tuple(r.lr for r in recipes), tuple(losses), tuple(accuracies))


def head_scores(net: nn.Module, features: Tensor, batch_size: int = 4096) -> Tensor:
    """What a network's head says of features (N, D): scores (N, num_classes), on the CPU."""
    core = unwrap(net)
    head = core.get_submodule(find_heads(core)[0])
    device = next((p.device for p in head.parameters()), torch.device("cpu"))
    with evaluation(head), torch.no_grad():
        parts = [
            _scores(head, x.to(device)).float().cpu() for x in torch.split(features, batch_size)
        ]
    return torch.cat(parts)


class HeadRecipe(NamedTuple):
    """How a head is trained."""

    epochs: int
    lr: float
    weight_decay: float
    batch_size: int
    seed: int

    @classmethod
    def checked(
        cls, epochs: int, lr: float, weight_decay: float, batch_size: int, seed: int
    ) -> HeadRecipe:
        """From what the user gave."""
        return cls(
            check_count("epochs", epochs),
            check_number("lr", lr, 0),
            check_number("weight_decay", weight_decay, 0),
            check_count("batch_size", batch_size),
            check_count("seed", seed, least=-(2**63), most=2**63 - 1),
        )


def _taken(net: nn.Module, features: TensorDataset) -> tuple[nn.Module, Tensor, Tensor]:
    """The head, and features (N, D) or (N, views, D) with class numbers (N,) on its device."""
    core = unwrap(net)
    head = core.get_submodule(find_heads(core)[0])
    if not isinstance(features, TensorDataset) or len(features.tensors) != 2:
        raise InputError(
            "features: expected the TensorDataset of two tensors that cached_features returns, "
            f"got {features!r:.80}"
        )
    x, y = features.tensors
    if getattr(core, "num_classes", None) == 0:
        raise InputError("net: it has no head; replace_head(net, num_classes) gives it one")
    weight = next(head.parameters())
    width = weight.shape[1]
    if x.ndim not in (2, 3) or x.shape[-1] != width:
        raise InputError(f"features: expected shape (N, {width}), got {tuple(x.shape)}")
    _check_classes(y, len(x), score_width(head) or weight.shape[0])
    return head, x.to(weight.device), y.to(weight.device, torch.long)


def _train(head: nn.Module, x: Tensor, y: Tensor, recipe: HeadRecipe) -> list[float]:
    parameters = [p for p in head.parameters() if p.requires_grad]
    order = torch.Generator().manual_seed(recipe.seed)
    optimizer = torch.optim.AdamW(
        [
            {
                "params": [p for p in parameters if p.ndim > 1],
                "weight_decay": recipe.weight_decay,
            },
            {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
        ],
        lr=recipe.lr,
    )
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, recipe.epochs)
    losses: list[Tensor] = []
    head.train()
    for _ in range(recipe.epochs):
        total = torch.zeros((), device=x.device)
        for index in torch.split(torch.randperm(len(x), generator=order), recipe.batch_size):
            batch = _one_view(x[index.to(x.device)], order)
            loss = F.cross_entropy(_scores(head, batch), y[index.to(y.device)])
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            optimizer.step()
            total += loss.detach() * len(index)
        schedule.step()
        losses.append(total / len(x))
    return torch.stack(losses).tolist()


class _Trial(NamedTuple):
    """A head that is trained at a rate on all parts but one."""

    lr: float
    fold: int


def _train_all(
    head: nn.Module,
    x: Tensor,
    y: Tensor,
    part: Tensor,
    trials: Sequence[_Trial],
    recipe: HeadRecipe,
) -> Tensor:
    """Scores (trials, N, classes) of heads that are trained side by side, as `_train` does."""
    head = copy.deepcopy(head).train()
    # Afresh: what the network's own head has learned it may have learned from the part held out.
    with torch.random.fork_rng():
        torch.manual_seed(recipe.seed)
        for module in head.modules():
            reset = getattr(module, "reset_parameters", None)
            if callable(reset):
                reset()
    weights = {
        name: p.detach().expand(len(trials), *p.shape).clone()
        for name, p in head.named_parameters()
    }
    fold = torch.tensor([trial.fold for trial in trials], device=x.device)
    rates = torch.tensor([trial.lr for trial in trials], device=x.device)
    moments = {name: (torch.zeros_like(w), torch.zeros_like(w)) for name, w in weights.items()}

    def scored(weights: dict[str, Tensor], batch: Tensor) -> Tensor:
        found: Tensor = functional_call(head, weights, (_shaped(head, batch),))
        return found.flatten(1)

    def loss(weights: dict[str, Tensor], batch: Tensor, truth: Tensor, counts: Tensor) -> Tensor:
        each = F.cross_entropy(scored(weights, batch), truth, reduction="none")
        return (each * counts).sum() / counts.sum().clamp(min=1)

    gradients = vmap(grad(loss), in_dims=(0, None, None, 0), randomness="different")
    order = torch.Generator().manual_seed(recipe.seed)
    step = 0
    for epoch in range(recipe.epochs):
        now = rates * (1 + math.cos(math.pi * epoch / recipe.epochs)) / 2
        for index in torch.split(torch.randperm(len(x), generator=order), recipe.batch_size):
            step += 1
            chosen = index.to(x.device)
            counts = (part[chosen][None] != fold[:, None]).float()
            found = gradients(weights, _one_view(x[chosen], order), y[chosen], counts)
            for name, w in weights.items():  # AdamW, with a rate for each
                lr = now.reshape(-1, *[1] * (w.ndim - 1))
                mean, square = moments[name]
                mean.lerp_(found[name], 0.1)
                square.lerp_(found[name] ** 2, 0.001)
                if w.ndim > 2:
                    w.mul_(1 - lr * recipe.weight_decay)
                size = (square / (1 - 0.999**step)).sqrt_().add_(1e-8)
                w.sub_(lr * mean / (1 - 0.9**step) / size)
    head.eval()
    plain = x[:, 0] if x.ndim == 3 else x
    with torch.no_grad():
        found_scores: Tensor = vmap(scored, in_dims=(0, None))(weights, plain)
    return found_scores


def _one_view(batch: Tensor, order: torch.Generator) -> Tensor:
    """Of features (B, views, D) one view of each image."""
    if batch.ndim == 2:
        return batch
    view = torch.randint(batch.shape[1], (len(batch),), generator=order)
    return batch[torch.arange(len(batch)), view]


def _scores(head: nn.Module, x: Tensor) -> Tensor:
    """What a head says of vectors (B, D)."""
    scores: Tensor = head(_shaped(head, x))
    return scores.flatten(1)


def _shaped(head: nn.Module, x: Tensor) -> Tensor:
    """Vectors (B, D) as a head wants them: (B, D, 1, 1) if it is a convolution."""
    return x[:, :, None, None] if next(head.parameters()).ndim == 4 else x


def _check_classes(y: Tensor, count: int, classes: int) -> None:
    """Refuse class numbers that cross-entropy would answer with a crash, on a GPU a fatal one."""
    if count == 0:
        raise InputError("features: expected at least one image's, got none")
    if y.ndim != 1 or y.is_floating_point() or y.is_complex() or y.dtype == torch.bool:
        raise InputError(
            f"features: expected one class number an image, integers of shape ({count},), "
            f"got {y.dtype} of shape {tuple(y.shape)}"
        )
    least, most = int(y.min()), int(y.max())
    if least < 0 or most >= classes:
        raise InputError(
            f"features: expected class numbers from 0 to {classes - 1}, "
            f"got {least if least < 0 else most}; "
            f"the head scores {classes} classes (see replace_head)"
        )
