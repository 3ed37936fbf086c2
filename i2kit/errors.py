"""One family of errors: what is wrong, where, what was expected, and what to do about it."""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum
from typing import Self

from attrs import field, frozen
from attrs.validators import instance_of, optional


class ExitCode(IntEnum):
    """What the `i2kit` command ends with; one meaning each."""

    OK = 0
    FAILED = 1
    CHANGES_PENDING = 2
    ROLLED_BACK = 3
    INVALID = 4
    HELD = 5
    USAGE = 64
    INTERRUPTED = 130


@frozen(kw_only=True)
class Where:
    """A place in an input file.

    `line` counts from 1; `path` is the field path in Kubernetes' notation, such as ``spec.template.spec.containers[0].image``.
    """

    file: str = field(validator=instance_of(str))
    line: int | None = field(default=None, validator=optional(instance_of(int)))
    path: str = field(default="", validator=instance_of(str))

    def __str__(self) -> str:
        place = self.file if self.line is None else f"{self.file}:{self.line}"
        return f"{place} {self.path}" if self.path else place


@frozen(kw_only=True)
class Problem:
    """One thing that is wrong.

    `code` is stable and has an entry in ``docs/reference/errors.md``; `expected` says what would have been right, `hint` what to do.
    """

    code: str = field(validator=instance_of(str))
    message: str = field(validator=instance_of(str))
    where: Where | None = None
    expected: str = ""
    hint: str = ""

    def __str__(self) -> str:
        text = f"{self.where}: {self.message}" if self.where else self.message
        if self.expected:
            text += f"; expected {self.expected}"
        if self.hint:
            text += f"; {self.hint}"
        return f"{text} [{self.code}]"


class I2kitError(Exception):
    """Base of every error that i2kit raises on purpose; carries one or more problems."""

    exit_code: ExitCode = ExitCode.FAILED

    def __init__(self, problems: Problem | Iterable[Problem]) -> None:
        self.problems: tuple[Problem, ...] = (problems,) if isinstance(problems, Problem) else tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))

    @classmethod
    def of(cls, code: str, message: str, *, where: Where | None = None, expected: str = "", hint: str = "") -> Self:
        """Make an error of a single problem."""
        return cls(Problem(code=code, message=message, where=where, expected=expected, hint=hint))


class InvalidInput(I2kitError):
    """The manifest, environment or saved plan is wrong; nothing was touched."""

    exit_code = ExitCode.INVALID


class Held(I2kitError):
    """Another run holds the application."""

    exit_code = ExitCode.HELD


class Interrupted(I2kitError):
    """The run was asked to stop and did; running it again goes on from there."""

    exit_code = ExitCode.INTERRUPTED


class MissingRequirement(I2kitError):
    """A program or a right that the work needs is not there."""


class ProviderError(I2kitError):
    """A provider's own failure, in the provider's words."""


class MissingCredentials(ProviderError):
    """There are no credentials, or none that are valid any more: nothing can be asked, though a plan can still be made."""


class TransientError(ProviderError):
    """A failure that passes by itself: throttling, a lost answer, a server that restarts. The call may be made again.

    `retry_after` is how long the provider asked to wait, in seconds; None when it did not say. `throttled` says that calls came too fast.
    """

    retry_after: float | None = None
    throttled: bool = False


class BuildError(I2kitError):
    """An image could not be built."""


class ConflictingRecord(I2kitError):
    """A release record of that number exists already: somebody else appended first."""
