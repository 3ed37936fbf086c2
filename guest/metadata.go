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
	base     string
	patience time.Duration // for all of the boot configuration
	tryTime  time.Duration // for one request
	complain func(reason string)
}

func newMetadataService(complain func(reason string)) *metadataService {
	return &metadataService{base: "http://" + metadataAddress, patience: time.Minute, tryTime: 5 * time.Second, complain: complain}
}

// A question is one request. What is there as soon as the service knows the VM is asked for again when it is missing.
type question struct {
	method  string
	path    string
	headers []headerSpec
	lasting bool   // the answer 404 will not change
	missing string // what the answer 404 means
}

// refusal is an answer that will be the same next time.
type refusal struct{ error }

// ask repeats a question while the service is not up to answering it: right after a boot it may be unreachable, busy,
// or not know the VM yet.
func (m *metadataService) ask(ctx context.Context, q *question) ([]byte, error) {
	const longestPause = 4 * time.Second
	var last error
	for pause := 100 * time.Millisecond; ; pause = min(2*pause, longestPause) {
		body, err := m.try(ctx, q)
		if err == nil {
			return body, nil
		}
		err = fmt.Errorf("boot configuration: %s %s%s: %w", q.method, m.base, q.path, err)
		if final := (refusal{}); errors.As(err, &final) {
			return nil, err
		}
		if last == nil && ctx.Err() == nil {
			m.complain(err.Error())
		}
		if last == nil || ctx.Err() == nil { // the try that the end cut short has nothing to tell
			last = err
		}
		if !sleep(ctx, pause) {
			return nil, fmt.Errorf("%w; no better answer within %v", last, m.patience)
		}
	}
}

func (m *metadataService) try(ctx context.Context, q *question) (body []byte, err error) {
	limited, cancel := context.WithTimeout(ctx, m.tryTime)
	defer cancel()
	target, err := url.Parse(m.base + q.path)
	if err != nil {
		return nil, refusal{err}
	}
	headers := append([]headerSpec{{"User-Agent", "i2kit/" + version}}, q.headers...)
	err = exchange(limited, requestText(q.method, target, headers), target, func(answer io.Reader) error {
		body, err = q.read(bufio.NewReader(&io.LimitedReader{R: answer, N: headLimit + 2*bootConfigLimit}))
		return err
	})
	if err != nil && limited.Err() != nil {
		return nil, fmt.Errorf("no answer within %v", m.tryTime)
	}
	return body, err
}

func (q *question) read(reader *bufio.Reader) ([]byte, error) {
	head, err := readHead(reader)
	if err != nil {
		return nil, err
	}
	switch {
	case head.status == 200:
		return readBody(reader, head, bootConfigLimit)
	case head.status == 404 && q.missing != "":
		err = fmt.Errorf("HTTP status 404: %s", q.missing)
	default:
		err = fmt.Errorf("HTTP status %d", head.status)
	}
	if head.status >= 500 || head.status == 429 || head.status == 408 || head.status == 404 && !q.lasting {
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
