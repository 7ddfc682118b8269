/** Words of packets, operations and events. No imports and no logic, so that every library can use it. */
export * from './operations.ts';
export * from './packets.ts';
