package main

import "time"

const (
	firstPause   = 10 * time.Second
	longestPause = 5 * time.Minute
	healthyRun   = 10 * time.Minute
)

// A backoff says how long a container waits before it is started again: not at all the first time, then 10 s, doubling
// to 5 minutes. A run of 10 minutes makes it forget.
type backoff struct{ restarts int }

func (b *backoff) next(ran time.Duration) time.Duration {
	if ran >= healthyRun {
		b.restarts = 0
	}
	b.restarts++
	pause := firstPause
	switch {
	case b.restarts == 1:
		return 0
	case b.restarts > 7: // 10 s, six times doubled, is beyond the longest
		return longestPause
	}
	return min(pause<<(b.restarts-2), longestPause)
}
