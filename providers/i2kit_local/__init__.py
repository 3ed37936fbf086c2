"""The local region: the same images under QEMU, on this machine, without an account."""
