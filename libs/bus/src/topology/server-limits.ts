/** Limits of nats-server that server-conf.ts writes and that other rooms rely on. */

/** Above the sum of the limits of all streams and buckets (about 8.4 GiB by default), which JetStream reserves at creation. */
export const DEFAULT_MAX_FILE_BYTES = 12 * 1024 ** 3;
/** Ordered consumers keep their state in memory, some kB each. */
export const DEFAULT_MAX_MEMORY_BYTES = 256 * 1024 ** 2;
/** Largest message: a snapshot of 512 KiB or a frame of 64 violations, with room. nats-server's own default. */
export const MAX_PAYLOAD_BYTES = 1024 * 1024;
/** How long the server waits for credentials, and for bus-auth's answer about them: less than a client waits, so that it is told. */
export const AUTH_TIMEOUT_S = 4;
