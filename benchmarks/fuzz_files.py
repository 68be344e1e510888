"""A longer fuzz of what reads untrusted files, guided by coverage (needs `pip install atheris`).

python benchmarks/fuzz_files.py [config|says|header] [libFuzzer options, e.g. -max_total_time=600]

`config` feeds config.json of a small saved network, as folders of before had it, `says` what its
weights file says of itself, `header` that file's whole header. Anything but a ConvzooError is a
finding: libFuzzer stops and keeps the input.
"""

from __future__ import annotations

import json
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
    header = json.loads(data[8 : 8 + length])
    plain = json.dumps({**header, "__metadata__": {}}).encode()

    def run(fuzzed: bytes) -> None:
        if what == "config":
            (folder / "config.json").write_bytes(fuzzed)
            fuzzed = plain
        elif what == "says":
            text = fuzzed.decode("utf-8", "replace")
            fuzzed = json.dumps({**header, "__metadata__": {"convzoo": text}}).encode()
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
        seed = (folder / "config.json").read_bytes() if what != "header" else data[8 : 8 + length]
        (corpus / "seed").write_bytes(seed)
        atheris.Setup([*sys.argv, str(corpus)], target(what, folder))
        atheris.Fuzz()


if __name__ == "__main__":
    main()
