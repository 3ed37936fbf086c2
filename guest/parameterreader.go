package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"
)

// A parameterReader reads the secrets of a parameter store with the credentials of the VM's role.
type parameterReader struct {
	patience
	store    *parameterStore
	target   *url.URL
	metadata *metadataService
	trust    *trust
	clock    *serviceClock
	keys     *credentials // nil until they are asked for
}

// A trust is whom a TLS connection may lead to: whoever has a certificate by one of the roots, in PEM, that is valid now.
type trust struct {
	roots string
	now   func() time.Time
}

// A serviceClock is this VM's clock, set once by a service's if it goes wrong.
type serviceClock struct {
	ahead time.Duration // of the VM's
	isSet bool
}

func (c *serviceClock) now() time.Time { return time.Now().Add(c.ahead) }

// String tells by how much this VM's own clock is wrong.
func (c *serviceClock) String() string {
	direction := "behind"
	if c.ahead < 0 {
		direction = "ahead"
	}
	return fmt.Sprintf("this VM's clock is %v %s, and the service's is used", c.ahead.Abs().Round(time.Minute), direction)
}

// set tells whether the clock was wrong, by more than what is taken for right everywhere, and is right now.
func (c *serviceClock) set(ahead time.Duration) bool {
	const tolerance = time.Minute
	if c.isSet || (ahead-c.ahead).Abs() < tolerance {
		return false
	}
	c.ahead, c.isSet = ahead, true
	return true
}

// untimely is the refusal of a certificate that is not valid yet, or any more.
type untimely struct{ error }

func newParameterReader(store *parameterStore, roots string, complain func(reason string)) (*parameterReader, error) {
	target, err := store.target()
	if err != nil {
		return nil, err
	}
	r := &parameterReader{
		// A role and its rights may take minutes to be known everywhere.
		patience: patience{whole: 3 * time.Minute, once: 10 * time.Second, pause: usualPause, complain: complain},
		store:    store, target: target, metadata: newMetadataService("secrets", complain), clock: &serviceClock{},
	}
	r.trust = &trust{roots: roots, now: r.clock.now}
	if store.CA != "" {
		r.trust.roots = store.CA
	}
	if r.trust.roots == "" {
		return nil, errors.New("secrets: parameterStore has no ca, and this image no root certificates")
	}
	return r, nil
}

// read returns the values of all secrets by name and key. No error quotes any of them.
func (r *parameterReader) read(ctx context.Context) (map[string]map[string]string, error) {
	ctx, cancel := context.WithTimeout(ctx, r.whole)
	defer cancel()
	secrets := map[string]map[string]string{}
	var wrong []error
	for _, name := range slices.Sorted(maps.Keys(r.store.Secrets)) {
		path := r.store.Secrets[name]
		found, err := r.below(ctx, path)
		if err != nil {
			return nil, err
		}
		if secrets[name], err = assemble(name, path, found); err != nil {
			wrong = append(wrong, err)
		}
	}
	return secrets, errors.Join(wrong...)
}

// A parametersRequest asks for a page of what lies below a path (AWS: "GetParametersByPath").
type parametersRequest struct {
	Path           string
	Recursive      bool
	WithDecryption bool
	MaxResults     int
	NextToken      string `json:",omitempty"`
}

type parametersPage struct {
	Parameters []parameter
	NextToken  string
}

// below returns all parameters below a path.
func (r *parameterReader) below(ctx context.Context, path string) (found []parameter, err error) {
	const pageSize = 10 // the most that the service gives
	request := parametersRequest{Path: path, Recursive: true, WithDecryption: true, MaxResults: pageSize}
	for {
		page := parametersPage{}
		if err := r.insist(ctx, func(ctx context.Context) error { return r.ask(ctx, &request, &page) }); err != nil {
			return nil, err
		}
		found = append(found, page.Parameters...)
		if page.NextToken == "" {
			return found, nil
		}
		request.NextToken = page.NextToken
	}
}

// ask asks for one page, and again where the VM's clock was all that was wrong.
func (r *parameterReader) ask(ctx context.Context, request *parametersRequest, page *parametersPage) (err error) {
	if r.keys == nil {
		if r.keys, err = r.metadata.roleCredentials(ctx); err != nil {
			return err
		}
	}
	err = r.try(ctx, request, page)
	if r.setClock(err) {
		r.complain("secrets: " + r.clock.String())
		err = r.try(ctx, request, page)
	}
	if err == nil {
		return nil
	}
	if answer := (*serviceError)(nil); errors.As(err, &answer) && answer.isOfRole() {
		r.keys = nil // newer ones may be known better
	} else if errors.As(err, &untimely{}) || answer != nil && !answer.isBusy() {
		err = refusal{err}
	}
	return fmt.Errorf("secrets: GetParametersByPath %s of %s: %w", request.Path, r.store.Endpoint, err)
}

// setClock takes over the time of whoever refused ours.
func (r *parameterReader) setClock(err error) bool {
	if answer := (*serviceError)(nil); errors.As(err, &answer) {
		return answer.isOfSignature() && !answer.date.IsZero() && r.clock.set(time.Until(answer.date))
	}
	// A server without a valid certificate is not believed; the metadata service gave us the credentials.
	return errors.As(err, &untimely{}) && r.clock.set(r.metadata.ahead)
}

func (r *parameterReader) try(ctx context.Context, request *parametersRequest, page *parametersPage) error {
	body, err := json.Marshal(request)
	if err != nil {
		return err
	}
	signer := signer{keys: r.keys, region: r.store.Region, service: "ssm"}
	headers := signer.sign("POST", r.target, []headerSpec{
		{"Content-Type", "application/x-amz-json-1.1"}, {"X-Amz-Target", "AmazonSSM.GetParametersByPath"},
	}, string(body), r.clock.now())
	headers = append(headers, headerSpec{"User-Agent", "i2kit/" + version})
	return r.exchange(ctx, requestText("POST", r.target, headers, string(body)), r.target, r.trust, func(answer io.Reader) error {
		return r.readPage(bufio.NewReader(&io.LimitedReader{R: answer, N: headLimit + 2*bootConfigLimit}), page)
	})
}

func (r *parameterReader) readPage(reader *bufio.Reader, page *parametersPage) error {
	head, err := readHead(reader)
	if err != nil {
		return err
	}
	body, err := readBody(reader, head, bootConfigLimit)
	if head.status != 200 {
		return newServiceError(head, body, r.keys)
	}
	if err != nil {
		return err
	}
	if json.Unmarshal(body, page) != nil { // its error could quote a value
		return refusal{errors.New("the answer is damaged")}
	}
	return nil
}

// A serviceError is a refusal of an AWS service that speaks JSON.
type serviceError struct {
	httpHead
	kind, message string
}

func newServiceError(head httpHead, body []byte, keys *credentials) *serviceError {
	answer := struct {
		Type    string `json:"__type"`
		Message string
	}{}
	json.Unmarshal(body, &answer) // what is no JSON has nothing to tell
	_, kind, qualified := strings.Cut(answer.Type, "#")
	if !qualified {
		kind = answer.Type
	}
	// The lines after the first one are the request, with its credentials.
	message, _, _ := strings.Cut(answer.Message, "\n")
	return &serviceError{httpHead: head, kind: kind, message: keys.conceal(message)}
}

func (e *serviceError) Error() string {
	text := fmt.Sprintf("HTTP status %d", e.status)
	if e.kind != "" {
		text += fmt.Sprintf(": %.100s: %.500s", e.kind, e.message)
	}
	return text
}

// isBusy tells whether the same request may be answered otherwise soon.
func (e *serviceError) isBusy() bool {
	switch e.kind {
	case "ThrottlingException", "Throttling", "TooManyRequestsException", "RequestLimitExceeded":
		return true
	}
	return e.httpHead.isBusy()
}

// isOfRole tells whether the role, its rights or its credentials are not known, which is usual for a while after they
// were made.
func (e *serviceError) isOfRole() bool {
	switch e.kind {
	case "AccessDeniedException", "UnrecognizedClientException", "InvalidClientTokenId", "ExpiredTokenException":
		return true
	}
	return false
}

func (e *serviceError) isOfSignature() bool {
	switch e.kind {
	case "InvalidSignatureException", "SignatureDoesNotMatch", "RequestExpired", "RequestTimeTooSkewed":
		return true
	}
	return false
}
