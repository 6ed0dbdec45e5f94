"""The house rules that can be read off the files: arrows, weight of imports, package data, documents."""

import ast
import graphlib
import re
import statistics
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from hatchling.builders.wheel import WheelBuilder
from tests.source import tree_of

import dalda
from dalda.config import AugmentConfig, CaptionConfig, TrainConfig

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "src/dalda"
FILES = sorted(PACKAGE.rglob("*.py"))

GROUND = {
    "types",
    "plugins",
    "errors",
    "seeding",
    "config",
    "storage",
    "progress",
    "device",
    "cache",
    "registry",
    "terminal",
}
COMMON = {"models", "datasets"}
"""What every stage may use."""
STAGES = {"captions", "methods", "generation", "evaluation"}
UPPER = [
    "reporting",
    "review",
    "workflows",
    "compat",
    "doodles",
    "demo",
    "doctor",
    "api",
    "cli",
    "__main__",
]
"""Each of these may import its own files, those before it, the stages and the ground."""
FRONT = "__init__"
"""The package itself: offers the public names."""

NEEDED_BY = {
    "torch": {
        "api",
        "captions",
        "compat",
        "device",
        "doctor",
        "doodles",
        "evaluation",
        "generation",
        "methods",
        "models",
        "workflows",
    },
    "diffusers": {"device", "doodles", "generation", "models", "workflows"},
    "transformers": {"captions", "device", "evaluation", "generation", "models", "workflows"},
    "safetensors": {"evaluation", "generation", "methods", "models"},
    "openai": {"captions"},
    "matplotlib": {"reporting"},
    "scipy": {"datasets", "evaluation", "methods"},
    "datasets": {"datasets", "workflows"},
    "pandas": {"workflows"},
    "kornia": {"evaluation"},
    "onnxruntime": {"workflows"},
    "onnxscript": {"workflows"},
    "fastapi": {"review"},
    "starlette": {"review"},
    "ray": {"generation"},
    "uvicorn": {"review"},
}
"""Who may import what is slow to import; the ground and the command line never may."""
BANNED = {"torchvision", "timm", "open_clip", "torch_fidelity", "pickle", "marshal", "shelve"}


def home_of(file: Path) -> str:
    """The stage, or the file's own name when it lies beside the stages."""
    return file.relative_to(PACKAGE).with_suffix("").parts[0]


def imports_of(file: Path) -> Iterator[tuple[str, int]]:
    """Every imported dotted name with its line, those inside functions included."""
    package = ["dalda", *file.relative_to(PACKAGE).parts[:-1]]
    for node in ast.walk(tree_of(file)):
        if isinstance(node, ast.Import):
            for name in node.names:
                yield name.name, node.lineno
        elif isinstance(node, ast.ImportFrom):
            stem = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*stem, *([node.module] if node.module else [])])
            for name in node.names:
                yield f"{module}.{name.name}", node.lineno


def target_of(name: str) -> str:
    """The home that a dotted name inside the package belongs to."""
    home = [*name.split("."), FRONT][1]
    return home if (PACKAGE / home).is_dir() or (PACKAGE / f"{home}.py").is_file() else FRONT


def may_import(home: str) -> set[str]:
    """The homes inside the package that a file of this home may import."""
    if home in GROUND:
        return GROUND
    if home in COMMON:
        return GROUND | COMMON
    if home in STAGES:
        return GROUND | COMMON | {home}
    if home == FRONT:
        return GROUND | COMMON | STAGES | {"workflows", "compat", "cli", "api"}
    return GROUND | COMMON | STAGES | set(UPPER[: UPPER.index(home) + 1]) | {FRONT}


def named(file: Path) -> str:
    return file.relative_to(PACKAGE).as_posix()


def test_every_file_has_a_place() -> None:
    homes = {home_of(file) for file in FILES}
    assert homes <= GROUND | COMMON | STAGES | set(UPPER) | {FRONT}


@pytest.mark.parametrize("file", FILES, ids=named)
def test_imports_point_one_way(file: Path) -> None:
    allowed = may_import(home_of(file))
    inside = [(target_of(name), line) for name, line in imports_of(file) if name.split(".")[0] == "dalda"]
    assert not [f"{named(file)}:{line} imports {home}" for home, line in inside if home not in allowed]


@pytest.mark.parametrize("file", FILES, ids=named)
def test_heavy_modules_stay_where_they_are_needed(file: Path) -> None:
    outside = {name.split(".")[0] for name, _ in imports_of(file)}
    assert not outside & BANNED
    wrong = {name for name in outside & NEEDED_BY.keys() if home_of(file) not in NEEDED_BY[name]}
    assert not wrong


@pytest.mark.parametrize("file", FILES, ids=named)
def test_nothing_from_outside_is_run(file: Path) -> None:
    """No exec, eval or shell, and YAML and weights only by their safe readers."""
    for node in ast.walk(tree_of(file)):
        if not isinstance(node, ast.Call):
            continue
        called = ast.unparse(node.func)
        settings = {word.arg: ast.unparse(word.value) for word in node.keywords}
        where = f"{named(file)}:{node.lineno}"
        assert called not in {"exec", "eval", "__import__", "yaml.load", "os.system", "os.popen"}, where
        assert settings.get("shell") != "True", where
        assert settings.get("trust_remote_code", "False") == "False", where
        if called == "torch.load":
            assert settings.get("weights_only") == "True", where


FIELDS = {name for model in (AugmentConfig, TrainConfig, CaptionConfig) for name in model.model_fields}


@pytest.mark.parametrize("file", FILES, ids=named)
def test_no_list_of_field_names_is_kept(file: Path) -> None:
    """What an option decides is declared by its role, once (config/roles.py)."""
    lists = []
    for node in ast.walk(tree_of(file)):
        if isinstance(node, ast.Set | ast.Tuple | ast.List):
            names = {one.value for one in node.elts if isinstance(one, ast.Constant)}
            # A tuple of table columns may share some names with options.
            enough = 2 if isinstance(node, ast.Set) else 3 if names <= FIELDS else 99
            if len(names & FIELDS) >= enough:
                lists.append(f"{named(file)}:{node.lineno}: {names}")
    assert not lists


METHODS = {
    "open",
    "write_text",
    "write_bytes",
    "read_text",
    "read_bytes",
    "unlink",
    "rename",
    "mkdir",
    "rmdir",
}
METHODS |= {"touch", "symlink_to", "hardlink_to", "mkdtemp", "mkstemp", "NamedTemporaryFile"}
OF_OS = {
    "rename",
    "replace",
    "remove",
    "unlink",
    "makedirs",
    "mkdir",
    "rmdir",
    "link",
    "symlink",
    "truncate",
}


def touches_the_disk(call: ast.Call) -> bool:
    """Whether a call reads, writes, moves or removes a file or folder."""
    called = ast.unparse(call.func)
    module, _, name = called.rpartition(".")
    if any(keyword.arg == "fileobj" for keyword in call.keywords):
        return False
    if "resources.files(" in called or called.startswith("files("):
        return False  # package data
    if name == "open" and call.args and not isinstance(call.args[0], ast.Constant):
        return called == "tarfile.open"  # of what storage has opened, or of no file at all
    if module == "os":
        return name in OF_OS
    if module == "shutil":
        return name != "disk_usage"
    alone = name == "replace" and len(call.args) == 1 and not call.keywords and module
    return called == "open" or bool(module and name in METHODS) or bool(alone)


@pytest.mark.parametrize("file", FILES, ids=named)
def test_only_storage_touches_the_disk(file: Path) -> None:
    calls = [node for node in ast.walk(tree_of(file)) if isinstance(node, ast.Call)]
    found = [ast.unparse(call) for call in calls if touches_the_disk(call)]
    assert home_of(file) == "storage" or not found


@pytest.mark.parametrize("file", FILES, ids=named)
def test_every_file_says_what_it_is(file: Path) -> None:
    assert ast.get_docstring(tree_of(file))


def run_python(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=False)


def test_importing_the_command_line_loads_nothing_heavy() -> None:
    done = run_python("-c", "import sys, dalda.cli; print(*sys.modules)")
    assert done.returncode == 0, done.stderr
    assert not {*NEEDED_BY, "huggingface_hub", "jinja2", "pydantic", "yaml"} & set(done.stdout.split())


def test_importing_the_package_loads_nothing_heavy() -> None:
    done = run_python("-c", "import sys, dalda; print(*sys.modules)")
    assert done.returncode == 0, done.stderr
    assert not {*NEEDED_BY, "numpy", "PIL", "click"} & set(done.stdout.split())


def test_help_answers() -> None:
    done = run_python("-c", "from dalda.cli import main; main()", "--help")
    assert done.returncode == 0, done.stderr
    assert "augment" in done.stdout


def test_the_wheel_holds_all_that_is_not_code() -> None:
    data = {
        file.relative_to(ROOT / "src").as_posix()
        for file in PACKAGE.rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    }
    builder = WheelBuilder(str(ROOT))
    packed = {Path(file.distribution_path).as_posix() for file in builder.recurse_included_files()}
    assert data <= packed
    assert "dalda/py.typed" in packed
    weights = [name for name in packed if name.startswith("dalda/doodles/weights/")]
    assert any(name.endswith(".safetensors") for name in weights)
    texts = [ROOT / "src" / name for name in weights if name.endswith(".json")]
    assert not [text for text in texts if "_name_or_path" in text.read_text(encoding="utf-8")]
    assert sum((ROOT / "src" / name).stat().st_size for name in weights) <= 30e6


def project() -> dict[str, object]:
    with open(ROOT / "pyproject.toml", "rb") as file:
        read: dict[str, object] = tomllib.load(file)["project"]
    return read


def test_the_version_is_the_same_everywhere() -> None:
    assert dalda.__version__ == project()["version"]
    assert f"## {project()['version']}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def dependencies() -> set[str]:
    """The names of all dependencies, those of the extras included."""

    def plain(name: str) -> str:
        return re.sub(r"[-_.]+", "-", re.split(r"[<>=!~\[; ]", name)[0]).lower()

    settings = project()
    extras = settings["optional-dependencies"]
    asked = settings["dependencies"]
    assert isinstance(extras, dict)
    assert isinstance(asked, list)
    return {plain(name) for name in [*asked, *(name for extra in extras.values() for name in extra)]}


def test_what_is_imported_is_asked_for() -> None:
    """Nothing works only because something else happens to install it."""
    names = {"PIL": "pillow", "dotenv": "python-dotenv", "yaml": "pyyaml"}
    outside = {name.split(".")[0] for file in FILES for name, _ in imports_of(file)}
    foreign = outside - sys.stdlib_module_names - {"dalda", "__future__"}
    assert {names.get(name, name).lower().replace("_", "-") for name in foreign} <= dependencies()


def test_every_dependency_is_pinned() -> None:
    wanted = dependencies()
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").split()
    assert all(re.fullmatch(r"[a-z0-9-]+==[0-9][^+]*", line) for line in lines)
    assert wanted - {"dalda"} <= {line.split("==")[0] for line in lines}
    assert not [line for line in lines if re.match(r"nvidia|cuda|triton|torchvision|timm", line)]


def test_the_commands_of_the_documents_are_targets() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert {"demo", "test"} <= set(re.findall(r"\bmake ([a-z]+)", readme))
    for document in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / ".ci/run"]:
        written = document.read_text(encoding="utf-8")
        asked = set(re.findall(r"^\s*make ([a-z]+)|`make ([a-z]+)", written, re.MULTILINE))
        assert {one or other for one, other in asked} <= targets


def test_the_tests_that_the_architecture_names_are_there() -> None:
    text = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
    named_tests = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", text)
    assert len(named_tests) >= 9
    for file, test in named_tests:
        assert f"def {test}(" in (ROOT / file).read_text(encoding="utf-8")


def test_the_architecture_lists_every_place() -> None:
    text = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
    for home in {home_of(file) for file in FILES} - {"__main__"}:
        assert re.search(rf"^  {home}(/|\.py) ", text, re.MULTILINE), home


def test_the_command_line_is_documented_as_it_is() -> None:
    """`make docs` writes the file that this compares."""
    done = run_python(str(ROOT / "tools/command_line_page.py"))
    assert done.returncode == 0, done.stderr
    assert (ROOT / "docs/command-line.md").read_text(encoding="utf-8") == done.stdout


ORIGINAL_WORDS = re.compile(
    r"original (DALDA )?code|original DALDA|reference code|examples_per_class|source_image_prompt"
    r"|threshold_clipscore|aug-\d|aug-\*|aug-INDEX|EXP_NAME|results_\{?[Ss]",
)
NAMES_THE_ORIGINAL = {
    "cli/commands.py",
    "config/commands.py",
    "workflows/reports.py",
    "captions/caption_file.py",
    "captions/keys.py",
    "captions/templates.py",
}
"""The first three say what a command or an option of it does; the others are still to be rewritten."""


@pytest.mark.parametrize("file", FILES, ids=named)
def test_only_one_package_names_the_original_code(file: Path) -> None:
    if home_of(file) != "compat" and named(file) not in NAMES_THE_ORIGINAL:
        assert not ORIGINAL_WORDS.search(file.read_text(encoding="utf-8"))


@pytest.mark.parametrize("file", FILES, ids=named)
def test_the_embedded_world_is_named_only_where_it_registers(file: Path) -> None:
    if home_of(file) not in {"doodles", "demo", "registry"}:
        assert "doodle" not in file.read_text(encoding="utf-8").lower()


WORDS = re.compile(
    r"(?<![A-Za-z])(told|said|paint\w*|pictures?|pictured|mend|mends|mended|siev\w*|sick|twins?|verbs?|nouns?"
    r"|sight|foresight|unlearn\w*|strays?|anew|ledger)(?![A-Za-z])",
    re.IGNORECASE,
)
"""Words of a private language, in identifiers, texts and messages; NAMES of the field stand for each."""
TEXTS = sorted(
    file
    for folder in ("src", "docs", "examples", "tests", "tools", "benchmarks")
    for file in (ROOT / folder).rglob("*")
    if file.suffix in {".py", ".md", ".ipynb", ".html", ".js", ".css", ".yaml"}
    and "weights" not in file.parts
) + [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "Makefile", "pyproject.toml")]
GRAMMAR = {"class_matching.py", "inflection.py", "wordnet_table.py"}
"""Here nouns are those of the grammar."""
DATA = re.compile(r'generator_of\(0, "(training verbs|picture)"|painting drawing picture')
"""Old words as data: labels that decide random numbers, and the vocabulary of an embedded model."""


@pytest.mark.parametrize("file", TEXTS, ids=lambda file: file.relative_to(ROOT).as_posix())
def test_no_private_words(file: Path) -> None:
    if file == Path(__file__):
        return
    lines = enumerate(DATA.sub("", file.read_text(encoding="utf-8")).splitlines(), 1)
    found = {f"{number}: {word[0]}" for number, line in lines for word in WORDS.finditer(line)}
    assert not {one for one in found if file.name not in GRAMMAR or not one.endswith(("noun", "nouns"))}


MOST_LINES = 32_100
"""To become 12,500."""
LONG_FILES: set[str] = set()
"""Files that are still to be divided; to be emptied."""


def test_files_are_short() -> None:
    lengths = {named(file): len(file.read_text(encoding="utf-8").splitlines()) for file in FILES}
    assert sum(lengths.values()) <= MOST_LINES
    assert statistics.median(lengths.values()) <= 110
    assert {name for name, length in lengths.items() if length > 300} <= LONG_FILES


def module_of(file: Path) -> str:
    return ".".join(["dalda", *file.relative_to(PACKAGE).with_suffix("").parts]).removesuffix(".__init__")


def imported_at_once(file: Path) -> Iterator[str]:
    """The modules of the package that a module imports when it is imported itself."""
    modules = {module_of(other) for other in FILES}
    for node in statements(tree_of(file).body):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names if name.name in modules)
        elif isinstance(node, ast.ImportFrom) and node.module in modules:
            names = {f"{node.module}.{name.name}" for name in node.names}
            yield from (names & modules) or {node.module}


def statements(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """The statements of a module that run when it is imported, those for type checkers left out."""
    for node in body:
        if isinstance(node, ast.If | ast.Try):
            if not isinstance(node, ast.If) or "TYPE_CHECKING" not in ast.unparse(node.test):
                yield from statements([*node.body, *node.orelse])
        else:
            yield node


def test_no_import_goes_in_a_circle() -> None:
    graph = {module_of(file): set(imported_at_once(file)) for file in FILES}
    order = list(graphlib.TopologicalSorter(graph).static_order())
    assert set(order) == set(graph)


def test_no_function_or_class_is_defined_twice() -> None:
    places: dict[str, list[str]] = {}
    for file in FILES:
        for node in tree_of(file).body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
                places.setdefault(node.name, []).append(named(file))
    # `api.py` offers the workflows under their own names, with options as keywords.
    twice = {name: files for name, files in places.items() if len({*files} - {"api.py"}) > 1}
    assert not twice


ACROSS_MODULES: set[str] = {
    "generation/executors/test_ray_lost_nodes.py",
    "storage/test_hub.py",
    "storage/test_in_a_bucket.py",
    "browser",
    "captions/test_captions_command.py",
    "captions/test_killed_captions.py",
    "captions/test_transformers_serve.py",
    "compat/test_original_run.py",
    "compat/test_readme.py",
    "doodles/test_world.py",
    "evaluation/backbones/test_own_backbone.py",
    "evaluation/test_intervals.py",
    "evaluation/test_load_features.py",
    "evaluation/test_memory.py",
    "evaluation/test_trials_doc.py",
    "generation/backends/test_killed_families.py",
    "generation/backends/test_kolors.py",
    "generation/backends/test_memory_of_families.py",
    "generation/backends/test_speed.py",
    "generation/backends/test_transformers.py",
    "golden",
    "models/test_models_page.py",
    "workflows/test_scored_once.py",
}
"""Tests in the folder of a package that are of no single module of it."""


def test_the_tests_mirror_the_tree() -> None:
    """A test in a folder of the tree is named after its module; tests of whole commands lie at the top."""
    modules = {named(file).removesuffix(".py") for file in FILES}
    packages = {named(file.parent / "x").removesuffix("/x") for file in FILES}
    for file in (ROOT / "tests").rglob("test_*.py"):
        name = file.relative_to(ROOT / "tests")
        if len(name.parts) > 1 and not {name.parts[0], name.as_posix()} & ACROSS_MODULES:
            module = (name.parent / name.stem.removeprefix("test_")).as_posix()
            assert module in modules | packages, f"tests/{name} is of no module"
