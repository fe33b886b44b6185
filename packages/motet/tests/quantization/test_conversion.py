"""From floats to MXFP4: the same bytes there and back, whatever the source, and after any end."""

import json
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from floating_models import (
    VOCABULARY,
    as_float32,
    as_original,
    files_of,
    floating_model,
    released_model,
    texts,
    weights_of,
    widened,
)

from motet.checkpoint import (
    CheckpointError,
    dequantize,
    open_checkpoint,
    open_floating,
    quantize,
)
from motet.checkpoint.resumable import RECORD_FILE
from motet.engine.native import native_model
from motet.quantization import Recipe, compare, quantize_checkpoint
from motet.quantization.conversion import Encoding

RECIPES = [
    Recipe("plain"),
    Recipe("search"),
    Recipe("search", dual_scaled=True),
    Recipe("calibrated"),
    Recipe("calibrated", dual_scaled=True),
]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return floating_model(tmp_path / "source")


def converted(source: Path, target: Path, recipe: Recipe = RECIPES[0]) -> Path:
    needs_texts = recipe.method == "calibrated"
    quantize_checkpoint(open_floating(source), target, recipe, texts() if needs_texts else ())
    return target


@pytest.mark.parametrize("method", ["plain", "search"])
def test_there_and_back_gives_the_same_tensors(tmp_path: Path, method: str) -> None:
    released = open_checkpoint(released_model(tmp_path / "released"))
    wide = widened(released, tmp_path / "wide")
    back = open_checkpoint(converted(wide, tmp_path / "back", Recipe(method)))
    assert back.config == released.config
    assert back.vocabulary == VOCABULARY
    assert back.tensors.keys() == released.tensors.keys()
    for name, tensor in released.tensors.items():
        assert np.array_equal(back.tensors[name].data, tensor.data), name
    assert files_of(converted(wide, tmp_path / "again")).keys() == files_of(back.path).keys()


def test_what_transformers_saves_comes_back(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    from transformers import GptOssForCausalLM

    released = open_checkpoint(released_model(tmp_path / "released"))
    wide = widened(released, tmp_path / "wide")
    model = GptOssForCausalLM.from_pretrained(wide, dtype=torch.bfloat16)
    model.save_pretrained(tmp_path / "saved")
    back = open_checkpoint(converted(tmp_path / "saved", tmp_path / "back"))
    for name, tensor in released.tensors.items():
        assert np.array_equal(back.tensors[name].data, tensor.data), name


def test_every_layout_and_type_gives_the_same_model(source: Path, tmp_path: Path) -> None:
    wanted = files_of(converted(source, tmp_path / "wanted", Recipe("search")))
    others = [
        as_original(source, tmp_path / "original"),
        as_float32(source, tmp_path / "float32", "F32"),
    ]
    for other in others:
        assert files_of(converted(other, other.with_suffix(".out"), Recipe("search"))) == wanted
    half = converted(as_float32(source, tmp_path / "half", "F16"), tmp_path / "half.out")
    assert open_checkpoint(half).config == open_checkpoint(tmp_path / "wanted").config


def test_blocks_are_those_of_the_transposed_matrix(source: Path, tmp_path: Path) -> None:
    result = open_checkpoint(converted(source, tmp_path / "out", Recipe("search")))
    opened = open_floating(source)
    for name in ("model.layers.1.mlp.experts.down_proj", "model.layers.2.mlp.experts.gate_up_proj"):
        values = weights_of(source, floating=True).expert(name, 3)
        patterns = opened.tensors[name].data[3]
        assert np.array_equal(values.T.view(np.uint32) >> 16, patterns)
        blocks, scales = quantize(values)
        assert np.array_equal(result.tensors[f"{name}_blocks"].data[3], blocks)
        assert np.array_equal(result.tensors[f"{name}_scales"].data[3], scales)


@pytest.mark.parametrize("recipe", RECIPES)
def test_the_result_is_near_the_source_and_runs(
    source: Path, tmp_path: Path, recipe: Recipe
) -> None:
    opened = open_floating(source)
    given = texts() if recipe.method == "calibrated" else ()
    errors = quantize_checkpoint(opened, tmp_path / "out", recipe, given)
    assert [each.name for each in errors] == [
        f"model.layers.{layer}.mlp.experts.{part}_proj"
        for layer in range(3)
        for part in ("gate_up", "down")
    ]
    assert all(0.003 < each.relative < 0.05 for each in errors)
    if recipe == Recipe("search"):
        assert all(each.relative < each.plain_relative for each in errors)
    result = open_checkpoint(tmp_path / "out")
    found = compare(
        opened.config, weights_of(source, floating=True), weights_of(result.path), texts()
    )
    assert found.divergence < 0.3
    model, [text] = native_model(result, precision="fast"), texts(1)
    assert np.isfinite(model.step([(model.sequence(), text, 1)])).all()
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        *(f"model-{number:05}-of-00005.safetensors" for number in range(1, 6)),
        *("config.json", "generation_config.json", "model.safetensors.index.json"),
        "motet_vocabulary.json",
    }


def test_calibration_and_dual_scaling_are_worth_it(source: Path, tmp_path: Path) -> None:
    """On a model with uneven columns; the texts it is judged on are others than it has seen."""
    opened = open_floating(source)
    lost = {}
    for name, recipe in enumerate(RECIPES):
        converted(source, tmp_path / str(name), recipe)
        lost[recipe] = compare(
            opened.config,
            weights_of(source, floating=True),
            weights_of(tmp_path / str(name)),
            texts(6, seed=9),
        ).divergence
    plain = lost[Recipe("plain")]
    assert lost[Recipe("search", dual_scaled=True)] < 0.9 * plain
    assert lost[Recipe("calibrated", dual_scaled=True)] < 0.9 * plain


@pytest.mark.parametrize(("attention", "embeddings"), [("int8", "bf16"), ("mxfp4", "mxfp4")])
@pytest.mark.parametrize("method", ["search", "calibrated"])
def test_attention_and_embeddings_in_a_gguf_file(
    source: Path, tmp_path: Path, attention: Encoding, embeddings: Encoding, method: str
) -> None:
    recipe = Recipe(method, True, attention, embeddings)  # type: ignore[arg-type]
    opened = open_floating(source)
    file = tmp_path / "model.gguf"
    errors = quantize_checkpoint(opened, file, recipe, texts() if method == "calibrated" else ())
    result = open_checkpoint(file)
    dtypes = {"int8": "Q8_0", "bf16": "BF16", "mxfp4": "MXFP4"}
    for name, tensor in result.tensors.items():
        if name.endswith(("q_proj.weight", "k_proj.weight", "v_proj.weight", "o_proj.weight")):
            assert tensor.dtype == dtypes[attention]
        elif name in ("model.embed_tokens.weight", "lm_head.weight"):
            assert tensor.dtype == dtypes[embeddings]
    assert len(errors) == (6 + 12 + 2 if attention == "mxfp4" else 6)
    found = compare(opened.config, weights_of(source, floating=True), weights_of(file), texts())
    assert found.divergence < 0.5
    model, [text] = native_model(result), texts(1)
    assert np.isfinite(model.step([(model.sequence(), text, 1)])).all()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.gguf", "source"]


def stop_in(layer: int, source: Path, target: Path, method: str) -> None:
    script = Path(__file__).with_name("stopped_conversion.py")
    command = [sys.executable, str(script), str(source), str(target), method, str(layer)]
    done = subprocess.run(command, cwd=script.parent, capture_output=True, timeout=60)
    assert done.returncode == -9, done.stderr.decode()


@pytest.mark.parametrize("recipe", [Recipe("search"), Recipe("calibrated", dual_scaled=True)])
def test_killed_and_resumed(source: Path, tmp_path: Path, recipe: Recipe) -> None:
    target = tmp_path / "out"
    partial = tmp_path / "out.partial"
    stop_in(1, source, target, recipe.method)
    assert not target.exists()
    with pytest.raises(CheckpointError, match="not a gpt-oss model"):
        open_checkpoint(partial)
    first = partial / "model-00002-of-00005.safetensors"
    made = first.stat().st_mtime_ns
    assert not (partial / "model-00003-of-00005.safetensors").exists()
    stop_in(2, source, target, recipe.method)
    assert first.stat().st_mtime_ns == made
    converted(source, target, recipe)
    assert not partial.exists()
    assert files_of(target) == files_of(converted(source, tmp_path / "at once", recipe))


def test_what_was_damaged_meanwhile_is_made_again(source: Path, tmp_path: Path) -> None:
    target = tmp_path / "out"
    stop_in(2, source, target, "search")
    damaged = tmp_path / "out.partial" / "model-00002-of-00005.safetensors"
    content = bytearray(damaged.read_bytes())
    content[-1] ^= 1
    damaged.write_bytes(content)
    (tmp_path / "out.partial" / "model-00003-of-00005.safetensors").unlink()
    converted(source, target, Recipe("search"))
    assert files_of(target) == files_of(converted(source, tmp_path / "b", Recipe("search")))


def test_another_source_or_other_options_do_not_go_on(source: Path, tmp_path: Path) -> None:
    target = tmp_path / "out"
    stop_in(1, source, target, "search")
    with pytest.raises(CheckpointError, match="other options"):
        converted(source, target, Recipe("plain"))
    other = floating_model(tmp_path / "other", seed=1)
    with pytest.raises(CheckpointError, match="another source"):
        converted(other, target, Recipe("search"))
    (tmp_path / "out.partial" / RECORD_FILE).write_text("{")
    with pytest.raises(CheckpointError, match="damaged: delete"):
        converted(source, target, Recipe("search"))
    assert not target.exists()


def test_a_folder_of_somebody_else_is_left_alone(source: Path, tmp_path: Path) -> None:
    mine = tmp_path / "out.partial" / "notes.txt"
    mine.parent.mkdir()
    mine.write_text("mine")
    with pytest.raises(CheckpointError, match="holds other files"):
        converted(source, tmp_path / "out")
    assert mine.read_text() == "mine"


def test_two_at_once(source: Path, tmp_path: Path) -> None:
    """The second is refused while the first works, and does it no harm."""
    opened = open_floating(source)
    refused = []

    def try_too(_: int) -> None:
        if not refused:
            with pytest.raises(CheckpointError) as raised:
                converted(source, tmp_path / "out", Recipe("search"))
            refused.append(str(raised.value))

    quantize_checkpoint(opened, tmp_path / "out", Recipe("search"), written=try_too)
    assert "another process" in refused[0]
    open_checkpoint(tmp_path / "out")


@pytest.fixture
def small_files(source: Path) -> Iterator[None]:
    """No file may become larger than 50 kB: room for the embeddings and not for a layer."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_a_disk_that_is_too_small_from_the_start(source: Path, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", str(disk)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("only root may mount a file system")
    try:
        with pytest.raises(CheckpointError, match=r"needs 0\.0 GB .* free some space"):
            converted(source, disk / "out")
        assert list(disk.iterdir()) == []
    finally:
        subprocess.run(["umount", str(disk)], check=True)


@pytest.mark.usefixtures("small_files")
def test_a_disk_that_fills_up_on_the_way(source: Path, tmp_path: Path) -> None:
    """What is finished stays, and the error says so; the rest leaves no trace."""
    with pytest.raises(CheckpointError, match=r"File too large.*1 finished files are kept"):
        converted(source, tmp_path / "out")
    left = sorted(path.name for path in (tmp_path / "out.partial").iterdir())
    assert left == ["lock", "model-00001-of-00005.safetensors", RECORD_FILE]


def broken(source: Path, how: str) -> None:
    path = source / "model.safetensors"
    content = path.read_bytes()
    match how:
        case "cut short":
            path.write_bytes(content[:-100])
        case "other dtype":
            path.write_bytes(content.replace(b'"BF16"', b'"I16" ', 1))


@pytest.mark.parametrize(("how", "reason"), [("cut short", "cut short"), ("other dtype", "I16")])
def test_a_broken_source(source: Path, tmp_path: Path, how: str, reason: str) -> None:
    broken(source, how)
    with pytest.raises(CheckpointError, match=reason):
        converted(source, tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


def test_values_that_are_not_finite(tmp_path: Path) -> None:
    source = floating_model(tmp_path / "source")
    tensors = open_floating(source).tensors
    pattern = tensors["model.layers.0.mlp.experts.down_proj"].data[2, 3, :8].tobytes()
    path = source / "model.safetensors"
    content = path.read_bytes()
    assert content.count(pattern) == 1
    path.write_bytes(content.replace(pattern, b"\xc0\x7f" + pattern[2:]))
    for recipe in (Recipe("plain"), Recipe("calibrated")):
        with pytest.raises(CheckpointError, match=r"layers\.0.*down_proj.*infinity or a NaN"):
            converted(source, tmp_path / "out", recipe)
        assert not (tmp_path / "out").exists()
        partial = tmp_path / "out.partial"
        assert len(json.loads((partial / RECORD_FILE).read_text())["finished"]) == 1
        for each in partial.iterdir():
            each.unlink()
        partial.rmdir()


def test_what_is_refused(source: Path, tmp_path: Path) -> None:
    released = released_model(tmp_path / "released")
    with pytest.raises(CheckpointError, match="MXFP4 already"):
        open_floating(released)
    with pytest.raises(CheckpointError, match=r"motet quantize"):
        open_checkpoint(source)
    with pytest.raises(CheckpointError, match=r"bfloat16; name a \.gguf file"):
        converted(source, tmp_path / "out", Recipe(attention="mxfp4"))
    with pytest.raises(CheckpointError, match="needs texts"):
        quantize_checkpoint(open_floating(source), tmp_path / "out", Recipe("calibrated"))
    with pytest.raises(CheckpointError, match="of no use"):
        quantize_checkpoint(open_floating(source), tmp_path / "out", Recipe("plain"), texts())
    with pytest.raises(CheckpointError, match="not empty"):
        converted(source, released)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["released", "source"]


def test_the_report_measures_what_was_done(source: Path, tmp_path: Path) -> None:
    [first, *_] = quantize_checkpoint(open_floating(source), tmp_path / "out", Recipe("plain"))
    before, after = weights_of(source, floating=True), weights_of(tmp_path / "out")
    pairs = [(before.expert(first.name, e), after.expert(first.name, e)) for e in range(4)]
    error = sum(float(np.square(b.astype(float) - a).sum()) for a, b in pairs)
    square = sum(float(np.square(a.astype(float)).sum()) for a, _ in pairs)
    assert first.relative == pytest.approx(error / square, rel=1e-5)
    assert (first.bits, first.encoding, first.method) == (4.25, "MXFP4", "plain")
    assert first.plain_relative == first.relative
    assert dequantize(*quantize(pairs[0][0], search=False)).tolist() == pairs[0][1].tolist()
