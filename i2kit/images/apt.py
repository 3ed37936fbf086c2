"""Debian packages through a private apt configuration: own state, lists and cache; no root, and whatever the host runs."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path

from attrs import frozen

from i2kit.errors import I2kitError, MissingRequirement, Problem
from i2kit.images.locked import Package

SUITE = "bookworm"
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
_PROGRAMS = {"apt-get": "apt", "apt-cache": "apt", "dpkg-deb": "dpkg"}
_DEBIAN_SUITES = re.compile(r"(bullseye|bookworm|trixie|forky|sid|oldstable|stable|testing|unstable)(-updates|-security|/updates)?")
_URI_LINE = re.compile(r"^'(?P<uri>[^']+)' (?P<file>\S+) (?P<size>\d+) (?:SHA256:(?P<sha256>[0-9a-f]{64})|MD5Sum:\S+)$")
_TIMEOUT = 600


@frozen(kw_only=True)
class Source:
    """One suite of a Debian mirror; one that is not `required` may be missing there."""

    uri: str
    suite: str
    required: bool = False


def missing() -> list[Problem]:
    """List what this machine lacks for reading Debian packages."""
    problems = [
        Problem(code="program-missing", message=f"{program} is not installed", hint=f"`sudo apt-get install {package}`")
        for program, package in _PROGRAMS.items()
        if shutil.which(program) is None
    ]
    if not KEYRING.exists():
        problems.append(
            Problem(
                code="program-missing",
                message=f"{KEYRING} is missing: Debian's packages cannot be verified without it",
                hint="`sudo apt-get install debian-archive-keyring`",
            )
        )
    return problems


def sources(mirror: str | None) -> tuple[Source, ...]:
    """Return where bookworm's packages come from: `mirror`, or the mirror that the machine's own apt uses.

    Raises `MissingRequirement` (``mirror-unknown``) when the machine's apt names no Debian mirror.
    """
    own = _own_mirrors()
    security = next((uri for uri, suite in own if suite.endswith(("-security", "/updates"))), None)
    main = mirror or next((uri for uri, suite in own if not suite.endswith(("-security", "/updates"))), None)
    if main is None:
        raise MissingRequirement.of(
            "mirror-unknown",
            "this machine's apt sources name no Debian mirror",
            hint="name one in environment.yml as `base: {mirror: URI}`",
        )
    if mirror is not None:
        security = f"{mirror.rstrip('/')}-security"
    found = [Source(uri=main, suite=SUITE, required=True), Source(uri=main, suite=f"{SUITE}-updates")]
    if security is not None:
        found.append(Source(uri=security, suite=f"{SUITE}-security"))
    return tuple(found)


def _own_mirrors() -> list[tuple[str, str]]:
    targets = _run(["apt-get", "indextargets", "--format", "$(CREATED_BY)|$(REPO_URI)|$(RELEASE)|$(COMPONENT)|$(ORIGIN)"])
    found = []
    for line in targets.splitlines():
        created_by, uri, suite, component, origin = (line.split("|") + [""] * 5)[:5]
        # The origin is known only once apt has fetched the suite's Release file.
        known = origin in ("", "$(ORIGIN)", "Debian")
        if created_by == "Packages" and component == "main" and known and _DEBIAN_SUITES.fullmatch(suite):
            found.append((uri, suite))
    return found


@frozen
class Apt:
    """A private apt at `folder`, which looks at nothing but `sources`; the machine's proxy settings keep working.

    `architecture` is Debian's name of the one that packages are for, whatever the machine is.
    """

    folder: Path
    sources: tuple[Source, ...]
    architecture: str = "amd64"

    def update(self) -> None:
        """Fetch the package lists; suites that a mirror does not offer are left out."""
        try:
            self._update(self.sources)
        except I2kitError:
            self._update(tuple(source for source in self.sources if source.required))

    def depends(self, package: str) -> tuple[str, ...]:
        """Return the names of the packages that `package` depends on directly."""
        lines = self._cache("depends", "--important", package).splitlines()
        return tuple(line.split()[-1] for line in lines if line.strip().startswith(("Depends:", "|Depends:", "PreDepends:")))

    def alone(self, packages: Sequence[str]) -> tuple[Package, ...]:
        """Return `packages` without what they need, each in the newest version offered."""
        return self._packages(self._get("download", "--print-uris", "-qq", *packages))

    def download(self, packages: Sequence[Package], folder: Path) -> dict[str, Path]:
        """Fetch packages by version and hash into `folder`; returns the files by the packages' names.

        Raises `I2kitError` (``base-package-gone``) with every package that the mirror has no more.
        """
        try:
            self._get("download", "-qq", *(f"{package.name}={package.version}" for package in packages), cwd=folder)
        except I2kitError as error:
            if error.problems[0].code != "apt-failed":
                raise
            if len(packages) > 1:
                return self._one_by_one(packages, folder)
            raise gone(packages, error.problems[0].message) from error
        files = {package.name: _downloaded(package, folder) for package in packages}
        if lost := [package for package in packages if files[package.name] is None]:
            raise gone(lost, "the mirror has another file of that version")
        return {name: path for name, path in files.items() if path is not None}

    def _one_by_one(self, packages: Sequence[Package], folder: Path) -> dict[str, Path]:
        """Find out which of several packages cannot be had: apt fetches none of them when it knows one not."""
        files: dict[str, Path] = {}
        problems: list[Problem] = []
        for package in packages:
            try:
                files |= self.download([package], folder)
            except I2kitError as error:
                problems += error.problems
        if problems:
            raise I2kitError(problems)
        return files

    def _packages(self, printed: str) -> tuple[Package, ...]:
        found = [match for line in printed.splitlines() if (match := _URI_LINE.match(line.strip()))]
        return tuple(sorted((_package(match) for match in found), key=lambda package: package.name))

    def _update(self, chosen: Iterable[Source]) -> None:
        for name in ("lists/partial", "cache/archives/partial", "etc"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        stanzas = [
            f"Types: deb\nURIs: {source.uri}\nSuites: {source.suite}\nComponents: main\nTargets: Packages\nSigned-By: {KEYRING}\n"
            for source in chosen
        ]
        (self.folder / "etc" / "debian.sources").write_text("\n".join(stanzas))
        (self.folder / "status").write_text("")
        (self.folder / "apt.conf").write_text(_configuration(self.folder, self.architecture))
        self._get("update", "-qq", "--error-on=any")

    def _get(self, *arguments: str, cwd: Path | None = None) -> str:
        return _run(["apt-get", "-c", str(self.folder / "apt.conf"), *arguments], cwd=cwd)

    def _cache(self, *arguments: str) -> str:
        return _run(["apt-cache", "-c", str(self.folder / "apt.conf"), *arguments])


def _package(match: re.Match[str]) -> Package:
    name, version, architecture = _file_name(match["file"])
    return Package(
        name=name,
        version=version,
        architecture=architecture,
        sha256=match["sha256"],
        filename=match["file"],
        size=int(match["size"]),
    )


def _file_name(file: str) -> tuple[str, str, str]:
    name, version, architecture = file.removesuffix(".deb").split("_")
    return name, version.replace("%3a", ":"), architecture


def _configuration(folder: Path, architecture: str) -> str:
    """Write apt's configuration; it is read after the machine's own, so that it has the last word."""
    settings = {
        "Dir::Etc::sourcelist": "/dev/null",
        "Dir::Etc::sourceparts": f"{folder}/etc",
        "Dir::Etc::preferences": "/dev/null",
        "Dir::Etc::preferencesparts": "/dev/null",
        "Dir::State": str(folder),
        "Dir::State::lists": f"{folder}/lists",
        "Dir::State::status": f"{folder}/status",
        "Dir::State::extended_states": f"{folder}/extended_states",
        "Dir::Cache": f"{folder}/cache",
        "Dir::Cache::archives": f"{folder}/cache/archives",
        # Some machines have apt read everything anew each time.
        "Dir::Cache::pkgcache": "pkgcache.bin",
        "Dir::Cache::srcpkgcache": "srcpkgcache.bin",
        "Dir::Log": str(folder),
        "APT::Architecture": architecture,
        "APT::Get::AllowUnauthenticated": "false",
        "APT::Default-Release": "",
        "APT::Install-Recommends": "false",
        "Acquire::Languages": "none",
        "Acquire::Retries": "3",
        # apt drops to a user that may not read a private folder; it would warn and go on without dropping.
        "APT::Sandbox::User": "",
    }
    cleared = ("APT::Architectures", "APT::Update::Post-Invoke", "APT::Update::Post-Invoke-Success", "APT::Update::Pre-Invoke")
    lines = [f"#clear {name};" for name in cleared]
    lines += [f'{name} "{value}";' for name, value in settings.items()]
    lines.append(f'APT::Architectures {{ "{architecture}"; }};')
    return "\n".join(lines) + "\n"


def _run(command: Sequence[str], cwd: Path | None = None) -> str:
    if shutil.which(command[0]) is None:
        raise MissingRequirement(missing())
    environment = {**os.environ, "LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive"}
    try:
        done = subprocess.run(
            command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=_TIMEOUT, check=False, stdin=subprocess.DEVNULL
        )
    except subprocess.TimeoutExpired as error:
        raise I2kitError.of("apt-failed", f"{command[0]} took longer than {_TIMEOUT} s") from error
    if done.returncode != 0:
        said = [line for line in done.stderr.splitlines() if line.startswith("E:")] or done.stderr.splitlines()[-3:]
        raise I2kitError.of("apt-failed", f"{command[0]} failed: {' '.join(said).strip()}")
    return done.stdout


def _downloaded(package: Package, folder: Path) -> Path | None:
    for path in folder.glob(f"{package.name}_*.deb"):
        if hashlib.sha256(path.read_bytes()).hexdigest() == package.sha256:
            return path
    return None


def gone(packages: Iterable[Package], reason: str) -> I2kitError:
    """Make the error for packages that are nowhere any more."""
    return I2kitError(
        Problem(
            code="base-package-gone",
            message=f"the base's package {package.name} {package.version} is neither in the store nor on the mirror: {reason}",
            hint="--update-base moves to what the mirror offers now",
        )
        for package in packages
    )
