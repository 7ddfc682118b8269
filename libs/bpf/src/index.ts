/** Kernel programs, the native binding and typed access to both. Start at spoof-api.ts. */
export * from './addresses.ts';
export * from './bpf-link.ts';
export * from './bpf-map.ts';
export * from './bpf-object.ts';
export * from './bpf-program.ts';
export * from './clsact.ts';
export {
  COUNTER_NUMBERS,
  type CounterCell,
  type DecodedBatch,
  decodeBatch,
  decodeCounters,
  decodeSample,
  SampleError,
  type SpoofSample,
} from './decode.ts';
export {
  type AddressGrant,
  FOREVER_NS,
  type IfaceKey,
  type IfaceRecord,
  type Meta,
  type ProbePort,
  type Settings,
} from './encode.ts';
export * from './errors.ts';
export * from './feature-probe.ts';
export * from './names.ts';
export * from './netlink.ts';
export * from './place-watch.ts';
export * from './ring-reader.ts';
export * from './runtime-api.ts';
export { decodeRuntimeSample, type RuntimeSample } from './runtime-decode.ts';
export {
  decodeSocketMaker,
  normalPodUid,
  type RuntimeSettings,
  type RuntimeSubject,
  type SocketMaker,
} from './runtime-encode.ts';
export * from './runtime-maps.ts';
export * from './runtime-object.ts';
export * from './spoof-api.ts';
export { detachAll, verifyAttachments } from './spoof-detach.ts';
export * from './spoof-object.ts';
export { linksDir, lockPins, parsePinName } from './spoof-pins.ts';
export * from './system.ts';
export * from './tcx.ts';
