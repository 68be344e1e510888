# %% [markdown]
# # What is a CNN?
#
# A computer is given no shirt and no seven. It is given a table of numbers, one for each point of
# the picture. **How does a network get from these numbers to a name, and why does it look at small
# squares of the picture first?**

# %%
import argparse

import torch
import torch.nn.functional as F
from matplotlib.figure import Figure
from torch import nn
from torch.utils.data import TensorDataset

import convzoo
from convzoo import datasets, visualize

parser = argparse.ArgumentParser()
parser.add_argument("--data", default="digits", choices=["digits", "fashion_mnist", "cifar10"])
DATA = parser.parse_known_args()[0].data  # in a notebook: the digits, or write another name here
IMAGES, EPOCHS = {"digits": (1259, 5), "fashion_mnist": (15000, 6), "cifar10": (20000, 8)}[DATA]

torch.manual_seed(0)
data = datasets.load(DATA)
image = data.test.images[0] / 255  # numbers from 0, black, to 1, white

# %%
# picture: A picture of the data set, then its upright edges, its level edges, and all of it blurred
grey = image.mean(0)  # colours averaged, if there are any
found = [visualize.convolve(grey, name, padding=1) for name in ("sobel_x", "sobel_y", "box_blur")]
visualize.batch_grid(
    torch.stack([grey, found[0] / 2, found[1] / 2, found[2]])[:, None].abs().clamp(0, 1),
    titles=["the picture", "upright edges", "level edges", "blurred"],
    columns=4,
)

# %% [markdown]
# On the left is a picture as it is. The other three were computed from it, each by one small sum
# that is done again at every place: nine neighbouring numbers, each times a number of its own,
# added up. Only these nine numbers differ from one picture to the next.
#
# A **convolutional neural network**, CNN, is a stack of such sums. Nobody chooses their numbers:
# they are learned from examples. This lesson shows every part of such a network by itself, then
# puts the parts together, trains the network, and looks at what it gets wrong.
#
# ## A picture is numbers

# %%
print(f"{DATA}: {len(data.train)} pictures to learn from, {len(data.test)} to test with")
print("classes:", ", ".join(data.classes))
print("shape of one picture:", tuple(image.shape))
print("8 rows and 8 columns from its middle, in hundredths:")
top, left = grey.shape[0] // 2 - 4, grey.shape[1] // 2 - 4
for row in grey[top : top + 8, left : left + 8]:
    print(" ".join(f"{round(100 * float(value)):3d}" for value in row))

# %% [markdown]
# Each number is a **pixel**, a point of the picture: 0 is black, 100 hundredths are white. The
# shape is that of a **tensor**, as PyTorch calls a table with any number of axes. A picture has
# three: channels, height and width. A grey picture has one **channel**; one in colour has three, a
# table each for red, green and blue.
#
# The **classes** are the names to choose from. A network that chooses is a **classifier**: numbers
# in, one **score** for each class out, and the class with the highest score is its answer.
#
# ## A kernel slides over the picture
#
# The small sum is called a **convolution**, and its nine numbers are the **kernel**. Here it is at
# work on a table of 4 x 4, bright on the right and at the bottom. The kernel has -1, -2, -1 on the
# left and 1, 2, 1 on the right, so it compares right with left.

# %%
# picture: A kernel of 3 x 3 in its four places on a table of 4 x 4, with the sum that each gives
table = [[0, 0, 9, 9], [0, 0, 9, 9], [0, 0, 9, 9], [9, 9, 9, 9]]
visualize.draw_steps(visualize.convolution_steps(table, "sobel_x"))

# %% [markdown]
# Each row of the picture is one step. The kernel lies on the orange square, the **window**; each
# number of the window is multiplied by the number of the kernel that lies on it, and the products
# are added up. That sum is one number of the output. Then the window moves on by one column, and at
# the end of the row to the next row. In code, the first step is:

# %%
window = torch.tensor(table)[0:3, 0:3]
kernel = visualize.kernel("sobel_x")
print(window)
print(kernel)
print("the sum of the products:", (window * kernel).sum().item())

# %% [markdown]
# The output is a picture again, called a **map**: it says how strongly each place answers to the
# kernel. Answers may be negative. Below, red is positive, blue is negative and white is zero.

# %%
# picture: The answers of four kernels to the picture, red where positive and blue where negative
names = ["sobel_x", "sobel_y", "laplacian", "emboss"]
answers = torch.stack([visualize.convolve(grey, name, padding=1) for name in names])
visualize.batch_grid(grey.expand(4, 1, *grey.shape), heat=answers, titles=names, columns=4)

# %% [markdown]
# `sobel_x` is red where it gets brighter from left to right and blue where it gets darker.
# `sobel_y` does the same from top to bottom. `laplacian` answers where a point differs from its
# four neighbours. The numbers of these three add up to zero, so that they give zero wherever the
# picture is even, however bright it is. Those of `emboss` compare along a diagonal and add up to 1:
# the picture itself shines through.
#
# ## Padding and stride: how large is the map?
#
# A kernel of 3 x 3 has only two places in a row of four, so the map is smaller than the picture. To
# keep its size one adds a rim of zeros, the **padding**. To make it smaller on purpose one lets the
# window jump, by the **stride**. In this step the padding is 1 and the stride 2:

# %%
# picture: A kernel on a table of 4 x 4 with a rim of zeros, moving by two; its last step
visualize.draw_steps(visualize.convolution_steps(table, "sobel_x", padding=1, stride=2), step=3)

# %% [markdown]
# With a side of n, a kernel of side k, padding p on each side and stride s, the map's side is
#
#     (n + 2 p - k) / s + 1, rounded down
#
# for there are n + 2 p numbers in a row, and the window's left edge may stand on the first, on
# every s-th after it, and last where the window still fits. (The line above the drawing says the
# same in a longer form, for kernels with gaps between their numbers; without gaps it is this one.)
# Does it hold?

# %%
n = grey.shape[0]
print(f"a picture of side {n}")
for k, p, s in [(3, 0, 1), (3, 1, 1), (5, 0, 1), (5, 2, 1), (3, 1, 2), (3, 0, 2)]:
    formula = (n + 2 * p - k) // s + 1
    computed = visualize.convolve(grey, torch.ones(k, k), padding=p, stride=s).shape[0]
    print(f"kernel {k}, padding {p}, stride {s}: by the formula {formula}, computed {computed}")

# %% [markdown]
# Remember the second line and the fifth: a kernel of 3 with padding 1 keeps the size, and with
# stride 2 it halves it.
#
# ## A layer is many kernels
#
# One kernel finds one thing. A **convolutional layer** has many, and each gives a map of its own,
# which is a channel of the output. If the input has several channels, every kernel has a table of
# numbers for each of them, and one sum runs over all. Then one more number is added, the kernel's
# **bias**.

# %%
layer = nn.Conv2d(image.shape[0], 16, kernel_size=3, padding=1)
maps = layer(image)
print("picture:", tuple(image.shape))
print("kernels:", tuple(layer.weight.shape), " (kernels, channels of the input, height, width)")
print("biases: ", tuple(layer.bias.shape))
print("maps:   ", tuple(maps.shape))
print("numbers to learn:", layer.weight.numel() + layer.bias.numel())
next_layer = nn.Conv2d(16, 32, kernel_size=3, padding=1)
learned = next_layer.weight.numel() + next_layer.bias.numel()
print(f"a second layer of 32 kernels on these 16 maps: 32 x (16 x 3 x 3 + 1) = {learned} to learn")

# %% [markdown]
# The numbers to learn, weights and biases, are a network's **parameters**. Before training they are
# random.
#
# ## Why not connect everything with everything?
#
# There is a simpler layer: a **linear layer**, in which each output is a sum over all numbers of
# the input, each with a weight of its own. Nothing says which numbers are neighbours. Suppose we
# want 16 maps of the picture's size from it, as the convolution gives them:

# %%
for what, (c, h, w) in {"this picture": image.shape, "a photograph": (3, 224, 224)}.items():
    print(f"{what}, {c} x {h} x {w}, to 16 maps of its size:")
    print(f"    convolution of 3 x 3: {16 * (c * 3 * 3 + 1):>20,} parameters")
    print(f"    linear:               {16 * h * w * (c * h * w + 1):>20,} parameters")

# %% [markdown]
# The convolution needs so few for two reasons. It is **local**: an output depends on its
# neighbourhood only, where edges and corners are. And its weights are **shared**: the same nine
# numbers serve at every place, since an edge is an edge wherever it is. From the second follows
# something that the linear layer would have to learn separately for every place: *move the picture,
# and the map moves with it*.

# %%
moved = grey.roll(2, dims=1)  # two columns to the right
map_of_moved = visualize.convolve(moved, "sobel_x", padding=1)
moved_map = visualize.convolve(grey, "sobel_x", padding=1).roll(2, dims=1)
inside = slice(3, -1)  # at the sides, where columns come in from the other side, they differ
difference = (map_of_moved - moved_map)[:, inside].abs().max()
print(f"largest difference between the map of the moved and the moved map: {difference:.6f}")

# %% [markdown]
# ## Between the layers: an activation
#
# Two convolutions one after the other are no more than a single one with a larger kernel. Here are
# two of 3 x 3, and the one of 5 x 5 that does their work:

# %%
first, second = visualize.kernel("sobel_x"), visualize.kernel("box_blur")
both = visualize.convolve(first, second.flip(0, 1), padding=2)  # 5 x 5
once = visualize.convolve(grey, both)
twice = visualize.convolve(visualize.convolve(grey, first), second)
print(f"two layers and one differ by at most {(once - twice).abs().max():.6f}")
between = visualize.convolve(torch.relu(visualize.convolve(grey, first)), second)
print(f"with an activation between the two, by {(once - between).abs().max():.6f}")

# %% [markdown]
# (Zero here means zero but for rounding.) For depth to bring something, something that is no sum
# has to stand between the layers: the **activation**, a function applied to every number by itself.

# %%
# picture: The activations ReLU, tanh and sigmoid, each with its slope dashed
visualize.draw_activations(visualize.activations(["relu", "tanh", "sigmoid"]))

# %% [markdown]
# **ReLU** is the usual one: negative numbers become 0, positive ones stay. A map after ReLU says
# "here it is" or nothing. `tanh` and `sigmoid` are older. Their slopes, dashed, are close to 0 on
# both sides; learning goes by slopes, as [the next lesson](convolution_by_hand.md) shows, so that a
# number far out learns slowly. [Lesson 3](first_cnn.md) measures the difference.
#
# ## Pooling
#
# After some convolutions the maps are made smaller. **Max pooling** cuts a map into squares, mostly
# of 2 x 2, and keeps the largest number of each: what was found, but not exactly where.

# %%
# picture: Max pooling of a table of 4 x 4 in its last step: the largest of each square of 2 x 2
table = [[1, 0, 2, 3], [4, 6, 5, 1], [3, 1, 1, 0], [1, 2, 2, 4]]
visualize.draw_steps(visualize.pooling_steps(table), step=3)

# %% [markdown]
# 6 is the largest number of the first square, 5 of the second, and so on. A quarter of the numbers
# is left, so that all that follows is four times cheaper. And the result hardly cares where in its
# square the largest number stood: pooling is called **shift invariant**. How far does that go? We
# move pictures to the right, a pixel at a time, and compare what comes out of an edge kernel with
# what came out before, as it is and after pooling. (The pictures get a black rim first, so that
# nothing is pushed out.)

# %%
# picture: A picture moved by 0 to 3 pixels, its edges moved along, and these pooled by 4
pictures = F.pad(data.test.images[:200].float().mean(1, keepdim=True) / 255, (8, 8, 8, 8))


def edges(x: torch.Tensor) -> torch.Tensor:
    return torch.relu(visualize.convolve(x, "sobel_x", padding=1))


moves = [pictures[:1].roll(shift, dims=3) for shift in range(4)]
pooled = [F.max_pool2d(edges(x), 4) for x in moves]
rows = [*moves, *(edges(x) / 2 for x in moves)]
rows += [F.interpolate(x, scale_factor=4) / 2 for x in pooled]  # each number as a square of 4 x 4
shown = torch.cat(rows)[..., 4:-4, 4:-4].clamp(0, 1)
titles = [f"{name}moved by {i}" for name in ("", "edges, ", "pooled, ") for i in range(4)]
visualize.batch_grid(shown, titles=titles, columns=4)

# %% [markdown]
# The edges in the second row go along with the picture. The squares in the third stay where they
# are: from one move to the next most of them change only in brightness, and some not at all. In
# numbers, the mean of 200 pictures:

# %%
# picture: How much pixels, edges and pooled edges change while pictures are moved by 0 to 8 pixels
stages = {
    "pixels": lambda x: x,
    "edges": edges,
    "edges, pooled by 2": lambda x: F.max_pool2d(edges(x), 2),
    "edges, pooled by 4": lambda x: F.max_pool2d(edges(x), 4),
    "edges, one maximum for all": lambda x: edges(x).amax((2, 3)),
}
figure = Figure(figsize=(7, 3.6), layout="constrained")
axes = figure.subplots()
for name, stage in stages.items():
    before = stage(pictures).flatten(1)
    changes = []
    for shift in range(9):
        after = stage(pictures.roll(shift, dims=3)).flatten(1)
        changes.append(float(((after - before).norm(dim=1) / before.norm(dim=1)).mean()))
    axes.plot(range(9), changes, marker=".", label=name)
    print(
        f"{name:<28} moved by 1: {changes[1]:.2f}   by 2: {changes[2]:.2f}   by 4: {changes[4]:.2f}"
    )
axes.set_xlabel("moved by pixels")
axes.set_ylabel("change, as a share of itself")
axes.legend(fontsize=8)
figure

# %% [markdown]
# Read it for a move of one pixel. The edges themselves change more than the pixels do, for an edge
# is thin and has left its place. Pooling takes a part of the change away, and more with larger
# squares, but by no means all of it: whatever crosses the border of a square counts in another one
# from then on. Only one maximum over the whole map, *global* pooling, does not change at all, and
# that no longer knows where anything was. So pooling makes a network less sensitive to small moves,
# step by step, and "invariant" is a large word for it. Why that matters for the result is measured
# in the next lesson.
#
# ## A small CNN
#
# These are all the parts. `convzoo.cnn` stacks them: two times convolution, ReLU and pooling, then
# two linear layers, which bring together what was found at all places, and end in one score a
# class.

# %%
channels, _, size = image.shape
net = convzoo.cnn(
    [(16, 3), "pool", (32, 3), "pool"],
    hidden=(64,),
    padding="zeros",
    in_channels=channels,
    image_size=size,
    num_classes=len(data.classes),
)
print(convzoo.summary(net))

# %% [markdown]
# Read the table from the top. The column `output` has channels x height x width: the channels grow,
# the maps shrink. `Flatten` writes all that is left in one long row. Most of the parameters are in
# the linear layer after it, most of the work, counted in multiplications, in the second
# convolution.
#
# The column `field` is the **receptive field**: the side of the square of pixels that one number of
# this layer can see. After the first convolution it is that of the kernel, 3. Pooling by 2 joins
# two such windows side by side, one pixel apart: 4. Then a step to the side is two pixels of the
# picture (the column `stride`), so that the next kernel of 3 adds 2 x 2: 8. So small kernels in a
# stack see large squares: the first layer finds edges, the next finds corners and bows made of
# edges, and so on.

# %%
# picture: What one number of the second convolution sees of the picture, framed in red
visualize.draw_receptive_field(net, data.test[0][0], "conv2")

# %% [markdown]
# In the red frame is what one number of the second convolution sees; the dashed frames belong to
# its neighbours below and to the right.
#
# ## Train it
#
# Three things are needed. Pictures with their classes: the **training set**, here a part of it. A
# number that says how wrong the scores are: the **loss**. The usual one turns the scores into
# probabilities that add up to 1, and is the smaller, the more probable the right class is. And a
# rule that changes each parameter a little so that the loss falls, for some pictures at a time, the
# **batch**. One round through all pictures is an **epoch**. [Lesson 2](convolution_by_hand.md) does
# all this by hand; here `fit` does.
#
# Beside the CNN we train two networks without convolution on the same pictures: a linear layer
# alone, and a **multi-layer perceptron**, MLP: a linear layer with 128 outputs, ReLU, another
# linear layer.

# %%
shape = {"in_channels": channels, "image_size": size, "num_classes": len(data.classes)}
nets = {
    "linear": convzoo.linear_classifier(**shape),
    "MLP": convzoo.mlp(hidden=(128,), activation="relu", **shape),
    "CNN": net,
}
prepare = net.preset.eval()  # brings pixels near to mean 0 and deviation 1
labelled = [
    TensorDataset(prepare(part.images[:count]), torch.tensor(part.targets[:count]))
    for part, count in ((data.train, IMAGES), (data.val, 2000), (data.test, None))
]
train, val, test = labelled
histories, results = {}, {}
for name, one in nets.items():
    histories[name] = convzoo.fit(one, train, val, epochs=EPOCHS, batch_size=64, lr=3e-3)
    results[name] = convzoo.evaluate(one, test, labels=data.classes)
    parameters = sum(p.numel() for p in one.parameters())
    print(f"{name:<6} {parameters:>9,} parameters, right about {results[name].top1:.2%}")

# %% [markdown]
# The **test set** are pictures that no training has seen, the only fair measure. On Fashion-MNIST
# the CNN is right most often of the three, and not for its parameters: the MLP has almost as many.
# What helps is what was built in: neighbours belong together, and an edge is an edge everywhere.
# (On the bundled digits of 8 x 8 pixels the MLP does as well: so small a picture is hardly more
# than one neighbourhood.)

# %%
# picture: Loss and accuracy of the CNN by epoch, on the training set and on the validation set
visualize.learning_curve(histories["CNN"])

# %% [markdown]
# Each epoch the loss on the training set falls and the accuracy, the share of right answers, rises.
# The **validation set** is a third part of the pictures: not trained on, but looked at after each
# epoch, to see whether what was learned holds for other pictures. The star marks the epoch whose
# parameters `fit` kept, the best on that part.
#
# ## What it gets wrong

# %%
# picture: The CNN's confusion matrix: true classes in rows, answers in columns
result = results["CNN"]
for pair in result.most_confused(3):
    print(f"{pair.truth} taken for {pair.prediction}: {pair.images} times")
visualize.confusion_matrix(result)

# %% [markdown]
# The **confusion matrix** has a row for each true class and a column for each answer; right answers
# are on the diagonal. What stands beside it is no accident: it is found between classes that look
# alike. The single pictures that the network is most wrong about, with the classes it held most
# probable:

# %%
# picture: Six test pictures with the largest loss, beside each the classes that the CNN preferred
worst = visualize.top_losses(net, test, 6, labels=data.classes)
visualize.draw_predictions(worst, net)

# %% [markdown]
# Above each picture stands its class, and the probability that the network gave it. A red frame
# marks a wrong answer. Some of these pictures you may well have called by another name, too; others
# show that the network is very sure of itself where it is wrong.
#
# ## What it has learned

# %%
# picture: The sixteen kernels of the first layer after training; mid-grey is zero
visualize.batch_grid(visualize.filters(net), columns=8)

# %%
# picture: The picture on its way through the CNN: the six strongest maps of each stage
prepared = prepare(data.test.images[:1])
visualize.draw_feature_maps(visualize.feature_maps(net, prepared), prepared, net, channels=6)

# %% [markdown]
# The first picture shows the kernels: bright is positive, dark is negative, mid-grey is zero. Some
# have a bright side and a dark one: nobody told the network, but it has found edge kernels of its
# own. The second shows what the kernels of each stage make of a picture, the strongest six maps a
# row: outlines and surfaces first; further on fewer and larger squares, which say that something is
# there, but no longer what it is to our eyes.
#
# ## Exercises
#
# **1.** A picture of 224 x 224 goes through a kernel of 11 x 11 with stride 4 and padding 2. How
# large is the map? (That is AlexNet's first layer.)
#
# <details markdown><summary>Answer</summary>
#
# (224 + 4 - 11) / 4 is 54.25; rounded down, plus 1, that makes 55: the map has 55 x 55 numbers. The
# window never reaches the last column of the rim, which is what the rounding means.
#
# </details>
#
# **2.** A layer has 64 kernels of 5 x 5 on 32 channels. How many parameters are that? And with two
# layers of 3 x 3 instead, 64 kernels each, which see as large a square?
#
# <details markdown><summary>Answer</summary>
#
# 64 x (32 x 25 + 1) = 51,264. Two layers: 64 x (32 x 9 + 1) + 64 x (64 x 9 + 1) = 18,496 + 36,928 =
# 55,424. That is about as many, with an activation more in between. With 64 channels at the input
# the two layers would win: 73,856 against 102,464. Lesson 4 shows how VGG made a rule of it.
#
# </details>
#
# **3.** Write down a kernel of 3 x 3 that moves a picture by one pixel to the right. Does a layer
# of convolution need pooling to know where something is?
#
# <details markdown><summary>Answer</summary>
#
# All zeros, and a 1 left of the middle: each output takes its left neighbour. `visualize.kernel`
# knows it as `"shift_right"`. As for the second question, no: the map of a convolution says where
# by itself. Pooling makes it forget some of that, and makes the maps smaller.
#
# </details>
#
# **4.** Leave out the pooling and let the convolutions take stride 2 instead. What becomes of the
# sizes, the parameters and the work?
#
# <details markdown><summary>Answer</summary>
#
# The cell below builds it. The maps are as large as after pooling, so are the parameters. The
# multiplications are a quarter, since three of four places are never computed; with pooling they
# are computed first, and then three of four numbers are thrown away.
#
# </details>

# %%
strided = convzoo.cnn([(16, 3, 2), (32, 3, 2)], hidden=(64,), padding="zeros", **shape)
for name, one in {"pooling": net, "stride": strided}.items():
    measured = convzoo.summary(one)
    work = sum(layer.multiply_adds for layer in measured.layers if layer.kind == "Conv2d")
    print(f"{name:<8} {measured.parameters:,} parameters, {work:,} multiplications in convolutions")

# %% [markdown]
# ## Summary
#
# - A picture is a tensor of numbers: channels, height, width.
# - A convolution slides a kernel over it and adds up products; the sums are a map. Padding and
#   stride decide on the map's size: (n + 2 p - k) / s + 1, rounded down.
# - It is local and shares its weights, so that it needs few parameters, and moves with the picture.
# - Between layers stands an activation, mostly ReLU; without it, many layers are no more than one.
# - Pooling makes maps smaller and a little less sensitive to moves; only global pooling is
#   invariant.
# - A number deep in the network sees a large square, its receptive field.
# - A CNN ends in linear layers that score the classes. Training fits all of its numbers to
#   examples.
#
# Next: [Convolution by hand](convolution_by_hand.md) computes all of this without a library. More
# pictures of this kind are on [See](../see.md), and [the explorer](../explorer.md) lets you click
# through a network of your own.
