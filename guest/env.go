package main

import (
	"errors"
	"fmt"
	"strings"
)

// An environment is an ordered list of variables; of a name that stands twice the last one counts.
type environment struct {
	names  []string
	values map[string]string
}

func newEnvironment(assignments []string) *environment {
	env := &environment{values: map[string]string{}}
	for _, assignment := range assignments {
		name, value, _ := strings.Cut(assignment, "=")
		env.set(name, value)
	}
	return env
}

func (e *environment) set(name, value string) {
	if _, known := e.values[name]; !known {
		e.names = append(e.names, name)
	}
	e.values[name] = value
}

func (e *environment) setDefault(name, value string) {
	if _, known := e.values[name]; !known {
		e.set(name, value)
	}
}

func (e *environment) assignments() []string {
	list := make([]string, 0, len(e.names))
	for _, name := range e.names {
		list = append(list, name+"="+e.values[name])
	}
	return list
}

// expand replaces $(NAME) as Kubernetes does: `$$` stands for one `$`, an unknown name and a lone `$` stay as they are.
func expand(text string, values map[string]string) string {
	var out strings.Builder
	for {
		dollar := strings.IndexByte(text, '$')
		if dollar < 0 || dollar+1 == len(text) {
			out.WriteString(text)
			return out.String()
		}
		out.WriteString(text[:dollar])
		text = text[dollar+1:]
		switch text[0] {
		case '$':
			out.WriteByte('$')
			text = text[1:]
		case '(':
			text = expandReference(&out, text, values)
		default:
			out.WriteByte('$')
		}
	}
}

// expandReference handles what follows a dollar and starts with a parenthesis, and returns what comes after it.
func expandReference(out *strings.Builder, text string, values map[string]string) string {
	end := strings.IndexByte(text, ')')
	if end < 0 {
		out.WriteString("$(")
		return text[1:]
	}
	name := text[1:end]
	if value, known := values[name]; known {
		out.WriteString(value)
	} else {
		out.WriteString("$(" + name + ")")
	}
	return text[end+1:]
}

// containerEnvironment lays the Pod's variables over the image's.
func containerEnvironment(image []string, specs []envSpec, boot *bootConfig, address string) (*environment, error) {
	env := newEnvironment(image)
	own := map[string]string{} // a value may refer to the entries before it, and to nothing else
	var wrong []error
	for _, spec := range specs {
		value, present, err := spec.resolve(boot, address, own)
		if err == nil && strings.ContainsRune(value, 0) {
			err = errors.New("the value holds a zero byte")
		}
		if err != nil {
			wrong = append(wrong, fmt.Errorf("variable %s: %w", spec.Name, err))
		} else if present {
			own[spec.Name] = value
			env.set(spec.Name, value)
		}
	}
	env.setDefault("HOSTNAME", boot.Hostname)
	env.setDefault("PATH", usualPath)
	return env, errors.Join(wrong...)
}

func (s *envSpec) resolve(boot *bootConfig, address string, earlier map[string]string) (value string, present bool, err error) {
	switch {
	case s.Secret != "":
		value, present = boot.secret(s.Secret, s.Key)
		if !present && !s.Optional {
			err = boot.noSecret(s.Secret, s.Key)
		}
		return value, present, err
	case s.Field != "":
		value, err = boot.field(s.Field, address)
		return value, true, err
	default:
		return expand(s.Value, earlier), true, nil
	}
}
