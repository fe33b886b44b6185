"""Sizes against the published ones, and reports on whole and damaged models."""

from pathlib import Path

import pytest
from checkpoint_files import PUBLISHED_20B, PUBLISHED_120B, small_config, write_original

from motet.checkpoint import CheckpointError, ModelConfig, inspection, sizes, write_checkpoint
from motet.checkpoint.inspection import (
    available_memory,
    inspect_checkpoint,
    show_bytes,
    show_count,
)
from motet.checkpoint.random import random_tensors

CONFIG = small_config()


def test_the_published_sizes_of_the_20b() -> None:
    config = ModelConfig.from_original(PUBLISHED_20B)
    assert sizes.parameters(config) == 20_914_757_184
    assert show_count(sizes.active_parameters(config)) == "3.61 billion"
    assert sizes.tensor_bytes(config) == 13_761_264_768
    assert sizes.cache_bytes(config, 128) == 24 * 128 * 2048
    assert sizes.cache_bytes(config, 1128) - sizes.cache_bytes(config, 1127) == 24 * 1024
    assert round(sizes.cache_bytes(config, 131_072) / 1e9, 2) == 3.22


def test_the_published_sizes_of_the_120b() -> None:
    config = ModelConfig.from_original(PUBLISHED_120B)
    assert sizes.parameters(config) == 116_829_156_672
    assert show_count(sizes.active_parameters(config)) == "5.13 billion"
    assert sizes.tensor_bytes(config) == 65_248_815_744
    assert sizes.cache_bytes(config, 1128) - sizes.cache_bytes(config, 1127) == 36 * 1024
    assert round(sizes.cache_bytes(config, 131_072) / 1e9, 2) == 4.84


def test_a_whole_model(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    write_checkpoint(folder, CONFIG, random_tensors(CONFIG, seed=1), shard_bytes=50_000)
    report = inspect_checkpoint(folder)
    assert report.whole
    assert report.layout == "huggingface"
    assert report.config == CONFIG
    assert report.tensor_bytes == sum(t.nbytes for t in random_tensors(CONFIG, seed=1))
    assert {name for name, _ in report.files} == {p.name for p in folder.glob("*.safetensors")}
    assert report.memory_needed(0) == report.tensor_bytes
    # One layer keeps every position, the other its window of 5; 2 KV heads of 16 in bfloat16.
    assert report.memory_needed(1000) - report.tensor_bytes == (1000 + 5) * 2 * 2 * 16 * 2


def test_the_report_in_print(tmp_path: Path) -> None:
    write_original(tmp_path / "original", CONFIG, random_tensors(CONFIG, seed=1))
    report = inspect_checkpoint(tmp_path)
    rows = dict(report.rows())
    assert rows["Layout"] == "original OpenAI"
    assert rows["Whole"] == "yes"
    assert rows["Layers"] == "2 (1 with a window of 5 tokens, 1 full)"
    assert rows["Experts"] == "3, 2 per token"
    assert rows["Cache per 1,000 tokens"] == "128.64 kB"
    lines = report.lines()
    assert len(lines) == len(rows)
    assert {line.index(text) for line, text in zip(lines, rows.values(), strict=True)} == {
        len("Memory at full context") + 2
    }


def test_a_damaged_model_is_reported_too(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    write_checkpoint(folder, CONFIG, random_tensors(CONFIG, seed=1), shard_bytes=50_000)
    sorted(folder.glob("*.safetensors"))[0].unlink()
    report = inspect_checkpoint(folder)
    assert not report.whole
    assert "model-00001-of" in str(report.problem)
    assert dict(report.rows())["Whole"] == f"no: {report.problem}"
    assert report.parameters == sizes.parameters(CONFIG)
    assert len(report.files) == len(list(folder.glob("*.safetensors")))


def test_no_model(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="is not a gpt-oss model"):
        inspect_checkpoint(tmp_path)


def test_available_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    information, limit = tmp_path / "meminfo", tmp_path / "memory.max"
    monkeypatch.setattr(inspection, "_MEMORY_INFORMATION", information)
    monkeypatch.setattr(inspection, "_CONTAINER_LIMIT", limit)
    assert available_memory() is None
    information.write_text("MemTotal:  8000 kB\nMemAvailable:  2000 kB\n")
    assert available_memory() == 2_048_000
    limit.write_text("max\n")
    assert available_memory() == 2_048_000
    limit.write_text("1000000\n")
    assert available_memory() == 1_000_000


def test_sizes_in_words() -> None:
    assert show_bytes(999) == "999 bytes"
    assert show_bytes(999_999) == "1.00 MB"
    assert show_bytes(13_761_264_768) == "13.76 GB"
    assert show_bytes(10**16) == "10000.00 TB"
    assert show_count(12) == "12"
    assert show_count(20_914_757_184) == "20.91 billion"
