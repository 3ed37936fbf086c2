// Command guest is i2kit's pod runtime: PID 1 of a VM that runs one Kubernetes Pod.
//
// docs/reference/guest.md is its contract. It has three modes, told apart by how it is called: as PID 1 of the VM (no
// flags), as the script of `busybox udhcpc` (by its name), and on a host, inside namespaces of its own (flags).
package main

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
)

const version = "0.1.0"

func main() {
	thrift()
	switch {
	case filepath.Base(os.Args[0]) == leaseScriptName:
		os.Exit(reportLease(os.Args[1:], os.Environ()))
	case len(os.Args) > 1 && os.Args[1][0] == '-':
		// The kernel hands unknown words of its command line to PID 1, but never one that starts with a dash.
		os.Exit(hostMain(os.Args[1:]))
	case os.Getpid() == 1:
		vmMain()
	default:
		fmt.Fprintln(os.Stderr, hostUsage)
		os.Exit(64)
	}
}

// thrift keeps the runtime small: a VM has tens of megabytes, and the guest has next to nothing to compute.
func thrift() {
	runtime.GOMAXPROCS(1)
	debug.SetGCPercent(25)
}
