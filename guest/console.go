package main

import (
	"bytes"
	"io"
	"sync"
	"time"
)

const (
	lineLimit    = 16 << 10 // bytes of a console line, without its newline
	backlogLimit = 64 << 10 // bytes of container output that may wait for a slow console
	eventReserve = 64 << 10 // bytes beyond, for the guest's own lines
)

// A console carries the lines of many writers to one slow device. Writers never wait: what does not fit is dropped and
// counted, and the count is written where the lines are missing.
type console struct {
	device io.Writer

	mu      sync.Mutex
	backlog [][]byte
	size    int
	dropped int
	busy    bool
	wake    chan struct{}
	idle    []chan struct{}

	onDrop func(lines int) []byte
}

func newConsole(device io.Writer) *console {
	return &console{device: device, wake: make(chan struct{}, 1)}
}

// run writes until the process ends.
func (c *console) run() {
	for range c.wake {
		for batch := c.take(); batch != nil; batch = c.take() {
			c.device.Write(batch)
		}
	}
}

// take hands out some waiting lines as one piece of text, or nil after telling those who wait for that.
func (c *console) take() []byte {
	const piece = 4 << 10
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.backlog) == 0 {
		c.noteDropped()
	}
	if c.busy = len(c.backlog) > 0; !c.busy {
		for _, waiter := range c.idle {
			close(waiter)
		}
		c.idle, c.backlog = nil, nil
		return nil
	}
	var batch []byte
	taken := 0
	for taken < len(c.backlog) && (taken == 0 || len(batch)+len(c.backlog[taken]) < piece) {
		batch = append(append(batch, c.backlog[taken]...), '\n')
		c.size -= len(c.backlog[taken])
		c.backlog[taken] = nil
		taken++
	}
	c.backlog = c.backlog[taken:]
	return batch
}

// line queues one line of a container.
func (c *console) line(text []byte) { c.put(text, backlogLimit) }

// event queues one line of the guest; a flood of container output does not displace it.
func (c *console) event(text []byte) { c.put(text, backlogLimit+eventReserve) }

func (c *console) put(text []byte, limit int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.size+len(text) > limit {
		c.dropped++
		return
	}
	c.noteDropped()
	c.push(text)
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

func (c *console) push(text []byte) {
	c.backlog = append(c.backlog, text)
	c.size += len(text)
}

func (c *console) noteDropped() {
	if c.dropped > 0 && c.onDrop != nil {
		lines := c.dropped
		c.dropped = 0
		c.push(c.onDrop(lines))
	}
}

// flush waits until everything is written, but not longer than the limit.
func (c *console) flush(limit time.Duration) {
	c.mu.Lock()
	if len(c.backlog) == 0 && c.dropped == 0 && !c.busy {
		c.mu.Unlock()
		return
	}
	empty := make(chan struct{})
	c.idle = append(c.idle, empty)
	c.mu.Unlock()
	select {
	case c.wake <- struct{}{}:
	default:
	}
	select {
	case <-empty:
	case <-time.After(limit):
	}
}

// copyLines carries a container's output to the console, each line behind the prefix, until the stream ends.
func (c *console) copyLines(stream io.Reader, prefix string) {
	limit := lineLimit - len(prefix)
	buffer := make([]byte, 4<<10)
	var rest []byte
	for {
		n, err := stream.Read(buffer)
		rest = append(rest, buffer[:n]...)
		for {
			end := bytes.IndexByte(rest, '\n')
			if end < 0 && len(rest) <= limit {
				break
			}
			skip := 1
			if end < 0 || end > limit {
				end, skip = limit, 0
			}
			c.line(printable(prefix, rest[:end]))
			rest = rest[end+skip:]
		}
		if len(rest) == 0 {
			rest = nil
		}
		if err != nil {
			if len(rest) > 0 {
				c.line(printable(prefix, rest))
			}
			return
		}
	}
}

// printable makes sure that a container cannot begin a line of its own, whatever a reader takes for the end of a line.
func printable(prefix string, text []byte) []byte {
	text = bytes.TrimSuffix(text, []byte{'\r'})
	line := append(make([]byte, 0, len(prefix)+len(text)), prefix...)
	for _, char := range text {
		if (char < ' ' && char != '\t' && char != '\x1b') || char == 0x7f {
			char = '?'
		}
		line = append(line, char)
	}
	return line
}
