"""How long `i2kit.manifest.load` takes, beside PyYAML's CSafeLoader on the same text in the same run.

    python bench/load.py [number of Deployments with Services] [rounds]

The aim: at most 1.5 times CSafeLoader for 10,000 Deployments with Services.
"""

from __future__ import annotations

import gc
import json
import resource
import statistics
import sys
import time
from collections.abc import Callable

import yaml

from i2kit.manifest import loads

PAIR = """\
apiVersion: apps/v1
kind: Deployment
metadata:
  name: web-{n}
  labels: {{app: web-{n}}}
spec:
  replicas: 2
  selector:
    matchLabels:
      app: web-{n}
  template:
    metadata:
      labels:
        app: web-{n}
        tier: frontend
    spec:
      containers:
      - name: web
        image: registry.example/web:1.{n}
        ports:
        - name: http
          containerPort: 8080
        env:
        - name: GREETING
          value: hello
        - name: POD_IP
          valueFrom:
            fieldRef:
              fieldPath: status.podIP
        resources:
          requests: {{cpu: 100m, memory: 64Mi}}
          limits: {{cpu: 500m, memory: 128Mi}}
        readinessProbe:
          httpGet:
            path: /ready
            port: http
          periodSeconds: 5
---
apiVersion: v1
kind: Service
metadata:
  name: web-{n}
spec:
  type: LoadBalancer
  selector:
    app: web-{n}
  ports:
  - name: http
    port: 80
    targetPort: http
---
"""


def seconds(work: Callable[[], object]) -> float:
    """Measure the CPU time of one call, garbage of earlier ones out of the way; other programs on the machine do not count."""
    gc.collect()
    start = time.process_time()
    work()
    return time.process_time() - start


def main() -> None:
    """Print the figures as one JSON object."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 1
    text = "".join(PAIR.format(n=n) for n in range(count))
    ratios, ours, peers = [], [], []
    for _ in range(rounds):
        peers.append(seconds(lambda: list(yaml.load_all(text, yaml.CSafeLoader))))
        ours.append(seconds(lambda: loads(text)))
        ratios.append(ours[-1] / peers[-1])
    figures = {
        "pairs": count,
        "bytes": len(text),
        "csafeloader_seconds": round(statistics.median(peers), 2),
        "load_seconds": round(statistics.median(ours), 2),
        "ratio": round(statistics.median(ratios), 2),
        "aim": 1.5,
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10,
    }
    sys.stdout.write(json.dumps(figures) + "\n")


if __name__ == "__main__":
    main()
