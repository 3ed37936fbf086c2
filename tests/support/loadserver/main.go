// A web server as applications have them: it answers, slowly if asked, takes uploads, keeps connections, and on TERM stops taking
// new ones and finishes what it has; with ON_TERM=die it ends at once. With DIE_SECONDS it ends by itself after so many.
package main

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"
)

func main() {
	host, _ := os.Hostname()
	http.HandleFunc("/healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	http.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		seconds, _ := strconv.ParseFloat(r.URL.Query().Get("seconds"), 64)
		time.Sleep(time.Duration(seconds * float64(time.Second)))
		fmt.Fprintf(w, "%s %s\n", host, os.Getenv("VERSION"))
	})
	http.HandleFunc("/upload", func(w http.ResponseWriter, r *http.Request) {
		hash := sha256.New()
		length, err := io.Copy(hash, r.Body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		fmt.Fprintf(w, "%s %s %d %x\n", host, os.Getenv("VERSION"), length, hash.Sum(nil))
	})
	if seconds, err := strconv.Atoi(os.Getenv("DIE_SECONDS")); err == nil {
		time.AfterFunc(time.Duration(seconds)*time.Second, func() {
			fmt.Println("cannot go on: no space left")
			os.Exit(1)
		})
	}
	server := &http.Server{Addr: ":8080"}
	ended := make(chan struct{})
	go func() {
		asked := make(chan os.Signal, 1)
		signal.Notify(asked, syscall.SIGTERM)
		<-asked
		if os.Getenv("ON_TERM") == "die" {
			os.Exit(1)
		}
		server.Shutdown(context.Background())
		close(ended)
	}()
	if err := server.ListenAndServe(); err != http.ErrServerClosed {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	<-ended
}
