"""The built wheel, in an environment that holds its declared dependencies and nothing else."""

from __future__ import annotations

import importlib.metadata
import os
import sys
import venv
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement

import processes

ROOT = Path(__file__).resolve().parent.parent


def declared(name: str, seen: set[str]) -> set[str]:
    """Names of a distribution's requirements, and theirs, as they are installed here."""
    for line in importlib.metadata.requires(name) or []:
        requirement = Requirement(line)
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            continue
        key = requirement.name.lower().replace("_", "-")
        if key not in seen:
            seen.add(key)
            declared(key, seen)
    return seen


def link_distribution(name: str, target: Path) -> None:
    """Make one installed distribution importable from `target`, without copying it."""
    distribution = importlib.metadata.distribution(name)
    base = Path(str(distribution.locate_file("")))
    for top in {Path(str(file)).parts[0] for file in distribution.files or []} - {"..", "/"}:
        link = target / top
        if not link.exists() and top != "__pycache__":
            link.symlink_to(base / top)


@pytest.fixture(scope="module")
def bare_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder)]
    done = processes.run(build, cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
    (wheel,) = folder.glob("*.whl")
    venv.create(folder / "venv", with_pip=False)
    (packages,) = (folder / "venv" / "lib").glob("python*/site-packages")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(packages)
    for name in sorted(declared("convzoo", set())):
        link_distribution(name, packages)
    return folder / "venv" / "bin" / "python"


def run(python: Path, code: str, cwd: Path) -> str:
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "COV_"))}
    done = processes.run([python, "-c", code], cwd=cwd, env=clean)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_import_build_and_load_bundled_weights(bare_python: Path, tmp_path: Path) -> None:
    code = """
import importlib.util, torch, convzoo
assert "venv/lib" in convzoo.__file__, convzoo.__file__
for name in ("pytest", "timm", "matplotlib", "accelerate", "transformers"):
    assert importlib.util.find_spec(name) is None, name
net = convzoo.cifar_resnet20(weights="fashion_mnist", num_classes=10).eval()
images, labels = [], []
print(net.in_channels, len(net.labels), convzoo.resnet18(num_classes=3).num_classes)
print(tuple(net(torch.zeros(1, 1, 28, 28)).shape))
convzoo.save(net, "kept")
again = convzoo.load("kept").eval()
x = torch.ones(1, 1, 28, 28)
print(torch.allclose(again(x), net(x), rtol=1e-4, atol=1e-5))
"""
    assert run(bare_python, code, tmp_path).splitlines() == ["1 10 3", "(1, 10)", "True"]


@pytest.mark.long  # the rest of the wheel is looked at all the same
def test_the_command_answers(bare_python: Path, tmp_path: Path) -> None:
    code = (
        "import sys; sys.argv = ['convzoo', 'models', 'wide*']; import convzoo.cli as c; c.main()"
    )
    assert "wide_resnet50_2" in run(bare_python, code, tmp_path)


def test_the_wheel_carries_what_it_must(bare_python: Path) -> None:
    (packages,) = (bare_python.parent.parent / "lib").glob("python*/site-packages")
    assert (packages / "convzoo" / "py.typed").exists()
    assert (packages / "convzoo" / "weights" / "catalog.toml").exists()
    assert (packages / "convzoo" / "visualize" / "explorer.html").exists()
    (info,) = packages.glob("convzoo-*.dist-info")
    licences = {path.name for path in (info / "licenses").iterdir()}
    assert licences == {"LICENSE", "NOTICE"}
    assert "convzoo = convzoo.__main__:run" in (info / "entry_points.txt").read_text()
