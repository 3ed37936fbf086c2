package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
)

// The credentials of an instance's role; none of them is ever written anywhere.
type credentials struct {
	Code            string
	AccessKeyID     string `json:"AccessKeyId"`
	SecretAccessKey string
	Token           string
}

// roleCredentials asks EC2's metadata service once for the credentials of the instance's role (AWS: "Retrieve security
// credentials from instance metadata"). Role and credentials appear some time after the instance.
func (m *metadataService) roleCredentials(ctx context.Context) (*credentials, error) {
	const folder = "/latest/meta-data/iam/security-credentials/"
	headers, err := m.sessionAWS(ctx, m.try)
	if err != nil {
		return nil, err
	}
	name, err := m.try(ctx, &question{method: "GET", path: folder, headers: headers, missing: "the instance has no role"})
	if err != nil {
		return nil, err
	}
	role, _, _ := strings.Cut(string(name), "\n")
	if role = strings.TrimSpace(role); !isRoleName(role) {
		return nil, fmt.Errorf("%s: GET %s%s: the answer names no role", m.about, m.base, folder)
	}
	text, err := m.try(ctx, &question{method: "GET", path: folder + role, headers: headers, missing: "the role has no credentials"})
	if err != nil {
		return nil, err
	}
	keys := &credentials{}
	if json.Unmarshal(text, keys) != nil { // its error could quote them
		return nil, fmt.Errorf("%s: GET %s%s%s: the answer is damaged", m.about, m.base, folder, role)
	}
	if keys.Code != "Success" || !keys.complete() {
		return nil, fmt.Errorf("%s: GET %s%s%s: the role has no credentials: %.100q", m.about, m.base, folder, role, keys.Code)
	}
	return keys, nil
}

func (c *credentials) complete() bool {
	return isHeaderValue(c.AccessKeyID) && isHeaderValue(c.SecretAccessKey) && isHeaderValue(c.Token)
}

// conceal takes the credentials out of a text that a service answered: some quote the request that they refuse.
func (c *credentials) conceal(text string) string {
	return strings.NewReplacer(c.SecretAccessKey, "...", c.Token, "...").Replace(text)
}

// isRoleName allows what IAM allows (AWS: "IAM and AWS STS quotas").
func isRoleName(name string) bool {
	const special = "+=,.@-_"
	return name != "" && len(name) <= 64 && !strings.ContainsFunc(name, func(char rune) bool {
		return !('a' <= char && char <= 'z' || 'A' <= char && char <= 'Z' || '0' <= char && char <= '9' || strings.ContainsRune(special, char))
	})
}
