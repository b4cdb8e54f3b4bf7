"""One clear line for an error of Hydra's or ours."""

from __future__ import annotations

import difflib
import re
from pathlib import Path

from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from harness.vocabulary.errors import choose


def one_line(error: BaseException) -> str:
    """What went wrong and what would be right, on one line."""
    text = "; ".join(line.strip() for line in str(error).splitlines() if line.strip())
    missing = re.search(r"Could not (?:find|load) '(\w+)/([^']*)'", text)
    if missing is not None:
        group, name = missing.groups()
        return choose(group, name, available(group, str(error)))
    if "add --multirun to your command line" in text:
        return text.split(";")[0] + "; several values make a sweep: add --multirun, or use key=[a,b] for one list"
    cause = error if isinstance(error, OmegaConfBaseException) else error.__cause__
    if isinstance(cause, OmegaConfBaseException):
        return from_omegaconf(cause, text)
    return text


def available(group: str, text: str) -> set[str]:
    """The choices of a group in all folders that Hydra's own message says it searched."""
    folders = re.findall(r"provider=.*?, path=file://(.*)", text)
    return {path.stem for folder in folders for path in (Path(folder) / group).glob("*.yaml")}


def from_omegaconf(cause: OmegaConfBaseException, text: str) -> str:
    """An unknown key is answered with its neighbours, nearest first; a wrong type with the key's full name."""
    reason = str(cause).splitlines()[0]
    if isinstance(cause.parent_node, DictConfig) and re.search(r"Key '[^']*' (?:is )?not in", reason):
        valid = [str(key) for key in cause.parent_node]
        close = difflib.get_close_matches(str(cause.key), valid, n=1)
        hint = f"; did you mean {close[0]}?" if close else ""
        return choose("option", str(cause.full_key or cause.key), [key for key in valid if key != "hydra"]) + hint
    first = text.split(";")[0]
    return reason if reason in first else f"{first}: {reason}"
