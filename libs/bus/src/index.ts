export {
  ACCOUNTS,
  accountOf,
  CONNECTION_LIMITS,
  CORE,
  IMPORTS,
  MAX_CONNECTIONS,
  MAX_PAYLOADS,
  MAX_SUBSCRIPTIONS,
  RESPONSE_MS,
} from './auth/accounts.ts';
export * from './auth/permissions.ts';
export * from './auth/server-conf.ts';
export { restoreStream, type SnapshotHead, snapshotStream } from './backup/stream-snapshot.ts';
export * from './config/config-log.ts';
export * from './config/config-store.ts';
export * from './config/signers-file.ts';
export { acrossElection } from './connection/across-election.ts';
export { type CertificateEnd, certificateEnd, certificateEnds, watchEnds } from './connection/certificate.ts';
export * from './connection/cloud-events.ts';
export { type Bus, type BusOptions, type BusStatus, connectBus, isConnected } from './connection/connect.ts';
export * from './connection/errors.ts';
export { type Incoming, subscribe } from './connection/incoming.ts';
export { isJetStreamOff, isStoring, JETSTREAM_OFF, JETSTREAM_OFF_REMEDY } from './connection/jetstream-health.ts';
export {
  FRAME_BYTES_PER_SECOND,
  FRAMES_PER_SECOND,
  NODE_BYTES_PER_SECOND,
  NODE_INTERVAL_MS,
  NODE_MESSAGES_PER_SECOND,
  NODE_SENT_BYTES_PER_SECOND,
  Pace,
} from './connection/node-pace.ts';
export { apiRequest, request } from './connection/request.ts';
export { type RequestResponder, respondToRequests } from './connection/request-responder.ts';
export { type RetryOptions, retryTransient } from './connection/retry-transient.ts';
export { secretsIn } from './connection/secret-file.ts';
export { microsOf } from './connection/server-clock.ts';
export * from './kv/bucket.ts';
export * from './kv/bucket-reader.ts';
export { ClusterReader, readCluster } from './kv/cluster-reader.ts';
export { podListOf } from './kv/pod-list.ts';
export * from './kv/schema-lookup.ts';
export * from './kv/snapshot.ts';
export { type FollowerBuses, MAX_DOUBTS } from './kv/snapshot-follower.ts';
export { type BusService, connectService } from './setup/connect-service.ts';
export * from './setup/ensure-topology.ts';
export { consumerProgress } from './status/consumer-progress.ts';
export * from './status/instance-reporter.ts';
export type { Position } from './status/stream-progress.ts';

export * from './streams/copy-publisher.ts';
export * from './streams/dead-letter.ts';
export * from './streams/direct.ts';
export { consumeDurable } from './streams/durable.ts';
export { contentOf } from './streams/injected-reply.ts';
export { consumeOrdered } from './streams/ordered.ts';
export type { StartAt } from './streams/ordered-options.ts';
export * from './streams/publish.ts';
export * from './streams/publish-once.ts';
export { respondToReads } from './streams/read-responder.ts';
export * from './streams/read-to-end.ts';
export { RepeatedFrames } from './streams/repeated-frames.ts';
export * from './streams/retention.ts';
export { streamEnd } from './streams/stream-end.ts';
export {
  createdMicrosOf,
  isRestoring,
  lifeName,
  lifeOf,
  metadataOfCopy,
  metadataOfRestored,
  subjectsOfRestoring,
} from './streams/stream-lives.ts';
export { StreamWatermark } from './streams/stream-watermark.ts';
export * from './topology/identities.ts';
export * from './topology/server-limits.ts';
export * from './topology/siem-positions.ts';
export * from './topology/subjects.ts';
export * from './topology/topology.ts';
export { ageText, bytesText } from './topology/topology-plan.ts';
