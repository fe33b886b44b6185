"""Models larger than this machine's memory, in files that take no space: nothing is in them."""

import json
from pathlib import Path

import pytest
from processes import motet

from motet.checkpoint.inspection import available_memory
from motet.checkpoint.layout import tensor_specs
from motet.checkpoint.published import published_config
from motet.checkpoint.sizes import tensor_bytes


@pytest.fixture
def too_large(tmp_path: Path) -> Path:
    """gpt-oss-120b, with more layers where that would fit."""
    layer = tensor_bytes(published_config("120b", 2)) - tensor_bytes(published_config("120b", 1))
    config = published_config("120b", max(36, 2 * (available_memory() or 0) // layer))
    header, position = {}, 0
    for spec in tensor_specs(config):
        end = position + spec.nbytes
        header[spec.name] = {
            "dtype": spec.dtype,
            "shape": spec.shape,
            "data_offsets": [position, end],
        }
        position = end
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 64)
    with (tmp_path / "model.safetensors").open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.truncate(8 + len(text) + position)
    (tmp_path / "config.json").write_text(json.dumps(config.to_huggingface()))
    return tmp_path


@pytest.mark.skipif(available_memory() is None, reason="this system does not say what is free")
@pytest.mark.parametrize("precision", ["fast4", "fast", "exact"])
def test_it_is_refused_before_anything_is_loaded(too_large: Path, precision: str) -> None:
    done = motet("generate", "Hello", "--model", too_large, "--precision", precision)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("motet: the model needs ")
    assert f" GB of memory at the precision {precision}, but " in done.stderr
    assert " are free here; end other programs, or use a smaller model" in done.stderr
    assert done.stderr.count("\n") == 1


def test_it_can_be_inspected(too_large: Path) -> None:
    report = json.loads(motet("inspect", "--json", too_large).stdout)
    assert report["whole"] is True
    assert report["config"]["experts"] == 128
    assert report["tensor_bytes"] > 60_000_000_000
