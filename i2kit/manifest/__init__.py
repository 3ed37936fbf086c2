"""Reads manifests: YAML -> Workloads."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from i2kit.errors import Problem
    from i2kit.manifest.workloads import Workloads

__all__ = ["load", "loads"]

# The reader is imported when it is first used: most of i2kit needs only the types in `workloads`.


def load(sources: Sequence[str | Path], *, stdin: TextIO | None = None) -> Workloads:
    """Read the manifests that `sources` name and return what they ask for.

    A source is a file, a folder (its ``*.yaml``, ``*.yml`` and ``*.json``, not those below and not ``environment.yml``), an http or https
    URL, or ``-`` for standard input (`stdin`, or the process's own). Raises `InvalidInput` with every problem in every document.

    >>> import io
    >>> web = "{name: web, replicas: 2, containers: [{image: nginx, ports: [80]}]}"
    >>> load(["-"], stdin=io.StringIO(web)).services[0].type
    'LoadBalancer'
    """
    from i2kit.manifest.loader import load_sources
    from i2kit.manifest.sources import read_sources

    problems: list[Problem] = []
    texts = read_sources(sources, stdin, problems)
    return load_sources(texts, [str(source) for source in sources], problems)


def loads(text: str, name: str = "manifest.yaml") -> Workloads:
    """Read manifests from a string; `name` is what errors call it. Raises `InvalidInput`.

    >>> loads("{name: web, containers: [{image: 'nginx:1.27', ports: ['80:8080']}]}").workloads[0].pod.containers[0].name
    'nginx'
    """
    from i2kit.manifest.loader import load_sources
    from i2kit.manifest.sources import Source

    return load_sources([Source(name=name, text=text)], [name], [])
