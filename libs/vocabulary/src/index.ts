/**
 * Words of packets, operations and events, and names of CNI configurations, defined once. Kernel
 * enums, Avro enums, policy schemas and texts derive from these lists, or a test compares them. No
 * imports, so that every library can use it.
 */
export * from './capabilities.ts';
export * from './cni.ts';
export * from './events.ts';
export * from './operations.ts';
export * from './packets.ts';
export * from './sockets.ts';
