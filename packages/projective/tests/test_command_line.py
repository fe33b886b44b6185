"""The command on every format, and what it says when something is wrong."""

import csv
import subprocess
import sys

import anndata
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy import io, sparse

import projective
from projective.command_line import main

MATRIX = np.array([[1.0, 2, 3], [4, np.nan, 6], [7, 8, 10]])


def run(*arguments):
    return main(["decompose", *map(str, arguments)])


def refused(capsys, *arguments):
    """The one sentence with which the command refuses."""
    assert run(*arguments) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.count("\n") == 1
    return printed.err


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "plants.csv"
    path.write_text("plant,leaf,stem,root\nfern,1,2,3\nmoss,4,NA,6\nreed,7,8,10\n")
    return path


def test_csv_keeps_its_names_and_gaps(table, tmp_path, capsys):
    out, factors = tmp_path / "form.tsv", tmp_path / "factors.csv"
    assert run(table, "--out", out, "--factors", factors) == 0
    lines = [line.split("\t") for line in out.read_text().splitlines()]
    assert lines[0] == ["plant", "leaf", "stem", "root"]
    assert [line[0] for line in lines[1:]] == ["fern", "moss", "reed"]
    assert lines[2][2] == ""
    expected = projective.decompose(MATRIX)
    found = [[float(cell or "nan") for cell in line[1:]] for line in lines[1:]]
    np.testing.assert_array_equal(found, expected.normalized)
    rows = list(csv.DictReader(factors.read_text().splitlines()))
    assert [row["name"] for row in rows if row["axis"] == "column"] == ["leaf", "stem", "root"]
    assert float(rows[0]["factor"]) == expected.scale
    report = capsys.readouterr().out
    assert "3 × 3" in report
    assert "exact" in report
    assert "(reed)" in report


def test_bare_numbers_and_numbered_columns(tmp_path):
    bare, years = tmp_path / "bare.csv", tmp_path / "years.csv"
    bare.write_text("1,2\n3,5\n")
    years.write_text("id,2001,2002\n1,5,2\n2,3,5\n")
    assert run(bare, "--out", tmp_path / "a.csv") == run(years, "--out", tmp_path / "b.csv") == 0
    assert len((tmp_path / "a.csv").read_text().splitlines()) == 2
    assert (tmp_path / "b.csv").read_text().startswith("id,2001,2002")


def write_as(kind, path):
    full = np.nan_to_num(MATRIX, nan=5.0)
    match kind:
        case "npy":
            np.save(path, full)
        case "npz":
            sparse.save_npz(path, sparse.csr_array(full))
        case "mtx":
            io.mmwrite(path, sparse.coo_array(full))
        case "parquet":
            names = pa.array(["x", "y", "z"])
            pq.write_table(pa.table({"name": names, **dict(zip("abc", full.T, strict=True))}), path)
        case "h5ad":
            anndata.AnnData(sparse.csr_matrix(full)).write_h5ad(path)
    return projective.invariant(full)


def read_as(kind, path):
    match kind:
        case "npy":
            return np.load(path)
        case "npz":
            return sparse.load_npz(path).toarray()
        case "mtx":
            return io.mmread(path).toarray()
        case "parquet":
            table = pq.read_table(path)
            assert table["name"].to_pylist() == ["x", "y", "z"]
            return np.column_stack([table[name].to_numpy() for name in "abc"])
        case _:
            data = anndata.read_h5ad(path)
            scale = data.uns["projective_scale"]
            rows = data.obs["projective_row_factor"].to_numpy()
            columns = data.var["projective_column_factor"].to_numpy()
            restored = scale * rows[:, None] * data.X.toarray() * columns
            np.testing.assert_allclose(restored, np.nan_to_num(MATRIX, nan=5.0))
            return data.X.toarray()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", ["npy", "npz", "mtx", "parquet", "h5ad"])
def test_every_format_there_and_back(kind, tmp_path):
    source, target = tmp_path / f"in.{kind}", tmp_path / f"out.{kind}"
    expected = write_as(kind, source)
    assert run(source, "--out", target) == 0
    np.testing.assert_allclose(read_as(kind, target), expected, rtol=1e-6)
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"in.{kind}", f"out.{kind}"]


def test_what_is_wrong_is_said_before_anything_is_written(table, tmp_path, capsys):
    assert "no file" in refused(capsys, tmp_path / "absent.csv")
    assert "ending must be" in refused(capsys, table, "--out", tmp_path / "form.xls")
    assert "no folder" in refused(capsys, table, "--out", tmp_path / "absent" / "form.csv")
    assert "tolerance" in refused(capsys, table, "--tolerance", "2")
    table.write_text("a,b\n1,x\n2,3\n")
    assert "line 2, column 2: 'x'" in refused(capsys, table)
    table.write_text("a,b\n1,2\n2\n")
    assert "line 3: 1 cells and not 2" in refused(capsys, table)
    table.write_text("")
    assert "is empty" in refused(capsys, table)
    broken = tmp_path / "broken.npy"
    broken.write_bytes(b"\x93NUMPY rubbish")
    assert "cannot be read" in refused(capsys, broken)
    broken = tmp_path / "broken.parquet"
    broken.write_bytes(b"rubbish")
    assert "cannot be read" in refused(capsys, broken)


def test_a_format_without_its_library_names_the_extra(table, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    error = refused(capsys, table, "--out", tmp_path / "form.parquet")
    assert 'pip install "projective[parquet]"' in error


def test_no_form_is_an_error_that_leaves_the_old_result(table, tmp_path, capsys):
    table.write_text("1,1,0\n1,2,0\n0,0,0\n")
    out = tmp_path / "form.csv"
    out.write_text("old")
    assert "row 2 and column 2" in refused(capsys, table, "--out", out)
    assert out.read_text() == "old"
    assert run(table, "--zeros", "missing", "--out", out) == 0
    assert out.read_text() != "old"


def test_a_limit_and_a_cut_iteration_are_remarked_upon(table, capsys):
    table.write_text("1,1\n0,1\n")
    assert run(table) == 0
    assert "limit" in capsys.readouterr().out
    table.write_text("1,100\n3,2\n")
    assert run(table, "--max-passes", "1") == 0
    assert "After 1 passes" in capsys.readouterr().err


def test_as_a_program(table):
    command = [sys.executable, "-m", "projective", "decompose"]
    done = subprocess.run([*command, str(table)], capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert done.stdout.startswith("matrix")
    done = subprocess.run([*command, "absent.csv"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr == "There is no file absent.csv.\n"
