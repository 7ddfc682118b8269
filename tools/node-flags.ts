/**
 * Node flags of the apps in labs, tests, benches and images. One place, because figures of memory
 * and throughput depend on them.
 */

/**
 * Most apps: a small young generation keeps the memory of a process with few short-lived
 * allocations flat under load.
 */
const NODE_FLAGS = ['--max-semi-space-size=1'] as const;

/**
 * The collector runs on every node with a heap below 20 MB. An idle process does not need four
 * threads for compilation and garbage collection, whose arenas take 5 MB.
 */
export const COLLECTOR_NODE_FLAGS = [...NODE_FLAGS, '--max-old-space-size=64', '--v8-pool-size=0'] as const;

/**
 * The correlator reads all violations of a cluster. A young generation that holds a batch of frames
 * makes it a quarter faster.
 */
export const CORRELATOR_NODE_FLAGS = ['--max-semi-space-size=16'] as const;

export function nodeFlagsOf(app: string): readonly string[] {
  if (app === 'collector') return COLLECTOR_NODE_FLAGS;
  return app === 'correlator' ? CORRELATOR_NODE_FLAGS : NODE_FLAGS;
}
