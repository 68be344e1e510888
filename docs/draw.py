"""Draw the pictures of see.md into docs/images.

    python docs/draw.py --fashion FOLDER

FOLDER holds Fashion-MNIST's `t10k-images-idx3-ubyte(.gz)`, as in Debian's package
`dataset-fashion-mnist`. Photographs are scikit-image's astronaut (NASA, public domain) and its cat
(CC0). Needs the `plot` and `train` extras and scikit-image.
"""

from __future__ import annotations

import argparse
import gzip
from pathlib import Path

import skimage.data
import torch
from PIL import Image
from torch import Tensor

import convzoo
from convzoo import datasets, presets, visualize

OUT = Path(__file__).parent / "images"


def convolutions() -> None:
    matrix = [[1, 2, 0, 1], [0, 1, 3, 1], [2, 1, 0, 0], [1, 0, 2, 1]]
    visualize.draw_steps(visualize.convolution_steps(matrix, "sobel_x"), path=OUT / "steps.png")
    visualize.draw_steps(visualize.pooling_steps(matrix), path=OUT / "pooling.png")
    cat = Image.fromarray(skimage.data.chelsea()).convert("L").crop((60, 0, 360, 300))
    names = ["identity", "sobel_x", "sobel_y", "laplacian"]
    names += ["box_blur", "gaussian_blur", "sharpen", "emboss"]
    found = [visualize.convolve(cat.resize((150, 150)), name, padding=1) for name in names]
    visualize.batch_grid(
        torch.stack(found).abs().clamp(0, 1), titles=names, columns=4, path=OUT / "kernels.jpg"
    )
    words = visualize.text("A BANANA 88")
    answers = [
        torch.nn.functional.pad(visualize.convolve(words, k).clamp(0, 1), (2, 2, 3, 3))
        for k in "A8"
    ]
    visualize.batch_grid(
        torch.stack([words, *answers]),
        titles=["A BANANA 88", "convolved with A", "convolved with 8"],
        columns=1,
        path=OUT / "letters.png",
    )


def networks(astronaut: Image.Image) -> None:
    visualize.draw_receptive_field(
        convzoo.alexnet_2012(), astronaut, "conv3", (4, 4), path=OUT / "receptive_field.jpg"
    )
    visualize.draw_activations(visualize.activations(), path=OUT / "activations.png")
    torch.manual_seed(0)
    x, labels = torch.randn(16, 3, 32, 32), torch.arange(16) % 10
    flows = {
        name: visualize.gradient_flow(convzoo.create_model(name), x, labels)
        for name in ("cifar_plain56", "cifar_resnet56")
    }
    visualize.draw_gradient_flow(flows, path=OUT / "gradient_flow.png")
    for name in ("alexnet_2012", "resnet18", "googlenet"):
        visualize.architecture(convzoo.create_model(name, device="meta"), path=OUT / f"{name}.svg")
    sheet = visualize.augmentations(
        presets.IMAGENET,
        astronaut,
        8,
        transform=presets.IMAGENET.train(rotation=15, brightness=0.3, erasing=0.3),
    )
    small = torch.nn.functional.interpolate(sheet, 112, mode="area")
    visualize.batch_grid(small, presets.IMAGENET, columns=4, path=OUT / "augmentations.jpg")


def clothes(folder: Path) -> None:
    net = convzoo.cifar_resnet20(weights="fashion_mnist").eval()
    assert net.labels is not None
    raw = read(folder)
    # The first image of eight classes, as the network sees them.
    prepared = net.preset.eval()(raw[:200])  # type: ignore[union-attr]
    with torch.no_grad():
        said = net(prepared).argmax(1).tolist()
    chosen = [said.index(c) for c in (9, 2, 1, 6, 7, 5, 8, 3)]
    x = prepared[chosen]
    heats = {
        "input": None,
        "grad_cam": visualize.grad_cam(net, x),
        "grad_cam_pp": visualize.grad_cam_pp(net, x),
        "occlusion": visualize.occlusion(net, x, window=8, stride=2).map,
        "gradients": visualize.gradients(net, x),
        "integrated": visualize.integrated_gradients(net, x),
        "guided": visualize.guided_backprop(net, x),
    }
    sheet([[net.labels[said[i]] for i in chosen], *heats], x, list(heats.values()), net,
          OUT / "explanations.png")  # fmt: skip
    pair = x[2:4]
    visualize.draw_occlusion(
        net, pair, visualize.occlusion(net, pair, window=8, stride=1), path=OUT / "occlusion.png"
    )
    steps = [0, 1, 7, 13, 19]  # layers from the top, each convolution with its normalisation
    rows: dict[str, list[Tensor]] = {"grad_cam": [], "guided": []}
    for depth in steps:
        other = visualize.randomise(net, depth)
        rows["grad_cam"].append(visualize.grad_cam(other, x[:2], [said[i] for i in chosen[:2]]))
        rows["guided"].append(
            visualize.guided_backprop(other, x[:2], [said[i] for i in chosen[:2]]).sum(1)
        )
    images = x[:2].repeat_interleave(len(steps), 0)
    heat = torch.cat([torch.stack(rows[name], 1).flatten(0, 1) for name in rows])
    titles = [f"{name}\n{depth or 'no'} layers random"
              for name in rows for _ in range(2) for depth in steps]  # fmt: skip
    visualize.batch_grid(
        images.repeat(2, 1, 1, 1),
        net,
        heat=heat,
        titles=titles,
        columns=len(steps),
        path=OUT / "randomised.png",
    )


def sheet(
    names: list[object], x: Tensor, heats: list[Tensor | None], net: convzoo.Classifier, path: Path
) -> None:
    """One row a method: grids of one row each, one below the other."""
    parts = []
    labels, *methods = names
    for method, heat in zip(methods, heats, strict=True):
        titles = labels if heat is None else [str(method)] * len(x)
        figure = visualize.batch_grid(x, net, heat=heat, titles=titles, columns=len(x))  # type: ignore[arg-type]
        figure.savefig(path)
        with Image.open(path) as part:
            parts.append(part.convert("RGB"))
    whole = Image.new("RGB", (parts[0].width, sum(p.height for p in parts)), "white")
    y = 0
    for part in parts:
        whole.paste(part, (0, y))
        y += part.height
    whole.quantize(128).save(path, optimize=True)


def digits() -> None:
    torch.manual_seed(0)
    data = datasets.digits()
    net = convzoo.lenet5(activation="relu", pool="max")
    history = convzoo.fit(net, data.train, data.val, epochs=12, batch_size=32, lr=3e-3, cpu=True)
    net.labels = data.classes
    visualize.learning_curve(history, OUT / "learning_curve.png")
    result = convzoo.evaluate(net, data.test, cpu=True)
    print(result)  # noqa: T201
    visualize.confusion_matrix(result, OUT / "confusion.png")
    visualize.batch_grid(visualize.filters(net), columns=6, path=OUT / "filters.png")
    x = net.preset.eval()(data.test.images)  # type: ignore[union-attr, arg-type]
    eight = data.test.targets.index(8)
    one = x[eight : eight + 1]
    visualize.draw_feature_maps(
        visualize.feature_maps(net, one), one, net, channels=6, path=OUT / "feature_maps.png"
    )
    fresh = convzoo.lenet5()
    curve = convzoo.lr_find(fresh, data.train, optimizer="sgd", end=100.0)
    visualize.draw_lr_curve(curve, OUT / "lr_find.png")
    judged = visualize.predictions(net, data.test)
    visualize.draw_calibration(visualize.calibration(judged), path=OUT / "calibration.png")
    worst = visualize.top_losses(net, data.test, 6)
    visualize.draw_predictions(worst, net, path=OUT / "top_losses.png")
    patches = visualize.top_patches(net, data.test, "conv2", range(16))
    strongest = sorted(patches, key=lambda unit: patches[unit][0].activation)[-4:]
    visualize.draw_patches({u: patches[u] for u in strongest}, net, path=OUT / "patches.png")
    vectors, index = visualize.embed(net, data.test), visualize.embed(net, data.train)
    numbers, _ = visualize.nearest(vectors[:6], index, 7)
    known = net.preset.eval()(data.train.images)  # type: ignore[union-attr, arg-type]
    rows = [torch.cat([x[i : i + 1], known[numbers[i]]]) for i in range(6)]
    visualize.batch_grid(
        torch.cat(rows), net, columns=8, framed=[j == 0 for _ in range(6) for j in range(8)],
        path=OUT / "nearest.png",
    )  # fmt: skip
    names = [data.classes[label] for label in data.test.targets]
    some = range(0, len(names), 3)
    visualize.draw_embedding(
        visualize.embedding_map(vectors)[some],
        [names[i] for i in some],
        images=x[some],
        preset=net,
        path=OUT / "embedding.png",
    )


def read(folder: Path) -> Tensor:
    """Fashion-MNIST's test images, uint8 (10000, 1, 28, 28)."""
    for path in sorted(folder.glob("t10k-images-idx3-ubyte*")):
        raw = path.read_bytes()
        raw = gzip.decompress(raw) if path.suffix == ".gz" else raw
        return torch.frombuffer(bytearray(raw[16:]), dtype=torch.uint8).view(-1, 1, 28, 28)
    raise FileNotFoundError(folder / "t10k-images-idx3-ubyte")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fashion", type=Path, required=True)
    arguments = parser.parse_args()
    OUT.mkdir(exist_ok=True)
    convolutions()
    networks(Image.fromarray(skimage.data.astronaut()))
    clothes(arguments.fashion)
    digits()
