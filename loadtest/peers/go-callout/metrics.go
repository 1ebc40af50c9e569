package main

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
)

type metrics struct {
	allowed prometheus.Counter
	denied  *prometheus.CounterVec
	seconds prometheus.Histogram
}

func newMetrics(registry *prometheus.Registry) *metrics {
	decisions := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "go_callout_decisions_total",
		Help: "Decisions by reason; allowed ones have none.",
	}, []string{"reason"})
	seconds := prometheus.NewHistogram(prometheus.HistogramOpts{
		Name:    "go_callout_decision_seconds",
		Help:    "Time from taking a request off the queue to sending its answer.",
		Buckets: prometheus.ExponentialBuckets(25e-6, 2, 16),
	})
	registry.MustRegister(decisions, seconds,
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return &metrics{allowed: decisions.WithLabelValues(""), denied: decisions, seconds: seconds}
}

func (m *metrics) record(d decision, elapsed time.Duration) {
	m.seconds.Observe(elapsed.Seconds())
	if d.reason == "" {
		m.allowed.Inc()
	} else {
		m.denied.WithLabelValues(d.reason).Inc()
	}
}
