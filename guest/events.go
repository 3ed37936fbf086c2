package main

import (
	"bytes"
	"encoding/json"
	"strings"
	"time"
)

// An eventLog writes the guest's own lines on the console: one JSON object each, behind `i2kit `.
type eventLog struct {
	write func(line []byte)
	now   func() time.Time
}

// emit writes one event. The pairs are names and values; their order stays.
func (e eventLog) emit(event string, pairs ...any) {
	var line bytes.Buffer
	line.WriteString(`i2kit {"event": ` + jsonText(event) + `, "time": ` + jsonText(e.now().UTC().Format(time.RFC3339)))
	for i := 0; i+1 < len(pairs); i += 2 {
		line.WriteString(`, ` + jsonText(pairs[i]) + `: ` + jsonText(pairs[i+1]))
	}
	line.WriteByte('}')
	e.write(line.Bytes())
}

func jsonText(value any) string {
	if text, ok := value.(string); ok {
		value = shorten(text)
	}
	var text strings.Builder
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false) // people read it
	if err := encoder.Encode(value); err != nil {
		return `"?"`
	}
	return strings.TrimSuffix(text.String(), "\n")
}

// shorten keeps an event within the console's line, whatever a program answered.
func shorten(text string) string {
	const limit = 2000
	if len(text) <= limit {
		return text
	}
	return text[:limit] + "..."
}
