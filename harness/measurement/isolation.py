"""One job's dtype, threads and random numbers never leak into the next one's."""

from __future__ import annotations

import platform
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib.metadata import version
from pathlib import Path

import torch

PACKAGES = ("torch", "numpy", "scipy", "pandas", "hydra-core", "scikit-learn")


@contextmanager
def isolated(device: str, threads: int = 1) -> Iterator[None]:
    """Run on ``threads`` threads in torch's plain state; restore threads, state and generators afterwards.

    One thread, because sums differ in the last bit between thread counts; a second core is a second process.
    """
    before = torch.get_num_threads()
    devices = [torch.device("cuda", torch.cuda.current_device())] if device == "cuda" else []
    with torch.random.fork_rng(devices=devices), plain_torch():
        torch.set_num_threads(threads)
        try:
            yield
        finally:
            torch.set_num_threads(before)


@contextmanager
def plain_torch() -> Iterator[None]:
    """Torch as it is when it has just been imported, whatever the caller has set: it is set again afterwards.

    Gradients are recorded, float32 is the default dtype and the CPU the default device; no inference mode, no autocast,
    no deterministic algorithms, no detection of anomalies.
    """
    dtype, deterministic = torch.get_default_dtype(), torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    with ExitStack() as stack:
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.enable_grad())
        for kind in ("cpu", "cuda"):
            if torch.is_autocast_enabled(kind):
                stack.enter_context(torch.autocast(kind, enabled=False))
        if torch.is_anomaly_enabled():
            stack.enter_context(torch.autograd.set_detect_anomaly(False))
        if torch.get_default_device().type != "cpu":  # the context costs every call of torch some time
            stack.enter_context(torch.device("cpu"))
        torch.set_default_dtype(torch.float32)
        if deterministic:  # asked only then: the first call imports torch's compiler
            torch.use_deterministic_algorithms(False)
        try:
            yield
        finally:
            torch.set_default_dtype(dtype)
            if deterministic:
                torch.use_deterministic_algorithms(True, warn_only=warn_only)


def resolve_device(name: str) -> str:
    """``auto`` → the best device that is there; any other name as it is."""
    if name != "auto":
        return name
    return next((device for device in ("cuda", "mps") if is_available(device)), "cpu")


def is_available(device: str) -> bool:
    """Whether this machine has the device."""
    if device == "cuda":
        return torch.cuda.is_available()
    if device == "mps":
        return torch.backends.mps.is_available()
    return device == "cpu"


def environment() -> dict[str, str | int]:
    """Where numbers were measured: versions, processor, GPU, commit."""
    return {
        "python": platform.python_version(),
        **{package: version(package) for package in PACKAGES},
        "platform": f"{platform.system()} {platform.machine()}",
        "processor": processor(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else "none",
        "threads": 1,
        "commit": commit(),
    }


def processor() -> str:
    """The processor's marketing name, or what the platform calls it."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    return next(
        (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.processor()
    )


def commit() -> str:
    """The commit of the harness's own checkout, marked when it has uncommitted changes; ``unknown`` outside one."""
    here = Path(__file__).resolve().parent
    command = ["git", "-C", str(here), "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=5, check=True)
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return done.stdout.strip()
