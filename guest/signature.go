package main

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"net/url"
	"slices"
	"strings"
	"time"
)

const (
	signatureAlgorithm = "AWS4-HMAC-SHA256"
	signatureTime      = "20060102T150405Z"
)

// A signer signs requests to a service of AWS with Signature Version 4 (AWS: "Create a signed AWS API request").
type signer struct {
	keys            *credentials
	region, service string
}

// sign returns the headers of a request and those that sign them. The query, if any, must be in its canonical form.
func (s *signer) sign(method string, target *url.URL, headers []headerSpec, body string, at time.Time) []headerSpec {
	moment := at.UTC().Format(signatureTime)
	headers = append(slices.Clone(headers), headerSpec{"Host", target.Host}, headerSpec{"X-Amz-Date", moment})
	if s.keys.Token != "" {
		headers = append(headers, headerSpec{"X-Amz-Security-Token", s.keys.Token})
	}
	lines, names := canonicalHeaders(headers)
	path := target.EscapedPath()
	if path == "" {
		path = "/"
	}
	request := strings.Join([]string{method, path, target.RawQuery, lines, names, hexHash(body)}, "\n")
	scope := strings.Join([]string{moment[:8], s.region, s.service, "aws4_request"}, "/")
	text := strings.Join([]string{signatureAlgorithm, moment, scope, hexHash(request)}, "\n")
	return append(headers, headerSpec{"Authorization", signatureAlgorithm + " Credential=" + s.keys.AccessKeyID + "/" + scope +
		", SignedHeaders=" + names + ", Signature=" + hex.EncodeToString(keyedHash(s.key(scope), text))})
}

// key derives the key for a scope: day, region, service and a fixed end, each by the one before.
func (s *signer) key(scope string) []byte {
	key := []byte("AWS4" + s.keys.SecretAccessKey)
	for part := range strings.SplitSeq(scope, "/") {
		key = keyedHash(key, part)
	}
	return key
}

// canonicalHeaders returns a line for each header, in the order of their names, and the names.
func canonicalHeaders(headers []headerSpec) (lines, names string) {
	var found []headerSpec
	for _, header := range headers {
		found = append(found, headerSpec{strings.ToLower(header.Name), strings.Join(strings.Fields(header.Value), " ")})
	}
	slices.SortFunc(found, func(a, b headerSpec) int { return strings.Compare(a.Name, b.Name) })
	for i, header := range found {
		if i > 0 {
			names += ";"
		}
		names += header.Name
		lines += header.Name + ":" + header.Value + "\n"
	}
	return lines, names
}

func hexHash(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

func keyedHash(key []byte, text string) []byte {
	hash := hmac.New(sha256.New, key)
	hash.Write([]byte(text))
	return hash.Sum(nil)
}
