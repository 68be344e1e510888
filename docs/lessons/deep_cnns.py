# %% [markdown]
# # Deep CNNs from LeNet to ResNet
#
# In three years, from 2012 to 2015, the error on ImageNet fell to a quarter. Were the networks only
# made larger? **Look at the circles below: their area is the number of weights.** What did each of
# these networks do that the one before could not?

# %%
# picture: Ten networks by work and error, each circle as large as its number of weights
import argparse
import statistics
import time

import torch
import torch.nn.functional as F
from matplotlib.figure import Figure
from torch import nn

import convzoo
from convzoo import datasets, visualize
from convzoo.layers import DropBlock2d, DropConnectLinear, apply_drop_connect
from convzoo.models import BasicBlock, InceptionNaive, InceptionReduced, PlainBlock, ResNet

parser = argparse.ArgumentParser()
parser.add_argument("--data", default="digits", choices=["digits", "fashion_mnist", "cifar10"])
DATA = parser.parse_known_args()[0].data  # in a notebook: the digits, or write another name here

# Top-5 error in % on ImageNet's validation pictures, by one network, as its paper gives it.
PAPERS = {
    "alexnet_2012": 18.2, "zfnet": 16.5, "vgg16": 7.2, "vgg19": 7.1, "googlenet_2014": 7.9,
    "inception_v3": 5.6, "resnet34": 5.7, "resnet50": 5.3, "resnet101": 4.6, "resnet152": 4.5,
}  # fmt: skip

figure = Figure(figsize=(9, 4), layout="constrained")
axes = figure.subplots()
sizes = {name: convzoo.summary(convzoo.create_model(name, device="meta")) for name in PAPERS}
for name, size in sizes.items():
    place = size.multiply_adds / 1e9, PAPERS[name]
    axes.scatter(*place, s=size.parameters / 2e5, alpha=0.6)
    below = name == "resnet50"  # where two labels would meet
    axes.annotate(
        name, place, (0, -20 if below else 14), textcoords="offset points", fontsize=8, ha="center"
    )
axes.set(xscale="log", xlabel="multiply-adds for one picture, G", ylabel="top-5 error, %")
axes.set(xlim=(0.5, 30), ylim=(0, 21), xticks=(1, 2, 5, 10, 20), xticklabels=(1, 2, 5, 10, 20))
axes.grid(alpha=0.3)
figure

# %% [markdown]
# Down is better, right is more work. The largest circles are not the best, and the smallest,
# GoogLeNet, makes less than half of AlexNet's mistakes. In numbers:

# %%
print("network         year   parameters   multiply-adds   top-5 error")
for name, size in sizes.items():
    year = convzoo.model_info(name).paper.year
    print(f"{name:14} {year:5} {size.parameters / 1e6:10.1f} M", end=" ")
    print(f"{size.multiply_adds / 1e9:13.2f} G {PAPERS[name]:11.1f} %")

# %% [markdown]
# Errors are the papers', on ImageNet's validation pictures of 2012, each by one network. Papers
# test in different ways (several crops or several sizes of each picture; Inception-v3's is one
# crop), so read them as steps and not as decimals. Parameters and multiply-adds are counted here;
# `device="meta"` builds a network without its weights, so that this takes no memory.
#
# Four of these have an idea each, and so has LeNet, with which it began.
#
# ## LeNet-5, 1998: all of it learned
#
# Small kernels that slide over the whole picture, pooling between them, and one training for
# everything, from the pixels to the class. That is a convolutional network to this day. The paper's
# network has 60,000 weights (`convzoo.lenet5_1998`); as it is built today, it has 61,706.
#
# [![LeNet-5 as a diagram](../images/families/lenet.svg)](../images/families/lenet.svg)
#
# Heights are sides of the maps, depths their channels. Every network of this page can be drawn like
# this: `visualize.architecture(net, path="net.svg")`.

# %%
QUICK = DATA == "digits"  # small pictures, a few seconds; the others take some minutes
MANY, SOME, FEW, JUDGES = (256, 256, 64, 100) if QUICK else (4000, 1280, 300, 2000)  # pictures
SEEDS, EPOCHS = ((0,), 2) if QUICK else ((0, 1, 2), 30)

torch.manual_seed(0)
data = datasets.load(DATA)
CLASSES, CHANNELS = len(data.classes), data.train[0][0].shape[0]
SIDE = 32 if DATA == "cifar10" else 28


def pictures(part, count, side):
    """Pictures as floats around 0, `side` pixels wide: a list of (image, class)."""
    some = part.subset(range(min(count, len(part))))
    images = F.interpolate(some.images / 255, (side, side), mode="bilinear", antialias=True)
    return list(zip((images - 0.3) / 0.35, some.targets, strict=True))


train, test = pictures(data.train, MANY, SIDE), pictures(data.test, JUDGES, SIDE)
lenet = convzoo.lenet5(in_channels=CHANNELS, input_size=SIDE, num_classes=CLASSES)
print(convzoo.summary(lenet))
convzoo.fit(lenet, train, epochs=3, lr=3e-3)
print(f"{len(train)} pictures, 3 epochs: {convzoo.evaluate(lenet, test).top1:.1%} of others right")

# %% [markdown]
# Three epochs take it a good part of the way. What it makes of one picture:

# %%
# picture: A picture on its way through LeNet-5: six maps, then sixteen smaller ones
image = test[0][0]
maps = visualize.feature_maps(lenet, image[None])
visualize.draw_feature_maps(maps, image[None], lenet, channels=6)

# %% [markdown]
# Each row is a stage, the numbers are those of its maps. The first maps are still the picture, with
# its edges and shades; the later ones are small and hard to read, and a class is made of them.
#
# ## AlexNet, 2012: the same, large
#
# The plan is LeNet's. What was new is the size, and what made the size possible: two graphics
# cards, ReLU, dropout, and 1.2 million labelled photographs. Where are its weights, and where is
# its work?
#
# [![AlexNet's two towers](../images/alexnet_2012.svg)](../images/alexnet_2012.svg)

# %%
# picture: Each layer's share of AlexNet's weights, and of its work
alexnet = convzoo.summary(convzoo.alexnet_2012(device="meta"))
layers = [layer for layer in alexnet.layers if layer.parameters]
print("layer   parameters   multiply-adds   one output sees")
for layer in layers:
    field = f"{layer.receptive_field} pixels" if layer.receptive_field else "all"
    print(f"{layer.name:6} {layer.parameters:11,} {layer.multiply_adds:15,}   {field}")
convs = [layer for layer in layers if layer.kind == "Conv2d"]
print(
    f"convolutions: {sum(c.parameters for c in convs) / alexnet.parameters:.1%} of the weights,",
    end=" ",
)
print(f"{sum(c.multiply_adds for c in convs) / alexnet.multiply_adds:.1%} of the work")

figure = Figure(figsize=(9, 3), layout="constrained")
axes = figure.subplots()
for shift, title, whole in (
    (-0.2, "parameters", alexnet.parameters),
    (0.2, "multiply_adds", alexnet.multiply_adds),
):
    shares = [100 * getattr(layer, title) / whole for layer in layers]
    axes.bar([i + shift for i in range(len(layers))], shares, 0.4, label=title.replace("_", "-"))
axes.set_xticks(range(len(layers)), [layer.name for layer in layers])
axes.set(ylabel="share, %")
axes.legend()
figure

# %% [markdown]
# Blue and orange hardly meet. The convolutions do nearly all of the work with a few weights, used
# at every place; three linear layers hold nearly all of the weights and use each once. So a network
# can lose its weights (replace the linear layers) or its work (make convolutions cheaper), and
# these are two different things. [AlexNet and ImageNet](alexnet_and_imagenet.md) is a lesson of its
# own.
#
# ## VGG, 2014: only 3 x 3
#
# AlexNet's first kernels are 11 x 11 and 5 x 5. VGG has none but 3 x 3, and many of them. Two in a
# row see as much as one of 5 x 5, three as much as one of 7 x 7. Computed on layers with 64
# channels that go in and out:

# %%
# picture: How many ways lead from each pixel to one output, by one large kernel and by small ones
C = 64


def convolutions(kernel, count):
    """So many convolutions in a row, with a ReLU after each."""
    layers = []
    for _ in range(count):
        layers += [nn.Conv2d(C, C, kernel, padding=kernel // 2, bias=False), nn.ReLU()]
    return nn.Sequential(*layers)


print("                field   parameters        of C x C   ReLUs   multiply-adds, 56 x 56")
for kernel, count in ((5, 1), (3, 2), (7, 1), (3, 3)):
    size = convzoo.summary(convolutions(kernel, count), 56)
    print(f"{count} of {kernel} x {kernel} {size.layers[-1].receptive_field:12}", end=" ")
    print(f"{size.parameters:12,} {size.parameters // C**2:15} {count:7}", end=" ")
    print(f"{size.multiply_adds / 1e6:18.0f} M")

ways = []
for kernel, count in ((5, 1), (3, 2), (7, 1), (3, 3)):
    dot = F.pad(torch.ones(1, 1, 1, 1), (4, 4, 4, 4))
    for _ in range(count):
        dot = F.conv2d(dot, torch.ones(1, 1, kernel, kernel), padding="same")
    ways.append(dot[0] / dot.max())
visualize.batch_grid(
    torch.stack(ways), titles=["one 5 x 5", "two 3 x 3", "one 7 x 7", "three 3 x 3"], columns=4
)

# %% [markdown]
# The same field with 18 instead of 25 weights for each pair of channels, or 27 instead of 49, and a
# ReLU more each time. The picture says what changes: of a stack, more ways lead through the middle
# of its field than through the corners.
#
# VGG stacks them in five blocks. After each the maps halve, and the channels double up to 512. Its
# four depths:
#
# [![VGG as a diagram](../images/families/vgg.svg)](../images/families/vgg.svg)

# %%
for name in ("vgg11", "vgg13", "vgg16", "vgg19"):
    net = convzoo.create_model(name, device="meta")
    size = convzoo.summary(net)
    linear = sum(layer.parameters for layer in size.layers if layer.kind == "Linear")
    print(
        f"{name}: {size.parameters / 1e6:.0f} M parameters, {linear / size.parameters:.0%}", end=" "
    )
    print(f"of them in three linear layers; {size.multiply_adds / 1e9:.1f} G multiply-adds")

# %% [markdown]
# Does it hold for a small network? Two blocks each, once with one 5 x 5 and once with two 3 x 3, on
# the pictures of LeNet above:

# %%
for name, stack in {
    "one 5 x 5": [(16, 5), "pool", (32, 5), "pool"],
    "two 3 x 3": [(16, 3), (16, 3), "pool", (32, 3), (32, 3), "pool"],
}.items():
    net = convzoo.cnn(
        stack, hidden=(), padding="zeros", norm="batch", image_size=SIDE, in_channels=CHANNELS,
        num_classes=CLASSES,
    )  # fmt: skip
    size = convzoo.summary(net)
    convzoo.fit(net, train, epochs=1 if QUICK else 2, lr=3e-3)
    top1 = convzoo.evaluate(net, test).top1
    print(
        f"{name}: {size.parameters:,} parameters, {size.multiply_adds:,} multiply-adds, {top1:.1%}"
    )

# %% [markdown]
# Here the stack saves nothing. 18 against 25 holds where as many channels come in as go out, and in
# the first convolution of each pair they grow. And of a point between the two accuracies nothing is
# to be learned: between two runs of the same network there may be as much. What VGG showed is that
# stacks can be made deep, and that they pay when they are.
#
# ## Inception, 2014: side by side, and 1 x 1 to pay for it
#
# Which kernel is best, 1 x 1, 3 x 3 or 5 x 5? GoogLeNet takes all of them side by side, and max
# pooling too, and concatenates their channels. Done naively this is dear, and it grows: pooling
# passes on all channels that came in. The paper's remedy is a **1 x 1 convolution**, a weighted sum
# of the channels at each place. Put before the large kernels, it leaves them fewer channels to see.
#
# [![GoogLeNet's modules of four branches](../images/googlenet.svg)](../images/googlenet.svg)
#
# The paper's first module, inception (3a): 192 channels of 28 x 28 go in. By hand, with places x
# kernel x channels in x channels out:

# %%
places = 28 * 28
rows = {  # kernel, channels in, channels out
    "naive": [("1 x 1", 1, 192, 64), ("3 x 3", 3, 192, 128), ("5 x 5", 5, 192, 32)],
    "reduced": [
        ("1 x 1", 1, 192, 64), ("1 x 1 before 3 x 3", 1, 192, 96), ("3 x 3", 3, 96, 128),
        ("1 x 1 before 5 x 5", 1, 192, 16), ("5 x 5", 5, 16, 32),
        ("1 x 1 after pooling", 1, 192, 32),
    ],
}  # fmt: skip
for name, convs in rows.items():
    print(name)
    for what, kernel, into, out in convs:
        weights = kernel**2 * into * out
        print(
            f"  {what:20} {into:4} -> {out:3} {weights:9,} weights {places * weights / 1e6:7.1f} M"
        )
    total = sum(kernel**2 * into * out for _, kernel, into, out in convs)
    print(f"  {'together':31} {total:9,} weights {places * total / 1e6:7.1f} M multiply-adds")

# %% [markdown]
# The 5 x 5 branch alone falls to a tenth. Now the same two as modules, run on a batch of eight:

# %%
x = torch.randn(8, 192, 28, 28)
modules = {
    "naive": InceptionNaive(192, 64, 128, 32),
    "reduced": InceptionReduced(192, 64, 96, 128, 16, 32, 32),
}
for name, module in modules.items():
    size = convzoo.summary(module, 28)
    with torch.no_grad():
        module(x)  # once to warm up
        start = time.process_time()
        out = module(x)
        seconds = time.process_time() - start
    print(f"{name:8} {tuple(x.shape)} -> {tuple(out.shape)}", end="  ")
    print(f"{size.multiply_adds / 1e6:.1f} M multiply-adds each, {1000 * seconds:.0f} ms for all")

print("\nfour of them in a row, multiply-adds in M:")
naive = reduced = 192
for number in range(1, 5):
    first, second = (
        InceptionNaive(naive, 64, 128, 32),
        InceptionReduced(reduced, 64, 96, 128, 16, 32, 32),
    )
    costs = [convzoo.summary(module, 28).multiply_adds / 1e6 for module in (first, second)]
    naive, reduced = first.out_channels, second.out_channels
    print(
        f"{number}: naive {costs[0]:7.1f}, {naive:4} channels out;"
        f" reduced {costs[1]:6.1f}, {reduced} channels out"
    )

# %% [markdown]
# Less than half the work in one module, a fifth in the fourth: the naive one carries all channels
# along, the reduced one decides how many it puts out. GoogLeNet has nine such modules, and instead
# of AlexNet's linear layers the mean of each of the last maps; that is where its weights went.
#
# ## ResNet, 2015: a way around
#
# If depth is good, why not 56 layers, or 1,000? Because plain networks get worse with it, **on the
# training pictures too**. That is no overfitting. A deeper network could do all that the shallow
# one does, if its further layers did nothing; but to do nothing is hard to learn for a stack of
# convolutions. A residual block adds what came in to what it computes, so that nothing is what it
# does with weights of zero:

# %%
x = torch.rand(1, 16, 8, 8)
for block in (PlainBlock, BasicBlock):
    layer = block(16, 16).eval()
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
    print(f"{block.__name__} with weights of zero: passes its input on: {torch.equal(layer(x), x)}")

# %% [markdown]
# In code, the difference is `relu(x + f(x))` instead of `relu(f(x))`, where `f` is two convolutions
# with batch normalisation. The way around has no weights. Here are both at two depths, trained
# alike on the same pictures (few and shrunk, so that it does not take all day).
#
# [![cifar_resnet20](../images/families/cifar_resnet.svg)](../images/families/cifar_resnet.svg)


# %%
# picture: Training error by epoch: the deeper plain network hardly learns, the residual one does
def deep(block, depth):
    """The paper's network for small pictures; in the zoo cifar_plain20 to cifar_resnet1202."""
    return ResNet(
        block, [(depth - 2) // 6] * 3, widths=(16, 32, 64), stem="small", shortcut="A",
        in_channels=CHANNELS, num_classes=CLASSES,
    )  # fmt: skip


def draw(panels, xlabel="epoch"):
    """Lines, one panel a title: {title: {name: numbers}}."""
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    row = figure.subplots(1, len(panels), squeeze=False, sharey=True)[0]
    for axes, (title, lines) in zip(row, panels.items(), strict=True):
        for name, numbers in lines.items():
            axes.plot(range(1, len(numbers) + 1), numbers, label=name)
        axes.set(xlabel=xlabel, title=title)
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(alpha=0.3)
        axes.legend()
    return figure


DEPTHS, TIMES = ((8, 20), 2) if QUICK else ((20, 56), 8)
small = 8 if QUICK else SIDE // 3
some, judge = pictures(data.train, SOME, small), pictures(data.test, JUDGES // 2, small)
panels = {}
for block in (PlainBlock, BasicBlock):
    title = "plain" if block is PlainBlock else "residual"
    lines = panels[f"training error, {title}"] = {}
    for depth in DEPTHS:
        torch.manual_seed(0)
        net = deep(block, depth)
        weights = sum(p.numel() for p in net.parameters())
        history = convzoo.fit(net, some, epochs=TIMES, batch_size=64, optimizer="sgd", lr=0.1)
        lines[f"{depth} layers"] = [1 - record.train_accuracy for record in history.epochs]
        wrong = 1 - convzoo.evaluate(net, judge).top1
        print(f"{title:8} {depth} layers, {weights:,} parameters", end=": ")
        print(f"training error {lines[f'{depth} layers'][-1]:.1%}, test error {wrong:.1%}")
draw(panels)

# %% [markdown]
# Left, the plain networks: the deeper one learns far more slowly, and is worse on the very pictures
# that it trains on. Right, the residual ones, which have as many weights: the deeper one keeps up,
# nearly. Only after a longer training does depth pay. In the paper, on CIFAR-10, ResNet-20 ends at
# 8.75 % test error, ResNet-56 at 6.97 % and ResNet-110 at 6.43 %; of the plain ones, 20 layers stay
# the best.
#
# Is it that the gradient dies on its way down? Here it is, layer by layer, before any training:

# %%
# picture: Mean absolute gradient of each layer of the deeper plain and residual networks
images, labels = torch.stack([x for x, _ in some[:64]]), [y for _, y in some[:64]]
flows = {}
for block, title in ((PlainBlock, "plain"), (BasicBlock, "residual")):
    torch.manual_seed(0)
    flow = flows[f"{title}, {DEPTHS[-1]} layers"] = visualize.gradient_flow(
        deep(block, DEPTHS[-1]), images, labels
    )
    means = [layer.mean for layer in flow]
    print(f"{title}: first layer {means[0]:.4f}, last {means[-1]:.4f}", end=", ")
    print(f"largest over smallest {max(means) / min(means):.0f}")
visualize.draw_gradient_flow(flows)

# %% [markdown]
# No, it does not die: with batch normalisation the gradient of the plain network *grows* from the
# end of the network to its beginning. Its first layers are shaken while its last ones hardly move.
# Through the residual network it passes far more evenly, since the derivative of `x + f(x)` has a 1
# in it. The paper itself says that vanishing gradients are not likely to be the reason.
#
# ## Regularisers: what they drop
#
# Large networks learn by heart ([the lesson before](first_cnn.md) shows it). Dropout switches off
# single values. But neighbours in a map say nearly the same, so that a map with holes of one pixel
# still tells everything. **SpatialDropout** drops whole maps, and **DropBlock** (2018) squares of a
# map. Black is dropped, on average a quarter of each row:

# %%
# picture: What dropout, DropBlock and SpatialDropout drop of six maps
torch.manual_seed(0)
ones = torch.ones(1, 6, 16, 16)
droppers = {
    "dropout": nn.Dropout(0.25),
    "DropBlock, 5 x 5": DropBlock2d(0.25, 5, calibrated=True),
    "SpatialDropout": nn.Dropout2d(0.25),
}
kept = [(dropper.train()(ones)[0] > 0).float() for dropper in droppers.values()]
visualize.batch_grid(
    torch.cat(kept)[:, None], titles=[name for name in droppers for _ in range(6)], columns=6
)

# %% [markdown]
# DropBlock lies between the other two: with blocks of 1 x 1 it is dropout, with blocks as large as
# the map it is SpatialDropout.
#
# **DropConnect** (2013) drops single weights of a linear layer instead of whole units. Below, the
# weights of a layer from 24 units (rows) to 32 (columns). Dropout of the inputs takes a row at a
# time:

# %%
# picture: A matrix of weights under dropout, which takes rows, and DropConnect, which takes points
torch.manual_seed(0)
layer = DropConnectLinear(24, 32, bias=False, p=0.5, per="batch")  # one mask for all, to be seen
nn.init.ones_(layer.weight)
rows = nn.Dropout(0.5)(torch.ones(24, 1)).expand(24, 32)
matrices = torch.stack([(rows > 0).float(), (layer(torch.eye(24)) > 0).float()])
visualize.batch_grid(matrices[:, None], titles=["dropout of the inputs", "DropConnect"], columns=2)

# %% [markdown]
# In training every picture of a batch meets a mask of its own. Do they help? A small network, few
# pictures, and enough epochs to learn them by heart:


# %%
def judged(regulariser, seed):
    """Train on few pictures; the share that is right of those, and of the test pictures."""
    torch.manual_seed(seed)
    net = convzoo.cnn(
        [(16, 3), "pool", (32, 3), "pool"], hidden=(64,), padding="zeros", image_size=SIDE,
        in_channels=CHANNELS, num_classes=CLASSES, dropout=0.5 if regulariser == "dropout" else 0.0,
    )  # fmt: skip
    if regulariser == "DropBlock":
        net.features.add_module("drop", DropBlock2d(0.2, 3))  # on the last maps
    elif regulariser == "DropConnect":
        apply_drop_connect(net, "hidden.*", p=0.5)
    convzoo.fit(net, train[:FEW], epochs=EPOCHS, batch_size=16, seed=seed)
    return convzoo.evaluate(net, train[:FEW]).top1, convzoo.evaluate(net, test).top1


print(f"{FEW} pictures, {EPOCHS} epochs, {len(SEEDS)} seeds      training     test, each seed")
for name in ("nothing", "dropout", "DropBlock", "DropConnect"):
    known, scores = zip(*(judged(name, seed) for seed in SEEDS), strict=True)
    each = ", ".join(f"{score:.1%}" for score in scores)
    print(f"{name:34} {statistics.mean(known):8.1%} {statistics.mean(scores):8.1%}   {each}")

# %% [markdown]
# Compare the differences between the rows with those between the seeds of a row before you believe
# any of them. On Fashion-MNIST none of the three beats doing nothing, although all of them do what
# they are there for: fewer training pictures are known by heart. In the lesson before, dropout did
# help. There the learning rate stayed as it was, and here it falls to zero at the end (`fit` does
# so unless it is told otherwise), which may do the same service.
#
# In [Overfitting](../regularisers.md) the same is measured on more pictures and larger networks.
# There dropout helps a multilayer perceptron, DropConnect does not, and for ResNet-20 no
# regulariser makes a difference that three seeds can tell. In its paper DropBlock gains 1.6 points
# on ImageNet, with ResNet-50 and 270 epochs. Regularisers pay where a network is large and has time
# to learn by heart.
#
# ## Exercises
#
# **1.** The last of AlexNet's convolutions puts out 256 maps. How many parameters would the network
# have with GoogLeNet's end: the mean of each map, and one linear layer to 1,000 classes?
#
# <details markdown><summary>Answer</summary>
#
# Its convolutions, and 256 x 1,000 weights with 1,000 biases.
#
# </details>

# %%
body = sum(layer.parameters for layer in layers if not layer.name.startswith("fc"))
print(f"{alexnet.parameters:,} -> {body + 256 * 1000 + 1000:,}")

# %% [markdown]
# **2.** An 11 x 11 kernel as a stack of 3 x 3: how many does it take, and what share of the weights
# is left?
#
# <details markdown><summary>Answer</summary>
#
# Each 3 x 3 adds two pixels to the field: 3, 5, 7, 9, 11, so five. They have 5 x 9 = 45 weights for
# each pair of channels, instead of 121.
#
# </details>

# %%
size = convzoo.summary(convolutions(3, 5), 56)
print(size.layers[-1].receptive_field, f"{size.parameters / (121 * C**2):.0%}")

# %% [markdown]
# **3.** Where in a reduced Inception module do most multiplications remain, and what would you
# reduce further?
#
# <details markdown><summary>Answer</summary>
#
# In the 3 x 3 of the second branch: 96 x 9 x 128 weights are two thirds of all. Inception-v3 goes
# on there, with 1 x 3 after 3 x 1 in its later modules, which saves a third of them again.
#
# </details>

# %%
print(f"{9 * 96 * 128 / total:.0%}")

# %% [markdown]
# **4.** Give the deep plain network other chances: a tenth of the learning rate, more epochs. Does
# it catch up with the shallow one?
#
# <details markdown><summary>Answer</summary>
#
# Change `lr` and `TIMES` above and see. In the paper it was not a matter of time: with three times
# as many steps the deep plain networks stayed behind.
#
# </details>
#
# ## Summary
#
# | network | its idea |
# | --- | --- |
# | LeNet-5 | shared kernels and pooling, all of it trained together |
# | AlexNet | the same, large: ReLU, dropout, graphics cards, ImageNet |
# | VGG | stacks of 3 x 3 see what large kernels see, for fewer weights |
# | Inception | several kernels side by side; 1 x 1 convolutions pay for them |
# | ResNet | blocks add to what comes in, so that depth can be learned |
#
# Parameters and work are two different costs; depth is a third, and had to be made trainable.
#
# Next: [AlexNet and ImageNet](alexnet_and_imagenet.md), and [your own
# photographs](your_own_photographs.md) with networks that others have trained. Every network of the
# zoo with its sizes is in [Networks](../models.md), what they look at in [See](../see.md).
