"""How many threads the engine takes in a container."""

import math
from pathlib import Path

import pytest

from motet.engine.processors import _quota, available_processors


def folders(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


@pytest.mark.parametrize(
    ("membership", "files", "quota"),
    [
        ("0::/\n", {"cpu.max": "150000 100000\n"}, 1.5),
        ("0::/\n", {"cpu.max": "max 100000\n"}, math.inf),
        ("0::/a/b\n", {"a/cpu.max": "100000 100000", "a/b/cpu.max": "400000 100000"}, 1.0),
        (
            "4:cpu,cpuacct:/x\n",
            {
                "cpu,cpuacct/x/cpu.cfs_quota_us": "50000",
                "cpu,cpuacct/x/cpu.cfs_period_us": "100000",
            },
            0.5,
        ),
        ("4:cpu:/x\n", {"cpu/x/cpu.cfs_quota_us": "-1", "cpu/x/cpu.cfs_period_us": "9"}, math.inf),
        ("0::/\n", {}, math.inf),
        ("0::/\n", {"cpu.max": "what is this"}, math.inf),
    ],
)
def test_quota(tmp_path: Path, membership: str, files: dict[str, str], quota: float) -> None:
    member = tmp_path / "cgroup"
    member.write_text(membership)
    assert _quota(folders(tmp_path / "root", files), member) == quota


def test_a_system_without_control_groups_has_no_quota(tmp_path: Path) -> None:
    assert _quota(tmp_path, tmp_path / "missing") == math.inf
    assert available_processors() >= 1
