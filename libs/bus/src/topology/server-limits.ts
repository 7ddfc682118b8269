/** Limits of nats-server in our configuration (auth/server-conf.ts) that other rooms depend on. */

/**
 * Above the sum of all stream and bucket limits (about 8.4 GiB by default), which JetStream
 * reserves at creation.
 */
export const DEFAULT_MAX_FILE_BYTES = 12 * 1024 ** 3;
/** Ordered consumers keep some kB of state each in memory. */
export const DEFAULT_MAX_MEMORY_BYTES = 256 * 1024 ** 2;
/**
 * Largest message: a snapshot of 512 KiB or a frame of 64 violations, with a margin. The default of
 * nats-server.
 */
export const MAX_PAYLOAD_BYTES = 1024 * 1024;
/**
 * How long the server waits for credentials and for bus-auth's response. Shorter than a client's
 * timeout, so that the client receives the refusal.
 */
export const AUTH_TIMEOUT_S = 4;
