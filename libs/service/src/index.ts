export { busServiceOf } from './bus-service.ts';
export { type Clock, systemClock } from './clock.ts';
export {
  busOptionsOf,
  busShape,
  envName,
  envPrefix,
  type FrameConfig,
  frameShape,
  hostPort,
  kubeShape,
  optionalText,
  signersShape,
  whole,
} from './config.ts';
export { EXIT, type ExitCode, exitCodeOf, ServiceError, type ServiceErrorCode } from './errors.ts';
export { FairCounts } from './fair-counts.ts';
export { FileStore, replaceFile } from './file-store.ts';
export { flagName } from './flags.ts';
export { type FindPage, startListener } from './http.ts';

export {
  FAST_BUCKETS,
  MetricFamily,
  SLOW_BUCKETS,
  type Values,
} from './metrics.ts';
export { codeOf, escapeUnsafe, UNSAFE } from './printable.ts';
export { addProcessMetrics } from './process-metrics.ts';
export { RateLimitedLog } from './rate-limited-log.ts';
export { RecentMap } from './recent-map.ts';

export { backoffMs, type Cancel, pause } from './retry.ts';
export { runService, type ServiceContext, type ServiceOptions } from './run.ts';
