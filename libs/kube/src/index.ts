export { reviewAccess } from './access.ts';
export * from './calls.ts';
export {
  apiPath,
  type ClientOptions,
  type KubeApi,
  KubeClient,
  loadKube,
  loadSharedKube,
  type RequestOptions,
} from './client.ts';

export { isNamespaceGone, KubeError, type KubeErrorCode, nullOn } from './errors.ts';
export { LeaderElector } from './leader.ts';

export { Reflector, type ReflectorOptions, type ReflectorStats } from './reflector.ts';
export { isNewer } from './store.ts';
export * from './tokens.ts';
export type * from './types.ts';
