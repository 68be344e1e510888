# %% [markdown]
# # Convolution by hand
#
# A letter can be a kernel, too. Laid on a line of text at every place, it gives its highest answer
# where it finds itself. **What exactly does a convolution compute, and how does a network learn the
# numbers of its kernels?** In this lesson we compute both by hand and let PyTorch check the result.

# %%
import argparse
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from matplotlib.figure import Figure
from torch import Tensor
from torch.utils.data import TensorDataset

import convzoo
from convzoo import datasets, visualize

parser = argparse.ArgumentParser()
NAMES = ["digits", "mnist", "fashion_mnist", "cifar10"]
parser.add_argument("--data", default="digits", choices=NAMES)
DATA = parser.parse_known_args()[0].data  # in a notebook: the digits, or write another name here
IMAGES, EPOCHS = (1259, 10) if DATA == "digits" else (20000, 5)

torch.manual_seed(0)
data = datasets.load(DATA)

# %%
# picture: A line of text, and below it where the kernels O and D answer
words = visualize.text("CONVOLUTION BY HAND")
found = [F.pad(visualize.convolve(words, letter).clamp(0, 1), (2, 2, 3, 3)) for letter in "OD"]
figure = visualize.batch_grid(
    torch.stack([words, *found]),
    titles=["the text", "convolved with the letter O", "convolved with the letter D"],
    columns=1,
)
for axes in figure.axes:
    axes.title.set_fontsize(14)
figure

# %% [markdown]
# The white dots are the highest answers, each in the middle of a letter. C and D are like O in most
# of their ink, and answer to its kernel in a light grey, but not in white. How such a kernel is
# made we shall see below; first the sum itself.
#
# ## A convolution in loops
#
# [Lesson 1](what_is_a_cnn.md) had it in pictures: lay the kernel, a small table of numbers, on a
# window of the picture, multiply number by number, add up, go on to the next window. The sums are a
# new picture, called a map. The **stride** is the step from one window to the next, the **padding**
# a rim of zeros around the picture. A picture is a tensor, a table of numbers, one for each point
# (pixel), of the shape (channels, height, width): one channel if it is grey, three if it is in
# colour. That makes five loops: two over the places, three over the window.

# %%


def convolve(image: Tensor, kernel: Tensor, stride: int = 1, padding: int = 0) -> Tensor:
    """(C, H, W) and a kernel (C, k, k) -> a map (h, w), one number after the other."""
    image = F.pad(image, (padding,) * 4)  # a rim of zeros
    channels, height, width = image.shape
    side = kernel.shape[-1]
    rows, columns = (height - side) // stride + 1, (width - side) // stride + 1
    out = torch.zeros(rows, columns)
    for r in range(rows):
        for c in range(columns):
            total = 0.0
            for channel in range(channels):
                for i in range(side):
                    for j in range(side):
                        pixel = image[channel, r * stride + i, c * stride + j]
                        total += float(pixel * kernel[channel, i, j])
            out[r, c] = total
    return out


image = data.test.images[0] / 255
kernel = torch.randn(image.shape[0], 3, 3)
for stride, padding in [(1, 0), (1, 1), (2, 1)]:
    ours = convolve(image, kernel, stride, padding)
    theirs = F.conv2d(image[None], kernel[None], stride=stride, padding=padding)[0, 0]
    difference = float((ours - theirs).abs().max())
    print(f"stride {stride}, padding {padding}: {tuple(ours.shape)}, differs by {difference:.1e}")

# %% [markdown]
# `F.conv2d` is PyTorch's own; the differences are those of rounding. (`image[None]` adds an axis in
# front: PyTorch takes many pictures at once, and many kernels.)
#
# ## The same as one product of matrices
#
# Nobody computes it in loops. Write each window as a column instead, all columns side by side:

# %%
small = torch.arange(1.0, 10).view(1, 3, 3)
print(small[0])
print(F.unfold(small[None], kernel_size=2)[0])  # 4 windows of 2 x 2, a column each

# %% [markdown]
# The first column, 1 2 4 5, is the window at the top left. Now write each kernel as a row. A row
# times a column is exactly the sum of a convolution, so that all sums of all kernels together are
# one product of two matrices, (kernels, window) times (window, places):

# %%


def convolve_all(image: Tensor, kernels: Tensor, padding: int = 0) -> Tensor:
    """(C, H, W) and kernels (K, C, k, k) -> maps (K, h, w), by one product."""
    side = kernels.shape[-1]
    columns = F.unfold(image[None], side, padding=padding)[0]  # (C k k, places)
    maps = kernels.flatten(1) @ columns  # (K, places)
    return maps.view(len(kernels), image.shape[1] + 2 * padding - side + 1, -1)


kernels = torch.randn(16, image.shape[0], 3, 3)
theirs = F.conv2d(image[None], kernels, padding=1)[0]
print(f"differs by {float((convolve_all(image, kernels, 1) - theirs).abs().max()):.1e}")


def milliseconds(compute: Callable[[], object], times: int) -> float:
    start = time.perf_counter()
    for _ in range(times):
        compute()
    return 1000 * (time.perf_counter() - start) / times


loops = milliseconds(lambda: [convolve(image, one, padding=1) for one in kernels], 1)
product = milliseconds(lambda: convolve_all(image, kernels, 1), 100)
print(f"16 maps in loops:     {loops:8.2f} ms")
print(f"16 maps by a product: {product:8.2f} ms, {loops / product:,.0f} times as fast")

# %% [markdown]
# The sums are the same ones. But a product of matrices runs in code that was tuned for the
# processor for decades, and the loops above ask Python for every single number.
#
# ## Kernels that look for something
#
# With the numbers -1 0 1 in its rows, a kernel subtracts what is on the left from what is on the
# right: it answers to upright edges. Turned by a quarter it answers to level ones. Both together
# find edges of every direction: as sides of a right-angled triangle, by Pythagoras.

# %%
# picture: A picture, its upright edges, its level edges, and the strength of all edges
grey = image.mean(0)
print(visualize.kernel("sobel_x"))
across = visualize.convolve(grey, "sobel_x", padding=1)
down = visualize.convolve(grey, "sobel_y", padding=1)
strength = (across**2 + down**2).sqrt()
visualize.batch_grid(
    (torch.stack([grey, across.abs() / 4, down.abs() / 4, strength / 4]))[:, None].clamp(0, 1),
    titles=["the picture", "upright", "level", "all edges"],
    columns=4,
)

# %% [markdown]
# In the last picture the outline is closed: what one kernel misses, the other finds.
#
# A kernel that looks for a letter is made in the same spirit, from what should be bright and what
# should be dark. Where the letter has ink, the kernel is positive, and its positive numbers add up
# to 1; where it has none, it is negative, and those add up to -1. On the letter itself that gives
# 1, on an even surface 0, and on another letter something between, or less:

# %%
letter = visualize.kernel("O")
for row in letter:
    print(" ".join(f"{float(value):6.3f}" for value in row))
for other in "OQDCIX":
    answer = (visualize.text(other)[0, 2:9, 2:7] * letter).sum()
    print(f"the kernel O on the letter {other}: {float(answer):5.2f}")

# %% [markdown]
# So *a kernel is a picture of what it looks for*, and its answer says how similar a window is to
# it.
#
# ## A kernel as large as the picture
#
# This gives the simplest classifier that there is. Take one kernel for each class, as large as the
# whole picture. It has a single place, so its answer is a single number: the **score** of that
# class. The class with the highest score is the answer. This is a **linear classifier**, and its
# kernels are what we now learn. Written as a row, a picture is `x`, a kernel is a row of the matrix
# `weight`, and with one more number for each class, the **bias**, the scores are

# %%
flat = [
    (part.images[:count].flatten(1) / 255, torch.tensor(part.targets[:count]))
    for part, count in ((data.train, IMAGES), (data.test, None))
]
(x, y), (x_test, y_test) = flat
classes, pixels = len(data.classes), x.shape[1]
weight, bias = 0.01 * torch.randn(classes, pixels), torch.zeros(classes)

scores = x[:1] @ weight.T + bias
by_convolution = F.conv2d(image[None], weight.view(classes, *image.shape))
print("a picture of", pixels, "numbers,", classes, "classes")
print("scores of the first picture:", [round(score, 3) for score in scores[0].tolist()])
print("shape of the same as a convolution:", tuple(by_convolution.shape))

# %% [markdown]
# ## How wrong is it? The loss
#
# Scores can be any numbers. **Softmax** makes probabilities of them: take the exponential of each,
# which is positive, and divide by the sum. The **loss** of a picture is minus the logarithm of the
# probability that its true class gets, which is called the **cross-entropy**: 0 if that probability
# is 1, and the larger the smaller it is. A classifier that knows nothing gives each of ten classes
# a tenth:

# %%
probabilities = scores.exp() / scores.exp().sum()
print("probabilities:", [round(p, 3) for p in probabilities[0].tolist()])
print(f"true class: {data.classes[y[0]]}")
print(f"loss: {float(-probabilities[0, y[0]].log()):.3f}")
print(f"minus the logarithm of a tenth: {float(-torch.tensor(0.1).log()):.3f}")

# %% [markdown]
# ## Which way is better? The gradient
#
# Turn one weight up a little and see what the loss does. The change of the loss divided by the
# change of the weight is the **gradient** for that weight: its sign says which way to turn, its
# size how much it matters. Trying every weight in turn would take thousands of computations; a
# formula gives all at once.
#
# It is surprisingly simple. For one picture, with the probabilities p, the loss is the logarithm of
# the sum of all exponentials, minus the score of the true class. The slope of the first part by any
# score is just its p, that of the second is -1 for the true class. So:
#
# - for the score of a wrong class, the gradient is p of that class: the more probable, the worse;
# - for the score of the true class it is p - 1, which is negative: more of it is better;
# - a score is the sum of weights times pixels, so the gradient for a weight is that of its score,
#   times its pixel; that for the bias is just that of its score.
#
# For many pictures it is the mean of theirs. The whole of it in a few lines:

# %%


def loss_and_gradients(
    weight: Tensor, bias: Tensor, x: Tensor, y: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """The mean loss of pictures x (B, pixels) of classes y, and its gradients."""
    scores = x @ weight.T + bias  # (B, classes)
    powers = (scores - scores.amax(1, keepdim=True)).exp()  # the same p, and no overflow
    p = powers / powers.sum(1, keepdim=True)
    rows = torch.arange(len(y))
    loss = -p[rows, y].log().mean()
    for_scores = p.clone()
    for_scores[rows, y] -= 1
    for_scores /= len(y)  # the mean
    return loss, for_scores.T @ x, for_scores.sum(0)


batch = slice(0, 100)
loss, for_weight, for_bias = loss_and_gradients(weight, bias, x[batch], y[batch])

# By trying: one weight, a little up and a little down.
place = divmod(int(for_weight.abs().argmax()), pixels)
nudge = torch.zeros_like(weight)
nudge[place] = 0.01
up, down = (
    loss_and_gradients(weight + sign * nudge, bias, x[batch], y[batch])[0] for sign in (1, -1)
)
print(f"the weight that matters most: by formula {float(for_weight[place]):.4f}", end=", ")
print(f"by trying {float(up - down) / 0.02:.4f}")

# By autograd, PyTorch's own: it follows the computation backwards.
w, b = weight.clone().requires_grad_(), bias.clone().requires_grad_()
F.cross_entropy(x[batch] @ w.T + b, y[batch]).backward()
print(f"all weights, against autograd: differ by {float((for_weight - w.grad).abs().max()):.1e}")
print(f"all biases: {float((for_bias - b.grad).abs().max()):.1e}")

# %% [markdown]
# By formula, by trying and by PyTorch it is the same.
#
# ## One step
#
# Now turn every weight against its gradient, all at the same time, by the gradient times a small
# number, the **learning rate**. If the loss were a straight line, it would fall by the learning
# rate times the sum of all squared gradients.

# %%
for rate in (0.01, 0.1, 1.0, 10.0):
    stepped = loss_and_gradients(
        weight - rate * for_weight, bias - rate * for_bias, x[batch], y[batch]
    )[0]
    straight = loss - rate * (for_weight.square().sum() + for_bias.square().sum())
    print(f"rate {rate:5}: loss {loss:.4f} -> {stepped:.4f}  (a straight line: {straight:.4f})")

# %% [markdown]
# With a small rate the step does what the gradient promised. With a larger one the loss bends away
# from the line, and with too large a rate, as on Fashion-MNIST with 1 and 10, it *rises*: the step
# went over the valley and up the other side. A gradient holds only near where it was computed,
# which is why learning takes many small steps.
#
# ## Training
#
# So: take a **batch** of 100 pictures, compute the gradients, make a step, take the next 100. Once
# through all pictures is an **epoch**. This is **stochastic gradient descent**, SGD, and it is all
# there is to it.

# %%


def accuracy(scores: Tensor, y: Tensor) -> float:
    return float((scores.argmax(1) == y).float().mean())


def train_linear(x: Tensor, y: Tensor, epochs: int, rate: float = 0.1) -> tuple[Tensor, Tensor]:
    weight, bias = torch.zeros(classes, x.shape[1]), torch.zeros(classes)
    for epoch in range(epochs):
        for batch in torch.randperm(len(x)).split(100):
            _, for_weight, for_bias = loss_and_gradients(weight, bias, x[batch], y[batch])
            weight -= rate * for_weight
            bias -= rate * for_bias
        if epoch in (0, epochs // 2, epochs - 1):
            loss = loss_and_gradients(weight, bias, x, y)[0]
            right = accuracy(x_test @ weight.T + bias, y_test)
            print(f"epoch {epoch + 1:3}: loss {loss:.3f}, right about {right:.2%} of the test set")
    return weight, bias


print(f"before: right about {accuracy(x_test @ weight.T + bias, y_test):.2%}")
weight, bias = train_linear(x, y, epochs=4 * EPOCHS)

# %% [markdown]
# The test set are pictures that were not trained on. And what has it learned? A kernel is a picture
# of what it looks for, so let us look at the kernels: red is positive, blue is negative.

# %%
# picture: The ten kernels of the linear classifier, as pictures, red where positive
kernels = weight.view(classes, *image.shape)
visualize.batch_grid(torch.zeros_like(kernels), heat=kernels, titles=list(data.classes), columns=5)

# %% [markdown]
# Red says: ink here speaks for the class; blue: against it. On Fashion-MNIST the trouser has its
# legs in red and a blue stripe between them, where a dress would have cloth; the ankle boot is blue
# above the toes, where a shirt has its front. Others are hard to read: there is one kernel for a
# class, so it has to suit all of its pictures at once, and each pixel has its fixed place in it.
# Remember that for the end of this lesson.
#
# ## The gradient of a convolution
#
# A small kernel is used at many places; how does one learn its numbers? Look at the product of
# matrices again: each column is a window, and each output is kernel times column. That is the
# linear classifier once more, with windows for pictures. So the rule is the same: the gradient for
# a kernel's number is that of the output, times the pixel under it, *added up over all places*. And
# the gradient for a pixel is that of every output that it took part in, times the number that lay
# on it.

# %%
kernels = torch.randn(4, image.shape[0], 3, 3)
for_maps = torch.randn(4, *image.shape[1:])  # as if later layers had sent it

columns = F.unfold(image[None], 3, padding=1)[0]  # (C 3 3, places)
for_kernels = (for_maps.flatten(1) @ columns.T).view_as(kernels)
for_columns = kernels.flatten(1).T @ for_maps.flatten(1)
for_image = F.fold(for_columns[None], image.shape[1:], 3, padding=1)[0]  # adds windows up

k, i = kernels.clone().requires_grad_(), image.clone().requires_grad_()
F.conv2d(i[None], k, padding=1).backward(for_maps[None])
print(f"for the kernels: differs from autograd by {float((for_kernels - k.grad).abs().max()):.1e}")
print(f"for the picture: {float((for_image - i.grad).abs().max()):.1e}")

# %% [markdown]
# The gradient for the picture is what a layer hands to the layer before it, whose output was its
# picture. So gradients travel from the loss back through all layers: **backpropagation**.
#
# ## Watch a kernel learn
#
# We show a kernel of random numbers pictures, and the maps that `sobel_x` makes of them. It is not
# told the nine numbers. Its loss is the mean square of what its maps differ by, whose gradient is
# twice that difference; and each step goes a little against the gradient.

# %%
# picture: A random kernel on its way to the Sobel kernel, after 0, 10, 100, 1000 and 3000 steps
sobel = visualize.kernel("sobel_x")
examples = data.train.images[:50].float().mean(1, keepdim=True) / 255
columns = F.unfold(examples, 3).transpose(0, 1).flatten(1)  # (9, windows of all pictures)
target = sobel.flatten() @ columns

learned, kept = torch.randn(9), {}
for step in range(3001):
    difference = learned @ columns - target
    if step in (0, 10, 100, 1000, 3000):
        kept[step] = learned.clone()
        print(f"step {step:4}: loss {float(difference.square().mean()):.6f}")
    learned -= 0.15 * 2 * difference @ columns.T / columns.shape[1]
print(learned.view(3, 3))
shown = torch.stack([*kept.values(), sobel.flatten()]).view(-1, 1, 3, 3)
visualize.batch_grid(
    torch.zeros_like(shown),
    heat=shown / shown.abs().amax((1, 2, 3), keepdim=True),
    titles=[*(f"step {step}" for step in kept), "Sobel"],
    columns=6,
)

# %% [markdown]
# From the examples alone it comes to the edge kernel, quickly at first and then slowly. In a CNN
# the maps to aim at are not given, only the names of the classes; but the gradients that come back
# from the loss play the same part.
#
# ## When the picture moves
#
# Why all this, if a linear classifier does as well as it did above? Because in it each pixel has
# its fixed place. We train a small CNN on the same pictures, then move the test pictures to the
# left and to the right, black coming in from the side, and count how often each is still right.

# %%
# picture: Accuracy of the linear classifier and of a CNN while test pictures are moved sideways
shape = image.shape
net = convzoo.cnn(
    [(16, 3), "pool", (32, 3), "pool"],
    hidden=(64,),
    padding="zeros",
    in_channels=shape[0],
    image_size=shape[1],
    num_classes=classes,
)
convzoo.fit(net, TensorDataset(x.view(-1, *shape), y), epochs=EPOCHS, batch_size=50, lr=3e-3)


def moved(x: Tensor, by: int) -> Tensor:
    """Pictures in rows, (B, pixels), moved to the right by some columns, or to the left."""
    return F.pad(x.view(-1, *shape), (by, -by)).flatten(1)


furthest = max(2, shape[2] // 7)
moves = range(-furthest, furthest + 1)
right: dict[str, list[float]] = {"linear": [], "CNN": []}
with torch.no_grad():
    for by in moves:
        pictures = moved(x_test, by)
        right["linear"].append(accuracy(pictures @ weight.T + bias, y_test))
        right["CNN"].append(accuracy(net(pictures.view(-1, *shape)), y_test))
for by, linear, cnn in zip(moves, right["linear"], right["CNN"], strict=True):
    print(f"moved by {by:2}: linear {linear:6.2%}   CNN {cnn:6.2%}")
figure = Figure(figsize=(6, 3.4), layout="constrained")
axes = figure.subplots()
for name, line in right.items():
    axes.plot(moves, line, marker=".", label=name)
axes.set_xlabel("moved to the right by pixels")
axes.set_ylabel("right")
axes.set_ylim(0, 1)
axes.grid(alpha=0.3)
axes.legend()
figure

# %% [markdown]
# The CNN is ahead from the start. On Fashion-MNIST it also loses far less with the first two
# pixels: its kernels find an edge wherever that has moved to, and pooling lets a small move pass.
# But it is by no means blind to moves. After the last pooling, linear layers connect what is left,
# and these, too, know each place by itself: moved by four pixels, as far as one number of the last
# map is from the next, it is hardly better than the linear classifier. Convolution and pooling do
# not make a network invariant. They make small moves cheap.
#
# ## Exercises
#
# **1.** Convolve the table 1 2 3 / 4 5 6 / 7 8 9 with the kernel 1 0 / 0 -1, on paper. Why are all
# numbers of the map the same?
#
# <details markdown><summary>Answer</summary>
#
# The kernel subtracts from each number the one to the right below it, and that is everywhere larger
# by 4. The next cell has it.
#
# </details>

# %%
print(convolve(small, torch.tensor([[[1.0, 0.0], [0.0, -1.0]]])))

# %% [markdown]
# **2.** In mathematics, a convolution turns the kernel by half a circle first; what CNNs compute is
# called a cross-correlation there. Why does it make no difference to a network?
#
# <details markdown><summary>Answer</summary>
#
# The kernel is learned. Where one network would learn a kernel, the other learns the same one
# turned, and both compute the same maps. Only somebody who brings a kernel from a book has to look
# which of the two is meant.
#
# </details>
#
# **3.** A classifier is quite sure of a picture and right. How large are the gradients for its
# weights? And if it is sure and wrong?
#
# <details markdown><summary>Answer</summary>
#
# Sure and right: p of the true class is near 1, so p - 1 is near 0, and the other probabilities are
# near 0 as well. All gradients are about 0, and nothing changes. Sure and wrong: -1 for the true
# class and 1 for the one it preferred, the largest that there can be. So the pictures that it gets
# wrong do the teaching.
#
# </details>
#
# **4.** Move the training pictures, each by a number of columns drawn at random, and train the
# linear classifier on these. What do you expect for moved and for unmoved test pictures?
#
# <details markdown><summary>Answer</summary>
#
# The cell below does it. Far moves cost it less than before. But one kernel for a class now has to
# suit the class at every place, and becomes a blurred one, so that unmoved pictures suffer. The CNN
# need not choose, since its kernels move along.
#
# </details>

# %%
draws = torch.randint(-furthest, furthest + 1, (len(x),))
x_moved = torch.empty_like(x)
for by in moves:
    x_moved[draws == by] = moved(x[draws == by], by)
weight_moved, bias_moved = train_linear(x_moved, y, epochs=4 * EPOCHS)
for by in (-furthest, 0, furthest):
    again = accuracy(moved(x_test, by) @ weight_moved.T + bias_moved, y_test)
    before = right["linear"][by + furthest]
    print(f"moved by {by:2}: trained on moved pictures {again:6.2%}, on unmoved {before:6.2%}")

# %% [markdown]
# ## Summary
#
# - A convolution is a sum of products for every place: five loops, or one product of matrices with
#   a column for every window.
# - A kernel is a picture of what it looks for. A linear classifier has one kernel a class, as large
#   as the picture.
# - Softmax makes probabilities of scores; cross-entropy is minus the logarithm of the true class's.
# - The gradient for a score is its probability, less 1 for the true class. Times the input it is
#   the gradient for a weight; for a kernel, added up over all places.
# - A step goes against the gradient, by the learning rate: small enough, and many times.
# - Shared, local kernels make a network less sensitive to moves, not insensitive.
#
# Next: [A first CNN in PyTorch](first_cnn.md) leaves the gradients to autograd and the steps to an
# optimizer. What a trained network looks for is on [See](../see.md).
