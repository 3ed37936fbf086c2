"""Pods and images made from a number, the same on every machine: what the assembler and the real LinuxKit are both given.

A number makes a Pod of one to three containers, the descriptions of their images (``tests/unit/images/synthetic.py``), and what LinuxKit
YAML has besides (`extra`). The images have what images can have. Every third is `rude`: its layers lack folders, lead through symbolic
links, hide whole folders or bring back what was removed, which LinuxKit is known to build otherwise.
"""

from __future__ import annotations

import posixpath
import random
from typing import Any

from attrs import define, field, frozen

from i2kit.errors import Where
from i2kit.manifest.workloads import ConfigVolume, Container, EmptyDir, EnvValue, HttpGet, Mount, Pod, Probe, Resources, VolumeFile

SEEDS = range(40)

_LONG = "a-name-as-long-as-a-file-system-takes-it-" * 6
_NAMES = (
    "app",
    "lib.so.1",
    "data",
    "x",
    "übung",
    "日本語",
    "with space",
    "-dash",
    "semi;colon",
    "quo'te\"d",
    "back\\slash",
    _LONG[:240],
    "%41",
    "a.wh.b",
)
_TOPS = ("bin", "etc", "usr", "var", "srv", "opt", "home", "boot", "dev", "proc", "sys", "tmp", "lib")
_MODES = ("0644", "0600", "0755", "4755", "2755", "6711", "0000", "0444", "0777")
_FOLDER_MODES = ("0755", "0700", "1777", "2775", "0555", "0711")
_TEXTS = (
    "",
    "one line\n",
    "no end of line",
    "tab\tand\r\n",
    "  spaces first\n",
    "{{ .Template }} @pkg:dir\n",
    "größer: - [yaml]\n",
    "#!/bin/sh\n",
    "\n\n",
)
_FILE_NAMES = (
    "app.conf",
    ".hidden",
    "UPPER_lower-1",
    "nested/deeper/file.ini",
    "nested/other",
    "_",
    "a" * 120,
    "..data.json",
    "key.with.dots",
)
_READ_ONLY = "readonly: true\nbinds:\n - /etc/resolv.conf:/etc/resolv.conf\n"
_WHERE = Where(file="generated.yaml", line=1, path="spec.template.spec.containers[0].image")


@frozen(kw_only=True)
class Generated:
    """A Pod with the descriptions of its images, by the references that its containers use."""

    name: str
    rude: bool
    pod: Pod
    images: dict[str, dict[str, Any]]
    extra: dict[str, list[dict[str, Any]]] = field(factory=dict)


def generated(seed: int) -> Generated:
    """Return the Pod of this number."""
    chance = random.Random(seed)
    rude = seed % 3 == 2
    images = {f"docker.io/generated/{seed}-{number}:1": _image(chance, rude=rude) for number in range(chance.randint(1, 2))}
    return Generated(name=f"pod-{seed:02d}", rude=rude, pod=_pod(chance, list(images)), images=images, extra=_extra(chance, list(images)))


def _pod(chance: random.Random, images: list[str]) -> Pod:
    volumes = tuple(_volume(chance, name) for name in ("config", "more", "scratch")[: chance.randint(0, 3)])
    count = chance.randint(1, 3)
    containers = tuple(
        Container(
            name=("web", "side-car", "z9")[number],
            image=chance.choice(images),
            where=_WHERE,
            command=chance.choice((None, ("/bin/app", "--flag=$(NAME)"), ("/bin/sh", "-c", "exit 0 # <&>"))),
            args=chance.choice((None, (), ("größer", "$$", 'quo"ted'))),
            working_dir=chance.choice(("", "/srv")),
            env=tuple(EnvValue(name=name, value=chance.choice(_TEXTS)) for name in ("NAME", "PATH")[: chance.randint(0, 2)]),
            readiness_probe=chance.choice((None, Probe(handler=HttpGet(port=8080)))),
            resources=Resources(memory_limit=chance.choice((None, 16 << 20)), cpu_limit=chance.choice((None, 250))),
            mounts=tuple(Mount(volume=volume.name, path=f"/mnt/{volume.name}", read_only=chance.random() < 0.5) for volume in volumes),
        )
        for number in range(count)
    )
    return Pod(
        containers=containers,
        volumes=volumes,
        restart_policy=chance.choice(("Always", "OnFailure", "Never")),
        termination_grace_period_seconds=chance.randint(1, 60),
    )


def _volume(chance: random.Random, name: str) -> ConfigVolume | EmptyDir:
    if name == "scratch":
        return EmptyDir(name=name, medium=chance.choice(("", "Memory")), size_limit=chance.choice((None, 1 << 20)))
    names = chance.sample(_FILE_NAMES, chance.randint(0, 5))
    modes = (0o644, 0o400, 0o755, 0o777, 0o040, 0o000, 0o604)
    files = (VolumeFile(path=path, content=chance.choice(_TEXTS).encode(), mode=chance.choice(modes)) for path in sorted(names))
    return ConfigVolume(name=name, files=tuple(files))


def _extra(chance: random.Random, images: list[str]) -> dict[str, list[dict[str, Any]]]:
    """Return what our own YAML never has, but LinuxKit's may: ``onboot``, and other kinds of ``files``."""
    extra: dict[str, list[dict[str, Any]]] = {}
    if chance.random() < 0.3:
        extra["onboot"] = [{"name": "first", "image": chance.choice(images), "command": ["/bin/app"]}]
    if chance.random() < 0.4:
        kinds = [
            {"path": "etc/extra/link", "symlink": "../i2kit"},
            {"path": "var/extra/folder", "directory": True, "mode": chance.choice(("0700", "1777", "0050"))},
            {"path": "opt/extra/deep/file", "contents": "x\n", "mode": chance.choice(("0640", "4755", "0005")), "uid": 7, "gid": 8},
            {"path": "etc/i2kit/pod.json", "contents": "replaced\n", "mode": "0644"},
        ]
        extra["files"] = chance.sample(kinds, chance.randint(1, len(kinds)))
    return extra


def _image(chance: random.Random, *, rude: bool) -> dict[str, Any]:
    layers = _Layers(chance)
    for number in range(chance.randint(1, 4)):
        layers.next()
        layers.grow(chance.randint(8, 16) if number == 0 else chance.randint(2, 6))
        if number:
            layers.change(chance.randint(2, 5))
            if rude:
                layers.be_rude()
    config: dict[str, Any] = {"Entrypoint": ["/bin/app"], "Cmd": ["--serve"], "Env": ["PATH=/bin", "EMPTY="]}
    if chance.random() < 0.4:
        config["User"] = chance.choice(("1000:1001", "65534", "5:0"))
    if chance.random() < 0.4:
        config["WorkingDir"] = "/var"
    if chance.random() < 0.25:
        config["Labels"] = {"org.mobyproject.config": _READ_ONLY}
    return {"config": config, "layers": layers.made, "compression": chance.choice(("gzip", "zstd", "none"))}


@define
class _Layers:
    """Layers on their way: what each gets, and the kind of every path that the image has by now."""

    chance: random.Random
    made: list[list[dict[str, Any]]] = field(factory=list)
    kinds: dict[str, str] = field(factory=dict)
    here: set[str] = field(factory=set)
    lower: dict[str, str] = field(factory=dict)

    def next(self) -> None:
        """Begin a layer."""
        self.made.append([])
        self.here = set()
        self.lower = dict(self.kinds)

    def grow(self, count: int) -> None:
        """Add new paths."""
        for _ in range(count):
            folder = self._some("dir") if self.chance.random() < 0.6 and self.kinds else self.chance.choice(_TOPS)
            folder = folder or self.chance.choice(_TOPS)
            path = posixpath.join(folder, f"{self.chance.choice(_NAMES)}{self.chance.choice(('', '', '.d', '2'))}")
            # A name has at most 255 bytes, and the path must be new.
            if path not in self.kinds and path.count("/") < 7 and self._free(folder):
                self._add(
                    path, self.chance.choice(("dir", "dir", "file", "file", "file", "symlink", "link", "char", "block", "fifo", "setuid"))
                )

    def change(self, count: int) -> None:
        """Change what lower layers have, as tools do: replace, remove, other modes."""
        for _ in range(count):
            path = self._below()
            if path is None:
                return
            what = self.chance.choice(("replace", "remove", "other-kind", "mode"))
            if what == "mode" and self.lower[path] == "dir":
                self._add(path, "dir")
            elif what in ("remove", "other-kind"):
                self._forget(path)
                if what == "remove":
                    self._ways(path)
                    self._entry({"file": posixpath.join(posixpath.dirname(path), f".wh.{posixpath.basename(path)}")})
                elif self.lower[path] != "dir":
                    self._add(path, self.chance.choice(("dir", "symlink", "file")))
                else:
                    self._add(path, self.chance.choice(("symlink", "file")))
            elif self.lower[path] != "dir":
                self._add(path, "file")

    def be_rude(self) -> None:
        """Do one of the things that LinuxKit builds otherwise."""
        what = self.chance.choice(("implied", "opaque", "remade", "through"))
        folder = next(
            (path for path in sorted(self.lower) if self.lower[path] == "dir" and path in self.kinds and path not in self.here), None
        )
        if what == "implied" or folder is None or "/" not in folder:
            self._entry({"file": f"implied{len(self.made)}/deep/file", "text": "x"})
        elif what == "opaque":
            self._forget_below(folder)
            self._ways(posixpath.join(folder, "x"))
            self._entry({"file": f"{folder}/.wh..wh..opq"})
        elif what == "remade":
            self._ways(folder)
            self._entry({"file": posixpath.join(posixpath.dirname(folder), f".wh.{posixpath.basename(folder)}")})
            self._forget_below(folder)
            self.made.append([])
            self.here = set()
            self.lower = dict(self.kinds)
            self._add(folder, "dir")
        else:
            link = f"way{len(self.made)}"
            self.made[0].append({"symlink": link, "to": f"/{folder}"})
            self._entry({"file": f"{link}/through", "text": "through"})

    def _some(self, kind: str) -> str | None:
        found = sorted(path for path, has in self.kinds.items() if has == kind)
        return self.chance.choice(found) if found else None

    def _below(self) -> str | None:
        """Return a path of lower layers that this one has not touched."""
        found = [path for path in sorted(self.lower) if path in self.kinds and "/" in path and not self._touched(path)]
        return self.chance.choice(found) if found else None

    def _touched(self, path: str) -> bool:
        return any(one == path or one.startswith(f"{path}/") for one in self.here)

    def _free(self, folder: str) -> bool:
        """Whether only folders are on the way."""
        parts = folder.split("/")
        return all(self.kinds.get("/".join(parts[: count + 1]), "dir") == "dir" for count in range(len(parts)))

    def _forget(self, path: str) -> None:
        self.kinds.pop(path, None)
        self._forget_below(path)

    def _forget_below(self, path: str) -> None:
        for other in [other for other in self.kinds if other.startswith(f"{path}/")]:
            del self.kinds[other]

    def _ways(self, path: str) -> None:
        """Name the folders above a path, as tools do in every layer."""
        folder = posixpath.dirname(path)
        if folder and folder not in self.here:
            self._ways(folder)
            self.here.add(folder)
            self.kinds[folder] = "dir"
            self._entry({"dir": folder + self.chance.choice(("", "/")), **self._who("dir", folder)})

    def _who(self, kind: str, path: str = "") -> dict[str, Any]:
        modes = _FOLDER_MODES if kind == "dir" else _MODES
        # What lies at the top is as it is everywhere: an unreadable /bin would be no image.
        mode = self.chance.choice(modes) if path.count("/") or kind != "dir" else "0755"
        who: dict[str, Any] = {"mode": mode, "mtime": self.chance.choice((1_700_000_000, 1_600_000_000, 1, 0, 2_000_000_000))}
        if self.chance.random() < 0.4:
            who |= {"uid": self.chance.choice((0, 5, 1000, 65534, 4_000_000)), "gid": self.chance.choice((0, 6, 1000, 65534))}
        return who

    def _add(self, path: str, kind: str) -> None:
        self._ways(path)
        self.here.add(path)
        first = sorted(one for one in self.here if self.kinds.get(one) == "file" and one != path)
        if kind == "link" and not first:
            kind = "file"
        self.kinds[path] = "file" if kind in ("link", "setuid") else kind
        if kind == "link":
            self._entry({"link": path, "to": self.chance.choice(first)})
            # LinuxKit's symbolic link is no file that a later link could lead to.
            self.kinds[path] = "link"
        elif kind == "symlink":
            targets = ("/bin/app", "../x", "nowhere/at all", ".", "/", "日本語")
            self._entry({"symlink": path, "to": self.chance.choice(targets), **self._who("symlink")})
        elif kind in ("char", "block"):
            self._entry({kind: path, "device": [self.chance.randint(0, 300), self.chance.randint(0, 70000)], **self._who(kind)})
        elif kind == "setuid":
            self._entry({"file": path, "text": "set", **self._who("file"), "mode": self.chance.choice(("4755", "2755", "6555"))})
        elif kind == "file":
            content = {"size": self.chance.randint(1, 9000)} if self.chance.random() < 0.3 else {"text": self.chance.choice(_TEXTS)}
            attributes = {"xattrs": {"user.note": "x", "security.capability": "\1\0\0\2"}} if self.chance.random() < 0.15 else {}
            self._entry({"file": path, **content, **self._who("file"), **attributes})
        else:
            self._entry({kind: path, **self._who(kind, path)})

    def _entry(self, entry: dict[str, Any]) -> None:
        self.made[-1].append(entry)
