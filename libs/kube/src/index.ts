export * from './calls.ts';
export {
  apiPath,
  type ClientOptions,
  type ClientStats,
  type KubeApi,
  KubeClient,
  loadKube,
  type Query,
  type RequestOptions,
  type Verb,
  type WatchEvent,
  type WatchOptions,
} from './client.ts';
export type { KubeSource } from './credentials.ts';
export { errorOfStatus, KubeError, type KubeErrorCode, nullOn } from './errors.ts';
export { LeaderElector, type LeaderOptions } from './leader.ts';
export { DEFAULT_LEASE_TIMING, type LeaseTiming } from './lease-rules.ts';
export { Reflector, type ReflectorOptions, type ReflectorStats } from './reflector.ts';
export { isNewer } from './store.ts';
export * from './tokens.ts';
export type * from './types.ts';
