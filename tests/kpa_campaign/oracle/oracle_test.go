// Package oracle answers what Knative's own autoscaler does with a series: one JSON line in, one out, in virtual time.
//
// It is a test binary (`go test -c`) for testing/synctest alone: in its bubble time.Now(), timers and tickers are
// virtual, so that code which takes no clock (the multi-scaler's ticks, resized windows, conditions' times, grace
// periods) runs as it is released, and ten minutes of it in milliseconds. Nothing of Knative's is written anew here:
// `revision_test.go` wires its parts as cmd/autoscaler does, `world_test.go` stands in for the API server.
package oracle

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"testing"
	"testing/synctest"
)

// units of the series' times in a second: a power of two, so that a float of Python's holds each of them exactly
const unitsPerSecond = 64

type series struct {
	Steps []step `json:"steps"`
}

// A step is all that comes from without at one moment. What is missing is as it was.
type step struct {
	At          int64             `json:"at"` // units since the bubble began
	Config      map[string]string `json:"config"`
	Deployment  map[string]string `json:"deployment"`
	Annotations map[string]string `json:"annotations"`
	Concurrency *int64            `json:"concurrency"`
	Reachable   *string           `json:"reachable"`
	Restart     bool              `json:"restart"`
	Pods        *[5]int           `json:"pods"`  // ready, not ready, pending, going, over
	Route       *[3]int64         `json:"route"` // has its services, is ready, units when activators came in (-1: are not in)
	Replicas    *int32            `json:"replicas"`
	Answers     *bool             `json:"answers"` // an activator, to a probe
	Stats       []stat            `json:"stats"`
}

type stat struct {
	When        int64      `json:"when"`   // units; an activator's are whole seconds
	Values      [4]float64 `json:"values"` // concurrent, of them proxied, requests, of them proxied
	ByActivator bool       `json:"by_activator"`
}

func TestOracle(t *testing.T) {
	lines := bufio.NewReaderSize(os.Stdin, 1<<20)
	for {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			return
		}
		var asked series
		if err := json.Unmarshal(line, &asked); err != nil {
			t.Fatal(err)
		}
		var answer []outcome
		synctest.Test(t, func(t *testing.T) { answer = play(t, asked) })
		said, err := json.Marshal(answer)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Println(string(said))
	}
}
