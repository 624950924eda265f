// Command function is the function under test: it answers, streams, sleeps, fails and reports on demand, and ends on
// SIGTERM at once (a function that ignores SIGTERM holds its slice for terminationGracePeriodSeconds).
//
//	GET  /                       "hello from <revision>", after the query's wishes below
//	POST /                       a CloudEvent: answered 202 and counted, or with reply=<type> by an event of that type
//	GET  /report                 JSON: instance, pod, node, revision, start time, requests and events seen, environment
//	GET  /healthz                200, or 503 after /unhealthy
//	POST /unhealthy, /exit       fail the health check from now on; end with code=<n>
//
// Query of any request: sleep=<duration> before the answer, status=<code>, chunks=<n> and every=<duration> (server-sent
// events), bytes=<n> of body, hang=1 (no answer until the client leaves), abort=1 (cut the connection).
//
// Environment: START_DELAY=<duration> before listening, FAIL_START=<exit code>, IGNORE_SIGTERM=1, ANSWER=<text>.
package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

const keptEvents = 100 // enough for a test to look back, small enough to answer at once

type event struct {
	ID     string `json:"id"`
	Type   string `json:"type"`
	Source string `json:"source"`
	Data   string `json:"data"`
}

var (
	started   = time.Now()
	instance  = fmt.Sprintf("%x", started.UnixNano())
	requests  atomic.Int64
	inFlight  atomic.Int64
	unhealthy atomic.Bool
	lock      sync.Mutex
	events    []event
)

func main() {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM)
	go func() {
		for range signals {
			if os.Getenv("IGNORE_SIGTERM") == "" {
				os.Exit(0)
			}
		}
	}()
	if delay, err := time.ParseDuration(os.Getenv("START_DELAY")); err == nil {
		time.Sleep(delay)
	}
	if code, err := strconv.Atoi(os.Getenv("FAIL_START")); err == nil {
		os.Exit(code)
	}
	host, port := os.Getenv("HOST"), os.Getenv("PORT") // all addresses, unless it is told one
	if port == "" {
		port = "8080"
	}
	http.HandleFunc("/report", report)
	http.HandleFunc("/healthz", health)
	http.HandleFunc("/unhealthy", func(http.ResponseWriter, *http.Request) { unhealthy.Store(true) })
	http.HandleFunc("/exit", func(_ http.ResponseWriter, r *http.Request) { os.Exit(number(r, "code", 0)) })
	http.HandleFunc("/", answer)
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(true) // what queue-proxy speaks to a port named h2c
	server := &http.Server{Addr: net.JoinHostPort(host, port), Protocols: protocols}
	fmt.Println("listening on", port)
	fmt.Println(server.ListenAndServe())
	os.Exit(1)
}

func number(r *http.Request, key string, otherwise int) int {
	if n, err := strconv.Atoi(r.URL.Query().Get(key)); err == nil {
		return n
	}
	return otherwise
}

func duration(r *http.Request, key string) time.Duration {
	d, _ := time.ParseDuration(r.URL.Query().Get(key))
	return d
}

// wait sleeps unless the client leaves first.
func wait(r *http.Request, d time.Duration) bool {
	if d <= 0 {
		return true
	}
	select {
	case <-time.After(d):
		return true
	case <-r.Context().Done():
		return false
	}
}

func answer(w http.ResponseWriter, r *http.Request) {
	requests.Add(1)
	inFlight.Add(1)
	defer inFlight.Add(-1)
	query := r.URL.Query()
	switch {
	case query.Get("hang") != "":
		<-r.Context().Done()
		return
	case query.Get("abort") != "":
		panic(http.ErrAbortHandler)
	case !wait(r, duration(r, "sleep")):
		return
	}
	w.Header().Set("X-Instance", instance)
	status := number(r, "status", http.StatusOK)
	if status < 200 || status > 999 {
		status = http.StatusBadRequest
	}
	switch {
	case r.Header.Get("Ce-Id") != "":
		receive(w, r)
	case number(r, "chunks", 0) > 0:
		stream(w, r, status)
	case number(r, "bytes", 0) > 0:
		w.WriteHeader(status)
		_, _ = io.Copy(w, io.LimitReader(zeros{}, int64(number(r, "bytes", 0))))
	default:
		text := os.Getenv("ANSWER")
		if text == "" {
			text = "hello from " + os.Getenv("K_REVISION")
		}
		w.WriteHeader(status)
		fmt.Fprintln(w, text)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

func stream(w http.ResponseWriter, r *http.Request, status int) {
	w.Header().Set("Content-Type", "text/event-stream")
	w.WriteHeader(status)
	flusher, _ := w.(http.Flusher)
	for i := range number(r, "chunks", 0) {
		if i > 0 && !wait(r, duration(r, "every")) {
			return
		}
		fmt.Fprintf(w, "data: {\"index\": %d, \"instance\": %q}\n\n", i, instance)
		flusher.Flush()
	}
	fmt.Fprint(w, "data: [DONE]\n\n")
}

// receive keeps a binary-mode CloudEvent. An answer with a body that is no event makes a Broker deliver it again.
func receive(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	seen := event{ID: r.Header.Get("Ce-Id"), Type: r.Header.Get("Ce-Type"), Source: r.Header.Get("Ce-Source"), Data: string(body)}
	lock.Lock()
	events = append(events, seen)
	events = events[max(0, len(events)-keptEvents):]
	lock.Unlock()
	reply := r.URL.Query().Get("reply")
	if reply == "" {
		reply = os.Getenv("REPLY_TYPE")
	}
	if reply == "" {
		w.WriteHeader(number(r, "status", http.StatusAccepted))
		return
	}
	w.Header().Set("Ce-Specversion", "1.0")
	w.Header().Set("Ce-Id", "reply-to-"+seen.ID)
	w.Header().Set("Ce-Source", "/tests/function")
	w.Header().Set("Ce-Type", reply)
	w.Header().Set("Content-Type", "application/json")
	fmt.Fprintf(w, "{\"in_reply_to\": %q, \"instance\": %q}", seen.ID, instance)
}

func health(w http.ResponseWriter, _ *http.Request) {
	if unhealthy.Load() {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
}

func report(w http.ResponseWriter, r *http.Request) {
	environment := map[string]string{}
	for _, pair := range os.Environ() {
		key, value, _ := strings.Cut(pair, "=")
		environment[key] = value
	}
	lock.Lock()
	defer lock.Unlock()
	host, _ := os.Hostname()
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]any{
		"instance": instance, "pod": host, "revision": os.Getenv("K_REVISION"), "started": started,
		"requests": requests.Load(), "in_flight": inFlight.Load(), "events": events, "environment": environment,
		"headers": r.Header,
	})
}
