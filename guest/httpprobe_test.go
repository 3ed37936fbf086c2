package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"
)

func specFor(t *testing.T, server, path string) *httpSpec {
	t.Helper()
	target, err := url.Parse(server)
	if err != nil {
		t.Fatal(err)
	}
	port, _ := strconv.Atoi(target.Port())
	return &httpSpec{Scheme: strings.ToUpper(target.Scheme), Port: port, Path: path}
}

func probeFor(t *testing.T, spec *httpSpec) error {
	t.Helper()
	ctx, stop := context.WithTimeout(t.Context(), 5*time.Second)
	defer stop()
	return probeHTTP(ctx, spec)
}

func application(t *testing.T) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/status/{code}", func(w http.ResponseWriter, r *http.Request) {
		code, _ := strconv.Atoi(r.PathValue("code"))
		w.WriteHeader(code)
	})
	mux.HandleFunc("/to", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Location", r.URL.Query().Get("url"))
		w.WriteHeader(http.StatusFound)
	})
	mux.HandleFunc("/loop", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/loop", http.StatusFound) })
	mux.HandleFunc("/early", func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusEarlyHints)
		w.WriteHeader(http.StatusServiceUnavailable)
	})
	mux.HandleFunc("/big", func(w http.ResponseWriter, r *http.Request) { io.Copy(w, io.LimitReader(zeros{}, 1<<20)) })
	mux.HandleFunc("/head", func(w http.ResponseWriter, r *http.Request) { w.Header().Set("X", strings.Repeat("x", 100_000)) })
	mux.HandleFunc("/headers", func(w http.ResponseWriter, r *http.Request) {
		if r.Host != "app.example" || r.Header.Get("X") != "y" || r.URL.RawQuery != "a=b" || r.Header.Get("User-Agent") != "me" {
			t.Errorf("host %q, headers %v, query %q", r.Host, r.Header, r.URL.RawQuery)
		}
	})
	return mux
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }

func TestHTTPProbesSucceedFrom200To399(t *testing.T) {
	server := httptest.NewServer(application(t))
	defer server.Close()
	for path, want := range map[string]string{
		"/status/200": "", "/status/204": "", "/status/304": "", "/status/399": "", "/big": "",
		"/status/400": "HTTP status 400", "/status/404": "HTTP status 404", "/status/500": "HTTP status 500", "/nothing": "HTTP status 404",
		"/early":              "HTTP status 503",
		"/head":               "head too long",
		"/to?url=/status/200": "", "/to?url=/status/500": "HTTP status 500", "/to?url=status/404": "HTTP status 404",
		"/to?url=http://elsewhere.example/status/500": "", "/to?url=": "",
		"/to?url=/to%3Furl%3D/status/500": "HTTP status 500",
		"/loop":                           "more than 10 HTTP redirects",
		"//elsewhere.example/status/200":  "", // still this host
	} {
		err := probeFor(t, specFor(t, server.URL, path))
		if (want == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", path, err, want)
		}
	}
}

func TestHTTPProbesSendTheirHeaders(t *testing.T) {
	server := httptest.NewServer(application(t))
	defer server.Close()
	spec := specFor(t, server.URL, "/headers?a=b")
	spec.Headers = []headerSpec{{"Host", "app.example"}, {"X", "y"}, {"user-agent", "me"}, {"Accept", ""}}
	if err := probeFor(t, spec); err != nil {
		t.Error(err)
	}
	text := requestText("GET", &url.URL{Scheme: "http", Host: "127.0.0.1:80", Path: "/a b"}, spec.Headers, "")
	if strings.Contains(text, "Accept") || !strings.HasPrefix(text, "GET /a%20b HTTP/1.1\r\n") || !strings.HasSuffix(text, "\r\n\r\n") {
		t.Errorf("%q", text)
	}
}

func TestHTTPSProbesVerifyNothing(t *testing.T) {
	if !knowsHTTPS {
		t.Skip("built without HTTPS (tag nohttps)")
	}
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		server := httptest.NewUnstartedServer(application(t))
		server.TLS = &tls.Config{MinVersion: version, MaxVersion: version}
		server.StartTLS()
		if err := probeFor(t, specFor(t, server.URL, "/status/200")); err != nil {
			t.Errorf("version %x: %v", version, err)
		}
		if err := probeFor(t, specFor(t, server.URL, "/status/500")); err == nil {
			t.Error("status 500 was a success")
		}
		plain := specFor(t, server.URL, "/status/200")
		plain.Scheme = "HTTP"
		if err := probeFor(t, plain); err == nil {
			t.Error("plain HTTP to a TLS server was a success")
		}
		server.Close()
	}
}

// serveRaw answers every connection with a text and then does as it is told.
func serveRaw(t *testing.T, text string, then func(net.Conn)) *httpSpec {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			connection, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer connection.Close()
				http.ReadRequest(bufio.NewReader(connection))
				io.WriteString(connection, text)
				then(connection)
			}()
		}
	}()
	return &httpSpec{Scheme: "HTTP", Port: listener.Addr().(*net.TCPAddr).Port, Path: "/"}
}

func TestHTTPProbesFailOnWhatIsNoAnswer(t *testing.T) {
	for text, want := range map[string]string{
		"":                               "cut off",
		"SSH-2.0-x\r\n":                  "not HTTP",
		"HTTP/1.1 OK\r\n\r\n":            "not HTTP",
		"HTTP/1.1 20 OK\r\n\r\n":         "not HTTP",
		"HTTP/1.1 200 OK\r\nContent-":    "cut off",
		"HTTP/1.1 100 Continue\r\n\r\n":  "cut off",
		"HTTP/1.1 200 OK\r\n\r\n":        "",
		"HTTP/1.0 200\r\n\r\n":           "",
		"HTTP/1.1 200 OK\nA: b\n\nhello": "",
	} {
		err := probeFor(t, serveRaw(t, text, func(net.Conn) {}))
		if (want == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %q", text, err, want)
		}
	}
}

func TestAnHTTPServerThatHangsTimesOut(t *testing.T) {
	spec := serveRaw(t, "HTTP/1.1 200 OK\r\n", func(c net.Conn) { io.Copy(io.Discard, c) })
	ctx, stop := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer stop()
	if err := probeHTTP(ctx, spec); err == nil || ctx.Err() == nil {
		t.Errorf("got %v", err)
	}
}

func TestTCPProbes(t *testing.T) {
	spec := serveRaw(t, "", func(net.Conn) {})
	if err := probeTCP(t.Context(), &tcpSpec{Port: spec.Port}); err != nil {
		t.Error(err)
	}
	closed, _ := net.Listen("tcp", "127.0.0.1:0")
	port := closed.Addr().(*net.TCPAddr).Port
	closed.Close()
	if err := probeTCP(t.Context(), &tcpSpec{Port: port}); err == nil {
		t.Error("a closed port answered")
	}
}

func startHealth(t *testing.T, h *healthServer) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go h.serve(listener)
	return listener.Addr().String()
}

// ask sends a raw request and gives the whole raw answer.
func ask(t *testing.T, address, request string) string {
	t.Helper()
	connection, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer connection.Close()
	connection.SetDeadline(time.Now().Add(10 * time.Second))
	io.WriteString(connection, request)
	answer, err := io.ReadAll(connection)
	if err != nil {
		t.Errorf("%.40q: %v", request, err)
	}
	return string(answer)
}

func TestTheHealthServerAnswers(t *testing.T) {
	ready, reason := false, "container web is not running"
	address := startHealth(t, &healthServer{verdict: func() (bool, string) { return ready, reason }})
	for request, want := range map[string]string{
		"GET /livez HTTP/1.0\r\n\r\n":                                           "HTTP/1.1 200 OK",
		"GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n":                               "HTTP/1.1 503 Service Unavailable",
		"GET /readyz?verbose HTTP/1.1\n\n":                                      "HTTP/1.1 503 Service Unavailable",
		"GET / HTTP/1.1\r\n\r\n":                                                "HTTP/1.1 404 Not Found",
		"POST /livez HTTP/1.1\r\n\r\n":                                          "HTTP/1.1 405 Method Not Allowed",
		"nonsense\r\n\r\n":                                                      "HTTP/1.1 400 Bad Request",
		"GET /livez HTTP/2.0\r\n\r\n":                                           "HTTP/1.1 400 Bad Request",
		"GET /" + strings.Repeat("x", 9000):                                     "HTTP/1.1 431",
		"GET /livez HTTP/1.1\r\nX: " + strings.Repeat("x", 20_000) + "\r\n\r\n": "HTTP/1.1 431",
	} {
		if got := ask(t, address, request); !strings.HasPrefix(got, want) {
			t.Errorf("%.40q: got %q, want %q", request, got, want)
		}
	}
	if got := ask(t, address, "GET /readyz HTTP/1.1\r\n\r\n"); !strings.HasSuffix(got, "\r\n\r\ncontainer web is not running\n") {
		t.Errorf("got %q", got)
	}
	if got := ask(t, address, "HEAD /livez HTTP/1.1\r\n\r\n"); !strings.HasSuffix(got, "\r\n\r\n") {
		t.Errorf("HEAD got a body: %q", got)
	}
	ready = true
	answer, err := http.Get("http://" + address + "/readyz")
	if err != nil || answer.StatusCode != 200 {
		t.Fatalf("%v %v", answer, err)
	}
	body, err := io.ReadAll(answer.Body)
	if err != nil || string(body) != "every container is ready\n" {
		t.Errorf("%q %v", body, err)
	}
}

type address string

func (a address) Network() string { return "tcp" }
func (a address) String() string  { return string(a) }

func TestOnlyTheNetworksThatMayAskAreAnswered(t *testing.T) {
	h := &healthServer{from: testBoot(t).healthFrom}
	for peer, want := range map[string]bool{
		"127.0.0.1:1": true, "[::1]:1": true, "[::ffff:127.0.0.1]:1": true,
		"10.88.0.1:9": true, "[::ffff:10.88.0.1]:9": true, "[fd00::7]:1": true,
		"10.88.0.2:9": false, "[::ffff:10.88.0.2]:9": false, "[fe80::1%eth0]:1": false, "nonsense": false,
	} {
		if got := h.admits(address(peer)); got != want {
			t.Errorf("%s: %v", peer, got)
		}
	}
	if everyone := (&healthServer{}); !everyone.admits(address("192.0.2.1:1")) {
		t.Error("an empty list does not mean everyone")
	}
}

func TestManySilentClientsDoNotStopTheHealthServerForLong(t *testing.T) {
	address := startHealth(t, &healthServer{verdict: func() (bool, string) { return true, "" }})
	for range clientLimit - 1 {
		silent, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		defer silent.Close()
	}
	if got := ask(t, address, "GET /livez HTTP/1.1\r\n\r\n"); !strings.HasPrefix(got, "HTTP/1.1 200") {
		t.Errorf("got %q", got)
	}
}
