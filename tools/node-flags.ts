/**
 * Flags of Node that the apps are started with: by the lab, by tests and benches, and by images. One place, because figures of memory
 * hold only under them.
 */

/** Every app: a small young generation keeps a process that allocates little and for a short time flat under load. */
export const NODE_FLAGS = ['--max-semi-space-size=1'] as const;

/**
 * The collector besides: it runs on every node. Its heap stays below 20 MB; and a process that is idle has no use for four threads that
 * compile and collect beside it, whose arenas are 5 MB.
 */
export const COLLECTOR_NODE_FLAGS = [...NODE_FLAGS, '--max-old-space-size=64', '--v8-pool-size=0'] as const;
