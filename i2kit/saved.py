"""Plans in files: read now, carried out later, and only if nothing is different by then."""

from __future__ import annotations

import json
from pathlib import Path

from attrs import frozen

from i2kit import names, wire
from i2kit.errors import InvalidInput, Problem
from i2kit.plan import Changes, Plan

SCHEMA = 1


@frozen(kw_only=True)
class SavedPlan:
    """A plan, the changes that it meant when it was made, and the manifests that it was made of; without secrets.

    `sources` are absolute paths, or URLs. `prune` tells that what is not in the manifests any more was to go.
    """

    schema: int = SCHEMA
    plan: Plan
    changes: str
    sources: tuple[str, ...] = ()
    prune: bool = False

    @classmethod
    def of(cls, plan: Plan, changes: Changes, sources: tuple[str, ...] = (), *, prune: bool = False) -> SavedPlan:
        """Save a plan with what it changes; raise `InvalidInput` where that is not known for want of credentials."""
        if any(change.action == "unknown" for change in changes.changes):
            raise InvalidInput(
                Problem(
                    code="unknown-changes",
                    message="a plan that was made without credentials cannot be saved: what it changes is not known",
                    hint="configure credentials, and make the plan again",
                )
            )
        places = tuple(one if "://" in one or one == "-" else str(Path(one).resolve()) for one in sources)
        return cls(plan=plan, changes=_digest(changes), sources=places, prune=prune)

    def check(self, plan: Plan, changes: Changes) -> None:
        """Raise `InvalidInput` when the manifests mean another plan now, or the world asks for other changes."""
        if plan.fingerprint != self.plan.fingerprint or plan.application != self.plan.application:
            what = "the manifests, their images or the environment have changed since the plan was saved"
        elif _digest(changes) != self.changes:
            what = "what runs has changed since the plan was saved"
        else:
            return
        raise InvalidInput(Problem(code="stale-plan", message=what, hint="make the plan again with `i2kit plan --out`"))


def _digest(changes: Changes) -> str:
    """Return what tells two lists of changes apart; how ready members are just now does not count."""
    return names.digest([(change.action, wire.to_data(change.resource)) for change in changes.pending])


def write(saved: SavedPlan, path: Path) -> None:
    """Write a plan to a file."""
    path.write_text(json.dumps(wire.to_data(saved), indent=1, sort_keys=True) + "\n")


def read(path: Path) -> SavedPlan:
    """Read a plan from a file; raise `InvalidInput` when there is none in it, or a newer i2kit wrote it."""
    hint = "make one with `i2kit plan --out`"
    try:
        data = json.loads(path.read_text())
        schema = data["schema"]
    except OSError as error:
        raise InvalidInput(Problem(code="unreadable-plan", message=f"{path}: {error.strerror}", hint=hint)) from error
    except (ValueError, KeyError, TypeError) as error:
        raise InvalidInput(Problem(code="invalid-plan", message=f"{path} holds no saved plan", hint=hint)) from error
    if schema > SCHEMA:
        message = f"{path} was written by a newer i2kit (schema {schema})"
        raise InvalidInput(Problem(code="newer-plan", message=message, hint="upgrade i2kit"))
    try:
        return wire.from_data(data, SavedPlan)
    except Exception as error:  # whatever the converter objects to
        raise InvalidInput(Problem(code="invalid-plan", message=f"{path} holds no saved plan: {error}", hint=hint)) from error
