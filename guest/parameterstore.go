package main

import (
	"encoding/base64"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// A parameterStore says where the values of secrets lie that the boot configuration only refers to: as SecureStrings of
// AWS Systems Manager. How they are named and what is in them stands in docs/reference/guest.md.
type parameterStore struct {
	Region   string            `json:"region"`
	Endpoint string            `json:"endpoint"`
	CA       string            `json:"ca"`
	Secrets  map[string]string `json:"secrets"` // by the secrets' names the paths of their parameters
}

func (s *parameterStore) check(c *complaints, given map[string]map[string]string) {
	c.addUnless(knowsHTTPS, "parameterStore: this guest was built without HTTPS")
	c.addUnless(isName(s.Region), "parameterStore.region: %q is no region such as eu-west-1", s.Region)
	_, err := s.target()
	c.addUnless(err == nil, "parameterStore.endpoint: %q is no address such as https://ssm.eu-west-1.amazonaws.com", s.Endpoint)
	c.addUnless(s.CA == "" || !knowsHTTPS || hasCertificates(s.CA), "parameterStore.ca: has no certificates in PEM")
	c.addUnless(len(s.Secrets) > 0, "parameterStore.secrets: is empty")
	for _, name := range slices.Sorted(maps.Keys(s.Secrets)) {
		path := s.Secrets[name]
		c.addUnless(isParameterPath(path), "parameterStore.secrets.%s: %q is no path such as /i2kit/prod/secrets/db", name, path)
		_, twice := given[name]
		c.addUnless(!twice, "parameterStore.secrets.%s: is in secrets too", name)
	}
}

// target is where requests go to. In the clear they never go: their answers are secret.
func (s *parameterStore) target() (*url.URL, error) {
	target, err := url.Parse(s.Endpoint)
	if err != nil {
		return nil, err
	}
	plain := url.URL{Scheme: "https", Host: target.Host, Path: target.Path}
	if target.Hostname() == "" || target.Path != "" && target.Path != "/" || *target != plain || !isHeaderValue(target.Host) {
		return nil, fmt.Errorf("%q is more or less than the address of a server", s.Endpoint)
	}
	return target, nil
}

func isParameterPath(path string) bool {
	names, absolute := strings.CutPrefix(path, "/")
	for name := range strings.SplitSeq(names, "/") {
		absolute = absolute && isParameterName(name)
	}
	return absolute
}

func isParameterName(name string) bool {
	return name != "" && !strings.ContainsFunc(name, func(char rune) bool {
		return !('a' <= char && char <= 'z' || 'A' <= char && char <= 'Z' || '0' <= char && char <= '9' || strings.ContainsRune("_.-", char))
	})
}

// A parameter is what the store knows by one name.
type parameter struct{ Name, Value string }

// pieces are what a value was cut into, because the store's values are small.
type pieces struct {
	count int
	texts map[int]string
}

// pieceLimit is the most pieces of one value: more than the greatest Secret of Kubernetes has.
const pieceLimit = 1000

// assemble makes a secret's values of all parameters below its path. Errors name parameters, and quote no value.
func assemble(secret, path string, found []parameter) (map[string]string, error) {
	keys := map[string]*pieces{}
	var wrong complaints
	for _, one := range found {
		key, index, count, ok := pieceName(strings.TrimPrefix(one.Name, path+"/"))
		if !ok {
			wrong.add("parameter %s: the name is none of a secret's piece, <key>/<index>.<count>", one.Name)
			continue
		}
		if keys[key] == nil {
			keys[key] = &pieces{count: count, texts: map[int]string{}}
		}
		text, marked := strings.CutPrefix(one.Value, pieceMark)
		wrong.addUnless(marked, "parameter %s: the value does not begin with %s", one.Name, pieceMark)
		wrong.addUnless(count == keys[key].count, "parameter %s: another one says that there are %d pieces", one.Name, keys[key].count)
		keys[key].texts[index] = text
	}
	values := map[string]string{}
	for _, key := range slices.Sorted(maps.Keys(keys)) {
		values[key] = keys[key].join(path+"/"+key, &wrong)
	}
	return values, wrong.error("secret " + secret)
}

const pieceMark = "b:"

// join puts the pieces together, and says which ones are missing.
func (p *pieces) join(name string, wrong *complaints) string {
	var text strings.Builder
	for index := range p.count {
		piece, there := p.texts[index]
		wrong.addUnless(there, "parameter %s/%d.%d: is missing", name, index, p.count)
		text.WriteString(piece)
	}
	if len(*wrong) > 0 {
		return ""
	}
	value, err := base64.StdEncoding.DecodeString(text.String())
	wrong.addUnless(err == nil, "parameter %s/0.%d: with the pieces after it, it is not base64", name, p.count)
	return string(value)
}

// pieceName takes `<key>/<index>.<count>` apart.
func pieceName(name string) (key string, index, count int, ok bool) {
	key, place, ok := strings.Cut(name, "/")
	first, second, both := strings.Cut(place, ".")
	index, err := strconv.Atoi(first)
	count, err2 := strconv.Atoi(second)
	plain := place == fmt.Sprintf("%d.%d", index, count)
	return key, index, count, ok && both && err == nil && err2 == nil && plain && 0 <= index && index < count && count <= pieceLimit
}
