package main

import "syscall"

const sysFinitModule = syscall.SYS_FINIT_MODULE
