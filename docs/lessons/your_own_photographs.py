# %% [markdown]
# # Your own photographs
#
# ![Twenty small photographs of digits in coloured chalk on a green board][chalk]
#
# [chalk]: ../images/lessons/your_own_photographs_1.png
#
# You have photographs of your own, some of each kind, and want a network that tells the kinds
# apart; here they are digits in chalk on a board. Famous networks were trained on a million images.
# **How far do ten of each kind get you?**

# %%
import argparse
import random
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from matplotlib.figure import Figure
from torch.nn.functional import interpolate
from torchvision.transforms.functional import pil_to_tensor, to_pil_image

import convzoo
from convzoo import datasets, visualize

CHOICES = ["digits", "all_digits", "fashion_mnist", "cifar10"]
parser = argparse.ArgumentParser()
parser.add_argument("--data", default="digits", choices=CHOICES)
DATA = parser.parse_known_args()[0].data  # in a notebook: the digits, or write another name here

torch.manual_seed(0)
LONG = {"files": 180, "epochs": 16, "compared": (2, 4, 8, 16, 32), "head_epochs": 100}
SHORT = {"files": 30, "epochs": 2, "compared": (1,), "head_epochs": 20}
BUDGET = SHORT if DATA == "digits" else LONG

# %% [markdown]
# ## A folder
#
# All that a program needs to know of your photographs is where they are: **one folder for each
# kind**, its name the name of the kind. No photographs come with this lesson, so it takes some: of
# digits, written with chalk on a board in uneven light.

# %%
place = TemporaryDirectory()  # gone at the end
PHOTOS = Path(place.name) / "chalk"  # yours: Path("photos")


def photograph(ink: torch.Tensor) -> torch.Tensor:
    """A small grey image in coloured chalk, somewhere on a board; (3, 48, 48)."""
    board = torch.tensor([38.0, 70.0, 55.0]).view(3, 1, 1) + 6 * torch.randn(1, 48, 48)
    board = board * torch.linspace(*torch.empty(2).uniform_(0.6, 1.2).tolist(), 48).view(1, 48, 1)
    side = int(torch.randint(34, 47, ()))
    ink = interpolate(ink[None] / 255, (side, side), mode="bicubic")[0].clamp(0, 1)
    top, left = torch.randint(0, 49 - side, (2,)).tolist()
    here = board[:, top : top + side, left : left + side]
    here += ink * (torch.empty(3, 1, 1).uniform_(170, 255) - here)
    return board.clamp(0, 255).byte()


source = datasets.load("digits" if "digits" in DATA else DATA)
words = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
names = words if "digits" in DATA else [name.replace("/", " or ") for name in source.classes]
taken = [0] * len(names)
for part in (source.train, source.val, source.test):
    for image, label in part:
        if taken[label] < BUDGET["files"]:
            folder = PHOTOS / names[label]
            folder.mkdir(parents=True, exist_ok=True)
            shown = photograph(image.float()) if len(image) == 1 else image
            to_pil_image(shown).save(folder / f"{taken[label]:04}.png")
            taken[label] += 1

for folder in sorted(PHOTOS.iterdir()):
    files = sorted(folder.iterdir())
    print(f"chalk/{folder.name}/  {files[0].name} to {files[-1].name}")

# %% [markdown]
# Nothing is listed anywhere, and nothing has to be renamed: any files of images will do, in
# subfolders too. Read the folder, and **look at the pictures** before anything else:

# %%
# picture: Twenty of the photographs, two of each kind: coloured chalk on a green board
data = datasets.image_folder(PHOTOS, val=0.1, test=0.5)
print(len(data.train), "to train,", len(data.val), "to validate,", len(data.test), "to test")
print("classes:", ", ".join(data.classes))


def of_each_class(part: datasets.LabelledImages, count: int) -> datasets.LabelledImages:
    chosen = []
    for label in range(len(part.classes)):
        chosen += [i for i, target in enumerate(part.targets) if target == label][:count]
    return part.subset(chosen)


few = of_each_class(data.train, 10)
two = of_each_class(data.train, 2)
visualize.batch_grid(
    torch.stack([pil_to_tensor(image) for image, _ in two]),
    titles=[two.classes[target] for target in two.targets],
    columns=10,
)

# %% [markdown]
# `image_folder` reads every file once, so that a broken one is found now and not at night. Then it
# draws the three parts, class by class: what the network learns from, what we choose by, and what
# we look at once, at the end. Classes are in the order of their names, so `eight` is number 0.
#
# Two things that no program can see: whether a picture lies in the wrong folder, and whether two
# pictures are nearly the same. Of ten photographs taken in one second, all belong in one part. Else
# the test asks for what was learned by heart.
#
# ## A network that knows something else
#
# The network comes with weights: CIFAR's ResNet-20, trained on 60,000 grey pictures of clothes. Its
# first layer is changed from grey to colour on the way.

# %%
net = convzoo.cifar_resnet20(weights="fashion_mnist", in_channels=3)
examples = [min((PHOTOS / names[number]).iterdir()) for number in (0, 1, 8)]
predict = convzoo.Predictor(net, top_k=2)
for file in examples:
    best, second = predict(file)
    print(f"{file.parent.name:12} {best.label} {best.probability:.0%}, {second.label}", end="")
    print(f" {second.probability:.0%}")

# %% [markdown]
# It knows ten words and uses them. That it is often quite sure means nothing: what a network gives
# to the classes that it knows always adds up to one.
#
# What can be used of it is everything *before* its last layer. Edges, strokes, corners and how they
# lie are worth knowing for any picture. So: cut the last layer off, put a new one there, and train
# that alone. The rest is **frozen**.
#
# ## Step 1: a new head
#
# `linear_probe` does all that, and quickly: each image goes through the frozen part once, the 64
# numbers that come out are kept, and only the new layer is trained on them.

# %%
probe = convzoo.linear_probe(net, few, data.val, epochs=BUDGET["head_epochs"])
print(probe)
scores = {"new head only": convzoo.evaluate(net, data.test).top1}
print(f"test: {scores['new head only']:.1%} of {len(data.test)}")

# %% [markdown]
# Guessing would be right once in ten. The head is much better on the images that it learned from
# than on others: from ten of each kind, 64 numbers can be learned by heart.
#
# By hand it is `net = convzoo.replace_head(net, 10, freeze="backbone")` and `convzoo.fit`. What is
# frozen stays frozen, batch normalisation included. A report says how things stand:

# %%
net = convzoo.freeze(net, "backbone")
print(convzoo.transfer.report(net))

# %% [markdown]
# ## Step 2: thaw, and go slowly
#
# The features are those for clothes. Now that the head gives sensible answers, let everything
# learn. Early layers see edges, which are the same everywhere: they get smaller rates.

# %%
convzoo.unfreeze(net)
rates = {}
for group in convzoo.param_groups(net, 2e-3, layer_decay=0.5):
    rates[group["lr"]] = rates.get(group["lr"], 0) + sum(p.numel() for p in group["params"])
for rate, numbers in sorted(rates.items()):
    print(f"rate {rate:.6f}: {numbers:8,} parameters")

# %% [markdown]
# First layers at the top, each block below learns twice as fast as the one before. (Had we thawed
# before the head was trained, its noise would have run back through the network and spoiled what it
# knew.)
#
# And training should see more than ten pictures of each. Here is what it sees of one:

# %%
# picture: One photograph in ten variants, shifted, turned, lighter and darker
# A mirrored digit is none; clothes and animals may be mirrored.
TRAIN = net.preset.train(
    padding=3, rotation=8, brightness=0.2, contrast=0.2, hflip=0 if "digits" in DATA else 0.5
)
variants = visualize.augmentations(net.preset, few[0][0], 10, transform=TRAIN)
visualize.batch_grid(variants, net, columns=10)

# %% [markdown]
# Choose what could happen to your photographs: light changes, cameras shake, a digit is never
# upside down.

# %%
# picture: Loss and accuracy by epoch, the kept epoch marked
history = convzoo.fit(
    net, few, data.val, epochs=BUDGET["epochs"], batch_size=16, lr=2e-3, layer_decay=0.5,
    train_transform=TRAIN, progress=False,
)  # fmt: skip
result = convzoo.evaluate(net, data.test)
scores["head, then all"] = result.top1
print(", ".join(f"{name}: {score:.1%}" for name, score in scores.items()))
visualize.learning_curve(history)

# %% [markdown]
# The star is the epoch that validated best; its weights are kept. With few validation images the
# curve jumps, and the choice among neighbouring epochs is half luck.
#
# ## Was it worth it?
#
# The question of all transfer: would a fresh network have done as well? It gets the same ten images
# of each kind, the same augmentation and the same number of epochs. Each point is a training of its
# own.

# %%
# picture: Test accuracy against epochs of training, with and without pretrained weights


def fine_tuned(epochs: int) -> convzoo.Classifier:
    net = convzoo.cifar_resnet20(weights="fashion_mnist", in_channels=3)
    convzoo.linear_probe(net, few, epochs=BUDGET["head_epochs"])
    convzoo.fit(
        net, few, epochs=epochs, batch_size=16, lr=2e-3, layer_decay=0.5, train_transform=TRAIN,
        progress=False,
    )  # fmt: skip
    return net


def from_scratch(epochs: int) -> convzoo.Classifier:
    fresh = convzoo.cifar_resnet20(num_classes=len(few.classes), in_channels=3)
    fresh.preset = net.preset
    convzoo.fit(
        fresh, few, epochs=epochs, batch_size=16, lr=3e-3, train_transform=TRAIN, progress=False
    )
    return fresh


curves = {"pretrained on clothes": [], "from scratch": []}
for epochs in BUDGET["compared"]:
    for (name, curve), make in zip(curves.items(), (fine_tuned, from_scratch), strict=True):
        torch.manual_seed(0)
        curve.append(100 * convzoo.evaluate(make(epochs), data.test).top1)
        print(f"{epochs:2} epochs, {name:21} {curve[-1]:.1f} %")

figure = Figure(figsize=(7, 3.6), layout="constrained")
axes = figure.subplots()
for name, curve in curves.items():
    axes.plot(BUDGET["compared"], curve, marker="o", label=name)
axes.set_xscale("log")
axes.set_xticks(BUDGET["compared"], BUDGET["compared"])
axes.minorticks_off()
axes.set_xlabel("epochs, ten images of each kind")
axes.set_ylabel("right on the test images, %")
axes.grid(visible=True, alpha=0.3)
axes.legend()
figure

# %% [markdown]
# Read it from left to right. After few epochs the pretrained network is far ahead; given time, the
# fresh one catches up, and may pass it. One run each, so a point or two are luck.
#
# That is less than one hears of transfer, and it is what He, Girshick and Dollár found for
# ImageNet's weights, too ("Rethinking ImageNet Pre-training", 2018): pretraining saves time; a
# better end it brings only where images are very few, or where the two sets of images are near each
# other. From grey clothes to coloured chalk is far, and the digits are easy. Photographs of things,
# a network that has seen a million of them, and an evening on a laptop are another matter: there,
# nobody trains long enough from scratch. Still: **measure it against a fresh network.**
#
# ## What it gets wrong
#
# The accuracy is one number. What to do next is in the mistakes.

# %%
# picture: The six test photographs with the largest loss, the likeliest classes of each as bars
for pair in result.most_confused(4):
    print(
        f"{pair.truth} taken for {pair.prediction}: {pair.images} times, {pair.share:.0%} of them"
    )

judged = visualize.predictions(net, data.test)
wrong = sorted(judged, key=lambda one: -one.loss)[:6]
visualize.draw_predictions(wrong, net)

# %% [markdown]
# Red frames are mistakes; green is the bar of the right class, where it is among the three. Look
# through such a sheet whenever you train on pictures of your own. Some are hard for you, too. Some
# lie in the wrong folder: a wrong label is often among the largest losses. And where one kind is
# taken for another again and again, those two are what you should photograph next.
#
# ## Where it looks
#
# Grad-CAM shows which places speak for a class. Of a right answer, and of the two worst, the latter
# once for what the network said, and once for what is true:

# %%
# picture: Grad-CAM of one right answer and of two mistakes, for the class it said and the true one
right = max((one for one in judged if one.right), key=lambda one: one.probability)
asked = [(right, right.label)]
for one in wrong[:2]:
    asked += [(one, one.best[0].index), (one, one.label)]
images = torch.stack([one.image for one, _ in asked])
heat = visualize.grad_cam(net, images, [target for _, target in asked])
titles = [f"a {one.name}\nwhat says {data.classes[target]}?" for one, target in asked]
visualize.batch_grid(images, net, heat=heat, titles=titles, columns=5)

# %% [markdown]
# Yellow speaks for the class that is asked about. If it lies on the background in picture after
# picture, the network has learned something about your camera, your table or your weather. Then
# photograph each kind in front of several backgrounds. The map has 7 x 7 places, so do not read too
# much into its edges.
#
# ## Keep it, and use it
#
# A saved network is a folder with weights, class names and the way in which images are prepared, so
# that one line brings it back:

# %%
kept = convzoo.save(
    net, Path(place.name) / "reader", dataset="chalk", metrics={"accuracy": result.top1}
)
print("reader/:", ", ".join(sorted(file.name for file in kept.iterdir())))

predict = convzoo.Predictor(kept, top_k=3)  # a folder, a file, or an image
file = data.test.images[random.Random(0).randrange(len(data.test))]
print("a photograph of", file.parent.name)
for prediction in predict(file):
    print(f"{prediction.probability:6.1%} {prediction.label}")

# %% [markdown]
# ## The same from a terminal
#
# ```sh
# convzoo finetune chalk/ --model cifar_resnet20 --weights fashion_mnist --augment digit \
#     --out reader
# convzoo evaluate reader/ chalk/ --report report.html
# convzoo predict reader/ new.png more_photographs/ --top-k 3
# ```
#
# ## Yours
#
# For real photographs take a network that has seen photographs. Its weights are fetched once:
#
# ```py
# data = datasets.image_folder("photos")  # photos/ant/..., photos/bee/...
# net = convzoo.resnet18(weights="default")  # 224 x 224 pixels, ImageNet's 1,000 classes
# print(convzoo.linear_probe(net, data.train, data.val, views=4))  # often that is enough
# convzoo.unfreeze(net)
# convzoo.fit(net, data.train, data.val, epochs=8, lr=1e-3, layer_decay=0.5)
# convzoo.save(net, "insects")
# ```
#
# Or `convzoo finetune photos/ --out insects`.
#
# ## Exercises
#
# **1.** With very few images, perhaps less should be thawed. Freeze everything up to `layer2`. How
# many parameters still learn?
#
# <details markdown><summary>Answer</summary>
#
# The next cell counts. It is most of them: late layers have the most channels. Whether it helps is
# for the validation images to say; `convzoo.fit` takes the network as it stands.
#
# </details>

# %%
partly = convzoo.cifar_resnet20(weights="fashion_mnist", in_channels=3)
partly = convzoo.replace_head(partly, len(data.classes), freeze="up_to:layer2")
numbers = [p.numel() for p in partly.parameters() if p.requires_grad]
print(f"{sum(numbers):,} of {sum(p.numel() for p in partly.parameters()):,} parameters learn")

# %% [markdown]
# **2.** You have 30 photographs of bees and 300 of ants. A network that says "ant" to everything is
# right how often, and what can you do?
#
# <details markdown><summary>Answer</summary>
#
# 300 of 330 times, 91 %: look at the accuracy of each class, which `print(convzoo.evaluate(...))`
# shows. `fit(class_weights="auto")` counts the bees' mistakes for more, `balanced=True` shows them
# more often; on the page [Aids](../aids.md#rare-classes) that brought ten points. More photographs
# of bees bring more.
#
# </details>
#
# **3.** You chose the best of twenty settings by their accuracy on the *test* images. What is that
# accuracy worth?
#
# <details markdown><summary>Answer</summary>
#
# It is too good: the best of twenty is in part the luckiest. Choose by the validation images, and
# look at the test images once.
#
# </details>
#
# **4.** Your network is right in 98 of 100 cases on your test images, and useless in the garden of
# a friend. Why?
#
# <details markdown><summary>Answer</summary>
#
# Test images that come from the same camera and the same afternoon as the training images measure
# how well that afternoon was learned. Put photographs from another place, or of another day, into
# `photos/test/`: where a folder has parts by these names, they are taken as they are.
#
# </details>
#
# ## Summary
#
# - One folder for each kind; look at the pictures before and after.
# - Pretrained network, new head, train that alone: seconds, and often enough.
# - Then thaw, with small rates, smallest for early layers, and with augmentation that fits.
# - Transfer saves time, and is worth most where images are few and near to what the network knows.
#   Measure it against a fresh network.
# - Mistakes say which photographs to take next; Grad-CAM says whether it looks at the right thing.
#
# That was the last lesson. How each of these steps works is on [Transfer](../transfer.md), all that
# `fit` can do on [Training](../training.md), what follows when there are a million images to
# predict on [Predict](../predict.md).
