"""What tests may ask of the server over HTTP: each function here is a path under ``/_bed``."""

from __future__ import annotations

from typing import Any

import attrs
from moto.ec2.models import ec2_backends
from moto.ec2.models.instances import Instance
from moto.moto_api._internal.models import moto_api_backend

from aws import groups, images, inventory
from aws.application import Application
from aws.settings import SETTINGS, CapacityFailure, Settings, renew


def handle(application: Application, verb: str, given: dict[str, Any]) -> Any:
    """Do what a test asks. Raises KeyError for a verb that does not exist, and what the verb raises."""
    if verb == "await":
        # Without the lock: the request that is waited for may need it.
        rule = application.faults.rules[given["number"]]
        return rule.reached.wait(given.get("seconds", 30.0))
    with application.lock:
        return VERBS[verb](application, **given)


def _reset(application: Application) -> None:
    application.forget()
    renew()
    moto_api_backend.reset()


def _journal(application: Application, since: int = 0) -> list[dict[str, Any]]:
    return [attrs.asdict(entry, filter=attrs.filters.exclude("generation")) for entry in application.journal[since:]]


def _fault(application: Application, **rule: Any) -> int:
    return application.faults.add(**rule)


def _clear(application: Application) -> None:
    application.faults.clear()


def _rule(application: Application, number: int) -> dict[str, Any]:
    rule = application.faults.rules[number]
    return {"met": rule.met, "times": rule.times, "reached": rule.reached.is_set()}


def _release(application: Application, number: int) -> None:
    application.faults.rules[number].released.set()


def _health(_: Application, state: str | None, target_group: str = "*", instance: str = "*") -> None:
    if state is None:
        SETTINGS.health.pop((target_group, instance), None)
    else:
        SETTINGS.health[target_group, instance] = state
    groups.settle()


def _set(_: Application, **settings: Any) -> None:
    for name, value in settings.items():
        if name not in {"new_members", "image_tags", *(one for one in Settings.__slots__ if one.endswith("_calls"))}:
            raise KeyError(name)
        setattr(SETTINGS, name, value)


def _snapshot(_: Application, snapshot: str, state: str | None = None, message: str = "", age: float = 0.0) -> None:
    images.set_snapshot(snapshot, state, message, age)


def _image(_: Application, name: str, state: str, message: str = "", calls: int = 0) -> None:
    images.set_image(name, state, message, calls)


def _console(_: Application, instance: str, text: str) -> None:
    SETTINGS.console[instance] = text


def _capacity(_: Application, **failure: Any) -> None:
    SETTINGS.capacity.append(CapacityFailure(**failure))


def _enough(_: Application) -> None:
    SETTINGS.capacity.clear()
    groups.settle()


def _quota(_: Application, service: str, code: str, value: float) -> None:
    SETTINGS.quotas[service, code] = value


def _lifecycle(_: Application, instance: str, state: str) -> None:
    groups.member(instance).lifecycle_state = state
    groups.settle()


def _power_off(_: Application, instance: str) -> None:
    machine = _instance(instance)
    if machine.instance_initiated_shutdown_behavior == "terminate":
        machine.terminate()
    else:
        machine.stop()
    groups.settle()


def _state(_: Application, instance: str, state: str) -> None:
    machine = _instance(instance)
    machine._state.code, machine._state.name = STATES[state], state
    groups.settle()


def _instance(name: str) -> Instance:
    for regions in ec2_backends.values():
        for backend in regions.values():
            found = backend.get_instance_by_id(name)
            if found is not None:
                return found  # type: ignore[no-any-return]
    raise KeyError(name)


STATES = {"pending": 0, "running": 16, "shutting-down": 32, "terminated": 48, "stopping": 64, "stopped": 80}
VERBS: dict[str, Any] = {
    "reset": _reset,
    "journal": _journal,
    "inventory": lambda _: inventory.taken(),
    "fault": _fault,
    "clear": _clear,
    "rule": _rule,
    "release": _release,
    "health": _health,
    "set": _set,
    "snapshot": _snapshot,
    "image": _image,
    "console": _console,
    "capacity": _capacity,
    "enough": _enough,
    "quota": _quota,
    "lifecycle": _lifecycle,
    "power-off": _power_off,
    "state": _state,
}
