package main

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// A stuckDevice accepts nothing until it is released.
type stuckDevice struct {
	released chan struct{}
	mu       sync.Mutex
	text     bytes.Buffer
}

func (d *stuckDevice) Write(text []byte) (int, error) {
	<-d.released
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.text.Write(text)
}

func (d *stuckDevice) lines() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return strings.Split(strings.TrimSuffix(d.text.String(), "\n"), "\n")
}

func runConsole(t *testing.T) (*console, *stuckDevice) {
	device := &stuckDevice{released: make(chan struct{})}
	c := newConsole(device)
	c.onDrop = func(lines int) []byte { return fmt.Appendf(nil, "dropped %d", lines) }
	go c.run()
	t.Cleanup(func() { close(c.wake) })
	return c, device
}

func TestASlowConsoleBlocksNobodyAndCountsWhatItDrops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, device := runConsole(t)
		const lines, size = 5000, 100
		stream := strings.Repeat(strings.Repeat("x", size-len("[web] "))+"\n", lines)
		c.copyLines(strings.NewReader(stream), "[web] ") // returns although nothing can be written
		c.event([]byte("i2kit event"))
		close(device.released)
		c.flush(time.Minute)
		written, dropped, events := 0, 0, 0
		for _, line := range device.lines() {
			var n int
			switch {
			case strings.HasPrefix(line, "[web] xxx") && len(line) == size:
				written++
			case line == "i2kit event":
				events++
			default:
				fmt.Sscanf(line, "dropped %d", &n)
				dropped += n
			}
		}
		if written+dropped != lines || dropped == 0 || written < 600 || events != 1 {
			t.Errorf("%d written and %d dropped of %d, %d events", written, dropped, lines, events)
		}
	})
}

func TestDroppedLinesAreToldAtTheEndToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, device := runConsole(t)
		for range 100 {
			c.line(bytes.Repeat([]byte("x"), 1000))
		}
		close(device.released)
		synctest.Wait()
		lines := device.lines()
		if last := lines[len(lines)-1]; !strings.HasPrefix(last, "dropped ") {
			t.Errorf("the last line is %.20q", last)
		}
	})
}

func TestFlushDoesNotWaitForever(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, device := runConsole(t)
		c.event([]byte("never"))
		begin := time.Now()
		c.flush(10 * time.Second)
		if waited := time.Since(begin); waited != 10*time.Second {
			t.Errorf("waited %v", waited)
		}
		close(device.released)
		c.flush(time.Second)
		if got := device.lines(); got[0] != "never" {
			t.Errorf("got %q", got)
		}
	})
}

// copied gives what the lines of a stream look like on the console.
func copied(t *testing.T, stream io.Reader) (lines []string) {
	synctest.Test(t, func(t *testing.T) {
		c, device := runConsole(t)
		close(device.released)
		c.copyLines(stream, "[web] ")
		c.flush(time.Minute)
		lines = device.lines()
	})
	return lines
}

func TestLinesAreSplitAndMadePrintable(t *testing.T) {
	got := copied(t, strings.NewReader("one\n\ntwo\r\nfoo\rbar\x00\v\t\x1b[1m\n[db] i2kit {}\nhalf"))
	want := []string{"[web] one", "[web] ", "[web] two", "[web] foo?bar??\t\x1b[1m", "[web] [db] i2kit {}", "[web] half"}
	expect(t, "lines", fmt.Sprintf("%q", got), fmt.Sprintf("%q", want))
}

func TestLongLinesAreSplitAt16KiB(t *testing.T) {
	long := strings.Repeat("abcdefghij", 4000)
	got := copied(t, strings.NewReader(long+"\nshort\n"))
	if len(got) != 4 || got[3] != "[web] short" {
		t.Fatalf("%d lines", len(got))
	}
	text := ""
	for _, line := range got[:3] {
		if len(line) > 16<<10 {
			t.Errorf("a line of %d bytes", len(line))
		}
		text += strings.TrimPrefix(line, "[web] ")
	}
	if text != long {
		t.Error("the pieces are not the whole")
	}
}

func TestALineOfExactlyTheLimitStaysWhole(t *testing.T) {
	line := strings.Repeat("x", lineLimit-len("[web] "))
	expect(t, "lines", len(copied(t, strings.NewReader(line+"\n"))), 1)
	expect(t, "lines", len(copied(t, strings.NewReader(line+"x\n"))), 2)
}

func TestEventsAreOneLineOfJSONWithinTheLimit(t *testing.T) {
	var line string
	log := eventLog{write: func(text []byte) { line = string(text) }, now: func() time.Time { return time.Unix(0, 0) }}
	log.emit("probe", "container", "web", "code", 3, "ready", true, "reason", "a\n\"b\" i2kit {")
	want := `i2kit {"event": "probe", "time": "1970-01-01T00:00:00Z", "container": "web", "code": 3, "ready": true, "reason": "a\n\"b\" i2kit {"}`
	expect(t, "event", line, want)
	log.emit("fatal", "reason", strings.Repeat("\x01", 100_000))
	if len(line) > lineLimit {
		t.Errorf("an event of %d bytes", len(line))
	}
}
