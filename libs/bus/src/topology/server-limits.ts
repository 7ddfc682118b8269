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
/**
 * Unsent data of a connection, after which the server closes it. A core service requests at most
 * 3 MiB for each stream that it reads (streams/pull.ts), and a direct reader 2 MiB. The server adds
 * this up only when it sends: responses that it has read for a connection wait before that, without a
 * limit. bus-auth therefore ends connections of nodes that flood (apps/bus-auth/src/connection-shares.ts).
 */
export const MAX_PENDING_BYTES = 24 * 1024 ** 2;
/**
 * How long the server tries to send to a connection. Until then it also serves the requests of one that
 * reads nothing, even after MAX_PENDING_BYTES: with its default of 10 s, four connections that read a
 * list of 100 kB took 1.7 GiB within five seconds. An honest client on a slow line requests
 * less at once (streams/read-share.ts).
 */
export const WRITE_DEADLINE_S = 3;
/**
 * Closed connections that the monitoring port lists. Each may have a name of 4 kB, also without a
 * successful login, and the server renders the whole list for each request: with its default of
 * 10,000, twenty requests take some GiB.
 */
export const MAX_CLOSED_CLIENTS = 16;
/**
 * Tokens in the subject of a subscription of a client: Bailiff's have at most seven, and connectors choose what
 * follows their inbox. The server keeps about 0.4 kB for each token. Without a limit, 99 subscriptions of 2,000
 * tokens took 100 MiB a connection, and twice as much where their subjects are imported.
 */
export const MAX_SUBSCRIPTION_TOKENS = 16;
