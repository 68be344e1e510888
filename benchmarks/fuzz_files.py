"""A longer fuzz of what reads untrusted files, guided by coverage (needs `pip install atheris`).

python benchmarks/fuzz_files.py [config|header] [libFuzzer options, e.g. -max_total_time=600]

`config` feeds config.json, `header` the header of a safetensors file, each of a small saved
network. Anything but a ConvzooError is a finding: libFuzzer stops and keeps the input.
"""

from __future__ import annotations

import struct
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["convzoo"]):
    import convzoo
    from convzoo.errors import ConvzooError
    from convzoo.hub import load, save


def target(what: str, folder: Path) -> Callable[[bytes], None]:
    """What libFuzzer calls with one input after another."""
    weights = folder / "model.safetensors"
    data = weights.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    tensors = data[8 + length :]

    def run(fuzzed: bytes) -> None:
        if what == "config":
            (folder / "config.json").write_bytes(fuzzed)
        else:
            weights.write_bytes(struct.pack("<Q", len(fuzzed)) + fuzzed + tensors)
        try:
            load(folder)
        except ConvzooError:
            return

    return run


def main() -> None:
    """Start from the files of a real network."""
    what = sys.argv.pop(1) if len(sys.argv) > 1 and not sys.argv[1].startswith("-") else "config"
    with tempfile.TemporaryDirectory() as place:
        folder = save(convzoo.create_model("linear_classifier", num_classes=3), Path(place) / "net")
        corpus = Path(place) / "corpus"
        corpus.mkdir()
        data = (folder / "model.safetensors").read_bytes()
        (length,) = struct.unpack("<Q", data[:8])
        seed = (folder / "config.json").read_bytes() if what == "config" else data[8 : 8 + length]
        (corpus / "seed").write_bytes(seed)
        atheris.Setup([*sys.argv, str(corpus)], target(what, folder))
        atheris.Fuzz()


if __name__ == "__main__":
    main()
