"""From the shell to the first label: whole processes in turns.

python benchmarks/cold_start.py [rounds]
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from PIL import Image

import convzoo
from timing import interleave, python, report

TORCHVISION = """
import torch
from PIL import Image
from torchvision import transforms
from torchvision.models import resnet18
net = resnet18(num_classes=10).eval()
net.load_state_dict(torch.load("boats.pt"))
prepare = transforms.Compose([
    transforms.Resize(256), transforms.CenterCrop(224), transforms.ToTensor(),
    transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
])
with torch.inference_mode():
    x = prepare(Image.open("cat.jpg").convert("RGB"))[None]
    print(net(x).softmax(1).topk(5))
"""

TIMM = """
import timm, torch
from PIL import Image
net = timm.create_model("resnet18", checkpoint_path="boats.pt", num_classes=10).eval()
prepare = timm.data.create_transform(**timm.data.resolve_model_data_config(net))
with torch.inference_mode():
    x = prepare(Image.open("cat.jpg").convert("RGB"))[None]
    print(net(x).softmax(1).topk(5))
"""


def command(*words: str) -> Callable[[], object]:
    """A candidate that runs a command in a process of its own."""
    return lambda: subprocess.run(words, check=True, capture_output=True)


if __name__ == "__main__":
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 7
    with TemporaryDirectory() as place:
        net = convzoo.resnet18(num_classes=10)
        net(torch.rand(2, 3, 64, 64))  # its batch normalisation has seen something
        convzoo.save(net, Path(place, "boats"), dataset="boats")
        torch.save(net.state_dict(), Path(place, "boats.pt"))
        noise = torch.randint(0, 256, (375, 500, 3), dtype=torch.uint8)
        Image.fromarray(noise.numpy()).save(Path(place, "cat.jpg"))

        def script(code: str) -> Callable[[], object]:
            """A candidate that runs code beside the files."""
            return python(f"import os; os.chdir({place!r})\n{code}")

        files = (str(Path(place, "boats")), str(Path(place, "cat.jpg")))
        medians = interleave(
            {
                "convzoo predict boats cat.jpg": command(
                    sys.executable, "-m", "convzoo", "predict", *files
                ),
                "torchvision's shortest script": script(TORCHVISION),
                "timm's shortest script": script(TIMM),
                "import torch alone": script("import torch"),
            },
            rounds,
        )
    report("from the shell to the first label, resnet18", medians, "convzoo predict boats cat.jpg")
