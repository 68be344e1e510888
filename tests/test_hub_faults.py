"""What goes wrong between the Hub and a network, one fault a test (docs/reliability.md).

The real client talks to a server on loopback that misbehaves to order. After each fault there is
a clear error or the right network, the cache holds nothing bad, and the next try works.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import huggingface_hub.constants
import pytest

from convzoo.errors import ConvzooError, CorruptWeightsError, InputError, WeightsError
from convzoo.hub import load
from hub_helpers import REPO, as_before, cached_files, same, three
from hub_server import Fault, HubServer

pytest_plugins = ["hub_fixtures"]

ADDRESS = f"hf-hub:{REPO}"
WEIGHTS = "model.safetensors"


def works_again(hub: HubServer, address: str = ADDRESS) -> None:
    """With the fault gone the same call gives the right network, and the cache is clean."""
    hub.repair()
    assert same(load(address), three())
    assert not [path for path in cached_files() if path.name.endswith(".incomplete")]


@pytest.mark.parametrize(
    "fault",
    [
        Fault("GET", WEIGHTS, truncate=True),
        Fault("GET", WEIGHTS, reset=True),
        Fault("GET", WEIGHTS, flip_byte=True),
        Fault("GET", WEIGHTS, longer=b"and more"),
        Fault("GET", WEIGHTS, page=True),
        Fault("GET", WEIGHTS, status=500),
        Fault("GET", WEIGHTS, stall=0.3),
        Fault("GET", WEIGHTS, status=429, headers={"Retry-After": "0"}),
        Fault("HEAD", WEIGHTS, status=503),
        Fault("HEAD", "config.json", status=503),
    ],
    ids=lambda fault: next(
        k for k in ("truncate", "reset", "flip_byte", "longer", "page", "status", "stall")
        if getattr(fault, k)
    ),
)  # fmt: skip
@pytest.mark.parametrize("redirected", [False, True], ids=["direct", "redirected"])
def test_a_fault_that_happens_once_is_overcome(
    hub: HubServer, saved_before: dict[str, bytes], fault: Fault, redirected: bool
) -> None:
    hub.add(REPO, saved_before, redirected=redirected)
    hub.order(fault, times=1)
    assert same(load(ADDRESS), three())
    works_again(hub)


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (Fault("GET", WEIGHTS, reset=True), "the transfer failed"),
        (Fault("GET", WEIGHTS, status=500), "status 500"),
        (Fault("GET", WEIGHTS, status=404), "status 404"),
        (Fault("HEAD", WEIGHTS, status=503), "cannot be reached|status 503"),
        (Fault("HEAD", "config.json", status=503), "status 503"),
    ],
    ids=["reset", "500", "404", "503-weights", "503-config"],
)
def test_a_fault_that_lasts_is_one_clear_error(
    hub: HubServer, saved_before: dict[str, bytes], fault: Fault, message: str
) -> None:
    hub.add(REPO, saved_before)
    hub.order(fault)
    begin = time.monotonic()
    with pytest.raises(WeightsError, match=message):
        load(ADDRESS)
    assert time.monotonic() - begin < 15  # the client alone would fall silent for 23 s
    works_again(hub)


def test_a_body_cut_off_every_time_is_an_error(hub: HubServer, saved: dict[str, bytes]) -> None:
    hub.add(REPO, saved)
    hub.order(Fault("GET", WEIGHTS, truncate=True))
    with pytest.raises(WeightsError, match=r"model\.safetensors"):
        load(ADDRESS)
    works_again(hub)


@pytest.mark.parametrize("redirected", [False, True], ids=["direct", "redirected"])
def test_a_wrong_byte_every_time_names_both_hashes(
    hub: HubServer, saved: dict[str, bytes], redirected: bool
) -> None:
    import hashlib

    hub.add(REPO, saved, redirected=redirected)
    hub.order(Fault("GET", WEIGHTS, flip_byte=True))
    right = saved[WEIGHTS]
    middle = len(right) // 2
    wrong = right[:middle] + bytes([right[middle] ^ 1]) + right[middle + 1 :]
    with pytest.raises(CorruptWeightsError) as caught:
        load(ADDRESS)
    for data in (right, wrong):
        assert hashlib.sha256(data).hexdigest() in str(caught.value)
    assert hub.count("GET", WEIGHTS) == 2  # once, and once more by force
    assert not [path for path in cached_files() if path.name == WEIGHTS]
    works_again(hub)


@pytest.mark.parametrize("fault", [{"longer": b"more"}, {"page": True}], ids=["longer", "page"])
def test_another_file_of_another_size_is_never_loaded(
    hub: HubServer, saved: dict[str, bytes], fault: dict[str, bytes | bool]
) -> None:
    hub.add(REPO, saved)
    hub.order(Fault("GET", WEIGHTS, **fault))
    with pytest.raises(WeightsError):
        load(ADDRESS)
    works_again(hub)


def test_a_wrong_byte_in_a_small_file_is_found_too(
    hub: HubServer, saved_before: dict[str, bytes]
) -> None:
    hub.add(REPO, saved_before)
    hub.order(Fault("GET", "config.json", flip_byte=True))
    with pytest.raises(CorruptWeightsError, match=r"config\.json"):
        load(ADDRESS)
    works_again(hub)


def test_a_cached_file_that_changed_is_fetched_again(
    hub: HubServer, saved: dict[str, bytes]
) -> None:
    hub.add(REPO, saved)
    load(ADDRESS)
    blob = next(path for path in cached_files() if path.stat().st_size == len(saved[WEIGHTS]))
    data = bytearray(blob.read_bytes())
    data[len(data) // 2] ^= 1
    blob.write_bytes(data)
    assert same(load(ADDRESS), three())
    assert hub.count("GET", WEIGHTS) == 2
    assert blob.read_bytes() == saved[WEIGHTS]


def test_a_change_that_hides_its_date_is_found(hub: HubServer, saved: dict[str, bytes]) -> None:
    import os

    hub.add(REPO, saved)
    load(ADDRESS)
    blob = next(path for path in cached_files() if path.stat().st_size == len(saved[WEIGHTS]))
    before = blob.stat()
    data = bytearray(blob.read_bytes())
    data[-1] ^= 1
    blob.write_bytes(data)
    os.utime(blob, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert same(load(ADDRESS), three())


def test_always_hashes_even_what_looks_unchanged(
    hub: HubServer, pinned: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    from convzoo.hub import _cache

    load("cifar_resnet20.of_the_tests")
    hashed: list[Path] = []
    real = _cache.hash_like
    monkeypatch.setattr(_cache, "hash_like", lambda p, e: hashed.append(p) or real(p, e))
    load("cifar_resnet20.of_the_tests")
    assert hashed == []
    load("cifar_resnet20.of_the_tests", verify="always")
    assert len(hashed) == 1


def test_a_note_of_an_earlier_process_is_trusted_while_the_file_is_unchanged(
    hub: HubServer, pinned: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    from convzoo.hub import _cache

    load("cifar_resnet20.of_the_tests")
    monkeypatch.setattr(_cache, "_verified", {})
    monkeypatch.setattr(_cache, "hash_like", lambda p, e: pytest.fail("hashed again"))
    load("cifar_resnet20.of_the_tests")


def test_the_pin_beats_what_the_hub_announces(hub: HubServer, pinned: dict[str, bytes]) -> None:
    name = "cifar_resnet20.of_the_tests"
    changed = {**pinned, WEIGHTS: pinned[WEIGHTS] + b""}
    data = bytearray(changed[WEIGHTS])
    data[-1] ^= 1
    hub.add(REPO, {WEIGHTS: bytes(data)})
    with pytest.raises(CorruptWeightsError, match="has changed it"):
        load(name)
    hub.add(REPO, pinned)
    works_again(hub, name)


def test_a_pinned_file_in_the_cache_needs_no_network(
    hub: HubServer, pinned: dict[str, bytes]
) -> None:
    load("cifar_resnet20.of_the_tests")
    hub.requests.clear()
    load("cifar_resnet20.of_the_tests")
    commit = hub.repositories[REPO].refs["main"]
    load(f"{ADDRESS}@{commit}")
    hub.requests.clear()
    load(f"{ADDRESS}@{commit}")
    assert hub.requests == []


@pytest.mark.parametrize(
    ("address", "flags", "message"),
    [
        ("hf-hub:me/none", {}, "no repository .*me/none, or it is private.*HF_TOKEN"),
        (ADDRESS, {"private": True}, "or it is private.*HF_TOKEN"),
        (ADDRESS, {"gated": True}, "access is granted on .*me/three"),
        (f"{ADDRESS}@v9", {}, "no revision 'v9'"),
    ],
    ids=["missing", "private", "gated", "revision"],
)
def test_what_cannot_be_had_says_how_to_get_it(
    hub: HubServer, saved: dict[str, bytes], address: str, flags: dict[str, bool], message: str
) -> None:
    hub.add(REPO, saved, **flags)
    with pytest.raises(WeightsError, match=message):
        load(address)


def test_a_token_opens_a_private_repository(hub: HubServer, saved: dict[str, bytes]) -> None:
    hub.add(REPO, saved, private=True)
    assert same(load(ADDRESS, token=hub.TOKEN), three())


def test_a_repository_without_weights_says_so(hub: HubServer, saved: dict[str, bytes]) -> None:
    hub.add(REPO, {"config.json": saved["config.json"]})
    with pytest.raises(WeightsError, match=r"no file 'model\.safetensors'"):
        load(ADDRESS)


@pytest.mark.parametrize(
    "address",
    ["hf-hub:", "hf-hub:three", "hf-hub:../three", "hf-hub:me/../three", "hf-hub:me/three@",
     "hf-hub:me/three@../../x", "hf-hub:a/b/c", "hf-hub:me/three name"],
)  # fmt: skip
def test_a_malformed_address_is_refused(hub: HubServer, address: str) -> None:
    with pytest.raises(InputError, match="expected"):
        load(address)
    assert hub.requests == []


def test_no_announced_hash_is_asked_for_and_used(hub: HubServer, saved: dict[str, bytes]) -> None:
    hub.add(REPO, saved)
    hub.order(Fault("HEAD", WEIGHTS, no_hash=True))
    assert same(load(ADDRESS), three())
    assert hub.count("POST", "paths-info") == 1


def test_a_redirect_to_another_repository_is_not_followed_for_a_pin(
    hub: HubServer, pinned: dict[str, bytes], tmp_path: Path
) -> None:
    from convzoo.hub import save

    other = save(three(seed=1), tmp_path / "other")
    hub.add("you/other", {WEIGHTS: (other / WEIGHTS).read_bytes()})
    for method in ("HEAD", "GET"):
        hub.order(Fault(method, f"{REPO}/resolve", redirect=f"/you/other/resolve/main/{WEIGHTS}"))
    with pytest.raises(CorruptWeightsError):
        load("cifar_resnet20.of_the_tests")
    works_again(hub, "cifar_resnet20.of_the_tests")


def test_config_and_weights_come_from_one_commit(
    hub: HubServer, saved_before: dict[str, bytes], tmp_path: Path
) -> None:
    from convzoo.hub import save

    other = as_before(save(three(seed=1), tmp_path / "other"))
    hub.add("you/other", {path.name: path.read_bytes() for path in other.iterdir()})
    hub.add(REPO, saved_before)
    redirect = f"/you/other/resolve/main/{WEIGHTS}"
    for method in ("HEAD", "GET"):
        hub.order(Fault(method, f"{REPO}/resolve/.*{WEIGHTS}", redirect=redirect))
    with pytest.raises(WeightsError, match=r"has no revision"):
        load(ADDRESS)
    works_again(hub)


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Cut the connection, in one of two ways."""

    def cut(how: str) -> None:
        if how == "told":
            monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
        else:
            import socket

            with socket.socket() as unused:  # a port on which nobody listens
                unused.bind(("127.0.0.1", 0))
                url = f"http://127.0.0.1:{unused.getsockname()[1]}"
            monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", url)
            template = url + "/{repo_id}/resolve/{revision}/{filename}"
            monkeypatch.setattr(huggingface_hub.constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)

    return cut


@pytest.mark.parametrize("how", ["told", "refused"])
def test_offline_with_a_cache_works(
    hub: HubServer, pinned: dict[str, bytes], offline: Callable[[str], None], how: str
) -> None:
    load(ADDRESS)
    offline(how)
    hub.requests.clear()
    assert same(load(ADDRESS), three())
    assert same(load("cifar_resnet20.of_the_tests"), three())
    assert hub.requests == []


@pytest.mark.parametrize("how", ["told", "refused"])
def test_offline_without_a_cache_says_at_once_which_file_is_missing(
    hub: HubServer, pinned: dict[str, bytes], offline: Callable[[str], None], how: str
) -> None:
    offline(how)
    begin = time.monotonic()
    name = "cifar_resnet20.of_the_tests"
    with pytest.raises(
        WeightsError, match=rf"{name}: me/three/model\.safetensors is not in the cache"
    ) as caught:
        load(name)
    assert f"convzoo fetch {name}" in str(caught.value)
    assert time.monotonic() - begin < 10


def test_a_hub_that_is_down_does_not_matter_to_who_has_the_file(
    hub: HubServer, saved: dict[str, bytes]
) -> None:
    hub.add(REPO, saved)
    load(ADDRESS)
    hub.order(Fault("HEAD", "", status=503))
    assert same(load(ADDRESS), three())


def test_a_cache_that_cannot_be_written_is_named(
    hub: HubServer, saved: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.add(REPO, saved)
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "file" / "hub"))
    with pytest.raises(WeightsError, match=r"cannot be kept in .*hub"):
        load(ADDRESS)


def test_a_place_for_notes_that_cannot_be_written_does_not_matter(
    hub: HubServer, saved: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.add(REPO, saved)
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setattr(huggingface_hub.constants, "HF_ASSETS_CACHE", str(tmp_path / "file" / "x"))
    assert same(load(ADDRESS), three())
    assert same(load(ADDRESS), three())


def test_something_that_is_not_a_hub(hub: HubServer, saved_before: dict[str, bytes]) -> None:
    hub.add(REPO, saved_before)
    hub.order(Fault("HEAD", "config.json", page=True))
    with pytest.raises(ConvzooError, match="does not answer like a Hub"):
        load(ADDRESS)
    works_again(hub)
