"""setup.cfg says what is there: packages, type markers, entry points, extras."""

from __future__ import annotations

import configparser
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def setup(folder: Path) -> configparser.ConfigParser:
    parser = configparser.ConfigParser()
    parser.read(folder / "setup.cfg")
    return parser


def lines(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.strip()]


CONFIG = setup(ROOT)
PACKAGES = lines(CONFIG["options"]["packages"])
FOLDERS = {name.strip(): folder.strip() for name, _, folder in (line.partition("=") for line in lines(CONFIG["options"]["package_dir"]))}


def test_the_packages_listed_are_the_folders_there_are() -> None:
    roots = [(ROOT / "i2kit", "i2kit"), *((path, path.name) for path in (ROOT / "providers").iterdir() if path.is_dir())]
    found = {".".join([name, *path.parent.relative_to(root).parts]) for root, name in roots for path in root.rglob("__init__.py")}
    assert sorted(PACKAGES) == sorted(found)


def test_every_folder_of_code_is_a_package() -> None:
    for root in (ROOT / "i2kit", ROOT / "providers"):
        without = {path.parent for path in root.rglob("*.py") if not (path.parent / "__init__.py").exists()}
        assert without == set()


def test_every_package_lies_where_its_name_is_mapped_to() -> None:
    assert set(FOLDERS) == {name for name in PACKAGES if "." not in name}
    for name in PACKAGES:
        top, _, rest = name.partition(".")
        assert (ROOT / FOLDERS[top] / rest.replace(".", "/") / "__init__.py").is_file()


def test_type_markers_are_shipped() -> None:
    data = CONFIG["options.package_data"]
    for name in FOLDERS:
        assert "py.typed" in lines(data[name])
        assert (ROOT / FOLDERS[name] / "py.typed").is_file()


def test_every_provider_in_the_tree_is_an_entry_point_of_its_plugin_module() -> None:
    listed = dict(line.replace(" ", "").split("=") for line in lines(CONFIG["options.entry_points"]["i2kit.providers"]))
    assert listed == {path.name.removeprefix("i2kit_"): f"{path.name}.plugin" for path in (ROOT / "providers").glob("i2kit_*")}
    for module in listed.values():
        package, _, name = module.partition(".")
        assert (ROOT / FOLDERS[package] / f"{name}.py").is_file()


def test_all_is_all_extras_but_those_for_developers() -> None:
    extras = CONFIG["options.extras_require"]
    (everything,) = lines(extras["all"])
    assert set(everything.removeprefix("i2kit[").removesuffix("]").split(",")) == set(extras) - {"all", "dev"}


@pytest.mark.parametrize("folder", [ROOT, ROOT / "tests" / "downstream"], ids=["i2kit", "i2kit-memory"])
def test_pyproject_holds_the_build_system_and_nothing_else(folder: Path) -> None:
    import tomllib

    assert set(tomllib.loads((folder / "pyproject.toml").read_text())) == {"build-system"}
