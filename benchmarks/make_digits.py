"""Write the bundled digits: scikit-learn's `load_digits`, stored to be read without it.

Run once, with scikit-learn installed: `python benchmarks/make_digits.py`. The result is
src/convzoo/bundled/digits.safetensors, the same bytes every time.
"""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import save_file
from sklearn.datasets import load_digits

OUT = Path(__file__).resolve().parent.parent / "src" / "convzoo" / "bundled" / "digits.safetensors"


def main() -> None:
    """Read, check and write."""
    digits = load_digits()
    images = torch.from_numpy(digits.images)
    labels = torch.from_numpy(digits.target)
    assert images.shape == (1797, 8, 8), images.shape
    # 8 x 8 counts of ink, 0 to 16: each is the number of black pixels in a 4 x 4 cell of a scan.
    assert (images.min(), images.max()) == (0, 16)
    assert torch.equal(images, images.round())
    save_file(
        {"images": images.to(torch.uint8), "labels": labels.to(torch.uint8)},
        OUT,
        metadata={
            "source": "Optical Recognition of Handwritten Digits, test part (1,797 images), "
            "E. Alpaydin and C. Kaynak, 1998, https://doi.org/10.24432/C50P49",
            "licence": "CC BY 4.0",
        },
    )
    print(f"{OUT.name}: {OUT.stat().st_size:,} bytes, {len(labels):,} images")


if __name__ == "__main__":
    main()
