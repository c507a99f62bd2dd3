"""The configurations that travel with medconv, found by name in a checkout and in an installed wheel."""

from __future__ import annotations

from pathlib import Path

from medconv.catalogue import did_you_mean
from medconv.errors import ConfigError, UnknownNameError

_PACKAGE = Path(__file__).parents[1]


def config_folder(package: Path = _PACKAGE) -> Path:
    """The folder of shipped configurations.

    Args:
        package: The folder of the package ``medconv``.

    Raises:
        ConfigError: The installation carries none.
    """
    installed, checkout = package / "configs", package.parent / "configs"
    if installed.is_dir():
        return installed
    if checkout.is_dir() and (package.parent / "pyproject.toml").is_file():
        return checkout
    raise ConfigError(f"expected shipped configurations in {installed}, found none; reinstall medconv")


def shipped_configs(folder: Path | None = None) -> dict[str, Path]:
    """All shipped configurations by name: the path inside the folder without ``.yaml``."""
    folder = folder or config_folder()
    return {
        path.relative_to(folder).with_suffix("").as_posix(): path for path in sorted(folder.rglob("*.yaml"))
    }


def find_config(name: str | Path) -> Path:
    """The file that ``--config NAME`` means: a file of the user's, else a shipped one.

    Args:
        name: A path, or the name of a shipped configuration such as ``"unet_sym"``.

    Raises:
        UnknownNameError: There is neither; the text offers the nearest shipped name.

    Example:
        >>> find_config("unet_sym").name
        'unet_sym.yaml'
    """
    path = Path(name)
    if path.is_file():
        return path
    shipped = shipped_configs()
    wanted = path.with_suffix("").as_posix() if path.suffix in (".yaml", ".yml") else path.as_posix()
    wanted = wanted.removeprefix("./").removeprefix("configs/")
    if wanted in shipped:
        return shipped[wanted]
    raise UnknownNameError(
        f"no file and no shipped configuration {str(name)!r}{did_you_mean(wanted, shipped) or '.'} "
        f"Shipped: {', '.join(shipped)}"
    )


def first_comment(path: Path) -> str:
    """The first comment line of a YAML file, which says what the configuration answers; or nothing."""
    with path.open(encoding="utf-8") as lines:
        return next((line.lstrip("# ").strip() for line in lines if line.startswith("#")), "")
