package main

const sysFinitModule = 313 // package syscall's table for amd64 is older than the call
