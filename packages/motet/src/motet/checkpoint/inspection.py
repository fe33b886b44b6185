"""What a checkpoint is, whether it is whole, and what running it takes.

A folder that is recognisably a model always yields a report, a damaged one too: `problem` then
says what is wrong, and the sizes are those its config implies. A GGUF file chooses its encodings
itself, so there the sizes are those of its tensors, as long as it is whole.
"""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from motet.checkpoint import sizes
from motet.checkpoint.config import SLIDING, ModelConfig
from motet.checkpoint.errors import CheckpointError, system_errors
from motet.checkpoint.layout import Layout
from motet.checkpoint.opening import find_model, open_checkpoint
from motet.checkpoint.whole import Checkpoint, ModelFolder
from motet.harmony.vocabulary import VOCABULARY_FILE

_LAYOUTS: dict[Layout, str] = {
    "huggingface": "Hugging Face",
    "original": "original OpenAI",
    "gguf": "GGUF (llama.cpp)",
}
_MEMORY_INFORMATION = Path("/proc/meminfo")
_CONTAINER_LIMIT = Path("/sys/fs/cgroup/memory.max")


@dataclass(frozen=True)
class CheckpointReport:
    """The result of an inspection. Sizes in bytes.

    `files`: names and sizes of the weight files. `encodings`: bytes of the tensors by their dtype,
    nothing where they cannot be opened. `problem`: None for a checkpoint that is whole.
    `memory_available`: what this machine can give without swapping; None where it does not say.
    """

    path: Path
    layout: Layout
    files: tuple[tuple[str, int], ...]
    config: ModelConfig
    encodings: tuple[tuple[str, int], ...]
    cut_vocabulary: bool
    problem: str | None
    memory_available: int | None

    @property
    def whole(self) -> bool:
        """Whether every tensor is there, of the right name, dtype, shape and size."""
        return self.problem is None

    @property
    def parameters(self) -> int:
        """All parameters."""
        return sizes.parameters(self.config)

    @property
    def active_parameters(self) -> int:
        """Parameters that take part in one token."""
        return sizes.active_parameters(self.config)

    @property
    def tensor_bytes(self) -> int:
        """Bytes of the weights, on disk and mapped into memory."""
        return sum(size for _, size in self.encodings) or sizes.tensor_bytes(self.config)

    def memory_needed(self, tokens: int) -> int:
        """Bytes for the mapped weights and the key-value cache of so many tokens."""
        return self.tensor_bytes + sizes.cache_bytes(self.config, tokens)

    def rows(self) -> list[tuple[str, str]]:
        """The report as a table: label and text."""
        config = self.config
        full_context = self.memory_needed(config.context_length)
        sliding = config.layer_types.count(SLIDING)
        return [
            ("Model", str(self.path)),
            ("Whole", "yes" if self.problem is None else f"no: {self.problem}"),
            ("Layout", _LAYOUTS[self.layout]),
            ("Files", f"{len(self.files)}, {show_bytes(sum(size for _, size in self.files))}"),
            ("Encodings", _show_encodings(self.encodings)),
            (
                "Parameters",
                f"{show_count(self.parameters)}, {show_count(self.active_parameters)} active",
            ),
            (
                "Layers",
                f"{config.layers} ({sliding} with a window of {config.sliding_window} tokens,"
                f" {config.layers - sliding} full)",
            ),
            ("Width", f"{config.hidden_size}, experts {config.intermediate_size}"),
            ("Experts", f"{config.experts}, {config.experts_per_token} per token"),
            (
                "Attention",
                f"{config.attention_heads} heads of {config.head_dim},"
                f" {config.key_value_heads} for keys and values",
            ),
            (
                "Vocabulary",
                f"{config.vocabulary_size} tokens{' (cut)' if self.cut_vocabulary else ''}",
            ),
            ("Context", f"{config.context_length} tokens"),
            ("Weights", show_bytes(self.tensor_bytes)),
            ("Cache per 1,000 tokens", show_bytes(sizes.cache_bytes(config, 1_000))),
            ("Memory at full context", show_bytes(full_context)),
            ("Memory available here", _show_available(self.memory_available, full_context)),
        ]

    def lines(self) -> list[str]:
        """The report as aligned lines of text."""
        rows = self.rows()
        width = max(len(label) for label, _ in rows)
        return [f"{label:<{width}}  {text}" for label, text in rows]


def inspect_checkpoint(path: Path | str) -> CheckpointReport:
    """Inspect the model at a path. Raises CheckpointError if there is none to speak of."""
    folder = find_model(path)
    problem, checkpoint = None, None
    try:
        checkpoint = open_checkpoint(path)
    except CheckpointError as error:
        problem = str(error)
    files = checkpoint.files if checkpoint else _weight_files(folder)
    with system_errors("read", folder.path):
        return CheckpointReport(
            path=folder.path,
            layout=folder.layout,
            files=tuple((file.name, file.stat().st_size) for file in files if file.is_file()),
            config=folder.config,
            encodings=_encodings(checkpoint) if checkpoint else (),
            cut_vocabulary=_has_cut_vocabulary(folder, checkpoint),
            problem=problem,
            memory_available=available_memory(),
        )


def _weight_files(folder: ModelFolder) -> tuple[Path, ...]:
    if folder.weights.is_file():
        return (folder.weights,)
    return tuple(sorted(folder.weights.glob("*.safetensors")))


def _encodings(checkpoint: Checkpoint) -> tuple[tuple[str, int], ...]:
    """Bytes by dtype, the largest first."""
    sizes_by_dtype: Counter[str] = Counter()
    for tensor in checkpoint.tensors.values():
        sizes_by_dtype[tensor.dtype] += tensor.nbytes
    return tuple(sizes_by_dtype.most_common())


def _has_cut_vocabulary(folder: ModelFolder, checkpoint: Checkpoint | None) -> bool:
    if checkpoint:
        return checkpoint.cut_vocabulary is not None
    return (folder.path / VOCABULARY_FILE).is_file()


def available_memory() -> int | None:
    """Bytes this process could still use: the system's estimate, or its container's limit."""
    try:
        lines = _MEMORY_INFORMATION.read_text().splitlines()
        free = next(int(line.split()[1]) * 1024 for line in lines if "MemAvailable" in line)
    except (OSError, StopIteration):
        return None
    try:
        return min(free, int(_CONTAINER_LIMIT.read_text()))
    except (OSError, ValueError):  # no container, or one whose limit reads `max`
        return free


def show_bytes(count: int) -> str:
    """A size in decimal units: `13.76 GB`."""
    return _scaled(count, ("bytes", "kB", "MB", "GB", "TB"))


def show_count(count: int) -> str:
    """A number in words: `20.91 billion`."""
    return _scaled(count, ("", "thousand", "million", "billion", "trillion")).rstrip()


def _scaled(count: int, units: tuple[str, ...]) -> str:
    scaled, unit = float(count), 0
    while scaled >= 999.995 and unit < len(units) - 1:
        scaled, unit = scaled / 1000, unit + 1
    return f"{scaled:.2f} {units[unit]}" if unit else f"{count} {units[0]}"


def _show_encodings(encodings: tuple[tuple[str, int], ...]) -> str:
    return ", ".join(f"{dtype} {show_bytes(size)}" for dtype, size in encodings) or "unknown"


def _show_available(available: int | None, needed: int) -> str:
    if available is None:
        return "unknown on this system"
    return f"{show_bytes(available)}{'' if available >= needed else ', which is too little'}"
