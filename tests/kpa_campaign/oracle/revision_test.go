package oracle

import (
	"context"
	"math"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric/noop"
	"go.uber.org/zap"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"knative.dev/pkg/logging"
	"knative.dev/pkg/reconciler"
	"knative.dev/serving/pkg/apis/autoscaling"
	av1alpha1 "knative.dev/serving/pkg/apis/autoscaling/v1alpha1"
	"knative.dev/serving/pkg/apis/serving"
	asconfig "knative.dev/serving/pkg/autoscaler/config"
	"knative.dev/serving/pkg/autoscaler/metrics"
	"knative.dev/serving/pkg/autoscaler/scaling"
	"knative.dev/serving/pkg/deployment"
	"knative.dev/serving/pkg/reconciler/autoscaling/config"
	"knative.dev/serving/pkg/reconciler/autoscaling/kpa"
	presources "knative.dev/serving/pkg/resources"
)

const (
	namespace = "default"
	name      = "tiny-00001"
)

var key = types.NamespacedName{Namespace: namespace, Name: name}

// What is told of a step: the ticks since the one before, then the reconciler's pass at its end.
type outcome struct {
	Ticks []tick   `json:"ticks"`
	Pass  pass     `json:"pass"`
	Spec  *decided `json:"spec,omitempty"` // where it is another than before
}

type tick struct {
	At          int64   `json:"at"`
	Valid       bool    `json:"valid"`
	Desired     int32   `json:"desired"`
	ExcessBurst int32   `json:"excess_burst"`
	Stable      float64 `json:"stable"`
	Panic       float64 `json:"panic"`
	News        bool    `json:"news"` // the reconciler is told
}

type pass struct {
	ScaleTo     *int32   `json:"scale_to"`
	Mode        string   `json:"mode"`
	Activators  int32    `json:"activators"`
	Active      string   `json:"active"`
	Reason      string   `json:"reason"`
	Message     string   `json:"message"`
	Since       int64    `json:"since"` // whole seconds of Unix time
	Initialized bool     `json:"initialized"`
	Routed      string   `json:"routed"`
	Desired     *int32   `json:"desired"`
	Actual      *int32   `json:"actual"`
	LookAgain   *int64   `json:"look_again"` // nanoseconds
	Probes      bool     `json:"probes"`     // begins to probe in the background
	Decider     [2]int32 `json:"decider"`    // desired scale, excess burst capacity
}

type decided struct {
	Decider scaling.DeciderSpec
	Metric  av1alpha1.MetricSpec
}

type revision struct {
	world     *world
	pa        *av1alpha1.PodAutoscaler
	configs   *config.Config
	answers   bool
	lookAgain *int64
	probes    bool

	stop      chan struct{}
	collector *metrics.MetricCollector
	scaler    *scaling.MultiScaler
	kpa       *kpa.Reconciler
	ticks     []tick
	told      *decided
}

func play(t *testing.T, asked series) []outcome {
	began := time.Now()
	r := newRevision(t)
	defer r.end()
	outcomes := make([]outcome, 0, len(asked.Steps))
	for _, s := range asked.Steps {
		time.Sleep(time.Until(began.Add(units(s.At))))
		synctest.Wait()
		r.change(t, s, began)
		for _, each := range s.Stats {
			r.take(each, began)
		}
		if s.Restart {
			r.end()
			r.start()
		}
		outcomes = append(outcomes, r.reconcile(t, began))
	}
	return outcomes
}

func units(n int64) time.Duration { return time.Duration(n) * (time.Second / unitsPerSecond) }

func newRevision(t *testing.T) *revision {
	r := &revision{world: newWorld(), configs: &config.Config{}, ticks: []tick{}}
	labels := map[string]string{
		serving.RevisionLabelKey: name, serving.ConfigurationLabelKey: "tiny", serving.ServiceLabelKey: "tiny",
	}
	r.pa = &av1alpha1.PodAutoscaler{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, UID: "1", Generation: 1, Labels: labels},
		Spec: av1alpha1.PodAutoscalerSpec{
			ScaleTargetRef: corev1.ObjectReference{APIVersion: "apps/v1", Kind: "Deployment", Name: name + "-deployment"},
		},
	}
	r.start()
	return r
}

// start makes what an autoscaler's process has, as its main does.
func (r *revision) start() {
	r.stop = make(chan struct{})
	logger := zap.NewNop().Sugar()
	noScraper := func(*av1alpha1.Metric, *zap.SugaredLogger) (metrics.StatsScraper, error) { return nil, nil }
	r.collector = metrics.NewMetricCollector(noScraper, logger)
	meters := noop.NewMeterProvider()
	r.scaler = scaling.NewMultiScaler(r.stop, func(d *scaling.Decider) (scaling.UniScaler, error) {
		pods := presources.NewPodAccessor(r.world.pods, namespace, name)
		own := scaling.New(attribute.NewSet(), meters, namespace, name, r.collector, pods, &d.Spec)
		return &watched{UniScaler: own, revision: r, metric: d.Spec.ScalingMetric}, nil
	}, logger)
	r.scaler.Watch(func(types.NamespacedName) { r.ticks[len(r.ticks)-1].News = true })
	r.world.collector = r.collector
	if found := r.world.metric(); found.Name != "" { // the metrics' own reconciler begins with all that there are
		if err := r.collector.CreateOrUpdate(found); err != nil {
			panic(err)
		}
	}
	r.kpa = newReconciler(r)
}

func (r *revision) end() {
	close(r.stop)
	r.collector.Delete(namespace, name)
	synctest.Wait()
}

func (r *revision) change(t *testing.T, s step, began time.Time) {
	var err error
	if s.Config != nil {
		if r.configs.Autoscaler, err = asconfig.NewConfigFromMap(s.Config); err != nil {
			t.Fatal(err)
		}
	}
	if s.Deployment != nil {
		s.Deployment[deployment.QueueSidecarImageKey] = "queue"
		if r.configs.Deployment, err = deployment.NewConfigFromMap(s.Deployment); err != nil {
			t.Fatal(err)
		}
	}
	if s.Annotations != nil {
		r.pa.Annotations = s.Annotations
		r.pa.Annotations[autoscaling.ClassAnnotationKey] = autoscaling.KPA
	}
	if s.Concurrency != nil {
		r.pa.Spec.ContainerConcurrency = *s.Concurrency
		r.pa.Generation++
	}
	if s.Reachable != nil {
		r.pa.Spec.Reachability = av1alpha1.ReachabilityType(*s.Reachable)
		r.pa.Generation++
	}
	if s.Pods != nil {
		r.world.setPods(*s.Pods)
	}
	if s.Route != nil {
		since := time.Time{}
		if s.Route[2] >= 0 {
			since = began.Add(units(s.Route[2]))
		}
		r.world.setRoute(s.Route[0] == 1, s.Route[1] == 1, since)
	}
	if s.Replicas != nil {
		r.world.replicas = s.Replicas
	}
	if s.Answers != nil {
		r.answers = *s.Answers
	}
}

// take does what cmd/autoscaler does with an activator's message, and the collector with a scrape's answer.
func (r *revision) take(each stat, began time.Time) {
	given := metrics.Stat{
		AverageConcurrentRequests: each.Values[0], AverageProxiedConcurrentRequests: each.Values[1],
		RequestCount: each.Values[2], ProxiedRequestCount: each.Values[3],
	}
	r.collector.Record(key, began.Add(units(each.When)), given)
	if each.ByActivator {
		r.scaler.Poke(key, given)
		synctest.Wait()
	}
}

// reconcile is a pass of the generated reconciler, with what the API server makes of the status.
func (r *revision) reconcile(t *testing.T, began time.Time) outcome {
	ctx := logging.WithLogger(config.ToContext(context.Background(), r.configs), zap.NewNop().Sugar())
	r.world.patched, r.lookAgain, r.probes = nil, nil, false
	pa := r.pa.DeepCopy()
	reconciler.PreProcessReconcile(ctx, pa)
	if err := r.kpa.ReconcileKind(ctx, pa); err != nil {
		t.Fatal(err)
	}
	reconciler.PostProcessReconcile(ctx, pa, r.pa)
	for i := range pa.Status.Conditions { // RFC 3339 has no fractions of seconds
		at := &pa.Status.Conditions[i].LastTransitionTime.Inner
		*at = metav1.NewTime(at.Truncate(time.Second))
	}
	r.pa.Status = pa.Status
	synctest.Wait()

	active := pa.Status.GetCondition(av1alpha1.PodAutoscalerConditionActive)
	route := r.world.route()
	done := outcome{Ticks: r.ticks, Pass: pass{
		ScaleTo: r.world.patched, Mode: string(route.Spec.Mode), Activators: route.Spec.NumActivators,
		Active: string(active.Status), Reason: active.Reason, Message: active.Message,
		Since:       active.LastTransitionTime.Inner.Unix(),
		Initialized: pa.Status.IsScaleTargetInitialized(),
		Routed:      string(pa.Status.GetCondition(av1alpha1.PodAutoscalerConditionSKSReady).Status),
		Desired:     pa.Status.DesiredScale, Actual: pa.Status.ActualScale,
		LookAgain: r.lookAgain, Probes: r.probes,
	}}
	r.ticks = []tick{}
	if decider, err := r.scaler.Get(ctx, namespace, name); err == nil {
		done.Pass.Decider = [2]int32{decider.Status.DesiredScale, decider.Status.ExcessBurstCapacity}
		now := decided{Decider: decider.Spec, Metric: r.world.metric().Spec}
		if r.told == nil || *r.told != now {
			done.Spec, r.told = &now, &now
		}
	}
	return done
}

// watched writes down what Scale answers, and what the windows held for it.
type watched struct {
	scaling.UniScaler
	revision *revision
	metric   string
}

func (w *watched) Update(spec *scaling.DeciderSpec) {
	w.metric = spec.ScalingMetric
	w.UniScaler.Update(spec)
}

func (w *watched) Scale(logger *zap.SugaredLogger, now time.Time) scaling.ScaleResult {
	got := w.UniScaler.Scale(logger, now)
	read := w.revision.collector.StableAndPanicConcurrency
	if w.metric == autoscaling.RPS {
		read = w.revision.collector.StableAndPanicRPS
	}
	stable, panicking, _ := read(key, now)
	since2000 := now.Sub(time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)) // when each bubble begins
	w.revision.ticks = append(w.revision.ticks, tick{
		At: int64(math.Round(since2000.Seconds() * unitsPerSecond)), Valid: got.ScaleValid,
		Desired: got.DesiredPodCount, ExcessBurst: got.ExcessBurstCapacity, Stable: stable, Panic: panicking,
	})
	return got
}

// Offer stands in for the prober in the background.
func (r *revision) Offer(context.Context, string, any, time.Duration, time.Duration, ...any) bool {
	r.probes = true
	return true
}

func (r *revision) probe(*av1alpha1.PodAutoscaler, http.RoundTripper) (bool, error) {
	return r.answers, nil
}

func (r *revision) enqueue(_ any, after time.Duration) {
	n := after.Nanoseconds()
	r.lookAgain = &n
}
