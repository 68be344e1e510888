# %% [markdown]
# # A first CNN in PyTorch
#
# Nobody tells this program what a sleeve is, or the loop of an 8. It gets pictures, each with the
# number of its class, and nothing else. **How does it come to tell them apart, and how do we notice
# when it has only learned our pictures by heart?**

# %%
# picture: Twenty training pictures, each with the name of its class
import argparse
import math
import tempfile
from pathlib import Path

import torch
import torch.nn.functional as F
from matplotlib.figure import Figure
from torch import nn
from torch.utils.data import DataLoader, Dataset

import convzoo
from convzoo import datasets, visualize

parser = argparse.ArgumentParser()
parser.add_argument("--data", default="digits", choices=["digits", "fashion_mnist", "cifar10"])
DATA = parser.parse_known_args()[0].data  # in a notebook: the digits, or write another name here
QUICK = DATA == "digits"  # small pictures, a few seconds; the others take some minutes
MANY, PART, FEW, JUDGES = (1000, 400, 60, 200) if QUICK else (8000, 3000, 300, 2000)  # pictures
EPOCHS, SHORT, LONG = (3, 4, 10) if QUICK else (4, 15, 30)
RATE, GOAL = (3e-3, 0.2) if QUICK else (1e-3, 0.1)

torch.manual_seed(0)
data = datasets.load(DATA)
CLASSES = len(data.classes)
CHANNELS, SIDE = data.train[0][0].shape[:2]  # 1 for grey or 3 for colours, and pixels

first = [data.train[i] for i in range(20)]
visualize.batch_grid(
    torch.stack([image for image, _ in first]),
    titles=[data.classes[label] for _, label in first],
    columns=10,
)

# %% [markdown]
# This is what it learns from, a few thousand of them. A picture is a block of numbers from 0 to
# 255, and its class is a number too: the first name in the list is 0.
#
# ## The data: Dataset and DataLoader
#
# Two small things of PyTorch's stand between a pile of pictures and a network. A **Dataset** says
# how many pictures there are and hands out any one of them. Ours also brings the numbers into a
# range that suits a network: mean 0, spread 1, measured on the training pictures and nowhere else,
# since the others are there to judge.

# %%
pixels = torch.stack([image for image, _ in data.train.subset(range(MANY))]) / 255
MEAN, SPREAD = pixels.mean().item(), pixels.std().item()


class Pictures(Dataset):
    """Pictures as the network takes them, with the numbers of their classes."""

    def __init__(self, raw, count):
        self.raw = raw.subset(range(min(count, len(raw))))

    def __len__(self):
        return len(self.raw)

    def __getitem__(self, index):
        image, label = self.raw[index]  # uint8, (C, H, W)
        return (image / 255 - MEAN) / SPREAD, label


train = Pictures(data.train, MANY)
val = Pictures(data.val, JUDGES)
test = Pictures(data.test, JUDGES)
print(f"{len(train)} to learn from, {len(val)} to watch over it, {len(test)} to judge at the end")
print(f"mean {MEAN:.3f}, spread {SPREAD:.3f} of pixels from 0 to 1")

# %% [markdown]
# A **DataLoader** draws batches from it, in another order each epoch. An epoch is once through all
# training pictures; a batch is as many as go through the network at a time.

# %%
train_batches = DataLoader(train, batch_size=64, shuffle=True)
val_batches = DataLoader(val, batch_size=256)

batch, answers = next(iter(train_batches))
print("images", tuple(batch.shape), batch.dtype, f"from {batch.min():.1f} to {batch.max():.1f}")
print("labels", tuple(answers.shape), answers[:8].tolist(), "...")
print(len(train_batches), "batches an epoch")

# %% [markdown]
# ## The network
#
# An `nn.Module` has its layers as attributes, and a `forward` that says how a batch goes through
# them. Note the shapes beside the lines: most mistakes are wrong shapes. Two convolutions look for
# patterns of 3 x 3, after each of them pooling keeps the strongest answer of every 2 x 2, and two
# linear layers make scores of what is left.


# %%
class FirstCNN(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(CHANNELS, 16, kernel_size=3, padding=1)
        self.conv2 = nn.Conv2d(16, 32, kernel_size=3, padding=1)
        self.pool = nn.MaxPool2d(2)
        self.fc1 = nn.Linear(32 * (SIDE // 4) ** 2, 64)
        self.fc2 = nn.Linear(64, CLASSES)

    def forward(self, x):  # (B, C, S, S)
        x = self.pool(F.relu(self.conv1(x)))  # (B, 16, S / 2, S / 2)
        x = self.pool(F.relu(self.conv2(x)))  # (B, 32, S / 4, S / 4)
        x = x.flatten(1)  # (B, 32 * S / 4 * S / 4)
        x = F.relu(self.fc1(x))  # (B, 64)
        return self.fc2(x)  # (B, classes): scores, not yet probabilities


net = FirstCNN()
print(convzoo.summary(net, SIDE))

# %% [markdown]
# The table says the same with numbers. `field` is how many pixels a value sees: 3, then 8, then
# all. Most parameters are in the first linear layer, and most multiplications in the
# convolutions: their few weights are used at every place of the picture.
#
# ## Loss and optimizer: one step
#
# The **loss** says how wrong the scores are. Cross-entropy turns scores into probabilities and
# takes minus the logarithm of what the right class got: 0 if the network was sure of it and right.
# A network that knows nothing gives every class the same share, and its loss is the logarithm of
# the number of classes. The **optimizer** changes every weight a little, against its gradient.

# %%
optimizer = torch.optim.Adam(net.parameters(), lr=RATE)

scores = net(batch)  # (64, classes)
loss = F.cross_entropy(scores, answers)
print(f"before: {loss:.3f}; who knows nothing has {math.log(CLASSES):.3f}")

optimizer.zero_grad()  # gradients add up, so away with those of the step before
loss.backward()  # now every weight w has its w.grad
optimizer.step()
print(f"the same batch after one step: {F.cross_entropy(net(batch), answers):.3f}")

# %% [markdown]
# One step, and the loss of this batch is lower. Training is nothing but this, some hundred times,
# each time with another batch.
#
# ## The training loop by hand
#
# Two functions. The first goes once through the training pictures. The second only looks: no
# gradients, nothing changes, and `eval()` tells layers such as dropout that it is not training.


# %%
def train_epoch(net, batches, optimizer):
    """Once through the training pictures; the mean loss and the share that was right."""
    net.train()
    total, right, seen = 0.0, 0, 0
    for images, labels in batches:
        scores = net(images)
        loss = F.cross_entropy(scores, labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        total += loss.item() * len(images)
        right += (scores.argmax(1) == labels).sum().item()
        seen += len(images)
    return total / seen, right / seen


@torch.no_grad()
def look(net, batches):
    """Mean loss and share right, without learning anything."""
    net.eval()
    total, right, seen = 0.0, 0, 0
    for images, labels in batches:
        scores = net(images)
        total += F.cross_entropy(scores, labels, reduction="sum").item()
        right += (scores.argmax(1) == labels).sum().item()
        seen += len(images)
    return total / seen, right / seen


torch.manual_seed(0)
net = FirstCNN()
optimizer = torch.optim.Adam(net.parameters(), lr=RATE)
print("epoch  train loss  accuracy  val loss  accuracy")
for epoch in range(1, EPOCHS + 1):
    train_loss, train_accuracy = train_epoch(net, train_batches, optimizer)
    val_loss, val_accuracy = look(net, val_batches)
    print(f"{epoch:5}  {train_loss:10.3f}  {train_accuracy:8.1%}", end="  ")
    print(f"{val_loss:8.3f}  {val_accuracy:8.1%}")

# %% [markdown]
# Loss down, accuracy up, on the training pictures and on those that it does not learn from. The
# training columns were measured on the way, while the network changed, so that the first epochs can
# look worse there than on the validation pictures.
#
# ## The same with `convzoo.fit`
#
# Every training loop in the world looks like this one, so there is one to call. It takes any
# network and any data set; it draws the batches itself, keeps the weights of the best epoch and
# returns what happened.

# %%
# picture: Loss and accuracy by epoch, of training and validation pictures
torch.manual_seed(0)
twin = FirstCNN()
settings = {"batch_size": 64, "optimizer": "adam", "lr": RATE, "schedule": "constant"}
history = convzoo.fit(twin, train, val, epochs=EPOCHS, on_epoch=print, **settings)
visualize.learning_curve(history)

# %% [markdown]
# These are **learning curves**, the first thing to look at after any training. Both lines of the
# loss still fall and stay close together: this network is not done learning. The star marks the
# epoch that was kept. The numbers differ a little from those of our own loop, since the pictures
# came in another order.
#
# Validation pictures chose the epoch, so they are no fair judge any more. The test pictures are:

# %%
# picture: Which classes are taken for which
result = convzoo.evaluate(twin, test, labels=data.classes)
print(f"by convzoo.evaluate: loss {result.loss:.3f}, {result.top1:.2%} right")
loss, accuracy = look(twin, DataLoader(test, batch_size=256))
print(f"by our own function: loss {loss:.3f}, {accuracy:.2%} right")
for true, taken_for, count, share in result.most_confused(3):
    print(f"{count} of {true}, {share:.0%}, taken for {taken_for}")
visualize.confusion_matrix(result)

# %% [markdown]
# A row is a class as it is, a column what the network said. What stands off the diagonal is a
# mistake, and mistakes are between things that look alike.
#
# ## One picture
#
# A network takes batches, so one picture becomes a batch of one. `softmax` turns its scores into
# probabilities.

# %%
image, label = test[0]  # (C, S, S)
twin.eval()
with torch.no_grad():
    probabilities = F.softmax(twin(image[None]), dim=1)[0]  # (1, C, S, S) -> (classes,)
best = probabilities.argsort(descending=True)[:3]
for index in best.tolist():
    print(f"{data.classes[index]:12} {probabilities[index]:.3f}")
print("it is:", data.classes[label])

# %% [markdown]
# ## Saving and loading
#
# PyTorch saves a dictionary of tensors, the **state dict**. To load it one needs the class again.

# %%
place = tempfile.TemporaryDirectory()  # goes when Python ends; in earnest, a folder that stays
folder = Path(place.name)
torch.save(twin.state_dict(), folder / "first_cnn.pt")

again = FirstCNN()
again.load_state_dict(torch.load(folder / "first_cnn.pt", weights_only=True))
again.eval()
print("the same scores:", torch.equal(again(image[None]), twin(image[None])))
print({name: tuple(tensor.shape) for name, tensor in twin.state_dict().items()})

# %% [markdown]
# What the file does not hold: the code of the class, the names of the classes, and that pixels were
# brought to mean 0 and spread 1. Whoever forgets the last gets other scores, and no error. A
# network that `convzoo.cnn` builds is the same stack in one line, and `save` keeps all that it
# needs.

# %%
# picture: A test picture, and the five likeliest classes as bars
stack = [(16, 3), "pool", (32, 3), "pool"]  # filters and the side of their kernels


def build(image_size=SIDE, **more):
    """The network above, or one that differs in what is given."""
    net = convzoo.cnn(
        stack, hidden=(64,), padding="zeros", image_size=image_size, in_channels=CHANNELS,
        num_classes=CLASSES, **more,
    )  # fmt: skip
    net.preset = net.preset.replace(mean=(MEAN,) * CHANNELS, std=(SPREAD,) * CHANNELS)
    net.labels = data.classes
    return net


zoo = build()
own = twin.state_dict()  # the same shapes in the same order, so that its weights fit
zoo.load_state_dict(dict(zip(zoo.state_dict(), own.values(), strict=True)))
convzoo.save(zoo, folder / "zoo")

predict = convzoo.Predictor(folder / "zoo", top_k=3)
for guess in predict(data.test[0][0]):  # the raw picture: it prepares that by itself
    print(f"{guess.label:12} {guess.probability:.3f}")
visualize.draw_top_k(zoo, data.test[0][0])

# %% [markdown]
# The same three numbers as above, from a raw picture and a folder.
#
# ## Overfitting
#
# Now few pictures and many epochs. The network has hundreds of weights for each of them, so it need
# not understand anything: it can learn them by heart.

# %%
# picture: Few pictures: training loss falls to zero, validation loss falls and rises again
few = list(Pictures(data.train, FEW))  # prepared once: a list is a data set too
watch = list(Pictures(data.val, 600))
settings["batch_size"] = 16
torch.manual_seed(0)
plain = convzoo.fit(build(), few, watch, epochs=LONG, **settings)
last = plain.epochs[-1]
print(f"{FEW} pictures, {sum(p.numel() for p in zoo.parameters()):,} weights")
print(f"training: {last.train_accuracy:.1%} right, validation: {last.val_accuracy:.1%}")
visualize.learning_curve(plain)

# %% [markdown]
# **This is what overfitting looks like.** The training loss goes to nothing, the training accuracy
# to all. The validation loss falls, turns, and rises: from there on the network becomes surer of
# its mistakes. Accuracy hides it, for it stays about where it was; the gap between the two lines
# tells.
#
# What helps? More pictures, always. When there are none:
#
# - **Dropout** switches off half of the hidden units in each step, others each time, so that none
#   can rely on its neighbours.
# - **Augmentation** shows each picture a little moved, differently each time. What is moved is
#   still the same thing, and nobody can learn by heart what never comes twice.
# - **Early stopping** ends the training when the validation loss has not improved for a while.

# %%
# picture: One training picture as augmentation shows it, moved and partly mirrored
# Digits must not be mirrored, and pictures of 8 pixels move by one.
moved = zoo.preset.train(padding=max(1, SIDE // 10), hflip=0.0 if QUICK else 0.5)
sheet = visualize.augmentations(zoo.preset, data.train[5][0], 12, transform=moved)
visualize.batch_grid(sheet, zoo.preset, columns=12)


# %%
# picture: Validation loss by epoch, with nothing, with dropout, with augmentation, with both
def draw(panels, xlabel="epoch"):
    """Lines, one panel a title: {title: {name: numbers}}."""
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    row = figure.subplots(1, len(panels), squeeze=False)[0]
    for axes, (title, lines) in zip(row, panels.items(), strict=True):
        for name, numbers in lines.items():
            dashes = "--" if "tanh" in name else "-"
            axes.plot(range(1, len(numbers) + 1), numbers, dashes, label=name)
        axes.set(xlabel=xlabel, title=title)
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(alpha=0.3)
        axes.legend()
    return figure


raw = data.train.subset(range(FEW))  # moved first, and prepared then
runs = {"nothing": plain}
for name, dropout, pictures, transform in (
    ("dropout", 0.5, few, None),
    ("augmentation", 0.0, raw, moved),
    ("both", 0.5, raw, moved),
):
    torch.manual_seed(0)
    net = build(dropout=dropout)
    runs[name] = convzoo.fit(
        net, pictures, watch, epochs=LONG, train_transform=transform, **settings
    )
print("              lowest val loss   at the end   training loss   val accuracy at the end")
for name, run in runs.items():
    losses, last = [record.val_loss for record in run.epochs], run.epochs[-1]
    print(f"{name:13} {min(losses):15.3f} {last.val_loss:12.3f}", end=" ")
    print(f"{last.train_loss:15.3f} {last.val_accuracy:25.1%}")
draw(
    {
        "training loss": {n: [r.train_loss for r in run.epochs] for n, run in runs.items()},
        "validation loss": {n: [r.val_loss for r in run.epochs] for n, run in runs.items()},
    }
)

# %% [markdown]
# Left, how well the few pictures are known; right, what that is worth. With nothing the two come
# apart. Dropout and augmentation keep the training loss up and the validation loss down, and with
# both together the network has not even begun to overfit when the time is over. On Fashion-MNIST
# dropout does most, and augmentation only holds off the rise: its lowest point is no lower than
# that of the plain network. None of them makes a few pictures into many.

# %%
torch.manual_seed(0)
stopped = convzoo.fit(
    build(), few, watch, epochs=LONG, monitor="loss",
    early_stopping=convzoo.EarlyStopping(patience=5), **settings,
)  # fmt: skip
print(f"stopped: {stopped.stopped}, after {len(stopped.epochs)} of {LONG} epochs")
print(f"kept: epoch {stopped.best_epoch}, validation loss {stopped.best.val_loss:.3f}")
print(f"without it, epoch {LONG}: {plain.epochs[-1].val_loss:.3f}")

# %% [markdown]
# Early stopping changes nothing about the curve; it takes the network from its lowest point, and
# saves the time of the rest.
#
# ## Batch normalisation
#
# A layer learns from numbers that the layer before makes, and these move while that one learns
# too. Batch normalisation brings every channel to mean 0 and spread 1 within each batch, and then
# learns a scale and a shift of its own. The loss of each step, with and without, for two learning
# rates:


# %%
# picture: Training loss by step with and without batch normalisation, at two learning rates
some = Pictures(data.train, PART)
images = torch.stack([image for image, _ in some])  # (N, C, S, S)
labels = torch.tensor([label for _, label in some])


def descend(net, lr, epochs):
    """Plain gradient descent with momentum: the loss of every step, the error of every epoch."""
    optimizer = torch.optim.SGD(net.parameters(), lr=lr, momentum=0.9)
    losses, errors = [], []
    for _ in range(epochs):
        wrong = 0
        for chosen in torch.randperm(len(images)).split(64):  # what a DataLoader does, in memory
            scores = net(images[chosen])
            loss = F.cross_entropy(scores, labels[chosen])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
            wrong += (scores.argmax(1) != labels[chosen]).sum().item()
        errors.append(wrong / len(images))
    return losses, errors


stack = [(16, 3), (16, 3), "pool", (32, 3), (32, 3), "pool"]  # twice as deep
panels = {}
for lr in (0.01, 0.1):
    lines = panels[f"training loss, learning rate {lr}"] = {}
    for name, batch_norm in (("without", False), ("with batch norm", True)):
        torch.manual_seed(0)
        losses, _ = descend(build(batch_norm=batch_norm), lr, 3)
        # The mean of ten steps each, since single batches jump.
        lines[name] = torch.tensor(losses).unfold(0, 10, 1).mean(1).tolist()
        print(f"rate {lr}, {name}: loss {lines[name][-1]:.3f} at the end")
draw(panels, xlabel="step")

# %% [markdown]
# With it the loss falls from the first steps on. Without it the network first has to find its
# footing, and at the higher rate it may never find it. The paper (Ioffe and Szegedy, 2015) trained
# an Inception network to the same accuracy in a fourteenth of the steps. Batch normalisation is a
# remedy for slowness; against overfitting it does little.
#
# ## Activations: ReLU against tanh
#
# Without an activation between them, two layers are no more than one. For twenty years it was
# tanh, or the sigmoid, its relative.

# %%
# picture: Sigmoid, tanh, ReLU and leaky ReLU, and their slopes
visualize.draw_activations(visualize.activations(["sigmoid", "tanh", "relu", "leaky_relu"]))

# %% [markdown]
# The dashed line is the slope, and gradients are multiplied by it in every layer. Of the sigmoid it
# is never above a quarter; of tanh it dies away on both sides, where the unit is **saturated**. Of
# ReLU it is 1 for everything above 0.
#
# AlexNet's paper (2012) shows in its figure 1 what follows: a network of four layers reached 25 %
# training error on CIFAR-10 six times sooner with ReLU than with tanh. Each had the learning rate
# that suited it best, and nothing against overfitting. Here is the same experiment, with the
# sigmoid as well: four layers, two rates each, pictures of half the size, and the epochs until the
# training error is below a goal.

# %%
# picture: Training error by epoch, each activation at its best rate: only the sigmoid stays behind
stack = [(16, 3), "pool", (32, 3), "pool"]
images = F.avg_pool2d(images, 2)
found = {}
for activation, rates in (("relu", (0.03, 0.1)), ("tanh", (0.03, 0.1)), ("sigmoid", (0.1, 0.3))):
    for lr in rates:
        torch.manual_seed(0)
        net = build(image_size=SIDE // 2, activation=activation, init="kaiming")
        _, errors = descend(net, lr, SHORT)
        epochs = next((i for i, error in enumerate(errors, 1) if error <= GOAL), math.inf)
        print(f"{activation:7}, rate {lr:4}: {epochs} epochs to {GOAL:.0%} training error")
        found[activation] = min(found.get(activation, (epochs, errors)), (epochs, errors))
lines = {name: errors for name, (_, errors) in found.items()}
draw({"training error": {**lines, f"the goal, {GOAL:.0%}": [GOAL] * SHORT}})

# %% [markdown]
# (`inf`: not in this time.) The sigmoid stays behind, as it should. But tanh keeps up with ReLU
# here, on Fashion-MNIST it is even a little ahead, where the paper has a factor of six against it.
# This network is small, and its weights begin at a size that suits each activation
# (`init="kaiming"`); AlexNet was deep and large, and all of its weights began at a standard
# deviation of 0.01. A result of a paper holds for what the paper did; try it on what you have.
#
# ## Exercises
#
# **1.** How many parameters have `conv2` and `fc1` of `FirstCNN`? Count before you look at the
# table above.
#
# <details markdown><summary>Answer</summary>
#
# `conv2`: 32 kernels, each 3 x 3 over 16 channels, and a bias each: 32 x (16 x 9 + 1) = 4,640,
# whatever the size of the pictures. `fc1`: 64 units, each with a weight for every value of the last
# maps and a bias: 64 x (32 x S / 4 x S / 4 + 1).
#
# </details>

# %%
print((32 * (16 * 9 + 1), 64 * (32 * (SIDE // 4) ** 2 + 1)))
print(tuple(sum(p.numel() for p in layer.parameters()) for layer in (twin.conv2, twin.fc1)))

# %% [markdown]
# **2.** What happens without `optimizer.zero_grad()`? Guess, then look at the length of a gradient
# after one, two and three calls of `backward()` for the same batch.
#
# <details markdown><summary>Answer</summary>
#
# Gradients add up: after the second batch, `w.grad` is the sum of both. Each step then goes where
# all steps before it wanted to go as well, faster and faster. It is no error and nothing complains;
# now and then it even learns something, which makes it hard to find.
#
# </details>

# %%
fresh = FirstCNN()
for call in (1, 2, 3):
    F.cross_entropy(fresh(batch), answers).backward()
    print(f"backward {call}: length of conv2's gradient {fresh.conv2.weight.grad.norm():.4f}")

# %% [markdown]
# **3.** A network with dropout gives another answer each time it is asked about the same picture.
# What was forgotten?
#
# <details markdown><summary>Answer</summary>
#
# `net.eval()`. In training mode dropout goes on dropping, and batch normalisation goes on using the
# batch at hand. `convzoo.evaluate` and `Predictor` see to it by themselves.
#
# </details>

# %%
forgetful = build(dropout=0.5)
for mode in (True, False):
    forgetful.train(mode)
    two = [forgetful(image[None])[0, 0].item() for _ in range(2)]
    print("training mode:  " if mode else "evaluation mode:", [round(score, 4) for score in two])

# %% [markdown]
# **4.** `forward` ends in scores. Why is there no `softmax` at its end?
#
# <details markdown><summary>Answer</summary>
#
# `F.cross_entropy` has it inside, in a form that does not overflow. A second one would squeeze the
# scores between 0 and 1, so that no class could ever get more than about a quarter of the
# probability among ten, and the loss could not fall below 1.46 however right the network is.
#
# </details>

# %%
right = torch.zeros(1, 10)
right[0, 3] = 100.0  # as sure as can be, and right
target = torch.tensor([3])
print(f"once: {F.cross_entropy(right, target):.3f}", end=", ")
print(f"twice: {F.cross_entropy(F.softmax(right, 1), target):.3f}")

# %% [markdown]
# ## Summary
#
# - A Dataset hands out pictures, a DataLoader batches, an `nn.Module` makes scores of them.
# - A step is: scores, loss, `zero_grad`, `backward`, `step`. An epoch is a step for every batch.
# - Look at the learning curves. Training loss down and validation loss up is overfitting. More
#   pictures help most; dropout, augmentation and early stopping help when there are none.
# - Batch normalisation makes training faster, and activations that do not saturate let it begin.
# - Save what the network needs to be used: weights, classes, and how pictures are prepared.
#
# Next: [Deep CNNs from LeNet to ResNet](deep_cnns.md). All that `fit` can do is in
# [Training](../training.md), more pictures of what a network sees in [See](../see.md), and keeping
# and sharing in [Keep](../keep.md).
