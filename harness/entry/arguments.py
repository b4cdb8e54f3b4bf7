"""What stands on the command line, by Hydra's own parser: its options in any place, overrides, nothing ignored."""

from __future__ import annotations

import contextlib
import io
import shlex
from argparse import Namespace
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hydra._internal.utils import get_args_parser

from harness.vocabulary.errors import ConfigurationError

#: Hydra's options that show something instead of running a job.
SHOWING = ("help", "hydra_help", "cfg", "info", "shell_completion")
#: Those that would take the harness's own configuration away, and what to do instead.
REFUSED = {
    "config_name": "--config-name: the harness has one configuration; choose in it by overrides, or add your own files "
    "to its choices by --config-dir",
    "config_path": "--config-path: the harness's own configuration cannot be replaced; add your files by --config-dir",
    "experimental_rerun": "--experimental-rerun: not supported; give the command again, what is stored is kept",
}
#: Those that say how something is shown.
ONLY_SHOWING = {"package": "--package", "resolve": "--resolve"}


@dataclass(frozen=True)
class Arguments:
    """A command line: as it was given, and taken apart. ``config_dir``: a folder with further choices, or None."""

    given: tuple[str, ...]
    overrides: tuple[str, ...]
    shows: bool = False
    run: bool = False
    multirun: bool = False
    config_dir: Path | None = None

    @property
    def command(self) -> str:
        """The command as one may type it."""
        return f"python -m harness {shlex.join(self.given)}".strip()

    @property
    def search_path(self) -> tuple[str, ...]:
        """The override that lets the compose API find the choices of ``config_dir``."""
        if self.config_dir is None:
            return ()
        if any(override.lstrip("+").startswith("hydra.searchpath=") for override in self.overrides):
            raise ConfigurationError(
                "--config-dir and hydra.searchpath: expected one of them; name both folders in one"
            )
        return (f"hydra.searchpath=[{quoted(f'file://{self.config_dir}')}]",)

    def for_hydra(self, *more: str, multirun: bool) -> list[str]:
        """The same for Hydra's own ``main``, which wants its options first."""
        place = [] if self.config_dir is None else ["--config-dir", str(self.config_dir)]
        return [*place, *(["--multirun"] if multirun else []), *self.overrides, *more]


def quoted(value: object) -> str:
    """A text as Hydra's grammar wants it where it may hold any character."""
    return "'" + str(value).replace("'", "\\'") + "'"


def read_arguments(arguments: Sequence[str]) -> Arguments:
    """Take a command line apart. Raises: ConfigurationError for an option that is unknown, misplaced or refused."""
    if "--version" in arguments:
        return Arguments(tuple(arguments), (), shows=True)
    options = parsed(arguments)
    for name, reason in REFUSED.items():
        if getattr(options, name) is not None:
            raise ConfigurationError(reason)
    shows = any(getattr(options, name) for name in SHOWING)
    for name, flag in ONLY_SHOWING.items():
        if getattr(options, name) and options.cfg is None and not (options.help and name == "resolve"):
            raise ConfigurationError(f"{flag}: only shows a part of the configuration; add --cfg job")
    if options.run and options.multirun:
        raise ConfigurationError("--run and --multirun: expected one of them")
    place = None if options.config_dir is None else Path(options.config_dir).resolve()
    if place is not None and not place.is_dir():
        raise ConfigurationError(f"--config-dir {options.config_dir}: expected a folder of YAML files, got none there")
    return Arguments(tuple(arguments), tuple(options.overrides), shows, options.run, options.multirun, place)


def parsed(arguments: Sequence[str]) -> Namespace:
    """Hydra's own options and all overrides, in any order. Raises: ConfigurationError, the parser's last line."""
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            return get_args_parser().parse_intermixed_args(arguments)
    except SystemExit:
        reason = said.getvalue().strip().splitlines()[-1].partition("error: ")[2]
        raise ConfigurationError(f"{reason}; --hydra-help lists the options, --help the overrides") from None
