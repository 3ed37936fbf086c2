"""Reads manifests: YAML -> Workloads."""
