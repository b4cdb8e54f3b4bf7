"""``python -m harness.report``: exit codes, one clear line for each error, and where the report goes."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness import report
from tests.synthetic_records import grid, save


def test_no_argument_is_a_question_about_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert report.main([]) == 2
    captured = capsys.readouterr()
    assert "usage: python -m harness.report" in captured.err
    assert captured.out == ""


def test_an_unknown_option_is_usage_and_help_is_not(capsys: pytest.CaptureFixture[str]) -> None:
    assert report.main(["results/x", "--nonsense"]) == 2
    assert report.main(["--help"]) == 0
    capsys.readouterr()


@pytest.mark.parametrize("content", [None, "not,a,records\nfile,at,all\n", "\x00\x01", ""])
def test_missing_or_corrupt_records_are_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str | None
) -> None:
    folder = tmp_path / "broken"
    if content is not None:
        folder.mkdir()
        (folder / "records.csv").write_text(content)
    assert report.main([str(folder), "--output", str(tmp_path / "x.md")]) == 2
    error = capsys.readouterr().err
    assert error.startswith("harness: ")
    assert str(folder) in error
    assert error.count("\n") == 1
    assert not (tmp_path / "x.md").exists()


def test_an_unwritable_output_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = save(tmp_path / "run", grid(["normal"], [10], [1]))
    (tmp_path / "file").write_text("")
    assert report.main([str(folder), "--output", str(tmp_path / "file" / "x.md")]) == 2
    error = capsys.readouterr().err
    assert error.startswith("harness: cannot write")
    assert error.count("\n") == 1


def test_the_report_goes_where_it_says(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    save(tmp_path / "results/mine", grid(["normal"], [10], [1]))
    assert report.main(["results/mine"]) == 0
    assert capsys.readouterr().out == "report: results/mine/report.md\n"
    text = (tmp_path / "results/mine/report.md").read_text()
    assert "python -m harness.report results/mine --output results/mine/report.md" in text
    assert "| `results/mine` |" in text
