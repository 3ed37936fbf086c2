package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"
)

const groupsDocument = `{"schema": 1, "fields": {"metadata.namespace": "shop"}, "secrets": {"db": {"password": "Y2FuYXJ5"}}}`

// A fakeCloud is a metadata service with a fault or two. It complains of every question that the real one would not like.
type fakeCloud struct {
	t       *testing.T
	answers map[string]string
	date    time.Time // of its clock, unless it is the test's

	mu     sync.Mutex
	token  string
	faults map[string][]func(http.ResponseWriter) // by path, the next first
	asked  []string
}

func (c *fakeCloud) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	c.asked = append(c.asked, r.Method+" "+r.URL.Path)
	fault := c.nextFault(r.URL.Path)
	c.mu.Unlock()
	if r.Header.Get("X-Forwarded-For") != "" || r.Host == "" {
		c.t.Errorf("headers %v of host %q", r.Header, r.Host)
	}
	if !c.date.IsZero() {
		w.Header().Set("Date", c.date.UTC().Format(http.TimeFormat))
	}
	if fault != nil {
		fault(w)
		return
	}
	text, ok := c.answers[r.URL.Path]
	if !ok {
		http.NotFound(w, r)
		return
	}
	io.WriteString(w, text)
}

func (c *fakeCloud) nextFault(path string) func(http.ResponseWriter) {
	if len(c.faults[path]) == 0 {
		return nil
	}
	fault := c.faults[path][0]
	c.faults[path] = c.faults[path][1:]
	return fault
}

func status(code int) func(http.ResponseWriter) {
	return func(w http.ResponseWriter) { w.WriteHeader(code) }
}

func always(fault func(http.ResponseWriter)) []func(http.ResponseWriter) {
	faults := make([]func(http.ResponseWriter), 1000)
	for i := range faults {
		faults[i] = fault
	}
	return faults
}

func hangUp(w http.ResponseWriter) {
	connection, _, _ := w.(http.Hijacker).Hijack()
	connection.Close()
}

// cutOff promises more than it sends.
func cutOff(w http.ResponseWriter) {
	w.Header().Set("Content-Length", "1000")
	io.WriteString(w, groupsDocument)
	w.(http.Flusher).Flush()
	hangUp(w)
}

func inChunks(w http.ResponseWriter) {
	for _, part := range []string{groupsDocument[:7], groupsDocument[7:]} {
		io.WriteString(w, part)
		w.(http.Flusher).Flush()
	}
}

func tooMuch(w http.ResponseWriter) {
	w.Header().Set("Content-Length", fmt.Sprint(bootConfigLimit+1))
	io.WriteString(w, strings.Repeat("x", bootConfigLimit+1))
}

func tooMuchInChunks(w http.ResponseWriter) {
	for range bootConfigLimit/1024 + 1 {
		io.WriteString(w, strings.Repeat("x", 1024))
	}
}

// A reading is a reader of the guest and a cloud that suits it.
type reading struct {
	read     func(*metadataService, context.Context) (*bootConfig, error)
	guard    func(c *fakeCloud, next http.Handler) http.Handler
	identity string // where the cloud tells the VM's name
	document string // where the cloud has the boot configuration
	answers  map[string]string
}

const identityText = "i-0123456789abcdef0"

var readings = map[string]reading{
	"aws": {
		read: (*metadataService).readAWS, guard: onlyVersion2,
		identity: "/latest/meta-data/instance-id", document: "/latest/user-data",
		answers: map[string]string{"/latest/meta-data/instance-id": identityText},
	},
	"gcp": {
		read: (*metadataService).readGCP, guard: onlyWithFlavor,
		identity: "/computeMetadata/v1/instance/name", document: "/computeMetadata/v1/instance/attributes/i2kit-boot",
		answers: map[string]string{"/computeMetadata/v1/instance/name": identityText + "\n"},
	},
	"openstack": {
		read: (*metadataService).readOpenStack, guard: func(_ *fakeCloud, next http.Handler) http.Handler { return next },
		identity: "/openstack/latest/meta_data.json", document: "/openstack/latest/user_data",
		answers: map[string]string{"/openstack/latest/meta_data.json": `{"uuid": "83679162-1378-4288-a2d4-70e13ec132aa", "name": "` + identityText + `", "keys": []}`},
	},
}

// onlyVersion2 is EC2 with version 1 of its service switched off.
func onlyVersion2(c *fakeCloud, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c.mu.Lock()
		token := c.token
		c.mu.Unlock()
		switch {
		case r.URL.Path == "/latest/api/token":
			if r.Method != "PUT" || r.Header.Get("X-aws-ec2-metadata-token-ttl-seconds") == "" || r.ContentLength != 0 {
				c.t.Errorf("%s for a token, headers %v", r.Method, r.Header)
			}
			next.ServeHTTP(w, r)
		case r.Header.Get("X-aws-ec2-metadata-token") != token || r.Method != "GET":
			w.WriteHeader(http.StatusUnauthorized)
		default:
			next.ServeHTTP(w, r)
		}
	})
}

func onlyWithFlavor(c *fakeCloud, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Metadata-Flavor") != "Google" {
			c.t.Errorf("no Metadata-Flavor: headers %v", r.Header)
		}
		next.ServeHTTP(w, r)
	})
}

func patienceOf(t *testing.T) patience {
	return patience{whole: patient, once: patient, pause: 20 * time.Millisecond, complain: func(reason string) { t.Log(reason) }}
}

// start gives a service that is impatient enough for a test.
func (r reading) start(t *testing.T, change func(c *fakeCloud)) (*metadataService, *fakeCloud) {
	t.Helper()
	c := &fakeCloud{t: t, token: "t0k3n==", answers: map[string]string{r.document: groupsDocument, "/latest/api/token": "t0k3n=="}}
	for path, text := range r.answers {
		c.answers[path] = text
	}
	c.faults = map[string][]func(http.ResponseWriter){}
	change(c)
	server := httptest.NewServer(r.guard(c, c))
	t.Cleanup(server.Close)
	return &metadataService{base: server.URL, about: "boot configuration", patience: patienceOf(t)}, c
}

func forEveryCloud(t *testing.T, test func(t *testing.T, r reading)) {
	for name, r := range readings {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, r)
		})
	}
}

func TestTheCloudNamesAVMWhoseGroupHasOneBootConfiguration(t *testing.T) {
	forEveryCloud(t, func(t *testing.T, r reading) {
		service, _ := r.start(t, func(*fakeCloud) {})
		boot, err := r.read(service, context.Background())
		if err != nil {
			t.Fatal(err)
		}
		name, _ := boot.field("metadata.name", "")
		namespace, _ := boot.field("metadata.namespace", "")
		password, _ := boot.secret("db", "password")
		if got := []string{boot.Instance, boot.Hostname, name, namespace, password}; strings.Join(got, " ") != identityText+" "+identityText+" "+identityText+" shop canary" {
			t.Errorf("got %q", got)
		}
	})
}

func TestABootConfigurationThatNamesItsVMIsBelieved(t *testing.T) {
	forEveryCloud(t, func(t *testing.T, r reading) {
		service, _ := r.start(t, func(c *fakeCloud) {
			c.answers[r.document] = `{"schema": 1, "instance": "db-0", "hostname": "db-0.shop", "fields": {"metadata.name": "db"}}`
		})
		boot, err := r.read(service, context.Background())
		if err != nil || boot.Instance != "db-0" || boot.Hostname != "db-0.shop" || boot.Fields["metadata.name"] != "db" {
			t.Errorf("%+v %v", boot, err)
		}
	})
}

func TestAServiceThatRecoversIsAskedAgain(t *testing.T) {
	forEveryCloud(t, func(t *testing.T, r reading) {
		service, c := r.start(t, func(c *fakeCloud) {
			c.faults[r.identity] = append(c.faults[r.identity], status(404), status(503), hangUp)
			c.faults[r.document] = append(c.faults[r.document], status(429), cutOff, status(500), inChunks)
		})
		var reasons []string
		service.complain = func(reason string) { reasons = append(reasons, reason) }
		boot, err := r.read(service, context.Background())
		if err != nil || boot.Instance != identityText {
			t.Fatalf("%+v %v", boot, err)
		}
		if len(reasons) != 2 || !strings.Contains(reasons[0], r.identity+": HTTP status 404: the metadata service does not know this VM") {
			t.Errorf("it said %q", reasons)
		}
		counts := map[string]int{}
		for _, question := range c.asked {
			counts[question]++
		}
		if counts["GET "+r.identity] != 4 || counts["GET "+r.document] != 4 {
			t.Errorf("asked %v", counts)
		}
	})
}

func TestAFinalAnswerIsNotAskedForAgain(t *testing.T) {
	forEveryCloud(t, func(t *testing.T, r reading) {
		for _, one := range []struct {
			want   string
			change func(c *fakeCloud)
		}{
			{r.document + ": HTTP status 404: the", func(c *fakeCloud) { delete(c.answers, r.document) }},
			{r.document + ": HTTP status 403", func(c *fakeCloud) { c.faults[r.document] = always(status(403)) }},
			{r.document + ": HTTP status 302", func(c *fakeCloud) { c.faults[r.document] = always(status(302)) }},
			{r.document + ": the answer is longer than 524288 bytes", func(c *fakeCloud) { c.faults[r.document] = always(tooMuch) }},
			{r.document + ": the answer is longer than 524288 bytes", func(c *fakeCloud) { c.faults[r.document] = always(tooMuchInChunks) }},
			{"boot configuration: invalid character '#'", func(c *fakeCloud) { c.answers[r.document] = "#cloud-config\nsecret: canary" }},
			{`instance: "a/b" is no DNS label`, func(c *fakeCloud) { c.answers[r.document] = `{"schema": 1, "instance": "a/b"}` }},
			{"secrets.s.k: is not base64", func(c *fakeCloud) { c.answers[r.document] = `{"schema": 1, "secrets": {"s": {"k": "canary!"}}}` }},
		} {
			service, c := r.start(t, one.change)
			_, err := r.read(service, context.Background())
			if err == nil || !strings.Contains(err.Error(), one.want) || strings.Contains(err.Error(), "canary") || strings.Contains(err.Error(), c.token) {
				t.Errorf("got %v, want %q", err, one.want)
			}
			if times := strings.Count(strings.Join(c.asked, "\n"), r.document); times > 1 {
				t.Errorf("%s: asked %d times", one.want, times)
			}
		}
	})
}

func TestABusyServiceIsAskedUntilTheEndComes(t *testing.T) {
	forEveryCloud(t, func(t *testing.T, r reading) {
		service, _ := r.start(t, func(c *fakeCloud) { c.faults[r.document] = always(status(503)) })
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		service.complain = func(string) { cancel() }
		_, err := r.read(service, ctx)
		if err == nil || !strings.HasSuffix(err.Error(), r.document+": HTTP status 503; no better answer within 30s") {
			t.Error(err)
		}
	})
}

func TestAnAnswerThatDoesNotComeIsNotWaitedForLong(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0") // takes connections, and says nothing
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	service := &metadataService{ // the patience must end before the test's does
		base:     "http://" + listener.Addr().String(),
		patience: patience{whole: 300 * time.Millisecond, once: 50 * time.Millisecond, pause: usualPause, complain: func(string) {}},
	}
	_, err = service.readOpenStack(context.Background())
	want := "meta_data.json: no answer within 50ms; no better answer within 300ms (and there is no config drive)"
	if err == nil || !strings.HasSuffix(err.Error(), want) {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestAWSIsAskedWithATokenOnly(t *testing.T) {
	r := readings["aws"]
	for want, change := range map[string]func(c *fakeCloud){
		"instance-id: HTTP status 401": func(c *fakeCloud) { c.token = "another" },
		"api/token: HTTP status 403":   func(c *fakeCloud) { c.faults["/latest/api/token"] = always(status(403)) },
		"cannot stand in a header":     func(c *fakeCloud) { c.answers["/latest/api/token"] = "t0k3n==\r\nX: y" },
	} {
		service, c := r.start(t, change)
		_, err := r.read(service, context.Background())
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "t0k3n") {
			t.Errorf("got %v, want %q", err, want)
		}
		if c.asked[0] != "PUT /latest/api/token" || len(c.asked) > 2 {
			t.Errorf("asked %q", c.asked)
		}
	}
}

func TestAServerWhoseNameIsNoHostNameHasItsID(t *testing.T) {
	for _, name := range []string{"My Server", "", "web_1"} {
		metadata := fmt.Sprintf(`{"uuid": "83679162-1378-4288-a2d4-70e13ec132aa", "name": %q}`, name)
		boot, err := openStackBootConfig([]byte(metadata), []byte(groupsDocument))
		if err != nil || boot.Instance != "83679162-1378-4288-a2d4-70e13ec132aa" {
			t.Errorf("%q: %+v %v", name, boot, err)
		}
	}
	if _, err := openStackBootConfig([]byte("<html>"), []byte(groupsDocument)); err == nil || !strings.Contains(err.Error(), "meta_data.json") {
		t.Error(err)
	}
}

func TestDamagedAnswersAreNoBootConfiguration(t *testing.T) {
	const head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
	for answer, want := range map[string]string{
		head + "3\r\nabc\r\n0\r\n\r\n":                    "abc",
		head + "3;x=y\r\nabc\r\n1 \r\nd\r\n0\r\n\r\n":     "abcd",
		head + "3\r\nabc":                                 "cut off",
		head + "3\r\nabc\r\n":                             "cut off",
		head + "3\r\nabcd\r\n0\r\n\r\n":                   "damaged",
		head + "x\r\n":                                    "damaged",
		head + "-3\r\nabc\r\n":                            "damaged",
		head + "1\r\na\r\n7fffffffffffffff\r\n":           "longer than",
		"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n":   "no number",
		"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc": "abc",
		"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nabc": "ab",
		"HTTP/1.1 200 OK\r\n\r\nabc":                      "abc",
		"SSH-2.0-x\r\n":                                   "not HTTP",
	} {
		body, err := new(metadataService).read(&question{}, bufio.NewReader(strings.NewReader(answer)))
		if got := fmt.Sprint(string(body), err); err == nil && string(body) != want || err != nil && !strings.Contains(got, want) {
			t.Errorf("%q gives %q, want %q", answer, got, want)
		}
	}
}

func TestAnAnswerWithoutLengthIsBoundedToo(t *testing.T) {
	for text, fits := range map[string]bool{"abc": true, "abcd": false} {
		body, err := readBody(bufio.NewReader(strings.NewReader(text)), httpHead{length: -1}, 3)
		if fits != (err == nil) || fits && string(body) != text {
			t.Errorf("%q gives %q %v", text, body, err)
		}
	}
}
