/**
 * Parts of a node, for tests that build one without a whole lab: network namespaces, the relay to
 * the bus, CNI cache records, cgroups, and processes inside them.
 */
export { cgroup2Mount } from './cgroup.ts';
export { writeCacheRecord } from './cni/cache.ts';
export { netnsPath } from './names.ts';
export { CHECKOUT, ensureLabtool, labtoolArgs } from './native-tool.ts';
export { createNetns, deleteNetns, ipBatch } from './net/netns.ts';
export { NODE_NATS_URL, type Relay, startRelay } from './net/relay.ts';
export { exec } from './process/exec.ts';
export { type LineProcess, startLines, stopLines } from './process/lines.ts';
