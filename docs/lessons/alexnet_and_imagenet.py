# %% [markdown]
# # AlexNet and ImageNet
#
# In 2012 one network brought the field of vision to change its tools. It had eight layers with
# weights, ran on two graphics cards for games, and erred on 15.3 % of the images where the next
# best entry erred on 26.2 %. **What was in it, and which parts of it still matter?**

# %%
import argparse
from collections import Counter, OrderedDict

import torch
from matplotlib.figure import Figure
from PIL import Image
from sklearn.datasets import load_sample_image  # two photographs: pip install scikit-learn
from torch import nn

import convzoo
from convzoo import datasets, labels, layers, presets, visualize
from convzoo.inference import Views
from convzoo.models import alexnet_split

parser = argparse.ArgumentParser()
parser.add_argument("--data", default="digits", choices=["digits", "fashion_mnist", "cifar10"])
DATA = parser.parse_known_args()[0].data  # in a notebook: the digits, or write another name here

torch.manual_seed(0)
LARGE = {"compared": 2000, "seeds": (0, 1), "epochs": 4, "images": 10_000, "long": 6, "test": 2000}
BUDGET = {
    "digits": {"compared": 96, "seeds": (0,), "epochs": 1, "images": 400, "long": 3, "test": 100},
    "fashion_mnist": LARGE,
    "cifar10": LARGE,
}[DATA]

# %%
# picture: Bars of the top-5 error of each year's winner, from 28.2 % in 2010 to 2.3 % in 2017
winners = {
    "2010\nNEC": 28.2, "2011\nXRCE": 25.8, "2012\nAlexNet": 15.3, "2013\nClarifai": 11.2,
    "2014\nGoogLeNet": 6.7, "2015\nResNet": 3.6, "2016\nTrimps": 3.0, "2017\nSENet": 2.3,
}  # fmt: skip
figure = Figure(figsize=(9, 3.4), layout="constrained")
axes = figure.subplots()
bars = axes.bar(list(winners), list(winners.values()), color=["#b0b7bf"] * 2 + ["#1f77b4"] * 6)
axes.bar_label(bars, fmt="%.1f")
axes.axhline(5.1, color="#d62728", linestyle=":")
axes.text(7.45, 5.6, "a person who practised: 5.1", color="#d62728", ha="right")
axes.set_ylabel("top-5 error, %")
axes.set_ylim(0, 31)
axes.spines[["top", "right"]].set_visible(False)
figure

# %% [markdown]
# The winners of ImageNet's yearly contest: what share of the test images was wrong *five times
# over* (more on that below). Grey is features made by hand, blue is convolutional networks. In
# 2012 the second team had 26.2 %, with features made by hand; two years later hardly anybody still
# used those.
#
# The numbers are from Russakovsky and others, "ImageNet Large Scale Visual Recognition Challenge"
# (2015), and from the papers of the winners. Those of 2012 and 2013 used images from outside the
# contest; without them AlexNet had 16.4 and Clarifai 11.7.
#
# ## ImageNet
#
# The contest's data are 1.2 million photographs of 1,000 kinds of things. Kinds are not called by
# words but by *synsets* of WordNet, a dictionary that puts words of one meaning together.

# %%
imagenet = labels.label_set("imagenet-1k")
for number in (0, 1, 151, 281, 397, 398, 954):
    print(number, imagenet.ids[number], imagenet.names[number])

twice = [name for name, times in Counter(imagenet.names).items() if times > 1]
cranes = [number for number, name in enumerate(imagenet.names) if name in twice]
print("twice the same name:", [(n, imagenet.ids[n], imagenet.names[n]) for n in cranes])
print("in the order of their ids:", list(imagenet.ids) == sorted(imagenet.ids))

# %% [markdown]
# *Crane* is there twice, the bird and the machine: a name is no key, an id is. The letter `n` says
# noun, the number is the synset's place in WordNet's file of nouns, which goes through the world
# subject by subject. So kin stand together: 0 to 397 are animals, 151 to 268 of them breeds of
# dogs, and from 398 on come things, food and plants. A network for ImageNet has to tell a Norfolk
# terrier from a Norwich terrier, which few people can.
#
# Folders of such images are named by the ids. Imagenette, a data set of ten of the classes, shows
# what they are good for:

# %%
folders = ["n01440764", "n02102040", "n02979186", "n03000684", "n03028079",
           "n03394916", "n03417042", "n03425413", "n03445777", "n03888257"]  # fmt: skip
for folder, number in zip(folders, labels.map_labels(folders, "imagenet-1k"), strict=True):
    print(f"{folder}/ is number {number:3}: {imagenet.names[number]}")

# %% [markdown]
# By these numbers a network's 1,000 scores are cut to the ten that count.
#
# ## The network
#
# `device="meta"` builds a network without memory: shapes, counts, no numbers.

# %%
alexnet = convzoo.alexnet_2012(device="meta")
print(convzoo.summary(alexnet))

convolutions = sum(p.numel() for name, p in alexnet.named_parameters() if "conv" in name)
total = sum(p.numel() for p in alexnet.parameters())
print(f"\nin the convolutions: {convolutions / total:.1%} of the parameters")

# %% [markdown]
# Two things to see. The five convolutions do nearly all of the work (the multiply-adds) and hold
# hardly any of the parameters; with the three fully connected layers it is the other way round.
# And the maps shrink quickly, from 55 x 55 to 6 x 6, while channels grow.
#
# ## Two towers
#
# The cards of 2012 had 3 GB. So the network was cut in two, half of the kernels on each card, and
# the cards spoke to each other before some layers only.
#
# [![AlexNet's two towers, with lines that cross before conv3, fc6 and fc7][towers]][towers]
#
# [towers]: ../images/alexnet_2012.svg
#
# `visualize.architecture(alexnet, path="alexnet.svg")` draws that from the network. `conv2`,
# `conv4` and `conv5` see the maps of their own tower alone; `conv3` and the fully connected layers
# see both. In one network that is a convolution with `groups=2`. What does the cut save?

# %%
whole = convzoo.alexnet_2012(towers=1, device="meta")
print("layer    two towers     one tower")
for name, one in whole.named_children():
    if name.startswith(("conv", "fc")):
        two = alexnet.get_submodule(name)
        sizes = [sum(p.numel() for p in layer.parameters()) for layer in (two, one)]
        print(f"{name:6} {sizes[0]:12,} {sizes[1]:13,}", "" if sizes[0] == sizes[1] else "  cut")
print(f"total  {total:12,} {sum(p.numel() for p in whole.parameters()):13,}")

print("\nwhat crosses in a forward pass of 128 images")
split = convzoo.alexnet_two_gpu(("meta", "meta"))  # in earnest: ("cuda:0", "cuda:1")
for exchange in alexnet_split.communication(split, batch=128):
    note = "" if exchange.made else "  would cross, if the towers were not apart here"
    print(f"{exchange.before:6} {exchange.bytes / 1e6:6.1f} MB{note}")

# %% [markdown]
# A cut layer has half the weights. The first line of the second table is the images, which go to
# both cards. Of the whole network that is little, since the fully connected
# layers hold most of it; the point was the traffic. Where the towers meet, before `conv3`, the
# maps have been pooled twice and are small.
#
# The paper says that two towers were 1.7 points better in top-1 than one network of half the
# kernels, which is no surprise: it has more kernels. It found something odd, too. One card's first
# kernels came to look at edges without colour, the other's at colour, on every run anew. Cuts of
# this kind came back in 2017 as *groups*, in ResNeXt, with 32 of them.
#
# ## Local response normalisation
#
# A neuron that fires strongly quiets its neighbours: that was the idea. Each value is divided by
# what its neighbours, in the two channels on either side, have at the same place.

# %%
norm = layers.LocalResponseNorm(size=5, alpha=1e-4, beta=0.75, k=2.0)  # the paper's numbers
for values in ([1, 1, 1, 1, 1, 1, 1], [1, 1, 1, 300, 1, 1, 1], [1, 1, 1, 300, 1, 300, 1]):
    channels = torch.tensor(values, dtype=torch.float).view(1, -1, 1, 1)  # (1, 7, 1, 1)
    print(values, "->", [round(v, 2) for v in norm(channels).flatten().tolist()])

# %% [markdown]
# Seven channels at one place. Among small values it divides all alike, by 2 to the power of 0.75.
# Beside a value of 300 the small ones nearly vanish, but for those more than two channels off; and
# two that are large hold each other down.
#
# **Mind the scale.** AlexNet's pixels went from 0 to 255, less their mean. Today's go from about -2
# to 2, activations are small likewise, and with `alpha=1e-4` the norm does next to nothing but
# multiply by 0.59. For pixels divided by their deviation, `alpha` is multiplied by the square of
# that deviation, in grey levels; below we do so.
#
# ## Overlapping pooling
#
# Pooling with a window of 2 and a stride of 2 looks at each value once. AlexNet's window is 3 wide,
# its stride still 2, so that windows overlap by one:

# %%
# picture: A 5 x 5 matrix under max pooling, the second window of 3 x 3, two columns further on
matrix = [[1, 0, 2, 1, 0], [0, 1, 9, 0, 1], [3, 1, 0, 2, 1], [0, 1, 1, 0, 4], [1, 2, 0, 1, 0]]
visualize.draw_steps(visualize.pooling_steps(matrix, 3, stride=2), step=1)

# %% [markdown]
# The second window has moved by two columns and shares one with the first. The 9 lies in both and
# is passed on twice. Both ways of pooling give the same size where sides are
# odd, and AlexNet's are: 55 to 27, 27 to 13, 13 to 6. Neither knob changes a parameter:

# %%
for lrn in (True, False):
    for overlapping in (True, False):
        net = convzoo.alexnet_2012(lrn=lrn, overlapping_pool=overlapping, device="meta")
        maps = net.intermediates(torch.zeros(1, 3, 224, 224, device="meta"))
        sides = [maps[name].shape[-1] for name in ("conv1", "pool1", "pool2", "pool5")]
        count = sum(p.numel() for p in net.parameters())
        print(f"lrn={lrn!s:5} overlapping_pool={overlapping!s:5} {sides} {count:,}")

# %% [markdown]
# The paper says that the norm took 1.4 points off the top-1 error and overlapping 0.4. AlexNet
# itself took five to six days to train. So here is a small one, with the same parts in the same
# order, for images of 27 x 27 pixels cut out of 31 x 31: AlexNet's 224 of 256, to scale.

# %%
data = datasets.load(DATA)
base = presets.get("mnist" if DATA == "digits" else DATA)
PRESET = base.replace(resize=31, input_size=27)
TRAIN = PRESET.train(short_side=31)  # a random 27 x 27 of it, mirrored at times unless a digit


def small_alexnet(lrn: bool = True, overlapping: bool = True) -> nn.Sequential:
    window = 3 if overlapping else 2
    alpha = 1e-4 * (255 * sum(PRESET.std) / len(PRESET.std)) ** 2  # for pixels of our scale
    norms = [layers.LocalResponseNorm(5, alpha) if lrn else nn.Identity() for _ in range(2)]
    net = nn.Sequential(
        OrderedDict(
            conv1=nn.Conv2d(PRESET.channels, 16, 7, padding=3),  # (B, 16, 27, 27)
            relu1=nn.ReLU(),
            norm1=norms[0],
            pool1=nn.MaxPool2d(window, stride=2),  # (B, 16, 13, 13)
            conv2=nn.Conv2d(16, 32, 5, padding=2),
            relu2=nn.ReLU(),
            norm2=norms[1],
            pool2=nn.MaxPool2d(window, stride=2),  # (B, 32, 6, 6)
            conv3=nn.Conv2d(32, 48, 3, padding=1),
            relu3=nn.ReLU(),
            flat=nn.Flatten(),
            fc4=nn.Linear(48 * 6 * 6, 128),
            relu4=nn.ReLU(),
            drop4=nn.Dropout(0.5),
            fc5=nn.Linear(128, len(data.classes)),
        )
    )
    nn.init.normal_(net.conv1.weight, std=0.01)  # as in the paper: what is seen later was learned
    net.preset = PRESET  # how images become its input
    return net


def some(part: datasets.LabelledImages, count: int) -> datasets.LabelledImages:
    return part.subset(range(0, len(part), max(len(part) // count, 1))[:count])


few, test = some(data.train, BUDGET["compared"]), some(data.test, BUDGET["test"])
for lrn in (True, False):
    for overlapping in (True, False):
        errors = []
        for seed in BUDGET["seeds"]:
            torch.manual_seed(seed)
            net = small_alexnet(lrn, overlapping)
            convzoo.fit(
                net, few, epochs=BUDGET["epochs"], lr=2e-3, seed=seed, train_transform=TRAIN,
                progress=False,
            )  # fmt: skip
            errors.append(100 * (1 - convzoo.evaluate(net, test).top1))
        runs, mean = ", ".join(f"{error:.1f}" for error in errors), sum(errors) / len(errors)
        print(f"LRN {lrn!s:5}  overlapping {overlapping!s:5}  top-1 error {mean:.1f} %  ({runs})")

# %% [markdown]
# In brackets stands each seed's error. On Fashion-MNIST the four means lie within three points of
# each other, those without the norm ahead, which is the opposite of the paper. Before you read
# anything into that, look at how far two seeds of *one* row are apart, and at how few images were
# counted: of 2,000 at an error of 30 %, chance alone moves that by 2 points either way. Differences
# of the paper's size cannot be seen here, and whoever claims one from such a run has measured a
# seed. To see 0.4 points you need ten thousands of test images and several seeds.
#
# Time has judged: batch normalisation (2015) took the norm's place, VGG (2014) found no use for it,
# and strided convolutions have replaced many a pooling.
#
# ## More images than there are
#
# 60 million parameters, 1.2 million images: without more the network learns by heart. AlexNet cut
# random squares and mirrored them, as `TRAIN` above does. And it changed the light. The shift of
# all pixels is drawn along the three principal components of ImageNet's colours.

# %%
# picture: A flower, unchanged and under four drawn lights, weak in the first row, strong below
imagenet_view = presets.IMAGENET.eval()
flower = Image.fromarray(load_sample_image("flower.jpg"))
square = visualize.pixels(imagenet_view(flower), presets.IMAGENET)  # (3, 224, 224) in [0, 1]
rows, titles = [], []
for std in (0.1, 1.0):  # the paper's, and ten times that
    rows += [square, *(presets.PCALighting(std)(square) for _ in range(4))]
    titles += ["as it is", *[f"std {std:g}"] * 4]
visualize.batch_grid(torch.stack(rows).clamp(0, 1), titles=titles, columns=5)

# %% [markdown]
# The upper row has the paper's strength, and you have to look twice: some three grey levels. The
# lower row has ten times that. Most of it is brightness, because the first component, along which
# photographs differ most, is all three colours together. The paper gives it more than one point of
# top-1: the light of a scene changes, what is in it does not.
#
# ## Ten crops
#
# At test time AlexNet looks ten times: the four corners and the middle, and all five mirrored.
# What it says is the mean of the ten answers.

# %%
# picture: Ten crops of a photograph of a Chinese temple: corners and middle, and the same mirrored
china = Image.fromarray(load_sample_image("china.jpg"))
ten = Views(presets.IMAGENET, "ten_crop")(china)  # (10, 3, 224, 224)
where = ["upper left", "upper right", "lower left", "lower right", "middle"]
visualize.batch_grid(ten, presets.IMAGENET, titles=where + [f"{w}, mirrored" for w in where],
                     columns=5)  # fmt: skip

# %% [markdown]
# Photographs: danielbuechele and vultilion, CC BY 2.0, as scikit-learn has them.
#
# In the paper ten crops took the errors from 39.0 % to 37.5 % (top-1, contest of 2010). For our
# small network, `evaluate` does the same by `tta=`. First it is trained a little longer:

# %%
torch.manual_seed(0)
net = small_alexnet()
many = some(data.train, BUDGET["images"])
history = convzoo.fit(
    net, many, some(data.val, BUDGET["test"]), epochs=BUDGET["long"], lr=2e-3, batch_size=64,
    train_transform=TRAIN, progress=False,
)  # fmt: skip
results = {
    "the middle": convzoo.evaluate(net, test, labels=data.classes),
    "middle, mirrored": convzoo.evaluate(net, test, tta="flip", labels=data.classes),
    "five crops": convzoo.evaluate(net, test, tta="five_crop", labels=data.classes),
    "ten crops": convzoo.evaluate(net, test, tta="ten_crop", labels=data.classes),
}
for name, result in results.items():
    low, high = result.interval()
    print(f"{name:17} top-1 error {1 - result.top1:6.2%} ({1 - high:.2%} to {1 - low:.2%})", end="")
    print(f", top-5 error {1 - result.top5:6.2%}")

# %% [markdown]
# In brackets is the range in which chance leaves the error. Where the ranges overlap widely, the
# views made no difference that could be seen; the paper counted 150,000 images. Whether views help
# depends on what they do to the image, too. Clothes may be mirrored. A mirrored digit is no digit.
#
# ## Top-5
#
# A photograph of ImageNet has one label and often several things in it. So the contest let a
# network name five classes, and counted an image as right if its label was among them. Top-1 asks
# for the first alone. With ten classes in all, five guesses are generous; with 1,000 they are few.

# %%
# picture: Nine test images with the five likeliest classes of each as bars
judged = visualize.predictions(net, some(data.test, 300), top_k=5, labels=data.classes)
least = sorted(judged, key=lambda one: one.best[0].probability)[:6]  # those it is least sure of
visualize.draw_predictions([*judged[:3], *least], net)

# %% [markdown]
# The paper's figure 4, with our network: each image with its five likeliest classes, the right one
# in green; wrong answers are framed. Three as they come, then the six of which the network is least
# sure. Most of its doubts make sense: what it hesitates between looks alike.
#
# ## What the kernels have become
#
# The paper's figure 3 shows the 96 kernels of the first layer: edges in all directions, gratings,
# spots of colour. Nobody put them there.

# %%
# picture: The sixteen kernels of the first layer, 7 x 7
visualize.batch_grid(visualize.filters(net, "conv1"), columns=8)

# %% [markdown]
# Ours are sixteen of 7 x 7 weights. Where a kernel is white it wants light, where it is black it
# wants dark, and mid-grey does not matter to it. A light side and a dark side make a detector of
# edges, a light or a dark middle one of spots. Next, what they make of an image:

# %%
# picture: One test image, and the eight strongest channels after each layer of the small network
prepare = PRESET.eval()
image = prepare(test[0][0])[None]  # (1, C, 27, 27)
stages = ["relu1", "pool1", "relu2", "pool2", "relu3"]
visualize.draw_feature_maps(visualize.feature_maps(net, image, stages), image, net)

# %% [markdown]
# Row by row the maps get smaller and say less of where and more of what. The first row still looks
# like the image with its edges drawn; the last is a grid of 6 x 6 on which few places light up.
#
# ## What a unit looks for
#
# Zeiler and Fergus asked a unit in the middle of the network by showing it all images, and keeping
# the nine patches that excited it most. Below each, the *deconvnet* draws which pixels did it.

# %%
# picture: For three units of the second layer the nine strongest patches, and what excites them
shown = torch.stack([prepare(x) for x, _ in some(data.test, 100)])  # (100, C, 27, 27)
maps = visualize.feature_maps(net, shown, ["relu2"])["relu2"]  # (100, 32, 13, 13)
units = maps.amax((0, 2, 3)).topk(3).indices.tolist()  # the three that fire most strongly
visualize.draw_patches(visualize.top_patches(net, test, "relu2", units), net)

# %% [markdown]
# The nine patches of a unit have something in common, such as the same edge or corner at the same
# place, though they come from nine images. That is what the unit has learned to find.
#
# ## Where it looks
#
# Grad-CAM asks which places of the last map speak for the class:

# %%
# picture: Eight test images, with the places that speak for the predicted class laid over them
shown = shown[:8]
with torch.no_grad():
    said = [data.classes[number] for number in net(shown).argmax(1).tolist()]
heat = visualize.grad_cam(net, shown, stage="relu3")
visualize.batch_grid(shown, net, heat=heat, titles=said, columns=8)

# %% [markdown]
# Yellow counts for the class that stands above, which is what the network says. A map of 6 x 6 is
# enlarged to the image's 27 x 27, so nothing finer than four or five pixels can be seen. A picture
# without yellow has no place that speaks for its class by this reckoning, which takes one weight
# for a whole map. Fully connected layers weigh each place by itself, so Grad-CAM fits AlexNet less
# well than networks that end in a mean, as ResNets do.
#
# ## 4,096 numbers
#
# Before its last layer AlexNet has 4,096 numbers for an image, ours has 128. Images whose numbers
# are alike look alike to the network. Are those better neighbours than images whose *pixels* are
# alike? Each row begins with a test image; frames mark neighbours of another class.

# %%
# picture: Four test images, each with six neighbours by the network and six by pixels
shelf, asked = some(data.train, BUDGET["test"]), some(data.test, 100)
found = {}
for name in ("network", "pixels"):
    if name == "network":
        vectors = [visualize.embed(net, part) for part in (asked, shelf)]
    else:
        vectors = [torch.stack([prepare(x).flatten() for x, _ in part]) for part in (asked, shelf)]
    found[name], _ = visualize.nearest(*vectors, 6)
    same = sum(
        shelf.targets[number] == asked.targets[row]
        for row, numbers in enumerate(found[name].tolist())
        for number in numbers
    )
    print(f"{name}: {same / found[name].numel():.1%} of six neighbours are of the same class")

sheet, wrong, titles = [], [], []
for row in range(0, 20, 5):
    sheet.append(asked[row][0])
    wrong.append(False)
    titles += ["asked for" if row == 0 else ""]
    for name, numbers in found.items():
        sheet += [shelf[number][0] for number in numbers[row].tolist()]
        wrong += [shelf.targets[n] != asked.targets[row] for n in numbers[row].tolist()]
        titles += [name if row == 0 else ""] * 6
visualize.batch_grid(torch.stack(sheet), titles=titles, framed=wrong, columns=13)

# %% [markdown]
# The six on the left are the network's, the six on the right those of the pixels. In pixels, what
# counts is that light and dark lie in the same places. The paper makes the point with elephants in
# many poses, whose pixels have nothing in common. Where all things stand in the middle and are of
# one size, as here, pixels do far better than on photographs, and a small network has a hard time
# beating them.
#
# ## The real weights
#
# All of this works on the network that has learned ImageNet. Its weights are 244 MB and are fetched
# once, so they are not part of this run:
#
# ```py
# net = convzoo.load("alexnet.tv_in1k").eval()  # torchvision's AlexNet, in one tower
# visualize.draw_top_k(net, "cat.jpg", path="top_5.png")
# visualize.batch_grid(visualize.filters(net), columns=16, path="figure_3.png")
# heat = visualize.grad_cam(net, "cat.jpg")
# vectors = visualize.embed(net, photographs)  # (N, 4096)
# ```
#
# ## Exercises
#
# **1.** The paper cuts squares of 224 pixels, has kernels of 11 with a stride of 4 and no padding,
# and prints maps of 55 x 55. Does that fit?
#
# <details markdown><summary>Answer</summary>
#
# (224 - 11) / 4 + 1 is 54.25, so no: that is 54. With 227 pixels it is 55. The authors' code let
# the last window hang over the edge, which is as good as three more rows and columns of zeros;
# `alexnet_2012` does so.
#
# </details>
#
# **2.** Which one layer would you change first to make the network smaller, and into what?
#
# <details markdown><summary>Answer</summary>
#
# `fc6`: its 6 x 6 x 256 inputs and 4,096 outputs make 37.7 million weights, six in ten. With the
# mean of each map in place of the maps, 256 numbers reach it instead of 9,216. GoogLeNet (2014) did
# so, left `fc6` and `fc7` out, and has 7 million parameters.
#
# </details>
#
# **3.** What are the principal components of the colours of *one* photograph?
#
# <details markdown><summary>Answer</summary>
#
# The eigenvectors of the covariance of its pixels. The next cell computes those of the flower; the
# last column belongs to the largest eigenvalue. They are not ImageNet's: one photograph has colours
# of its own.
#
# </details>

# %%
values, vectors = torch.linalg.eigh(torch.cov(square.flatten(1)))  # (3,), (3, 3)
print("eigenvalues", [round(value, 4) for value in values.tolist()])
for name, row in zip(("red", "green", "blue"), vectors.tolist(), strict=True):
    print(f"{name:6}", [round(number, 2) for number in row])

# %% [markdown]
# **4.** Ten crops cost ten times as much. When is that worth it?
#
# <details markdown><summary>Answer</summary>
#
# Where an answer matters more than its price: a contest, a few images, or labels that a smaller
# network is to learn from. Ten times the work spent on a larger network usually buys more, and one
# crop of a larger part of the image buys some of it for nothing.
#
# </details>
#
# ## Summary
#
# - ImageNet names its 1,000 classes by WordNet's ids; names can stand twice, ids cannot.
# - AlexNet is five convolutions that do the work and three fully connected layers that hold the
#   weights, in two towers, because a card had 3 GB.
# - Its norm is history, overlapping pooling matters little. What stayed: ReLU, dropout, much data
#   made more by cropping, mirroring and light, and graphics cards.
# - Small differences need many test images and several seeds.
# - Kernels, maps, patches, heat and neighbours show what a network has learned.
#
# Next: [Your own photographs](your_own_photographs.md), which need far fewer images. All pictures
# of this kind are on the page [See](../see.md), the numbers of every network on
# [Models](../models.md).
