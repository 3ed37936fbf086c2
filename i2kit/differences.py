"""What differs between two Pods, in the words of the manifests. Pure.

Values of Secrets are in neither an `Image` nor an `InstanceGroup`, so none can show: of a Secret there are its name and its keys' names.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from difflib import unified_diff

from attrs import frozen

from i2kit.images.locked import Locked, LockedImage, Package
from i2kit.podfacts import Arguments, Fact, FileText, Order, Part, Pulled, Shown, cores, facts, familiar, short_digest
from i2kit.resources import Boot, Image, InstanceGroup

VALUE_LENGTH = 60
"""How many characters of a value are shown."""

LINE_LENGTH = 120
DIFF_LINES = 12
"""How many lines of a file's diff are shown."""

# difflib takes time in the square of what it compares; two files this long are not read in a terminal anyway.
_LONGEST_DIFF = 2000


@frozen(kw_only=True)
class Difference:
    """One thing that changed.

    `path` is where the manifest has it. `before` and `after` are short texts, empty for what was added or removed; `note` says what
    happened where that is not all, and `lines` are a cut line diff of longer texts. No control character is in any of them.

    >>> str(Difference(path="containers[web].env[GREETING]", before="'hello'", after="'good day'"))
    "containers[web].env[GREETING]: 'hello' -> 'good day'"
    >>> str(Difference(path="Secret credentials", note="changed"))
    'Secret credentials changed'
    """

    path: str
    before: str = ""
    after: str = ""
    note: str = ""
    lines: tuple[str, ...] = ()

    def __str__(self) -> str:
        """Return it in one line."""
        if self.before and self.after:
            change = f"{self.before} -> {self.after}"
            return f"{self.path}: {self.note} ({change})" if self.note else f"{self.path}: {change}"
        if self.note:
            return f"{self.path} {self.note}"
        return f"{self.path} added: {self.after}" if self.after else f"{self.path} removed: {self.before}"


def lines(differences: Iterable[Difference]) -> list[str]:
    """Return what a terminal shows: a line per difference, and below it, indented, the lines of files that changed."""
    return [line for one in differences for line in (str(one), *(f"    {detail}" for detail in one.lines))]


def pod_differences(
    new: InstanceGroup,
    new_image: Image | None,
    old: InstanceGroup,
    old_image: Image | None,
    *,
    new_lock: Locked | None = None,
    old_lock: Locked | None = None,
) -> tuple[Difference, ...]:
    """Return what changed in the Pod from group `old` to group `new`: why another revision replaces it.

    The locks are those of the plans that the images are from; with both the base's packages are told one by one, and a container's
    arguments from its image's. An image of None is one whose record is gone: what was in it is then said to be unknown. Empty when
    nothing changed; groups of different revisions always differ.
    """
    found = [
        *_image_differences(new, new_image, old, old_image, new_lock, old_lock),
        *boot_differences(new.boot, old.boot),
        *_sizes(new, old),
    ]
    if not found and new.mark.revision != old.mark.revision:
        found = [Difference(path="revision", before=old.mark.revision, after=new.mark.revision)]
    return tuple(found)


def _image_differences(
    new: InstanceGroup,
    new_image: Image | None,
    old: InstanceGroup,
    old_image: Image | None,
    new_lock: Locked | None,
    old_lock: Locked | None,
) -> list[Difference]:
    if new_image is None or old_image is None:
        return _unknown(new, old)
    if new_image.digest == old_image.digest:
        return []
    if not _covers(new_lock, new_image) or not _covers(old_lock, old_image):
        new_lock = old_lock = None
    before, after = facts(old_image, _configured(old_lock)), facts(new_image, _configured(new_lock))
    if before is None or after is None:
        return _unknown(new, old)
    found = [
        *_compared(before, after),
        *_base(new_image, new_lock, old_image, old_lock, before, after),
        *_builder(new_image, new_lock, old_image, old_lock),
    ]
    # What is left is what the planner or the builder made of the same Pod in another way.
    return found or [Difference(path="image", before=old_image.name, after=new_image.name, note="made in another way")]


def _unknown(new: InstanceGroup, old: InstanceGroup) -> list[Difference]:
    """Say what the groups alone show of their images."""
    found = [
        Difference(path=path, before=f"{before}", after=f"{after}")
        for path, before, after in (
            ("terminationGracePeriodSeconds", old.grace_seconds, new.grace_seconds),
            ("drainSeconds", old.drain_seconds, new.drain_seconds),
        )
        if before != after
    ]
    if new.image != old.image:
        note = "it changed, and what was in the old one is not known any more"
        found.insert(0, Difference(path="image", before=old.image, after=new.image, note=note))
    return found


def _covers(lock: Locked | None, image: Image) -> bool:
    """Whether `lock` is the one that `image` was planned with."""
    if lock is None:
        return False
    locked = [*lock.images.values(), lock.base.kernel, lock.base.pod]
    return image.sources.items() <= {one.reference: one.digest for one in locked}.items()


def _configured(lock: Locked | None) -> dict[str, LockedImage]:
    return {image.reference: image for image in lock.images.values()} if lock else {}


def _compared(before: Mapping[str, Fact], after: Mapping[str, Fact]) -> Iterator[Difference]:
    told: list[str] = []
    for path in dict.fromkeys((*after, *before)):
        old, new = before.get(path), after.get(path)
        if old == new or any(path.startswith(whole) and path[len(whole)] in ".[/" for whole in told):
            continue
        if isinstance(old, Part) or isinstance(new, Part):
            told.append(path)
        yield from _difference(path, old, new)


def _difference(path: str, old: Fact | None, new: Fact | None) -> Iterator[Difference]:
    path = _printable(path)
    match old, new:
        case Order(), Order():
            common = set(old.names) & set(new.names)
            if [name for name in old.names if name in common] != [name for name in new.names if name in common]:
                yield Difference(path=path, note="in another order")
        case (Order(), None) | (None, Order()):
            return
        case Pulled(), Pulled() if old.reference == new.reference:
            note = f"{familiar(new.reference)} moved"
            yield Difference(path=path, before=short_digest(old.digest), after=short_digest(new.digest), note=note)
        case FileText(), FileText():
            yield from _file_differences(path, old, new)
        case Arguments(), Arguments():
            texts = ("".join(f"{word}\n" for word in fact.words) for fact in (old, new))
            yield _changed(path, _words(old), _words(new), *texts)
        case _:
            yield _changed(path, _words(old), _words(new))


def _words(fact: Fact | None) -> str:
    match fact:
        case None | Order():
            return ""
        case str():
            return repr(fact)
        case Shown(text=text):
            return _printable(text)
        case Part(kind=kind, detail=detail):
            return _printable(detail or kind)
        case Arguments(words=words):
            return repr(list(words))
        case Pulled(reference=reference):
            return familiar(reference)
        case FileText(text=text):
            count = len(_split(text))
            return f"{count} lines" if count > 1 else repr(text)


def _changed(path: str, before: str, after: str, old_text: str = "", new_text: str = "") -> Difference:
    """Return the difference between two texts, with a diff of the full ones where they are cut."""
    shown = _cut(before, after, VALUE_LENGTH)
    told = shown == (before, after) or old_text == new_text or max(_counts(old_text, new_text)) > _LONGEST_DIFF
    detail = () if told else _diff(old_text, new_text)[0]
    return Difference(path=path, before=shown[0], after=shown[1], lines=detail)


def _file_differences(path: str, old: FileText, new: FileText) -> Iterator[Difference]:
    if old.mode != new.mode:
        yield Difference(path=f"{path} mode", before=old.mode, after=new.mode)
    if old.text == new.text:
        return
    counts = _counts(old.text, new.text)
    if max(counts) <= 1:
        yield _changed(path, repr(old.text), repr(new.text))
        return
    if max(counts) > _LONGEST_DIFF:
        yield Difference(path=path, note=f"changed ({counts[0]} -> {counts[1]} lines)")
        return
    shown, added, removed = _diff(old.text, new.text)
    yield Difference(path=path, note=f"changed (+{added} -{removed} lines)", lines=shown)


def _split(text: str) -> list[str]:
    """Split at newlines only, and so that a missing last newline is a difference."""
    parts = text.split("\n")
    return parts[:-1] if parts[-1] == "" else [*parts[:-1], f"{parts[-1]} (no newline at the end)"]


def _counts(old: str, new: str) -> tuple[int, int]:
    return len(_split(old)), len(_split(new))


def _diff(old: str, new: str) -> tuple[tuple[str, ...], int, int]:
    """Return a line diff, cut, and how many lines were added and removed."""
    found = list(unified_diff(_split(old), _split(new), n=1, lineterm=""))[2:]
    added, removed = (sum(line.startswith(sign) for line in found) for sign in "+-")
    shown: list[str] = []
    for line in found[:DIFF_LINES]:
        if shown and shown[-1].startswith("-") and line.startswith("+"):
            # Both are cut where they begin to differ.
            pair = _cut(_printable(found[len(shown) - 1][1:]), _printable(line[1:]), LINE_LENGTH)
            shown[-1:] = [f"-{pair[0]}", f"+{pair[1]}"]
        else:
            shown.append(line[:1] + _cut(_printable(line[1:]), "", LINE_LENGTH)[0])
    if len(found) > DIFF_LINES:
        shown.append(f"… {len(found) - DIFF_LINES} more lines")
    return tuple(shown), added, removed


def _printable(text: str) -> str:
    return "".join(one if one.isprintable() else repr(one)[1:-1] for one in text)


def _cut(before: str, after: str, most: int) -> tuple[str, str]:
    """Cut two texts to at most `most` characters each so that the first place where they differ is still seen."""
    if max(len(before), len(after)) <= most:
        return before, after
    shorter = min(len(before), len(after))
    common = next((index for index in range(shorter) if before[index] != after[index]), shorter)
    start = max(0, common - most // 3) if common > most - 10 else 0

    def cut(text: str) -> str:
        rest = f"…{text[start:]}" if start else text
        return rest if len(rest) <= most else f"{rest[: most - 1]}…"

    return cut(before), cut(after)


def _base(
    new: Image, new_lock: Locked | None, old: Image, old_lock: Locked | None, before: Mapping[str, Fact], after: Mapping[str, Fact]
) -> Iterator[Difference]:
    """Compare what the VM is made of beside the Pod: kernel, packages, guest."""
    containers = {fact.reference for fact in (*before.values(), *after.values()) if isinstance(fact, Pulled)}
    bases = [{name: digest for name, digest in image.sources.items() if name not in containers} for image in (old, new)]
    if bases[0] == bases[1]:
        return
    if not new_lock or not old_lock:
        was, now = (", ".join(map(familiar, sorted(base))) for base in bases)
        yield _changed("base", was, now) if was != now else Difference(path="base", note="changed")
        return
    found = list(_packages(new_lock.base.packages, old_lock.base.packages))
    if new_lock.base.name != old_lock.base.name:
        found.insert(0, Difference(path="base", before=old_lock.base.name, after=new_lock.base.name))
    if new_lock.base.guest != old_lock.base.guest:
        found.append(Difference(path="guest", before=short_digest(old_lock.base.guest), after=short_digest(new_lock.base.guest)))
    yield from found or [Difference(path="base", note="made in another way of the same packages")]


def _packages(new: Iterable[Package], old: Iterable[Package]) -> Iterator[Difference]:
    before, after = ({_package_name(package): package for package in packages} for packages in (old, new))
    for name in sorted({*before, *after}):
        path, was, now = f"base: package {name}", before.get(name), after.get(name)
        if was is None or now is None:
            yield Difference(path=path, before=was.version if was else "", after=now.version if now else "")
        elif was.version != now.version:
            yield Difference(path=path, before=was.version, after=now.version)
        elif was != now:
            before_hash, after_hash = (short_digest(f"sha256:{one.sha256}") for one in (was, now))
            yield Difference(path=path, before=before_hash, after=after_hash, note=f"{now.version} is another file")


def _package_name(package: Package) -> str:
    """Return a name that outlives versions: Debian's kernel packages have theirs in their names."""
    return "linux-image" if package.name.startswith("linux-image-") else package.name


def _builder(new: Image, new_lock: Locked | None, old: Image, old_lock: Locked | None) -> Iterator[Difference]:
    before, after = old.builder, new.builder
    if new_lock and old_lock:
        before, after = f"{before} {old_lock.builder_version}", f"{after} {new_lock.builder_version}"
    if before != after:
        yield Difference(path="builder", before=before, after=after)
    elif old.yaml == new.yaml and old.sources == new.sources and (old.format, old.architecture) == (new.format, new.architecture):
        yield Difference(path="builder", note=f"is another version of {new.builder}")
    if old.format != new.format:
        yield Difference(path="image format", before=old.format, after=new.format)


def boot_differences(new: Boot, old: Boot) -> Iterator[Difference]:
    """Yield what changed of what a group's members are told when they boot."""
    for name in sorted({*new.secrets, *old.secrets}):
        was, now = old.secrets.get(name), new.secrets.get(name)
        if was != now:
            yield Difference(path=f"Secret {name}", note="changed" if was and now else "added" if now else "removed")
    for name in dict.fromkeys((*new.fields, *old.fields)):
        before, after = (repr(boot.fields[name]) if name in boot.fields else "" for boot in (old, new))
        if before != after:
            yield _changed(name.replace("['", "[").replace("']", "]"), before, after)
    if new.search != old.search:
        yield _changed("DNS search domains", ", ".join(old.search) or "none", ", ".join(new.search) or "none")


def _sizes(new: InstanceGroup, old: InstanceGroup) -> Iterator[Difference]:
    if new.memory_mib != old.memory_mib:
        yield Difference(path="VM memory", before=f"{old.memory_mib}Mi", after=f"{new.memory_mib}Mi")
    if new.cpu_millis != old.cpu_millis:
        yield Difference(path="VM cpu", before=cores(old.cpu_millis), after=cores(new.cpu_millis))
    if new.architecture != old.architecture:
        yield Difference(path="architecture", before=old.architecture, after=new.architecture)
