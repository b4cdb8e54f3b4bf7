"""Records of an older schema version are read: what they did not have is blank, and what they had is the same."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from harness.presentation.collect import collect
from harness.storage.tables import ADDED, load_records, write_records
from harness.vocabulary.cells import SCHEMA_VERSION
from harness.vocabulary.errors import StorageError
from tests.synthetic_records import record


def older(path: Path, version: int) -> Path:
    """A records file as that version wrote it."""
    write_records(path, [record(), record(estimator="reparameterized")])
    frame = pd.read_csv(path, dtype=str, keep_default_na=False)
    frame.drop(columns=list(ADDED[version])).assign(schema_version=str(version)).to_csv(path, index=False)
    return path


@pytest.mark.parametrize("version", list(ADDED))
def test_older_records_are_read_and_judged(version: int, tmp_path: Path) -> None:
    now, before = tmp_path / "now.csv", older(tmp_path / "records.csv", version)
    write_records(now, [record(), record(estimator="reparameterized")])
    new, old = load_records(now), load_records(before)
    kept = [c for c in new.columns if c not in (*ADDED[version], "schema_version")]
    pd.testing.assert_frame_equal(new[kept], old[kept])
    assert set(old["premises"]) == {""}
    assert set(collect([before]).frame["verdict"]) <= {"unbiased", "biased", "cannot tell", "not measured"}


def test_an_unknown_version_and_a_mixture_are_refused(tmp_path: Path) -> None:
    path = older(tmp_path / "records.csv", min(ADDED))
    text = path.read_text()
    path.write_text(text.replace(f"\n{min(ADDED)},", f"\n{SCHEMA_VERSION + 1},"))
    with pytest.raises(StorageError, match=f"schema version {SCHEMA_VERSION + 1}"):
        load_records(path)
    path.write_text(text.replace(f"\n{min(ADDED)},", f"\n{SCHEMA_VERSION},", 1))
    with pytest.raises(StorageError, match="schema version"):
        load_records(path)
