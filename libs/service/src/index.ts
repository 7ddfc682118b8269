export { busServiceOf } from './bus-service.ts';
export { type Clock, systemClock } from './clock.ts';
export { busOptionsOf, busShape, envName, envPrefix, type FrameConfig, frameShape } from './config.ts';
export { EXIT, type ExitCode, exitCodeOf, ServiceError, type ServiceErrorCode } from './errors.ts';
export { FairCounts } from './fair-counts.ts';
export { type FileProblem, FileStore, replaceFile } from './file-store.ts';
export { flagName } from './flags.ts';
export type { Check, Health, HealthReport } from './health.ts';
export {
  FAST_BUCKETS,
  listMetrics,
  type MetricDeclaration,
  MetricFamily,
  oncePerScrape,
  SLOW_BUCKETS,
  type Values,
} from './metrics.ts';
export { codeOf, escapeUnsafe, UNSAFE } from './printable.ts';
export { addProcessMetrics } from './process-metrics.ts';
export { RateLimitedLog } from './rate-limited-log.ts';
export { redact } from './redact.ts';
export { type BackoffOptions, backoffMs, type Cancel, onAbort, pause } from './retry.ts';
export { runService, type ServiceContext, type ServiceIo, type ServiceOptions } from './run.ts';
