/** Kernel programs, the native binding and typed access to both. Start at spoof-api.ts. */
export * from './addresses.ts';
export {
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
export * from './names.ts';
export * from './spoof-api.ts';
