"""Pages as AWS has them, where moto has none, or shorter ones. Patches moto's answers."""

from __future__ import annotations

from typing import Any

from moto.core.responses import ActionResult
from moto.ec2.responses.launch_templates import LaunchTemplates
from moto.ssm.responses import SimpleSystemManagerResponse

_ALL = 1 << 30


def install() -> None:
    """Put the patches in place, once for a process."""
    LaunchTemplates.describe_launch_templates = _paged(LaunchTemplates.describe_launch_templates, "LaunchTemplates", 200)
    versions = LaunchTemplates.describe_launch_template_versions
    LaunchTemplates.describe_launch_template_versions = _paged(versions, "LaunchTemplateVersions", 200)
    SimpleSystemManagerResponse.describe_parameters = _parameters


def _paged(stock: Any, key: str, longest: int) -> Any:
    """Let moto tell everything, and cut it."""

    def respond(response: Any) -> ActionResult:
        size = min(longest, response._get_int_param("MaxResults") or longest)
        start = int(response._get_param("NextToken") or 0)
        told = response._get_int_param
        response._get_int_param = lambda name, *default: _ALL if name == "MaxResults" else told(name, *default)
        return _cut(stock(response).result[key], key, start, size)

    return respond


def _parameters(response: Any) -> ActionResult:
    found = response.ssm_backend.describe_parameters(response._get_param("Filters"), response._get_param("ParameterFilters"))
    shown = [one.describe_response_object(False) for one in found]
    return _cut(shown, "Parameters", int(response._get_param("NextToken") or 0), response._get_param("MaxResults") or 10)


def _cut(items: list[Any], key: str, start: int, size: int) -> ActionResult:
    more = {"NextToken": str(start + size)} if start + size < len(items) else {}
    return ActionResult({key: items[start : start + size], **more})
