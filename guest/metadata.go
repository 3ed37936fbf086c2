package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strconv"
	"strings"
	"time"
)

const metadataAddress = "169.254.169.254"

// A metadataService is what a cloud answers its VMs at one address without a name.
type metadataService struct {
	patience
	base  string
	about string        // what it is asked for, which errors begin with
	ahead time.Duration // by how much its clock was ahead of this VM's when it last answered
}

func newMetadataService(about string, complain func(reason string)) *metadataService {
	return &metadataService{
		base: "http://" + metadataAddress, about: about,
		patience: patience{whole: time.Minute, once: 5 * time.Second, pause: usualPause, complain: complain},
	}
}

// A question is one request. What is there as soon as the service knows the VM is asked for again when it is missing.
type question struct {
	method  string
	path    string
	headers []headerSpec
	lasting bool   // the answer 404 will not change
	missing string // what the answer 404 means
}

// asking is how a question is put: again and again, or once.
type asking func(ctx context.Context, q *question) (body []byte, err error)

// ask repeats a question while the service is not up to answering it: right after a boot it may be unreachable, busy,
// or not know the VM yet.
func (m *metadataService) ask(ctx context.Context, q *question) (body []byte, err error) {
	err = m.insist(ctx, func(ctx context.Context) error {
		body, err = m.try(ctx, q)
		return err
	})
	return body, err
}

func (m *metadataService) try(ctx context.Context, q *question) (body []byte, err error) {
	target, err := url.Parse(m.base + q.path)
	if err != nil {
		return nil, refusal{err}
	}
	headers := append([]headerSpec{{"User-Agent", "i2kit/" + version}}, q.headers...)
	err = m.exchange(ctx, requestText(q.method, target, headers, ""), target, nil, func(answer io.Reader) error {
		body, err = m.read(q, bufio.NewReader(&io.LimitedReader{R: answer, N: headLimit + 2*bootConfigLimit}))
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("%s: %s %s%s: %w", m.about, q.method, m.base, q.path, err)
	}
	return body, nil
}

func (m *metadataService) read(q *question, reader *bufio.Reader) ([]byte, error) {
	head, err := readHead(reader)
	if err != nil {
		return nil, err
	}
	if !head.date.IsZero() {
		m.ahead = time.Until(head.date)
	}
	return q.read(head, reader)
}

func (q *question) read(head httpHead, reader *bufio.Reader) (_ []byte, err error) {
	switch {
	case head.status == 200:
		return readBody(reader, head, bootConfigLimit)
	case head.status == 404 && q.missing != "":
		err = fmt.Errorf("HTTP status 404: %s", q.missing)
	default:
		err = fmt.Errorf("HTTP status %d", head.status)
	}
	if head.isBusy() || head.status == 404 && !q.lasting {
		return nil, err
	}
	return nil, refusal{err}
}

// readBody reads an answer whole, or not at all: half a boot configuration is none.
func readBody(reader *bufio.Reader, head httpHead, limit int64) ([]byte, error) {
	tooLong := refusal{fmt.Errorf("the answer is longer than %d bytes", limit)}
	if head.chunked {
		return readChunks(reader, limit, tooLong)
	}
	if head.length > limit {
		return nil, tooLong
	}
	body, err := io.ReadAll(io.LimitReader(reader, limit+1))
	switch {
	case err != nil:
		return nil, err
	case int64(len(body)) > limit:
		return nil, tooLong
	case head.length >= 0 && int64(len(body)) < head.length:
		return nil, errCutOff
	case head.length >= 0:
		body = body[:head.length]
	}
	return body, nil
}

var errCutOff = errors.New("the answer is cut off")

// readChunks reads a body in chunked transfer coding (RFC 9112, section 7.1); what trails it is of no use here.
func readChunks(reader *bufio.Reader, limit int64, tooLong error) ([]byte, error) {
	var body []byte
	for {
		line, err := reader.ReadString('\n')
		if err != nil {
			return nil, errCutOff
		}
		digits, _, _ := strings.Cut(strings.TrimSpace(line), ";")
		size, err := strconv.ParseInt(strings.TrimSpace(digits), 16, 64)
		switch {
		case err != nil || size < 0:
			return nil, errors.New("the answer's chunks are damaged")
		case size == 0:
			return body, nil
		case size > limit-int64(len(body)):
			return nil, tooLong
		}
		chunk := make([]byte, size+2) // and the end of its line
		if _, err := io.ReadFull(reader, chunk); err != nil {
			return nil, errCutOff
		}
		if string(chunk[size:]) != "\r\n" {
			return nil, errors.New("the answer's chunks are damaged")
		}
		body = append(body, chunk[:size]...)
	}
}
