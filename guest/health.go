package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"time"
)

const (
	requestLimit = 8 << 10 // bytes of a request's head
	requestTime  = 5 * time.Second
	clientLimit  = 32 // connections served at once; the next ones wait in the kernel's queue
)

// A healthServer answers /livez and /readyz to loopback and the networks that may ask, and takes /drained from them.
type healthServer struct {
	mu       sync.Mutex
	from     []netip.Prefix // everyone while it is empty
	verdict  func() (ready bool, reason string)
	endDrain func() bool
}

// serve answers until the listener is closed.
func (h *healthServer) serve(listener net.Listener) {
	slots := make(chan struct{}, clientLimit)
	for {
		connection, err := listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			time.Sleep(50 * time.Millisecond) // out of file descriptors or memory: not for long
			continue
		}
		if !h.admits(connection.RemoteAddr()) {
			connection.Close()
			continue
		}
		slots <- struct{}{}
		go guarded(func() {
			defer func() { <-slots }()
			h.answer(connection)
		})
	}
}

// admitOnly says who may ask from now on.
func (h *healthServer) admitOnly(from []netip.Prefix) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.from = from
}

func (h *healthServer) admits(remote net.Addr) bool {
	peer, err := netip.ParseAddrPort(remote.String())
	if err != nil {
		return false
	}
	address := peer.Addr().Unmap().WithZone("")
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.from) == 0 || address.IsLoopback() {
		return true
	}
	for _, network := range h.from {
		if network.Contains(address) {
			return true
		}
	}
	return false
}

func (h *healthServer) answer(connection net.Conn) {
	defer connection.Close()
	connection.SetDeadline(time.Now().Add(requestTime))
	line, complete, err := readRequest(connection)
	if err != nil {
		return
	}
	status, text := h.route(line)
	if !complete {
		status, text = "431 Request Header Fields Too Large", "the request is too long"
	}
	body := text + "\n"
	if strings.HasPrefix(line, "HEAD ") {
		body = ""
	}
	fmt.Fprintf(connection, "HTTP/1.1 %s\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: %d\r\n"+
		"Cache-Control: no-store\r\nConnection: close\r\n\r\n%s", status, len(text)+1, body)
	// A close with unread bytes resets the connection, and the answer could get lost with it.
	if half, ok := connection.(*net.TCPConn); ok && half.CloseWrite() == nil {
		io.Copy(io.Discard, io.LimitReader(connection, requestLimit))
	}
}

// readRequest reads a request's head and returns its first line.
func readRequest(connection io.Reader) (line string, complete bool, err error) {
	limited := &io.LimitedReader{R: connection, N: requestLimit}
	reader := bufio.NewReaderSize(limited, 512)
	for first := true; ; first = false {
		text, err := reader.ReadBytes('\n')
		if err != nil && limited.N <= 0 {
			return line, false, nil
		}
		if err != nil {
			return "", false, err
		}
		text = bytes.TrimRight(text, "\r\n")
		if first {
			line = string(text)
		} else if len(text) == 0 {
			return line, true, nil
		}
	}
}

func (h *healthServer) route(line string) (status, text string) {
	fields := strings.Split(line, " ")
	if len(fields) != 3 || !strings.HasPrefix(fields[2], "HTTP/1.") {
		return "400 Bad Request", "this is no HTTP/1 request"
	}
	path, _, _ := strings.Cut(fields[1], "?")
	if fields[0] == "POST" && path == "/drained" {
		if !h.endDrain() {
			return "409 Conflict", "the VM is not shutting down"
		}
		return "200 OK", "the drain time is over"
	}
	if fields[0] != "GET" && fields[0] != "HEAD" {
		return "405 Method Not Allowed", "only GET and HEAD are answered"
	}
	switch path {
	case "/livez":
		return "200 OK", "the guest works"
	case "/readyz":
		if ready, reason := h.verdict(); !ready {
			return "503 Service Unavailable", reason
		}
		return "200 OK", "every container is ready"
	}
	return "404 Not Found", "there is /livez and /readyz"
}
