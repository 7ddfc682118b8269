/** Kernel programs, the native binding, and typed access to both. Start reading at spoof/api.ts. */
export * from './core/addresses.ts';
export * from './core/bpf-link.ts';
export * from './core/bpf-map.ts';
export * from './core/bpf-object.ts';
export * from './core/bpf-program.ts';
export * from './core/clsact.ts';
export * from './core/errors.ts';
export * from './core/feature-probe.ts';
export * from './core/netlink.ts';
export * from './core/ring-reader.ts';
export { SampleError } from './core/sample-error.ts';
export * from './core/system.ts';
export * from './core/tcx.ts';
export * from './runtime/api.ts';
export { decodeRuntimeSample, type RuntimeSample } from './runtime/decode.ts';
export {
  decodeSocketMaker,
  normalPodUid,
  type RuntimeSettings,
  type RuntimeSubject,
  type SocketMaker,
} from './runtime/encode.ts';
export * from './runtime/errors.ts';
export * from './runtime/maps.ts';
export * from './runtime/object.ts';
export { runtimeObjectPath } from './runtime/places.ts';
export * from './spoof/api.ts';
export {
  COUNTER_NUMBERS,
  type CounterCell,
  type DecodedBatch,
  decodeBatch,
  decodeCounters,
  decodeSample,
  type SpoofSample,
} from './spoof/decode.ts';
export { detachAll, verifyAttachments } from './spoof/detach.ts';
export {
  type AddressGrant,
  decodeCounterKey,
  encodeCounterKey,
  FOREVER_NS,
  type IfaceKey,
  type IfaceRecord,
  type Meta,
  type Network,
  type ProbePort,
  type Settings,
  type TunnelService,
} from './spoof/encode.ts';
export * from './spoof/names.ts';
export * from './spoof/object.ts';
export { openPinnedMaps, type PinnedMaps } from './spoof/pinned-maps.ts';
export { linksDir, lockPins, parsePinName } from './spoof/pins.ts';
export * from './spoof/place-watch.ts';
