"""The local region: an environment on this machine, made of QEMU, HAProxy, dnsmasq, slirp4netns and supervisor."""
