"""Figures of a report, each with its data as CSV beside it. A figure whose records are missing is left out."""

from __future__ import annotations

from pathlib import Path

from harness.presentation.collect import RecordSet
from harness.presentation.figures.approximate_gamma import approximate_gamma_figure
from harness.presentation.figures.dimension import dimension_figure
from harness.presentation.figures.geometry import geometry_figure
from harness.presentation.figures.regimes import regimes_figure
from harness.presentation.figures.relaxations import relaxations_figure
from harness.presentation.figures.samples import samples_figure
from harness.presentation.figures.style import Drawing, Figure, save
from harness.presentation.figures.vae import vae_figure
from harness.presentation.figures.vae_ratios import vae_ratios_figure
from harness.presentation.figures.work import work_figure
from harness.vocabulary.errors import StorageError

__all__ = ["DRAWERS", "Drawing", "Figure", "draw_figures"]

#: name → (how it is drawn, what the records need to have for it).
DRAWERS = {
    "dimension": (dimension_figure, "relative variances at two dimensions or more"),
    "regimes": (regimes_figure, "relative variances at three dimensions or more"),
    "samples": (samples_figure, "variances at two values of N or more"),
    "geometry": (geometry_figure, "a normal distribution with a smooth objective"),
    "relaxations": (relaxations_figure, "a relaxation at two temperatures or more"),
    "approximate_gamma": (approximate_gamma_figure, "a gamma's unaccepted proposal at two concentrations or more"),
    "vae": (vae_figure, "an autoencoder with its loss curve"),
    "vae_ratios": (vae_ratios_figure, "an autoencoder at two numbers of latents or more"),
    "work": (work_figure, "timed rows with a positive variance"),
}


def draw_figures(records: RecordSet, place: Path) -> dict[str, Figure]:
    """Draw what the records have data for into the folder ``place``; name → figure. Raises: StorageError."""
    figures = {}
    for name, (draw, _) in DRAWERS.items():
        drawing = draw(records)
        if drawing is None:
            forget(place / name)
        else:
            figures[name] = save(drawing, place / f"{name}.png")
    return figures


def forget(path: Path) -> None:
    """Remove what an earlier report left of a figure that is not drawn now. Raises: StorageError."""
    for suffix in (".png", ".csv"):
        try:
            path.with_suffix(suffix).unlink(missing_ok=True)
        except OSError as error:
            raise StorageError(f"cannot write into {path.parent}: {error.strerror}; choose another folder") from None
