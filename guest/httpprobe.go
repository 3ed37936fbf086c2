package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"strconv"
	"strings"
	"time"
)

const (
	redirectLimit = 10
	headLimit     = 64 << 10 // bytes of an answer's head
)

// probeHTTP asks as the kubelet does: an answer of 200 to 399 is success, redirects within the host are followed, a
// redirect elsewhere is success, and certificates are not verified. It speaks HTTP/1.1 itself, since net/http alone
// would cost each VM 4 MB of memory.
func probeHTTP(ctx context.Context, spec *httpSpec) error {
	target, err := probeURL(spec)
	if err != nil {
		return err
	}
	first := target.Hostname()
	for range redirectLimit {
		answer, err := fetchHead(ctx, target, spec.Headers)
		if err != nil {
			return err
		}
		if answer.status < 200 || answer.status > 399 {
			return fmt.Errorf("HTTP status %d", answer.status)
		}
		if !answer.redirects() {
			return nil
		}
		if target, err = target.Parse(answer.location); err != nil {
			return fmt.Errorf("HTTP redirect to a broken location: %w", err)
		}
		if target.Hostname() != first {
			return nil
		}
	}
	return fmt.Errorf("more than %d HTTP redirects", redirectLimit)
}

func probeURL(spec *httpSpec) (*url.URL, error) {
	host := spec.Host
	if host == "" {
		host = ownAddress
	}
	base := &url.URL{Scheme: strings.ToLower(spec.Scheme), Host: net.JoinHostPort(host, strconv.Itoa(spec.Port))}
	target, err := base.Parse(spec.Path)
	if err != nil {
		return nil, fmt.Errorf("HTTP path: %w", err)
	}
	target.Scheme, target.Host = base.Scheme, base.Host // a path such as //x names no host
	return target, nil
}

type httpHead struct {
	status   int
	location string
	length   int64 // of the body in bytes; -1 when the head does not say it
	chunked  bool
	date     time.Time // the server's clock; zero when the head does not say it
}

// isBusy tells whether the same request may be answered otherwise soon.
func (h httpHead) isBusy() bool { return h.status >= 500 || h.status == 429 || h.status == 408 }

func (h httpHead) redirects() bool {
	switch h.status {
	case 301, 302, 303, 307, 308:
		return h.location != ""
	}
	return false
}

func fetchHead(ctx context.Context, target *url.URL, headers []headerSpec) (head httpHead, err error) {
	err = exchange(ctx, requestText("GET", target, headers, ""), target, nil, func(answer io.Reader) error {
		head, err = readHead(bufio.NewReader(&io.LimitedReader{R: answer, N: headLimit}))
		return err
	})
	return head, err
}

// exchange sends a request, and has the answer read before the context ends. Without a trust TLS verifies nothing.
func exchange(ctx context.Context, request string, target *url.URL, trust *trust, read func(answer io.Reader) error) error {
	connection, err := connect(ctx, target, trust)
	if err != nil {
		return err
	}
	defer connection.Close()
	stop := context.AfterFunc(ctx, func() { connection.Close() })
	defer stop()
	if _, err := io.WriteString(connection, request); err != nil {
		return err
	}
	return read(connection)
}

func connect(ctx context.Context, target *url.URL, trust *trust) (net.Conn, error) {
	port, err := strconv.Atoi(target.Port())
	if err != nil {
		port = map[string]int{"http": 80, "https": 443}[target.Scheme]
	}
	connection, err := dial(ctx, target.Hostname(), port)
	if err != nil || target.Scheme != "https" {
		return connection, err
	}
	return secure(ctx, connection, target.Hostname(), trust)
}

// requestText lets the Pod's headers replace the usual ones; an empty one removes it, as in Kubernetes.
func requestText(method string, target *url.URL, headers []headerSpec, body string) string {
	usual := []headerSpec{{"Host", target.Host}, {"User-Agent", "i2kit-probe/" + version}, {"Accept", "*/*"}, {"Connection", "close"}}
	given := map[string]bool{}
	for _, header := range headers {
		given[strings.ToLower(header.Name)] = true
	}
	var text strings.Builder
	text.WriteString(method + " " + target.RequestURI() + " HTTP/1.1\r\n")
	for _, header := range usual {
		if name := strings.ToLower(header.Name); !given[name] || name == "connection" {
			text.WriteString(header.Name + ": " + header.Value + "\r\n")
		}
	}
	for _, header := range headers {
		if strings.ToLower(header.Name) != "connection" && header.Value != "" {
			text.WriteString(header.Name + ": " + header.Value + "\r\n")
		}
	}
	if body != "" {
		text.WriteString("Content-Length: " + strconv.Itoa(len(body)) + "\r\n")
	}
	text.WriteString("\r\n" + body)
	return text.String()
}

// readHead reads the head of the final answer; interim ones (1xx) are skipped.
func readHead(reader *bufio.Reader) (httpHead, error) {
	for {
		line, err := reader.ReadString('\n')
		if err != nil {
			return httpHead{}, headError(err)
		}
		head := httpHead{length: -1}
		if head.status, err = parseStatus(line); err != nil {
			return httpHead{}, err
		}
		for {
			line, err := reader.ReadString('\n')
			if err != nil {
				return httpHead{}, headError(err)
			}
			line = strings.TrimRight(line, "\r\n")
			if line == "" {
				break
			}
			name, value, _ := strings.Cut(line, ":")
			if err := head.note(strings.ToLower(name), strings.TrimSpace(value)); err != nil {
				return httpHead{}, err
			}
		}
		if head.status >= 200 || head.status == 101 {
			return head, nil
		}
	}
}

func (h *httpHead) note(name, value string) (err error) {
	switch name {
	case "location":
		h.location = value
	case "content-length":
		if h.length, err = strconv.ParseInt(value, 10, 64); err != nil || h.length < 0 {
			return errors.New("the length of the HTTP answer is no number")
		}
	case "date":
		h.date, _ = time.Parse("Mon, 02 Jan 2006 15:04:05 GMT", value) // whoever needs it finds it zero
	case "transfer-encoding":
		h.chunked = strings.EqualFold(value, "chunked")
	}
	return nil
}

func headError(err error) error {
	if errors.Is(err, io.EOF) {
		return errors.New("the HTTP answer is cut off or its head too long")
	}
	return err
}

func parseStatus(line string) (int, error) {
	protocol, rest, _ := strings.Cut(strings.TrimRight(line, "\r\n"), " ")
	digits, _, _ := strings.Cut(rest, " ")
	status, err := strconv.Atoi(digits)
	if err != nil || !strings.HasPrefix(protocol, "HTTP/1.") || len(digits) != 3 || status < 100 {
		return 0, errors.New("the answer is not HTTP")
	}
	return status, nil
}
