"""Under which key a cell is stored: whoever changes what decides its numbers changes it, whoever changes else does not.

What measuring a cell runs is found out by a second route, Python's profiler, and held against the source that its key
is made of.
"""

from __future__ import annotations

import ast
import hashlib
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from types import CodeType, FrameType

import pytest

import harness.measurement.runner as runner
from harness.measurement.runner import measure
from harness.storage.archive import ReferenceArchive
from harness.storage.cells import address_of
from harness.storage.plugins import Untold, installed_names, source_of
from harness.storage.sources import HANDED, LIBRARY, MEASURING_FLOORS, ROOT, TABLES, Library
from harness.storage.trees import canonical, digest_of_source, parsed
from harness.vocabulary.cells import Cell, DistributionSpec, EstimatorSpec, Job, ObjectiveSpec, Policy, Problem
from harness.vocabulary.errors import ConfigurationError
from tests.test_cli import Harness, rows

PACKAGE = Path(runner.__file__).parent.parent
ESTIMATOR_FILES = "mathematics/estimators"
NORMAL = DistributionSpec("normal", "torch.distributions.Normal", {"loc": 1.0, "scale": 1.0})
BERNOULLI = DistributionSpec("bernoulli", "torch.distributions.Bernoulli", {"logits": 0.3})
GAMMA = DistributionSpec("gamma", "torch.distributions.Gamma", {"concentration": 2.0, "rate": 1.0})
POLICY = Policy(replicates=1024, timing_seconds=0.001)


def digest(library: Library, estimator: str = "score_function", objective: str = "quadratic") -> str:
    return library.digest([(ROOT, "*"), *HANDED], {"estimator": estimator, "objective": objective})


@pytest.fixture
def copied(tmp_path: Path) -> Callable[..., Library]:
    """A copy of the measuring floors, with some of its files changed: (file, old, new)…"""

    def copy(*changes: tuple[str, str, str]) -> Library:
        package = tmp_path / f"copy{len(list(tmp_path.iterdir()))}" / "harness"
        for floor in MEASURING_FLOORS:
            shutil.copytree(PACKAGE / floor, package / floor, ignore=shutil.ignore_patterns("__pycache__"))
        for name, old, new in changes:
            path = package / name
            text = path.read_text(encoding="utf-8") if path.exists() else ""
            assert old in text, f"{name} has no {old}"
            path.write_text(text.replace(old, new, 1) if old else text + new, encoding="utf-8")
        return Library(package)

    return copy


# --- the harness's own source -----------------------------------------------------------------------------------------


def test_a_copy_elsewhere_has_the_same_key(copied: Callable[..., Library]) -> None:
    assert digest(copied()) == digest(LIBRARY)


def test_docstrings_comments_and_layout_change_no_key(copied: Callable[..., Library]) -> None:
    library = copied()
    for path in sorted(library.package.rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        assert ast.get_docstring(ast.parse(text))
        text = text.replace('"""', '"""Otherwise put. ', 1).replace("\n\n\n", "\n\n\n# another comment\n\n", 1)
        path.write_text("# a comment\n" + text + '\n"""A text at the end."""\n', encoding="utf-8")
        for node in ast.walk(ast.parse(text)):
            assert not isinstance(node, ast.Constant) or node.value != "Otherwise put. "
    assert digest(library) == digest(LIBRARY)


NEW_ESTIMATOR = (
    (f"{ESTIMATOR_FILES}/new.py", "", '"""New."""\nfrom harness.mathematics.draws import Draw\nSHIFT = 2.0\n\n\n'
     "def new(draw: Draw):\n    return draw.score_surrogate(SHIFT)\n"),
    (f"{ESTIMATOR_FILES}/__init__.py", "from harness.mathematics.families import Family\n",
     "from harness.mathematics.estimators.new import new\nfrom harness.mathematics.families import Family\n"),
    (f"{ESTIMATOR_FILES}/__init__.py", "ESTIMATORS: dict[str, Method] = {\n",
     'ESTIMATORS: dict[str, Method] = {\n    "new": Method(new),\n'),
)  # fmt: skip


def test_a_further_shipped_estimator_changes_nobody_elses_key(copied: Callable[..., Library]) -> None:
    library = copied(*NEW_ESTIMATOR)
    for name in ("score_function", "reparameterized", "gumbel_softmax"):
        assert digest(library, name) == digest(LIBRARY, name)
    assert digest(library, "new") != digest(library, "score_function")
    changed = copied(*NEW_ESTIMATOR, (f"{ESTIMATOR_FILES}/new.py", "SHIFT = 2.0", "SHIFT = 3.0"))
    assert digest(changed, "new") != digest(library, "new")


#: (file, old, new), estimators or objectives whose numbers it decides, others whose numbers it does not
CHANGES = {
    "an estimator": (
        (f"{ESTIMATOR_FILES}/score_function.py", "return draw.score_surrogate(", "return 3 * draw.score_surrogate("),
        {"score_function"}, {"reparameterized", "gumbel_softmax", "score_function_leave_one_out"},
    ),
    "another estimator's own module": (
        (f"{ESTIMATOR_FILES}/marsaglia_tsang.py", "v = 1 + noise / (9", "v = 1 + noise / (8"),
        {"reparameterized_marsaglia_tsang"}, {"score_function", "reparameterized"},
    ),
    "its exact moments": (
        ("mathematics/truth/relaxed.py", "TOLERANCE = ", "TOLERANCE = 2 * "),
        {"gumbel_softmax", "straight_through"}, {"score_function", "reparameterized"},
    ),
    "an objective": (
        ("mathematics/objectives.py", "torch.cos(", "torch.sin("), {"cosine"}, {"quadratic", "linear"},
    ),
    "a model": (
        ("inputs/vae.py", "def encode(", "def encode(*_unused, "), {"vae"}, {"quadratic", "logistic_regression"},
    ),
    "the sampler": (
        ("measurement/sampling.py", "PILOT_BLOCKS = 32", "PILOT_BLOCKS = 33"),
        {"score_function", "reparameterized", "gumbel_softmax", "cosine", "vae"}, set(),
    ),
    "the intervals": (
        ("statistics/intervals.py", "0.95", "0.96"), {"score_function", "reparameterized", "cosine", "vae"}, set(),
    ),
    "what a module does when it is imported": (
        (f"{ESTIMATOR_FILES}/relaxations.py", "", "\nimport torch\ntorch.set_flush_denormal(True)\n"),
        {"score_function", "reparameterized", "cosine"}, set(),
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", CHANGES)
def test_a_change_reaches_those_whose_numbers_it_decides(what: str, copied: Callable[..., Library]) -> None:
    change, changed, same = CHANGES[what]
    library = copied(change)
    objectives = {"cosine", "quadratic", "linear", "vae", "logistic_regression"}

    def moved(name: str) -> bool:
        chosen = {"objective": name} if name in objectives else {"estimator": name}
        return digest(library, **chosen) != digest(LIBRARY, **chosen)

    assert {name for name in changed | same if moved(name)} == changed


def test_the_tables_that_are_cut_are_there() -> None:
    for table in TABLES:
        module, _, name = table.rpartition(".")
        (statement,) = LIBRARY.modules[module].definitions[name]
        assert isinstance(statement, ast.AnnAssign), table
        assert isinstance(statement.value, ast.Dict), table


def test_the_floors_look_nothing_up_by_other_means_than_names() -> None:
    hidden = {"globals", "locals", "__subclasses__", "__init_subclass__", "iter_modules", "walk_packages"}
    for floor in MEASURING_FLOORS:
        for path in (PACKAGE / floor).rglob("*.py"):
            tree = ast.parse(path.read_text(encoding="utf-8"))
            used = {n.id for n in ast.walk(tree) if isinstance(n, ast.Name)}
            used |= {n.attr for n in ast.walk(tree) if isinstance(n, ast.Attribute)}
            used |= {n.name for n in ast.walk(tree) if isinstance(n, ast.FunctionDef)}
            assert not used & hidden, f"{path}: {used & hidden}"


CELLS = [
    (NORMAL, ObjectiveSpec("quadratic", "quadratic", {"k": 0.45}), "score_function_baseline", {}),
    (NORMAL, ObjectiveSpec("cosine", "cosine", {"k": 0.45}), "reparameterized", {}),
    (NORMAL, ObjectiveSpec("step", "step", {"k": 0.45}), "score_function_moving_average", {"decay": 0.9}),
    (GAMMA, ObjectiveSpec("exponential", "exponential", {"k": 0.45}), "reparameterized_marsaglia_tsang", {}),
    (BERNOULLI, ObjectiveSpec("linear", "linear", {"k": 0.45}), "gumbel_softmax", {"temperature": 0.5}),
]


@pytest.mark.parametrize(("q", "f", "estimator", "options"), CELLS, ids=lambda value: getattr(value, "name", ""))
def test_whatever_is_run_is_in_the_key(
    q: DistributionSpec, f: ObjectiveSpec, estimator: str, options: dict[str, float]
) -> None:
    """Every function of the measuring floors that the profiler sees, but those made by the decorators of others."""
    job = Job(Problem(q, f, 2), (EstimatorSpec(estimator, estimator, options),), (2,), POLICY)
    cells, seen = [("address", job.cells()[0])], set[CodeType]()

    def note(frame: FrameType, event: str, _: object) -> None:
        if event == "call":
            seen.add(frame.f_code)

    sys.setprofile(note)
    try:
        (result,) = measure(job, cells)
    finally:
        sys.setprofile(None)
    assert result.records[0].status == "ok", result.records[0].reason
    floors = [PACKAGE / floor for floor in MEASURING_FLOORS]
    here = [code for code in seen if any(Path(code.co_filename).is_relative_to(floor) for floor in floors)]
    run = {(module_of(code), top_of(code)) for code in here} - {(module_of(code), "") for code in here}
    assert len(run) > 60
    reached = LIBRARY.reach([(ROOT, "*"), *HANDED], {"estimator": estimator, "objective": f.target})
    assert run <= reached, run - reached


def module_of(code: CodeType) -> str:
    parts = Path(code.co_filename).relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def top_of(code: CodeType) -> str:
    """The top-level name that a function belongs to; blank for a module and for a lambda in a table."""
    name = code.co_qualname.split(".")[0]
    return "" if name.startswith("<") else name


def test_a_tree_is_the_same_text_in_any_version_of_python() -> None:
    """The same number on Python 3.11, 3.12, 3.13 and 3.14, whose own dumps of this differ."""
    source = (
        b'def f(x, /, *a, k: int = 1.5, **o) -> str:\n    """D."""\n    return f"{x!r:>{k}} {a}" if o else (yield)\n'
    )
    tree = canonical(parsed(source + b"class A(B): pass\ntry: import x\nexcept* E: y = [*z, ...]\n"))
    assert digest_of_source([tree])[:16] == "3c541c41e58e0a37"


# --- plug-ins ---------------------------------------------------------------------------------------------------------

PLUGIN = '''"""An estimator of my own."""
from harness.mathematics.estimators import Method
from {helper} import FACTOR


def mine(draw):
    """The score function, scaled."""
    return FACTOR * draw.score_surrogate(0.0)


MINE = Method(mine)
'''


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """(file, text)… → a hash of the source of ``<first module>.MINE``, or why there is none."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def source(*files: tuple[str, str | bytes], target: str = "") -> str:
        for name, text in files:
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(text if isinstance(text, bytes) else text.encode())
        names = {path.relative_to(tmp_path).parts[0].removesuffix(".py") for path in tmp_path.rglob("*")}
        for name in [name for name in sys.modules if name.partition(".")[0] in names]:
            monkeypatch.delitem(sys.modules, name)
        source_of.cache_clear()
        found = target or files[0][0].removesuffix(".py").replace("/", ".") + ".MINE"
        try:
            return source_of(found)[0]
        except Untold as reason:
            return f"untold: {reason}"

    return source


def test_an_edited_plugin_or_what_it_imports_has_another_key(plugin: Callable[..., str]) -> None:
    text, helper = PLUGIN.format(helper="cache_helper"), ("cache_helper.py", "FACTOR = 1.0\n")
    first = plugin(("cache_plugin.py", text), helper)
    assert len(first) == 64
    assert plugin(("cache_plugin.py", text.replace("FACTOR *", "3 * FACTOR *")), helper) not in (first, "")
    assert plugin(("cache_plugin.py", text), ("cache_helper.py", "FACTOR = 3.0\n")) != first
    prose = text.replace("scaled.", "in other words.").replace("MINE =", "# a comment\nMINE =")
    assert plugin(("cache_plugin.py", prose), helper) == first
    assert plugin(("cache_plugin.py", text), helper, ("cache_unrelated.py", "X = 1\n")) == first


def test_all_of_a_plugins_package_is_its_source(plugin: Callable[..., str]) -> None:
    text = PLUGIN.format(helper=".helper")
    files = [("cache_package/deep/mine.py", text), ("cache_package/deep/helper.py", "FACTOR = 1.0\n")]
    files += [("cache_package/__init__.py", ""), ("cache_package/table.py", "ROWS = [1]\n")]
    first = plugin(*files)
    assert len(first) == 64
    assert plugin(*files, ("cache_package/table.py", "ROWS = [2]\n")) != first
    assert plugin(*files, ("cache_package/deep/helper.py", "FACTOR = 1.5\n")) != first
    namespace = [("cache_spaces/mine.py", text), ("cache_spaces/helper.py", "FACTOR = 1.0\n")]  # no __init__.py
    first = plugin(*namespace)
    assert len(first) == 64
    assert plugin(*namespace, ("cache_spaces/helper.py", "FACTOR = 1.5\n")) != first


READING = 'from pathlib import Path\nFACTOR = float((Path(__file__).parent / "cache_data.txt").read_text())\n'
UNTOLD = {
    "a lambda": ("MINE = Method(mine)", "MINE = Method(lambda draw: draw.score_surrogate(0.0))", "lambda"),
    "a closure": (
        "MINE = Method(mine)",
        "def make(a):\n    def inner(draw):\n        return a * mine(draw)\n    return inner\nMINE = Method(make(2.0))",
        "made by another function",
    ),
    "a file": ("from cache_helper import FACTOR", READING, "read_text"),
    "code that is no module": ("FACTOR *", "eval('2') *", "eval"),
}  # fmt: skip


@pytest.mark.parametrize("what", UNTOLD)
def test_what_no_source_tells_has_no_key(what: str, plugin: Callable[..., str]) -> None:
    old, new, word = UNTOLD[what]
    text = PLUGIN.format(helper="cache_helper")
    assert old in text
    files = [("cache_helper.py", "FACTOR = 1.0\n"), ("cache_data.txt", "2.0")]
    reason = plugin(("cache_plugin.py", text.replace(old, new)), *files)
    assert reason.startswith("untold: ")
    assert word in reason


def test_an_extension_module_has_no_key(plugin: Callable[..., str]) -> None:
    text = PLUGIN.format(helper=".helper")
    files = [
        ("cache_native/__init__.py", ""),
        ("cache_native/mine.py", text),
        (f"cache_native/fast{EXTENSION_SUFFIXES[0]}", b"\x7fELF"),
    ]
    files += [("cache_native/helper.py", "FACTOR = 1.0\n")]
    assert "no Python source" in plugin(*files, target="cache_native.mine.MINE")


def test_a_file_counts_by_the_digest_that_is_stated(plugin: Callable[..., str]) -> None:
    text = PLUGIN.format(helper="cache_helper").replace("from cache_helper import FACTOR", READING)

    def stated(content: str, of: str) -> str:
        table = f'FILES_SHA256 = {{"cache_data.txt": "{hashlib.sha256(of.encode()).hexdigest()}"}}\n'
        return plugin(("cache_plugin.py", text + table), ("cache_data.txt", content))

    assert len({stated("2.0", "2.0"), stated("3.0", "3.0")}) == 2
    assert len(stated("2.0", "2.0")) == 64
    with pytest.raises(ConfigurationError, match=r"states [0-9a-f]{64} for cache_data.txt, which has"):
        stated("3.0", "2.0")


def test_what_is_installed_counts_by_its_version(plugin: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    text = PLUGIN.format(helper="cache_helper")
    files = [("cache_plugin.py", "import mpmath\n" + text), ("cache_helper.py", "FACTOR = 1.0\n")]
    first = plugin(*files)
    assert len(first) == 64
    monkeypatch.setattr("harness.storage.plugins.version", lambda name: "0.0.0" if name == "mpmath" else "1")
    assert plugin(*files) != first
    assert "mpmath" in installed_names()


def test_an_object_of_the_main_program_is_known_by_its_file(tmp_path: Path) -> None:
    script = tmp_path / "cache_script.py"
    text = PLUGIN.format(helper="math").replace("FACTOR", "pi")
    text += "from harness.storage.plugins import source_of\nprint(source_of('__main__.MINE')[0])\n"
    found = []
    for line in (text, text.replace("pi *", "3 * pi *"), text + "# a comment\n"):
        script.write_text(line)
        done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=True, cwd=tmp_path,
                              env={"PYTHONPATH": str(PACKAGE.parent)})  # fmt: skip
        found.append(done.stdout.strip())
    assert len(found[0]) == 64
    assert found[0] != found[1]
    assert found[0] == found[2]


def test_what_a_plugin_uses_of_the_harness_is_in_its_key(plugin: Callable[..., str]) -> None:
    text = PLUGIN.format(helper="harness.mathematics.estimators.marsaglia_tsang").replace("FACTOR", "gamma")
    assert len(plugin(("cache_plugin.py", text.replace("gamma *", "1 *")))) == 64
    assert ("harness.mathematics.estimators.marsaglia_tsang", "gamma") in source_of("cache_plugin.MINE")[1]


def test_addresses_are_of_one_run_where_nothing_tells_the_source(plugin: Callable[..., str]) -> None:
    text = PLUGIN.format(helper="cache_helper")
    files = [("cache_plugin.py", text), ("cache_helper.py", "FACTOR = 1.0\n")]
    cell = Cell(Problem(NORMAL, CELLS[0][1], 1), EstimatorSpec("mine", "cache_plugin.MINE"), 1, POLICY)
    plugin(*files)
    assert address_of(cell, "r1") == address_of(cell, "r2")
    plugin(("cache_plugin.py", text.replace("(mine)", "(lambda draw: mine(draw))")), files[1])
    assert address_of(cell, "r1") != address_of(cell, "r2")
    assert re.fullmatch(r"once-r1-[0-9a-f]{20}", address_of(cell, "r1"))


def test_a_reference_run_is_kept_for_the_source_that_computed_it(plugin: Callable[..., str], tmp_path: Path) -> None:
    text = "def make(family, *, a=1.0):\n    return a\n\n\nMINE = make\n"

    def place(changed: str) -> Path | None:
        plugin(("cache_objective.py", changed))
        archive = ReferenceArchive.of(tmp_path, Problem(NORMAL, ObjectiveSpec("f", "cache_objective.MINE"), 1))
        return None if archive is None else archive.path("question")

    assert place(text) == place("# a comment\n" + text)
    assert place(text) != place(text.replace("return a", "return 2 * a"))
    assert place(text.replace("MINE = make", "MINE = lambda family: make(family)")) is None


# --- end to end -------------------------------------------------------------------------------------------------------

QUICK = ("replicates=16384", "timing_seconds=0", "samples=1", "estimator=[reparameterized]")
OWN = ("+estimators.mine.target=cache_plugin.MINE", *QUICK)


def run_harness(folder: Path) -> dict[str, float]:
    """A new process, as a user starts one: estimator → variance of loc."""
    done = subprocess.run([sys.executable, "-m", "harness", *OWN], cwd=folder, capture_output=True, text=True,
                          env={"PYTHONPATH": f"{folder}:{PACKAGE.parent}", "OMP_NUM_THREADS": "1"})  # fmt: skip
    assert done.returncode == 0, done.stderr
    return {
        r["estimator"]: float(r["variance"]) for r in rows(str(folder / "results/single")) if r["parameter"] == "loc"
    }


def test_an_edited_plugin_is_measured_again_and_its_neighbours_are_not(tmp_path: Path) -> None:
    text = PLUGIN.format(helper="math").replace("FACTOR", "pi")
    (tmp_path / "cache_plugin.py").write_text(text)
    first = run_harness(tmp_path)
    cells = {path: path.stat().st_mtime_ns for path in tmp_path.glob("results/single/cells/*.json")}
    (tmp_path / "cache_plugin.py").write_text(text.replace("pi *", "3 * pi *"))
    second = run_harness(tmp_path)
    assert second["mine"] == pytest.approx(9 * first["mine"], rel=1e-5)  # the same draws
    assert second["reparameterized"] == first["reparameterized"]
    assert {path: path.stat().st_mtime_ns for path in cells} == cells  # nothing old was measured again


def test_what_nothing_tells_is_measured_every_time_and_kept_for_its_run(
    harness: Harness, plugin: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    text = PLUGIN.format(helper="math").replace("FACTOR", "pi").replace("(mine)", "(lambda draw: mine(draw))")
    plugin(("cache_plugin.py", text))
    measured: list[str] = []
    original = runner.finished
    monkeypatch.setattr(
        runner,
        "finished",
        lambda address, *rest, **named: measured.append(address) or original(address, *rest, **named),
    )  # type: ignore[func-returns-value]
    assert harness(*OWN) == 0
    assert len(measured) == 2
    before = rows("results/single")
    assert harness(*OWN) == 0
    assert len(measured) == 3
    assert rows("results/single") == before
    assert len(list(Path("results/single/cells").glob("once-*.json"))) == 1
