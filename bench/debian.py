"""Power-on to the first HTTP 200: hello beside a minimal Debian VM with the same kernel and the same server, in turns in one run.

    python bench/debian.py [rounds] [folder to keep the Debian VM in]

The Debian VM is what `mmdebstrap` (run as root) makes of its smallest variant with systemd, udev and the kernel's package: systemd-networkd
asks for the address, and busybox httpd is a unit. Both are booted directly (PVH), from memory and from an ext4 disk. On the clock, and in
processor time, which says more on a machine that is busy.
"""

from __future__ import annotations

import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from vm import PORT, Files, Vm, hello

from i2kit.images.apt import sources
from i2kit_local.kernels import vmlinux

AIM = 8.0
MEMORY_MIB = 256
SECONDS = 240.0
PACKAGES = ("systemd-sysv", "udev", "initramfs-tools", "linux-image-cloud-amd64", "busybox-static")
NETWORK = "[Match]\nName=en* eth*\n[Network]\nDHCP=ipv4\n"
SERVER = f"""[Unit]
After=network.target
[Service]
ExecStart=/bin/busybox httpd -f -p {PORT} -h /www
[Install]
WantedBy=multi-user.target
"""
# The two words that keep any VM from panicking on a busy host, and a console to look at.
CMDLINE = "root=/dev/vda rw console=ttyS0 quiet panic=-1 no_timer_check"


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    if shutil.which("mmdebstrap") is None:
        print("mmdebstrap is not on PATH: not measured")
        return
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        kept = Path(sys.argv[2]) if len(sys.argv) > 2 else scratch / "debian"
        if not (kept / "disk").exists():
            make(kept)
        debian = Files(kept / "kernel", kept / "vmlinux", kept / "initrd", CMDLINE, disk=kept / "disk")
        ours = hello(scratch)
        times: dict[str, list[float]] = {}
        worked: dict[str, list[float]] = {}
        for _ in range(rounds):
            for name, files in (("hello", ours), ("Debian", debian)):
                with Vm(files, MEMORY_MIB, scratch=scratch) as vm:
                    seconds = vm.seconds_to_serve(SECONDS)
                    if seconds is None:
                        raise SystemExit(f"{name}: no answer within {SECONDS:.0f} s\n{vm.console()}")
                    worked.setdefault(name, []).append(vm.processor_seconds())
                times.setdefault(name, []).append(seconds)
    for name, values in times.items():
        processor = f"{statistics.median(worked[name]):.2f} s of processor time"
        print(f"{name}: {statistics.median(values):.2f} s to HTTP 200 (median of {rounds}, least {min(values):.2f} s), {processor}")
    ratio, working = (statistics.median(found["Debian"]) / statistics.median(found["hello"]) for found in (times, worked))
    print(f"Debian takes {ratio:.1f} times as long, and {working:.1f} times the processor time")
    print(f"the aim is {AIM:.0f} times as long: {'met' if ratio >= AIM else 'missed'}")


def make(folder: Path) -> None:
    """Make the Debian VM's kernel, initramfs and disk."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch) / "root"
        mirrors = [f"deb {source.uri} {source.suite} main" for source in sources(None)]
        command = ["mmdebstrap", "--variant=minbase", f"--include={','.join(PACKAGES)}", "bookworm", str(root), *mirrors]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        (root / "www").mkdir()
        (root / "www" / "index.html").write_text("hello\n")
        (root / "etc/systemd/network/net.network").write_text(NETWORK)
        (root / "etc/systemd/system/hello.service").write_text(SERVER)
        subprocess.run(["systemctl", f"--root={root}", "enable", "systemd-networkd", "hello"], check=True, capture_output=True)
        (kernel,), (initrd,) = (root / "boot").glob("vmlinuz-*"), (root / "boot").glob("initrd.img-*")
        shutil.copyfile(kernel, folder / "kernel")
        shutil.copyfile(initrd, folder / "initrd")
        direct = vmlinux(kernel.read_bytes())
        if direct is None:
            raise SystemExit("the kernel cannot be entered by PVH")
        (folder / "vmlinux").write_bytes(direct)
        making = folder / "disk.part"
        subprocess.run(["mke2fs", "-q", "-t", "ext4", "-d", str(root), str(making), "1G"], check=True)
        making.rename(folder / "disk")


if __name__ == "__main__":
    main()
