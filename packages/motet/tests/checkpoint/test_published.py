"""The published shapes, as OpenAI's own files give them."""

from checkpoint_files import PUBLISHED_20B, PUBLISHED_120B

from motet.checkpoint import ModelConfig
from motet.checkpoint.published import published_config


def test_the_published_shapes() -> None:
    assert published_config("20b") == ModelConfig.from_original(PUBLISHED_20B)
    assert published_config("120b") == ModelConfig.from_original(PUBLISHED_120B)


def test_another_depth() -> None:
    config = published_config("120b", layers=3)
    assert config == ModelConfig.from_original(PUBLISHED_120B | {"num_hidden_layers": 3})
