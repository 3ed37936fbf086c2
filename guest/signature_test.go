package main

import (
	"encoding/json"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"
)

// A signedRequest is a case of testdata/signatures.json, which botocore is held to as well
// (tests/unit/test_guest_signatures.py).
type signedRequest struct {
	Name, AccessKeyID, SecretAccessKey, Token, Region, Service, Time, Method, URL, Body, Authorization string
	Headers                                                                                            [][2]string
}

func TestRequestsAreSignedAsAWSDocumentsIt(t *testing.T) {
	data, err := os.ReadFile("testdata/signatures.json")
	if err != nil {
		t.Fatal(err)
	}
	var cases []signedRequest
	if err := json.Unmarshal(data, &cases); err != nil || len(cases) == 0 {
		t.Fatal(err)
	}
	for _, one := range cases {
		target, err := url.Parse(one.URL)
		at, err2 := time.Parse(signatureTime, one.Time)
		if err != nil || err2 != nil {
			t.Fatal(err, err2)
		}
		var headers []headerSpec
		for _, header := range one.Headers {
			headers = append(headers, headerSpec{header[0], header[1]})
		}
		keys := &credentials{AccessKeyID: one.AccessKeyID, SecretAccessKey: one.SecretAccessKey, Token: one.Token}
		signer := signer{keys: keys, region: one.Region, service: one.Service}
		signed := signer.sign(one.Method, target, headers, one.Body, at.In(time.FixedZone("elsewhere", 3600)))
		if got := headerOf(signed, "Authorization"); got != one.Authorization {
			t.Errorf("%s: got %s\nwant %s", one.Name, got, one.Authorization)
		}
		if headerOf(signed, "X-Amz-Security-Token") != one.Token || headerOf(signed, "X-Amz-Date") != one.Time {
			t.Errorf("%s: headers %v", one.Name, signed)
		}
	}
}

func headerOf(headers []headerSpec, name string) string {
	for _, header := range headers {
		if strings.EqualFold(header.Name, name) {
			return header.Value
		}
	}
	return ""
}
