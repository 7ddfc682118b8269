/**
 * Flags of Node that the apps are started with: by the lab, by tests and benches, and by images. One place, because figures of memory and
 * throughput hold only under them.
 */

/** Most apps: a small young generation keeps a process that allocates little and for a short time flat under load. */
const NODE_FLAGS = ['--max-semi-space-size=1'] as const;

/**
 * The collector runs on every node. Its heap stays below 20 MB; and a process that is idle has no use for four threads that compile and
 * collect beside it, whose arenas are 5 MB.
 */
export const COLLECTOR_NODE_FLAGS = [...NODE_FLAGS, '--max-old-space-size=64', '--v8-pool-size=0'] as const;

/** The correlator reads every violation of a cluster: a young generation in which a batch of frames dies makes it a quarter faster. */
export const CORRELATOR_NODE_FLAGS = ['--max-semi-space-size=16'] as const;

export function nodeFlagsOf(app: string): readonly string[] {
  if (app === 'collector') return COLLECTOR_NODE_FLAGS;
  return app === 'correlator' ? CORRELATOR_NODE_FLAGS : NODE_FLAGS;
}
