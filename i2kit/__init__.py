"""Ships Kubernetes Pods as lightweight, immutable virtual machines."""
