"""The loss curve of every trained autoencoder among the records, from the CSV that its training left."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from harness.presentation.collect import RecordSet
from harness.presentation.figures.style import LOOKS, OTHER_LOOKS, Drawing, new_canvas, styled
from harness.presentation.labels import parsed
from harness.presentation.numbers import plural

COLORS = [color for color, _ in (*OTHER_LOOKS, *LOOKS.values())]
COLUMNS = ("step", "negative_elbo", "reconstruction", "divergence")


def vae_figure(records: RecordSet) -> Drawing | None:
    """None where no model was trained, or its curve is not beside the records."""
    curves = loss_curves(records)
    if curves.empty:
        return None
    with styled():
        canvas = new_canvas(7.5, 3.8)
        axes = canvas.subplots()
        for index, (model, curve) in enumerate(curves.groupby("model", sort=False)):
            color, label = COLORS[index % len(COLORS)], str(model)
            axes.plot(curve["step"], curve["negative_elbo"], color=color, label=label)
            axes.plot(curve["step"], curve["reconstruction"], color=color, linestyle=":")
        last = curves["negative_elbo"].groupby(curves["model"], sort=False).last()
        low, high = last.min(), curves["negative_elbo"].max()
        axes.set_ylim(curves["reconstruction"].min() - 1, min(high, 2 * low))
        axes.set_title(f"After training: {span(last)} nats an image")
        axes.set_xlabel("step of training")
        axes.set_ylabel("nats an image")
        axes.legend(loc="upper right")
    alt = f"Loss curves of {plural(len(last), 'autoencoder')}, ending at {span(last)} nats an image."
    caption = "Negative ELBO (lines) and its reconstruction part (dotted) while the autoencoders were trained."
    return Drawing(canvas, curves, alt, caption)


def span(values: pd.Series) -> str:
    """``23.9 to 24.4``, or one number."""
    low, high = f"{values.min():.1f}", f"{values.max():.1f}"
    return low if low == high else f"{low} to {high}"


def loss_curves(records: RecordSet) -> pd.DataFrame:
    """All curves one below the other, with the name of the model; empty without any."""
    rows = records.frame[records.frame["objective"].str.startswith("vae")]
    names = rows.groupby("objective_parameters", sort=False)["dimension"].first()
    found: dict[str, pd.DataFrame] = {}
    kinds = {text: str(parsed(str(text)).get("latents", "gaussian")) for text in names.index}
    for text, dimension in sorted(names.items(), key=lambda item: (kinds[item[0]] != "gaussian", item[1], item[0])):
        options = parsed(str(text))
        checkpoint, data = str(options.get("checkpoint")), str(options.get("data"))
        curve = None if checkpoint in found else first_readable(records, checkpoint)
        if curve is not None:
            kind = {"gaussian": "", "bernoulli": "Bernoulli "}.get(kinds[text], f"{kinds[text]} ")
            label = f"{data}, {dimension} {kind}latents"
            taken = {str(c["model"].iloc[0]) for c in found.values()}
            model = label if label not in taken else f"{label} ({checkpoint[-6:]})"
            found[checkpoint] = curve.assign(model=model)
    return pd.concat(found.values(), ignore_index=True) if found else pd.DataFrame()


def first_readable(records: RecordSet, checkpoint: str) -> pd.DataFrame | None:
    """The curve of a model, from the folder ``inputs`` beside any of the run folders."""
    for source in records.sources:
        path = Path(source.path)
        folder = (path if path.is_dir() else path.parent).parent / "inputs"
        try:
            curve = pd.read_csv(folder / f"{checkpoint}.csv")
        except (OSError, ValueError):
            continue
        if tuple(curve.columns) == COLUMNS and not curve.empty:
            return curve
    return None
