package main

import (
	"context"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// A fakeStore is a parameter store that wants its requests signed, over TLS, and has a fault or two.
type fakeStore struct {
	t      *testing.T
	found  []parameter
	server *httptest.Server
	cloud  *fakeCloud
	secret string        // the key that signatures must be made with
	ahead  time.Duration // of its clock

	mu     sync.Mutex
	faults []func(http.ResponseWriter) // the next first
	asked  int
}

const rolePath = "/latest/meta-data/iam/security-credentials/"

func keysText(secret string) string {
	return `{"Code": "Success", "Type": "AWS-HMAC", "AccessKeyId": "ASIAEXAMPLE", "SecretAccessKey": "` + secret + `", "Token": "t0k3n-of-the-role"}`
}

func newFakeStore(t *testing.T) (*fakeStore, *parameterReader) {
	t.Helper()
	if !knowsHTTPS {
		t.Skip("built without HTTPS (tag nohttps)")
	}
	s := &fakeStore{t: t, secret: "s3cr3t/k3y", found: cut(secretPath, "password", strings.Repeat("canary", 30), 8)}
	service, cloud := readings["aws"].start(t, func(c *fakeCloud) {
		c.answers[rolePath] = "web-role\n"
		c.answers[rolePath+"web-role"] = keysText(s.secret)
	})
	service.about = "secrets"
	s.cloud = cloud
	s.server = httptest.NewTLSServer(s)
	t.Cleanup(s.server.Close)
	roots := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.server.Certificate().Raw}))
	store := &parameterStore{Region: "eu-west-1", Endpoint: s.server.URL, CA: roots, Secrets: map[string]string{"db": secretPath}}
	reader, err := newParameterReader(store, "", func(reason string) { t.Log(reason) })
	if err != nil {
		t.Fatal(err)
	}
	reader.patience, reader.metadata = patienceOf(t), service
	return s, reader
}

func (s *fakeStore) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked++
	body, _ := io.ReadAll(r.Body)
	w.Header().Set("Date", time.Now().Add(s.ahead).UTC().Format(http.TimeFormat))
	if len(s.faults) > 0 {
		fault := s.faults[0]
		s.faults = s.faults[1:]
		fault(w)
		return
	}
	if refused := s.refuse(r, string(body)); refused != nil {
		refused(w)
		return
	}
	s.page(w, body)
}

// refuse is how AWS looks at a signature: its time first. What is signed is held to AWS's documentation elsewhere.
func (s *fakeStore) refuse(r *http.Request, body string) func(http.ResponseWriter) {
	at, err := time.Parse(signatureTime, r.Header.Get("X-Amz-Date"))
	if off := time.Now().Add(s.ahead).Sub(at); err != nil || off.Abs() > 5*time.Minute {
		return refusing("InvalidSignatureException", "Signature expired: "+r.Header.Get("X-Amz-Date")+" is now earlier than it may be")
	}
	keys := &credentials{AccessKeyID: "ASIAEXAMPLE", SecretAccessKey: s.secret, Token: "t0k3n-of-the-role"}
	signer := signer{keys: keys, region: "eu-west-1", service: "ssm"}
	target := *r.URL
	target.Host = r.Host
	want := signer.sign(r.Method, &target, []headerSpec{
		{"Content-Type", r.Header.Get("Content-Type")}, {"X-Amz-Target", r.Header.Get("X-Amz-Target")},
	}, body, at)
	if r.Header.Get("Authorization") != headerOf(want, "Authorization") || r.Header.Get("X-Amz-Target") != "AmazonSSM.GetParametersByPath" {
		return refusing("InvalidSignatureException", "The request signature we calculated does not match\nx-amz-security-token:t0k3n-of-the-role")
	}
	return nil
}

func (s *fakeStore) page(w http.ResponseWriter, body []byte) {
	asked := parametersRequest{}
	if err := json.Unmarshal(body, &asked); err != nil || !asked.Recursive || !asked.WithDecryption || asked.MaxResults != 10 || asked.Path != secretPath {
		s.t.Errorf("asked %s", body)
	}
	first := 0
	fmt.Sscanf(asked.NextToken, "from %d", &first)
	last := min(first+asked.MaxResults, len(s.found))
	page := parametersPage{Parameters: s.found[first:last]}
	if last < len(s.found) {
		page.NextToken = fmt.Sprintf("from %d", last)
	}
	text, _ := json.Marshal(page)
	w.Write(text)
}

func refusing(kind, message string) func(http.ResponseWriter) {
	return func(w http.ResponseWriter) {
		w.WriteHeader(http.StatusBadRequest)
		json.NewEncoder(w).Encode(map[string]string{"__type": "com.amazonaws.ssm#" + kind, "message": message})
	}
}

func TestSecretsAreReadPageByPage(t *testing.T) {
	s, reader := newFakeStore(t)
	secrets, err := reader.read(context.Background())
	if err != nil || secrets["db"]["password"] != strings.Repeat("canary", 30) {
		t.Errorf("%v", err)
	}
	if s.asked != 3 || len(s.found) != 30 {
		t.Errorf("%d parameters in %d pages", len(s.found), s.asked)
	}
	want := []string{"PUT /latest/api/token", "GET " + rolePath, "GET " + rolePath + "web-role"}
	if !slices.Equal(s.cloud.asked, want) {
		t.Errorf("the metadata service was asked %q", s.cloud.asked)
	}
}

func TestWhatComesLateAfterABootIsAskedForAgain(t *testing.T) {
	s, reader := newFakeStore(t)
	s.cloud.faults[rolePath] = append(s.cloud.faults[rolePath], status(404), status(404))
	s.cloud.faults[rolePath+"web-role"] = append(s.cloud.faults[rolePath+"web-role"], status(404), func(w http.ResponseWriter) {
		io.WriteString(w, `{"Code": "AssumeRoleUnauthorizedAccess"}`)
	})
	s.faults = []func(http.ResponseWriter){
		refusing("AccessDeniedException", "User: arn:aws:sts::1:assumed-role/web-role/i-0 is not authorized"), refusing("UnrecognizedClientException", ""),
		refusing("ExpiredTokenException", ""), refusing("ThrottlingException", "Rate exceeded"), status(503), hangUp, cutOff,
	}
	var reasons []string
	reader.complain = func(reason string) { reasons = append(reasons, reason) }
	secrets, err := reader.read(context.Background())
	if err != nil || secrets["db"]["password"] != strings.Repeat("canary", 30) {
		t.Fatal(err)
	}
	if s.asked != 3+7 || len(reasons) != 1 || !strings.HasSuffix(reasons[0], rolePath+": HTTP status 404: the instance has no role") {
		t.Errorf("asked %d times, said %q", s.asked, reasons)
	}
	// Once until there are some, and once for each time that the role was not known well enough.
	if times := strings.Count(strings.Join(s.cloud.asked, "\n"), "PUT"); times != 5+3 {
		t.Errorf("credentials were asked for %d times", times)
	}
}

func TestWhatWillNotChangeIsFatalAtOnceAndSaysWhatCameBack(t *testing.T) {
	const asked = "secrets: GetParametersByPath " + secretPath + " of https://127.0.0.1:"
	for want, change := range map[string]func(s *fakeStore, reader *parameterReader){
		"HTTP status 400: ValidationException: no such thing": func(s *fakeStore, _ *parameterReader) {
			s.faults = always(refusing("ValidationException", "no such thing"))
		},
		"HTTP status 400: InvalidKeyId: made with ...": func(s *fakeStore, _ *parameterReader) {
			s.faults = always(refusing("InvalidKeyId", "made with "+s.secret))
		},
		"InvalidSignatureException: The request signature we calculated does not match": func(s *fakeStore, _ *parameterReader) {
			s.secret = "another"
		},
		"HTTP status 302": func(s *fakeStore, _ *parameterReader) { s.faults = always(status(302)) },
		"the answer is damaged": func(s *fakeStore, _ *parameterReader) {
			s.faults = always(func(w http.ResponseWriter) { io.WriteString(w, `{"Parameters": [{"Name": 1, "Value": "Y2FuYXJ5"}`) })
		},
		"certificate signed by unknown authority": func(_ *fakeStore, reader *parameterReader) { reader.trust.roots = "" },
		"not localhost": func(_ *fakeStore, reader *parameterReader) {
			reader.target.Host = strings.Replace(reader.target.Host, "127.0.0.1", "localhost", 1)
		},
	} {
		s, reader := newFakeStore(t)
		change(s, reader)
		_, err := reader.read(context.Background())
		if err == nil || !strings.HasPrefix(err.Error(), asked) || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
			continue
		}
		for _, secret := range []string{"canary", "Y2Fu", "t0k3n", "s3cr3t", "x-amz-security-token"} {
			if strings.Contains(err.Error(), secret) {
				t.Errorf("it tells a secret: %v", err)
			}
		}
		if s.asked > 1 || strings.Contains(err.Error(), "no better answer") {
			t.Errorf("asked %d times: %v", s.asked, err)
		}
	}
}

func TestARoleThatIsRefusedForGoodIsReportedInTheEnd(t *testing.T) {
	s, reader := newFakeStore(t)
	s.faults = always(refusing("AccessDeniedException", "User: web-role is not authorized to perform: ssm:GetParametersByPath"))
	reader.whole = 500 * time.Millisecond
	_, err := reader.read(context.Background())
	if err == nil || !strings.HasSuffix(err.Error(), "AccessDeniedException: User: web-role is not authorized to perform: ssm:GetParametersByPath; no better answer within 500ms") {
		t.Error(err)
	}
	if s.asked < 2 {
		t.Errorf("asked %d times", s.asked)
	}
}

func TestAMetadataServiceThatHasNoCredentialsIsReportedInTheEnd(t *testing.T) {
	for want, change := range map[string]func(c *fakeCloud){
		rolePath + ": HTTP status 404: the instance has no role; no better": func(c *fakeCloud) { delete(c.answers, rolePath) },
		"web-role: the answer is damaged":                                   func(c *fakeCloud) { c.answers[rolePath+"web-role"] = `{"Token": canary` },
		`web-role: the role has no credentials: "Failed"`:                   func(c *fakeCloud) { c.answers[rolePath+"web-role"] = `{"Code": "Failed"}` },
		`web-role: the role has no credentials: "Old"`: func(c *fakeCloud) {
			c.answers[rolePath+"web-role"] = strings.Replace(c.answers[rolePath+"web-role"], "Success", "Old", 1)
		},
		`web-role: the role has no credentials: "Success"`: func(c *fakeCloud) {
			c.answers[rolePath+"web-role"] = keysText("canary\\r\\n")
		},
		rolePath + ": the answer names no role": func(c *fakeCloud) { c.answers[rolePath] = "../../user-data" },
	} {
		s, reader := newFakeStore(t)
		change(s.cloud)
		reader.whole = 300 * time.Millisecond
		if _, err := reader.read(context.Background()); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "canary") {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	s, reader := newFakeStore(t)
	s.cloud.token = "another"
	if _, err := reader.read(context.Background()); err == nil || !strings.HasSuffix(err.Error(), rolePath+": HTTP status 401") {
		t.Error(err)
	}
}

func TestAClockThatIsWrongIsSetOnceByTheService(t *testing.T) {
	for ahead, want := range map[time.Duration]string{time.Hour: "1h0m0s behind", -7 * time.Minute: "7m0s ahead"} {
		s, reader := newFakeStore(t)
		s.ahead = ahead
		var reasons []string
		reader.complain = func(reason string) { reasons = append(reasons, reason) }
		if _, err := reader.read(context.Background()); err != nil {
			t.Fatal(err)
		}
		if s.asked != 4 || len(reasons) != 1 || reasons[0] != "secrets: this VM's clock is "+want+", and the service's is used" {
			t.Errorf("asked %d times, said %q", s.asked, reasons)
		}
	}
	s, reader := newFakeStore(t)
	expire := func(w http.ResponseWriter) {
		s.ahead += time.Hour // its clock runs away
		w.Header().Set("Date", time.Now().Add(s.ahead).UTC().Format(http.TimeFormat))
		refusing("InvalidSignatureException", "Signature expired")(w)
	}
	firstPage := func(w http.ResponseWriter) {
		s.page(w, []byte(`{"Path": "`+secretPath+`", "Recursive": true, "WithDecryption": true, "MaxResults": 10}`))
	}
	s.faults = []func(http.ResponseWriter){expire, firstPage, expire}
	if _, err := reader.read(context.Background()); err == nil || !strings.HasSuffix(err.Error(), "InvalidSignatureException: Signature expired") || s.asked != 3 {
		t.Errorf("asked %d times: %v", s.asked, err)
	}
}

func TestACertificateThatIsOutOfDateIsBelievedWhenTheMetadataServiceKnowsTheTime(t *testing.T) {
	// The test's own clock is right, so the guest's is made wrong by as much as the service is ahead of it.
	s, reader := newFakeStore(t)
	wrong := s.server.Certificate().NotAfter.Sub(time.Now()) + time.Hour
	reader.clock.ahead = wrong
	if _, err := reader.read(context.Background()); err != nil {
		t.Error(err)
	}
	s, reader = newFakeStore(t)
	reader.clock.ahead = wrong
	s.cloud.date = time.Now().Add(wrong) // it says the same
	if _, err := reader.read(context.Background()); err == nil || !strings.Contains(err.Error(), "certificate has expired") || s.asked != 0 {
		t.Errorf("asked %d times: %v", s.asked, err)
	}
}

func TestSecretsAreOnlyReadWhereSomeoneVouchesForTheServer(t *testing.T) {
	store := &parameterStore{Region: "eu-west-1", Endpoint: "https://ssm.example", Secrets: map[string]string{"db": secretPath}}
	if _, err := newParameterReader(store, "", func(string) {}); err == nil || !strings.Contains(err.Error(), "this image no root certificates") {
		t.Error(err)
	}
	for _, ca := range []string{"", "own"} {
		store.CA = ca
		reader, err := newParameterReader(store, "the image's", func(string) {})
		if err != nil || reader.trust.roots != map[string]string{"": "the image's", "own": "own"}[ca] {
			t.Errorf("%+v %v", reader.trust, err)
		}
	}
}
