"""``python -m harness``: from argv to an exit code. 0 ok · 2 usage · 3 failed or incomplete cells · 130 interrupted."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from hydra.main import main as hydra_main
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from harness.entry.arguments import Arguments, quoted, read_arguments
from harness.entry.messages import one_line
from harness.entry.schema import register
from harness.storage.shipped import config_folder
from harness.vocabulary.errors import ConfigurationError, HarnessError

FULL_ERROR = "HYDRA_FULL_ERROR"
OK, USAGE, INCOMPLETE, INTERRUPTED = 0, 2, 3, 130


@dataclass(frozen=True)
class Command:
    """What a command line asks for: arguments, the run's settings, whether it is a sweep, and how many jobs."""

    arguments: Arguments
    settings: DictConfig
    multirun: bool
    jobs: int


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; every foreseen error is one line on standard error."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    traceback_wanted = os.environ.get(FULL_ERROR) == "1"
    os.environ[FULL_ERROR] = "1"  # Hydra then raises instead of printing and exiting
    try:
        register()
        if read_arguments(arguments).shows:
            return show(arguments)
        return run(read_command(arguments))
    except KeyboardInterrupt:
        print(
            "\nharness: interrupted; what was measured is stored, the same command goes on from there", file=sys.stderr
        )
        return INTERRUPTED
    except (HarnessError, HydraException, OmegaConfBaseException) as error:
        if traceback_wanted:
            raise
        print(f"harness: {one_line(error)}", file=sys.stderr)
        return USAGE
    finally:
        if not traceback_wanted:
            del os.environ[FULL_ERROR]


def read_command(given: Sequence[str]) -> Command:
    """Compose the run's settings once and count the jobs that Hydra's sweeper will make of its axes."""
    arguments = read_arguments(given)
    parsed = OverridesParser.create().parse_overrides(list(arguments.overrides))
    sweep = next((o for o in parsed if o.key_or_group == "sweep"), None)
    if sweep is not None and sweep.is_sweep_override():
        raise ConfigurationError("sweep: expected one sweep a run, got several; run them one after the other")
    for override in parsed:
        if override.key_or_group in ("name", "results") and override.is_sweep_override():
            raise ConfigurationError(f"{override.key_or_group}: expected one folder a run, got several")
    single = [o.input_line for o in parsed if not o.is_sweep_override() and o.input_line]
    with initialize_config_dir(config_dir=str(config_folder()), version_base="1.3"):
        composed = compose("config", [*single, *arguments.search_path], return_hydra_config=True)
    axes = dict(OmegaConf.to_container(composed.hydra.sweeper.params or OmegaConf.create({}), resolve=True))  # type: ignore[arg-type]
    if sweep is not None and not axes:
        raise ConfigurationError(
            f"sweep {sweep.value()}: no axes under hydra.sweeper.params, so there is nothing to run"
        )
    if sweep is not None and arguments.run:
        raise ConfigurationError(f"--run: sweep {sweep.value()} is more than one job; leave --run out")
    multirun = sweep is not None or arguments.multirun
    return Command(arguments, composed, multirun, count_jobs(axes, parsed) if multirun else 1)


def count_jobs(axes: dict[str, object], parsed: list[Override]) -> int:
    """Size of the cross product: the sweep's axes, each replaced by an override of the same name."""
    lines = [f"{name}={value}" for name, value in axes.items()]
    merged = {o.get_key_element(): o for o in [*OverridesParser.create().parse_overrides(lines), *parsed]}
    total = 1
    for name, override in merged.items():
        values = len(list(override.sweep_string_iterator())) if override.is_sweep_override() else 1
        if values == 0:
            raise ConfigurationError(f"{name}: the sweep is empty; give at least one value")
        total *= values
    return total


def run(command: Command) -> int:
    """Check, hold the folder, measure all jobs, then gather their cells into records, table and report."""
    from harness.entry.configuration import check_scalars
    from harness.entry.finish import finish
    from harness.entry.jobs import RUN
    from harness.entry.progress import announce
    from harness.storage.files import check_page, check_writable
    from harness.storage.locks import hold
    from harness.storage.runs import RunFolder

    settings, place = command.settings, Path(command.settings.results)
    check_scalars(settings)
    RunFolder(place).check()
    if settings.report is not None:
        check_page(Path(settings.report))
    check_writable(place)
    with hold(place, command.arguments.command) as lock:
        folder = RunFolder(place, lock.run)
        folder.clear()
        announce(command.jobs)
        # A job may run in a process that was started elsewhere.
        told = (f"++hydra.job.env_set.{RUN}={lock.run}", f"results={quoted(place.resolve())}")
        call_hydra(command.arguments.for_hydra(*told, multirun=command.multirun))
        lock.check()
        return finish(folder, command.jobs, settings, command.arguments.command)


def show(arguments: list[str]) -> int:
    """Hydra's own options, some of which end the process themselves."""
    try:
        call_hydra(arguments)
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else OK
    return OK


def call_hydra(arguments: list[str]) -> None:
    """Hand the arguments to Hydra, which calls ``job`` for each job."""
    before = sys.argv
    sys.argv = ["harness", *arguments]
    try:
        hydra_main(config_path=str(config_folder()), config_name="config", version_base="1.3")(job)()
    finally:
        sys.argv = before


def job(cfg: DictConfig) -> None:
    """One Hydra job. Resolvers are registered again, since a launcher may run it in a fresh process."""
    register()
    from harness.entry.jobs import run_job

    run_job(cfg)
