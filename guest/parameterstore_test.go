package main

import (
	"encoding/base64"
	"fmt"
	"strings"
	"testing"
)

const secretPath = "/i2kit/prod/secrets/db-3f2a91c0"

// cut stores a value as the driver does, in pieces of a few characters.
func cut(path, key, value string, size int) (found []parameter) {
	text := base64.StdEncoding.EncodeToString([]byte(value))
	count := max(1, (len(text)+size-1)/size)
	for i := range count {
		name := fmt.Sprintf("%s/%s/%d.%d", path, key, i, count)
		found = append(found, parameter{name, "b:" + text[i*size:min(len(text), (i+1)*size)]})
	}
	return found
}

func TestValuesArePutTogetherOfTheirPieces(t *testing.T) {
	found := append(cut(secretPath, "password", "canary", 100), cut(secretPath, "tls.key", strings.Repeat("k\x00", 40), 9)...)
	found = append(found, cut(secretPath, "empty", "", 5)...)
	for i := range len(found) / 2 { // the store has an order of its own
		found[i], found[len(found)-1-i] = found[len(found)-1-i], found[i]
	}
	values, err := assemble("db", secretPath, found)
	if err != nil || len(values) != 3 || values["password"] != "canary" || values["tls.key"] != strings.Repeat("k\x00", 40) || values["empty"] != "" {
		t.Errorf("%q %v", values, err)
	}
	if values, err := assemble("db", secretPath, nil); err != nil || len(values) != 0 {
		t.Errorf("a secret without keys: %v %v", values, err)
	}
}

func TestWhatIsWrongWithParametersIsSaidWithoutTheirValues(t *testing.T) {
	whole := cut(secretPath, "password", strings.Repeat("canary", 4), 8) // Y2FuYXJ5 four times
	with := func(change ...parameter) []parameter { return append(append([]parameter{}, whole...), change...) }
	for want, found := range map[string][]parameter{
		"secret db: parameter /i2kit/prod/secrets/db-3f2a91c0/password/2.4: is missing":   with()[:2:2],
		"password/0.4: is missing; parameter " + secretPath + "/password/1.4: is missing": with()[2:],
		"password/0.2: another one says that there are 4 pieces":                          with(parameter{secretPath + "/password/0.2", "b:Y2FuYXJ5"}),
		"parameter " + secretPath + "/plain/0.1: the value does not begin with b:":        with(parameter{secretPath + "/plain/0.1", "Y2FuYXJ5"}),
		"parameter " + secretPath + "/odd/0.1: with the pieces after it, it is not base64": with(
			parameter{secretPath + "/odd/0.1", "b:canary!"}),
		"parameter " + secretPath + "/x: the name is none of a secret's piece": with(parameter{secretPath + "/x", "b:Y2FuYXJ5"}),
		"x/1.1: the name is none":       with(parameter{secretPath + "/x/1.1", "b:Y2FuYXJ5"}),
		"x/-1.1: the name is none":      with(parameter{secretPath + "/x/-1.1", "b:Y2FuYXJ5"}),
		"x/00.1: the name is none":      with(parameter{secretPath + "/x/00.1", "b:Y2FuYXJ5"}),
		"x/0.1001: the name is none":    with(parameter{secretPath + "/x/0.1001", "b:Y2FuYXJ5"}),
		"x/y/0.1: the name is none":     with(parameter{secretPath + "/x/y/0.1", "b:Y2FuYXJ5"}),
		"elsewhere/0.1: the name is no": with(parameter{"/i2kit/prod/elsewhere/0.1", "b:Y2FuYXJ5"}),
	} {
		_, err := assemble("db", secretPath, found)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		} else if strings.Contains(err.Error(), "Y2Fu") || strings.Contains(err.Error(), "canary") {
			t.Errorf("it quotes the value: %v", err)
		}
	}
}

func storeDocument(store string) string {
	return `{"schema": 1, "instance": "web-0", "secrets": {"own": {"k": ""}}, "parameterStore": {` + store + `}}`
}

func TestAParameterStoreIsCheckedBeforeItIsAsked(t *testing.T) {
	if !knowsHTTPS {
		t.Skip("built without HTTPS (tag nohttps)")
	}
	const region, endpoint = `"region": "eu-west-1", `, `"endpoint": "https://ssm.eu-west-1.amazonaws.com", `
	const secrets = `"secrets": {"db": "` + secretPath + `"}`
	if _, err := parseBootConfig([]byte(storeDocument(region+endpoint+secrets)), ""); err != nil {
		t.Error(err)
	}
	for store, want := range map[string]string{
		`"region": "EU West", ` + endpoint + secrets:                                   `parameterStore.region: "EU West" is no region`,
		region + `"endpoint": "http://ssm.eu-west-1.amazonaws.com", ` + secrets:        "parameterStore.endpoint:",
		region + `"endpoint": "https://me:pw@ssm.eu-west-1.amazonaws.com", ` + secrets: "parameterStore.endpoint:",
		region + `"endpoint": "https://ssm.example/?x=y", ` + secrets:                  "parameterStore.endpoint:",
		region + `"endpoint": "https://ssm.example/path", ` + secrets:                  "parameterStore.endpoint:",
		region + secrets: "parameterStore.endpoint:",
		region + endpoint + `"ca": "canary", ` + secrets:     "parameterStore.ca: has no certificates",
		region + endpoint + `"secrets": {}`:                  "parameterStore.secrets: is empty",
		region + endpoint + `"secrets": {"db": "i2kit/x"}`:   `parameterStore.secrets.db: "i2kit/x" is no path`,
		region + endpoint + `"secrets": {"db": "/i2kit/x/"}`: `parameterStore.secrets.db: "/i2kit/x/" is no path`,
		region + endpoint + `"secrets": {"own": "/i2kit/x"}`: "parameterStore.secrets.own: is in secrets too",
		region + endpoint + `"token": "x", ` + secrets:       `unknown field "token"`,
	} {
		if _, err := parseBootConfig([]byte(storeDocument(store)), ""); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", store, err, want)
		}
	}
}

func TestASecretThatIsMissingIsNamedWhereItShouldBe(t *testing.T) {
	boot := &bootConfig{ParameterStore: &parameterStore{Secrets: map[string]string{"db": secretPath}}}
	for secret, want := range map[string]string{
		"db":  "secret db has no key password: there is no parameter below " + secretPath + "/password",
		"own": "the boot configuration has no secret own with key password",
	} {
		if got := boot.noSecret(secret, "password").Error(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
