package oracle

import (
	"context"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"time"
	"unsafe"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	corev1listers "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/tools/cache"
	nv1alpha1 "knative.dev/networking/pkg/apis/networking/v1alpha1"
	netclient "knative.dev/networking/pkg/client/clientset/versioned"
	nettyped "knative.dev/networking/pkg/client/clientset/versioned/typed/networking/v1alpha1"
	netlisters "knative.dev/networking/pkg/client/listers/networking/v1alpha1"
	"knative.dev/pkg/apis"
	av1alpha1 "knative.dev/serving/pkg/apis/autoscaling/v1alpha1"
	"knative.dev/serving/pkg/apis/serving"
	"knative.dev/serving/pkg/autoscaler/metrics"
	client "knative.dev/serving/pkg/client/clientset/versioned"
	typed "knative.dev/serving/pkg/client/clientset/versioned/typed/autoscaling/v1alpha1"
	listers "knative.dev/serving/pkg/client/listers/autoscaling/v1alpha1"
	areconciler "knative.dev/serving/pkg/reconciler/autoscaling"
	"knative.dev/serving/pkg/reconciler/autoscaling/kpa"
)

// A world is the API server of one revision. The clients have only what the reconciler calls: another call panics.
type world struct {
	podIndex, routeIndex, metricIndex cache.Indexer

	pods      corev1listers.PodLister
	replicas  *int32
	patched   *int32
	collector *metrics.MetricCollector
}

func newWorld() *world {
	index := func() cache.Indexer {
		return cache.NewIndexer(cache.MetaNamespaceKeyFunc,
			cache.Indexers{cache.NamespaceIndex: cache.MetaNamespaceIndexFunc})
	}
	w := &world{podIndex: index(), routeIndex: index(), metricIndex: index()}
	w.pods = corev1listers.NewPodLister(w.podIndex)
	return w
}

// setPods makes so many of each kind: ready, not ready, pending, going (and still Ready), over.
func (w *world) setPods(counts [5]int) {
	var all []any
	now := metav1.Now()
	for kind, count := range counts {
		for i := range count {
			pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{
				Namespace: namespace, Name: fmt.Sprint(kind, "-", i),
				Labels: map[string]string{serving.RevisionLabelKey: name},
			}}
			pod.Status.Phase = corev1.PodRunning
			ready := corev1.ConditionFalse
			switch kind {
			case 0:
				ready = corev1.ConditionTrue
			case 2:
				pod.Status.Phase = corev1.PodPending
			case 3:
				ready = corev1.ConditionTrue
				pod.DeletionTimestamp = &now
			case 4:
				pod.Status.Phase = corev1.PodFailed
			}
			pod.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: ready}}
			all = append(all, pod)
		}
	}
	if err := w.podIndex.Replace(all, ""); err != nil {
		panic(err)
	}
}

func (w *world) route() *nv1alpha1.ServerlessService {
	found, ok, _ := w.routeIndex.GetByKey(namespace + "/" + name)
	if !ok {
		return nil
	}
	return found.(*nv1alpha1.ServerlessService)
}

// setRoute does what the ServerlessService's own reconciler would; there must have been a pass before.
func (w *world) setRoute(named, ready bool, activatorsSince time.Time) {
	route := w.route()
	if route == nil {
		return
	}
	route = route.DeepCopy()
	route.Status = nv1alpha1.ServerlessServiceStatus{}
	route.Status.InitializeConditions()
	if named {
		route.Status.ServiceName, route.Status.PrivateServiceName = name, name+"-private"
	}
	if ready {
		route.Status.MarkEndpointsReady()
	}
	if activatorsSince.IsZero() {
		route.Status.MarkActivatorEndpointsRemoved()
	} else {
		route.Status.MarkActivatorEndpointsPopulated()
	}
	for i := range route.Status.Conditions {
		at := metav1.NewTime(activatorsSince.Truncate(time.Second))
		route.Status.Conditions[i].LastTransitionTime = apis.VolatileTime{Inner: at}
	}
	_ = w.routeIndex.Update(route)
}

func (w *world) metric() *av1alpha1.Metric {
	found, ok, _ := w.metricIndex.GetByKey(namespace + "/" + name)
	if !ok {
		return &av1alpha1.Metric{}
	}
	return found.(*av1alpha1.Metric)
}

// newReconciler fills the reconciler's own fields, which only its package may name: its constructor wants informers and
// a work queue, whose turns nobody could order.
func newReconciler(r *revision) *kpa.Reconciler {
	w := r.world
	made := &kpa.Reconciler{Base: &areconciler.Base{
		Client: servingClient{world: w}, NetworkingClient: networkingClient{world: w},
		SKSLister:    netlisters.NewServerlessServiceLister(w.routeIndex),
		MetricLister: listers.NewMetricLister(w.metricIndex),
	}}
	outer := reflect.ValueOf(made).Elem()
	scaler := reflect.New(outer.FieldByName("scaler").Type().Elem())
	set(outer, "podsLister", w.pods)
	set(outer, "deciders", r.scaler)
	set(outer, "scaler", scaler.Interface())
	set(scaler.Elem(), "listerFactory", func(schema.GroupVersionResource) (cache.GenericLister, error) {
		return deployments{world: w}, nil
	})
	set(scaler.Elem(), "dynamicClient", dynamicClient{world: w})
	set(scaler.Elem(), "activatorProbe", r.probe)
	set(scaler.Elem(), "probeManager", r)
	set(scaler.Elem(), "enqueueCB", r.enqueue)
	return made
}

func set(of reflect.Value, field string, value any) {
	found := of.FieldByName(field)
	reflect.NewAt(found.Type(), unsafe.Pointer(found.UnsafeAddr())).Elem().Set(reflect.ValueOf(value))
}

// -- clients -----------------------------------------------------------------------------------------------------------

type servingClient struct {
	client.Interface
	typed.AutoscalingV1alpha1Interface
	typed.MetricInterface
	world *world
}

func (c servingClient) AutoscalingV1alpha1() typed.AutoscalingV1alpha1Interface { return c }
func (c servingClient) Metrics(string) typed.MetricInterface                    { return c }

func (c servingClient) Create(_ context.Context, m *av1alpha1.Metric, _ metav1.CreateOptions) (*av1alpha1.Metric, error) {
	_ = c.world.metricIndex.Add(m)
	return m, c.world.collector.CreateOrUpdate(m)
}

func (c servingClient) Update(_ context.Context, m *av1alpha1.Metric, _ metav1.UpdateOptions) (*av1alpha1.Metric, error) {
	_ = c.world.metricIndex.Update(m)
	return m, c.world.collector.CreateOrUpdate(m)
}

type networkingClient struct {
	netclient.Interface
	nettyped.NetworkingV1alpha1Interface
	nettyped.ServerlessServiceInterface
	world *world
}

func (c networkingClient) NetworkingV1alpha1() nettyped.NetworkingV1alpha1Interface { return c }
func (c networkingClient) ServerlessServices(string) nettyped.ServerlessServiceInterface {
	return c
}

func (c networkingClient) Create(_ context.Context, s *nv1alpha1.ServerlessService, _ metav1.CreateOptions) (*nv1alpha1.ServerlessService, error) {
	return s, c.world.routeIndex.Add(s)
}

func (c networkingClient) Update(_ context.Context, s *nv1alpha1.ServerlessService, _ metav1.UpdateOptions) (*nv1alpha1.ServerlessService, error) {
	return s, c.world.routeIndex.Update(s)
}

type deployments struct {
	cache.GenericLister
	world *world
}

func (d deployments) ByNamespace(string) cache.GenericNamespaceLister {
	return deploymentsOf{world: d.world}
}

type deploymentsOf struct {
	cache.GenericNamespaceLister
	world *world
}

func (d deploymentsOf) Get(found string) (runtime.Object, error) {
	return &av1alpha1.PodScalable{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: found},
		Spec:       av1alpha1.PodScalableSpec{Replicas: d.world.replicas},
	}, nil
}

type dynamicClient struct {
	dynamic.Interface
	dynamic.NamespaceableResourceInterface
	world *world
}

func (c dynamicClient) Resource(schema.GroupVersionResource) dynamic.NamespaceableResourceInterface {
	return c
}
func (c dynamicClient) Namespace(string) dynamic.ResourceInterface { return c }

// Patch knows the one patch that there is: of the subresource scale.
func (c dynamicClient) Patch(_ context.Context, _ string, _ types.PatchType, data []byte, _ metav1.PatchOptions, _ ...string) (*unstructured.Unstructured, error) {
	_, text, _ := strings.Cut(string(data), `"value":`)
	to, err := strconv.ParseInt(strings.TrimSuffix(text, "}]"), 10, 32)
	if err != nil {
		return nil, err
	}
	replicas := int32(to)
	c.world.patched, c.world.replicas = &replicas, &replicas
	return nil, nil
}
