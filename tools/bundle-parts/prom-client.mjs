// The parts of prom-client that apps use. Its own entry also loads the cluster aggregator, the push
// gateway, default metrics and a tracing API: 3 MB of resident memory per process.
export { default as Counter } from 'prom-client/lib/counter.js';
export { default as Gauge } from 'prom-client/lib/gauge.js';
export { default as Histogram } from 'prom-client/lib/histogram.js';
export { default as Registry } from 'prom-client/lib/registry.js';
