//go:build !nohttps

package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"net"
)

// knowsHTTPS is false in the small build (tag nohttps): TLS makes the guest 2 MB larger, which a VM pays for twice, in
// its image and in its memory, and few Pods have an HTTPS probe.
const knowsHTTPS = true

// secure begins TLS. Without a trust it verifies nothing, like the kubelet: a probe asks whether the server answers, not
// who it is.
func secure(ctx context.Context, connection net.Conn, host string, trust *trust) (net.Conn, error) {
	config := &tls.Config{ServerName: host, InsecureSkipVerify: trust == nil}
	if trust != nil {
		config.RootCAs, config.Time = x509.NewCertPool(), trust.now
		config.RootCAs.AppendCertsFromPEM([]byte(trust.roots))
	}
	secured := tls.Client(connection, config)
	if err := secured.HandshakeContext(ctx); err != nil {
		connection.Close()
		return nil, judgeCertificate(err)
	}
	return secured, nil
}

// judgeCertificate tells what will be the same next time, and what may be the fault of a clock.
func judgeCertificate(err error) error {
	wrong := (*tls.CertificateVerificationError)(nil)
	if !errors.As(err, &wrong) {
		return err
	}
	if invalid := (x509.CertificateInvalidError{}); errors.As(err, &invalid) && invalid.Reason == x509.Expired {
		return untimely{err}
	}
	return refusal{err}
}

// hasCertificates tells whether a text has certificates in PEM, and nothing else in PEM.
func hasCertificates(text string) bool {
	block, rest := pem.Decode([]byte(text))
	found := block != nil
	for ; block != nil; block, rest = pem.Decode(rest) {
		if _, err := x509.ParseCertificate(block.Bytes); err != nil || block.Type != "CERTIFICATE" {
			return false
		}
	}
	return found
}
