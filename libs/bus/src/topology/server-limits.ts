/** Limits in Bailiff's configuration of nats-server (auth/server-conf.ts) that other files read too. */

/**
 * JetStream reserves the limit of each stream and bucket at creation: about 8.4 GiB in total by
 * default. This limit is above that sum.
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
 * Time limit of the server for a client's credentials and for bus-auth's response. It is shorter
 * than a client's timeout, so that the client receives the refusal.
 */
export const AUTH_TIMEOUT_S = 4;
