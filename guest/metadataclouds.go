package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

const unknownVM = "the metadata service does not know this VM"

// readAWS asks EC2's instance metadata service, version 2 only: every question carries a token that was asked for first
// (AWS: "Use the Instance Metadata Service to access instance metadata").
func (m *metadataService) readAWS(ctx context.Context) (*bootConfig, error) {
	ctx, cancel := context.WithTimeout(ctx, m.whole)
	defer cancel()
	headers, err := m.sessionAWS(ctx, m.ask)
	if err != nil {
		return nil, err
	}
	instance, err := m.ask(ctx, &question{method: "GET", path: "/latest/meta-data/instance-id", headers: headers, missing: unknownVM})
	if err != nil {
		return nil, err
	}
	data, err := m.ask(ctx, &question{
		method: "GET", path: "/latest/user-data", headers: headers, lasting: true, missing: "the instance has no user data",
	})
	if err != nil {
		return nil, err
	}
	return parseBootConfig(data, strings.TrimSpace(string(instance)))
}

// sessionAWS asks for a token; the headers carry it.
func (m *metadataService) sessionAWS(ctx context.Context, ask asking) ([]headerSpec, error) {
	const lifetime = 5 * time.Minute // longer than all the questions take
	token, err := ask(ctx, &question{method: "PUT", path: "/latest/api/token", headers: []headerSpec{
		{"X-aws-ec2-metadata-token-ttl-seconds", fmt.Sprint(int(lifetime.Seconds()))}, {"Content-Length", "0"},
	}})
	if err != nil {
		return nil, err
	}
	secret := strings.TrimSpace(string(token))
	if !isHeaderValue(secret) {
		return nil, refusal{fmt.Errorf("%s: the metadata service's token cannot stand in a header", m.about)}
	}
	return []headerSpec{{"X-aws-ec2-metadata-token", secret}}, nil
}

// isHeaderValue refuses what would end the header, or the request.
func isHeaderValue(text string) bool {
	return text != "" && !strings.ContainsFunc(text, func(char rune) bool { return char <= ' ' || char > '~' })
}

// readGCP asks Compute Engine's metadata server (Google: "View and query VM metadata").
func (m *metadataService) readGCP(ctx context.Context) (*bootConfig, error) {
	ctx, cancel := context.WithTimeout(ctx, m.whole)
	defer cancel()
	const root, attribute = "/computeMetadata/v1/instance/", "i2kit-boot"
	headers := []headerSpec{{"Metadata-Flavor", "Google"}}
	instance, err := m.ask(ctx, &question{method: "GET", path: root + "name", headers: headers, missing: unknownVM})
	if err != nil {
		return nil, err
	}
	data, err := m.ask(ctx, &question{
		method: "GET", path: root + "attributes/" + attribute, headers: headers, lasting: true,
		missing: "the instance has no metadata entry " + attribute,
	})
	if err != nil {
		return nil, err
	}
	return parseBootConfig(data, strings.TrimSpace(string(instance)))
}

const (
	openStackMetadata = "openstack/latest/meta_data.json"
	openStackUserData = "openstack/latest/user_data"
	noUserData        = "the server was made without user data"
)

// readOpenStack asks Nova's metadata service (OpenStack: "Metadata").
func (m *metadataService) readOpenStack(ctx context.Context) (*bootConfig, error) {
	ctx, cancel := context.WithTimeout(ctx, m.whole)
	defer cancel()
	metadata, err := m.ask(ctx, &question{method: "GET", path: "/" + openStackMetadata, missing: unknownVM})
	if err != nil {
		return nil, fmt.Errorf("%w (and there is no config drive)", err)
	}
	data, err := m.ask(ctx, &question{method: "GET", path: "/" + openStackUserData, lasting: true, missing: noUserData})
	if err != nil {
		return nil, err
	}
	return openStackBootConfig(metadata, data)
}

// openStackBootConfig calls the VM what the server is called, where that is a host's name, and by its id where not.
func openStackBootConfig(metadata, data []byte) (*bootConfig, error) {
	var server struct{ Name, UUID string }
	if err := json.Unmarshal(metadata, &server); err != nil {
		return nil, fmt.Errorf("boot configuration: %s: %w", openStackMetadata, err)
	}
	identity := server.Name
	if !isName(identity) {
		identity = server.UUID
	}
	return parseBootConfig(data, identity)
}
