"""The rooms of the package import downwards only."""

import ast
from pathlib import Path

import motet

PACKAGE = Path(motet.__file__).parent
FLOORS = {
    "errors": 0,
    "harmony": 1,
    "checkpoint": 2,
    "nano": 2,
    "_native": 2,
    "engine": 3,
    "tools": 4,
    "quantization": 4,
    "agent": 5,
    "training": 6,
    "evals": 6,
    "server": 6,
    "cli": 7,
}


def imported_rooms(source: Path) -> set[str]:
    """The rooms of motet that a file imports, at any depth, functions included."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(source.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{source} imports relatively"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    parts = [name.split(".") for name in names]
    return {part[1] for part in parts if part[0] == "motet" and len(part) > 1} & FLOORS.keys()


def test_every_room_has_a_floor() -> None:
    rooms = {path.name for path in PACKAGE.iterdir() if path.is_dir()} - {"__pycache__"}
    assert rooms <= FLOORS.keys()
    assert {"harmony", "checkpoint", "engine", "agent", "cli"} <= rooms


def test_rooms_import_only_from_below() -> None:
    upward = [
        f"{source.relative_to(PACKAGE)} imports {target}"
        for source in PACKAGE.rglob("*.py")
        if (room := source.relative_to(PACKAGE).parts[0].removesuffix(".py")) in FLOORS
        for target in imported_rooms(source)
        if target != room and FLOORS[target] >= FLOORS[room]
    ]
    assert upward == []
