package main

import (
	"slices"
	"strings"
	"testing"
)

func TestExpandFollowsKubernetes(t *testing.T) {
	values := map[string]string{"A": "one", "B": "$(A)", "EMPTY": ""}
	for text, want := range map[string]string{
		"":               "",
		"plain":          "plain",
		"$(A)":           "one",
		"x$(A)y$(A)z":    "xoneyonez",
		"$(B)":           "$(A)", // a value is not expanded again
		"[$(EMPTY)]":     "[]",
		"$(UNKNOWN)":     "$(UNKNOWN)",
		"$$(A)":          "$(A)",
		"$$$(A)":         "$one",
		"$$$$(A)":        "$$(A)",
		"cost: $5, $":    "cost: $5, $",
		"$$":             "$",
		"$(A":            "$(A",
		"$((A))":         "$((A))",
		"$()":            "$()",
		"${A} $A":        "${A} $A",
		"a$$$b":          "a$$b",
		"$(A)$$(A)$(A)":  "one$(A)one",
		"$(UNKNOWN$(A))": "$(UNKNOWN$(A))",
	} {
		if got := expand(text, values); got != want {
			t.Errorf("expand(%q) = %q, want %q", text, got, want)
		}
	}
}

func TestDoubledDollarsGiveTheImagesTextBack(t *testing.T) {
	for _, text := range []string{"$(A)", "$$", "echo $$ $(A) $x $", "$$$(A)"} {
		if got := expand(strings.ReplaceAll(text, "$", "$$"), map[string]string{"A": "no"}); got != text {
			t.Errorf("%q came back as %q", text, got)
		}
	}
}

func testBoot(t *testing.T) *bootConfig {
	t.Helper()
	boot, err := parseBootConfig([]byte(`{"schema": 1, "instance": "web-0", "hostname": "web-0", "healthFrom": ["10.88.0.1/32", "fd00::/8"],
		"fields": {"metadata.name": "web-0", "metadata.labels['app']": "web"}, "secrets": {"db": {"password": "czNjcjN0", "binary": "AAE="}}}`), "")
	if err != nil {
		t.Fatal(err)
	}
	return boot
}

func TestThePodsEnvironmentLiesOverTheImages(t *testing.T) {
	env, err := containerEnvironment([]string{"PATH=/image", "LANG=C", "LANG=C.UTF-8"}, []envSpec{
		{Name: "A", Value: "1"},
		{Name: "LANG", Value: "de"},
		{Name: "B", Value: "$(A)$(PATH)$(LATER)"},
		{Name: "LATER", Value: "x"},
		{Name: "A", Value: "2"},
		{Name: "PASSWORD", Secret: "db", Key: "password"},
		{Name: "NONE", Secret: "db", Key: "nothing", Optional: true},
		{Name: "IP", Field: "status.podIP"},
		{Name: "APP", Field: "metadata.labels['app']"},
		{Name: "TIER", Field: "metadata.labels['tier']"},
	}, testBoot(t), "10.0.0.9")
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"PATH=/image", "LANG=de", "A=2", "B=1$(PATH)$(LATER)", "LATER=x", "PASSWORD=s3cr3t", "IP=10.0.0.9", "APP=web", "TIER=", "HOSTNAME=web-0",
	}
	if got := env.assignments(); !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

func TestPathAndHostnameHaveDefaultsOnlyWhenAbsent(t *testing.T) {
	env, err := containerEnvironment(nil, []envSpec{{Name: "HOSTNAME", Value: "mine"}}, testBoot(t), "")
	if err != nil {
		t.Fatal(err)
	}
	if env.values["HOSTNAME"] != "mine" || env.values["PATH"] != usualPath {
		t.Errorf("got %q", env.assignments())
	}
}

func TestEveryMissingSourceOfAVariableIsNamed(t *testing.T) {
	_, err := containerEnvironment(nil, []envSpec{
		{Name: "A", Secret: "db", Key: "nothing"}, {Name: "B", Field: "metadata.uid"}, {Name: "C", Secret: "db", Key: "binary"},
	}, testBoot(t), "")
	if err == nil {
		t.Fatal("no error")
	}
	for _, part := range []string{"variable A", "secret db with key nothing", "variable B", "metadata.uid", "variable C", "zero byte"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q is not in %q", part, err)
		}
	}
}
