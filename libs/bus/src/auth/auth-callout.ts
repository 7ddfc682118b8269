/**
 * NATS auth callout, version 2: opens, verifies, signs and seals its requests and responses.
 *
 * nats-server requests `$SYS.REQ.USER.AUTH`, and bus-auth responds through this file. A request is
 * refused unless it is sealed for one of our curve keys, signed by the server that it names, and
 * sealed by that server. Otherwise an attacker could have a stolen token judged, or impersonate a
 * server. A response is valid for one user key, one server and a short time. Requests above
 * MAX_REQUEST_BYTES are not opened.
 */
import type { Bus } from '../connection/connect.ts';
import { BusError } from '../connection/errors.ts';
import { type Incoming, subscribe } from '../connection/incoming.ts';
import { type NatsClaims, readClaims, signClaims } from './nats-jwt.ts';
import { AUTH_CALLOUT_QUEUE, AUTH_CALLOUT_SUBJECT, type Permissions, publishRule } from './permissions.ts';
import { issuerKeyOf, keyPairOf } from './seeds.ts';

/**
 * Before login a client can send one control line of 4 KiB; server names and TLS chains add to
 * that.
 */
export const MAX_REQUEST_BYTES = 64 * 1024;
/** Header with the server's public curve key in a sealed request. */
export const XKEY_HEADER = 'Nats-Server-Xkey';
const REQUEST_AUDIENCE = 'nats-authorization-request';
/** Tolerated difference between the clocks of server and process. */
const LEEWAY_MS = 30_000;

/** Credentials and origin of a client as it sent them: none of it is verified. */
export interface AuthRequest {
  /** Key that the server created for this client; permissions are granted to it. */
  userKey: string;
  /** Public key of the server. */
  serverId: string;
  serverName: string;
  /** Number of the connection on the server; 0: the server did not send it. */
  connectionId: number;
  /** Public key under which the server requested: selects the seed that signs the response. */
  issuer: string;
  /** The server's curve key. */
  serverXkey: string;
  /** Our curve seed that opened the request. */
  xkeySeed: string;
  clientHost: string;
  clientName: string;
  user: string;
  password: string;
  token: string;
  /** The client sent another kind of credential: a JWT or an nkey. */
  other: boolean;
}

export interface AuthKeys {
  /** Seeds; during a rotation several, one of which the server uses. */
  issuers: readonly string[];
  xkeys: readonly string[];
}

export interface Grant {
  /** Name of the user on the server. */
  name: string;
  /** Account of the user. */
  account: string;
  permissions: Permissions;
  /** Seconds since 1970 when the server ends the connection. */
  expiresAtS: number;
}

const refuse = (why: string, cause?: unknown) => new BusError('BUS_MESSAGE', `auth request: ${why}`, { cause });
const textOf = (value: unknown) => (typeof value === 'string' ? value : '');

function open(bytes: Uint8Array, serverXkey: string, seeds: readonly string[]): { text: string; seed: string } {
  for (const seed of seeds) {
    let opened: Uint8Array | null = null;
    try {
      opened = keyPairOf('xkey', seed).open(bytes, serverXkey);
    } catch {
      // Truncated, or an invalid key: reported below, like a request for another key.
    }
    if (opened) return { text: new TextDecoder().decode(opened), seed };
  }
  throw refuse('is not sealed for one of our keys');
}

/** Opens and verifies a request. @throws BusError BUS_MESSAGE without secrets in its message */
export function readAuthRequest(bytes: Uint8Array, serverXkey: string, keys: AuthKeys, nowMs: number): AuthRequest {
  if (bytes.length > MAX_REQUEST_BYTES) throw refuse(`has ${bytes.length} bytes, above ${MAX_REQUEST_BYTES}`);
  if (serverXkey === '') throw refuse('is not sealed: the server needs xkey in auth_callout');
  const { text, seed } = open(bytes, serverXkey, keys.xkeys);
  let claims: Partial<NatsClaims>;
  try {
    claims = readClaims(text);
  } catch (cause) {
    throw refuse('is not a signed JWT', cause);
  }
  const {
    server_id: server = {},
    client_info: client = {},
    connect_opts: shown = {},
    user_nkey,
    type,
  } = claims.nats ?? {};
  const { id, name, xkey } = server as Record<string, unknown>;
  if (claims.aud !== REQUEST_AUDIENCE || type !== 'authorization_request')
    throw refuse('is not an authorization request');
  if (typeof claims.iss !== 'string' || !claims.iss.startsWith('N') || claims.iss !== id || xkey !== serverXkey) {
    throw refuse('is not signed by the server that it names');
  }
  if (typeof claims.exp === 'number' && claims.exp * 1000 + LEEWAY_MS < nowMs) throw refuse('has expired');
  if (typeof user_nkey !== 'string' || !user_nkey.startsWith('U')) throw refuse('names no user key');
  const { user, pass, auth_token, jwt, nkey, sig } = shown as Record<string, unknown>;
  const { host, id: connectionId, name: clientName } = client as Record<string, unknown>;
  return {
    userKey: user_nkey,
    serverId: claims.iss,
    serverName: textOf(name),
    connectionId: typeof connectionId === 'number' ? connectionId : 0,
    issuer: textOf(claims.sub),
    serverXkey,
    xkeySeed: seed,
    clientHost: textOf(host),
    clientName: textOf(clientName),
    user: textOf(user),
    password: textOf(pass),
    token: textOf(auth_token),
    other: [jwt, nkey, sig].some((value) => textOf(value) !== ''),
  };
}

/**
 * Writes a response: a grant, or a refusal with a reason for the server's log. @throws BusError
 * BUS_MESSAGE if the server trusts another key
 */
export function writeAuthResponse(
  request: AuthRequest,
  keys: AuthKeys,
  answer: { grant: Grant } | { refusal: string },
): Uint8Array {
  const key = keys.issuers.map(issuerKeyOf).find(({ publicKey }) => publicKey === request.issuer);
  if (!key) throw refuse(`the server trusts ${request.issuer.slice(0, 60)}, which is not one of our keys`);
  const [iss, sub] = [key.publicKey, request.userKey];
  const content =
    'refusal' in answer
      ? { error: answer.refusal }
      : { jwt: signClaims({ iss, sub, ...userClaims(answer.grant) }, key.signing) };
  const nats = { ...content, type: 'authorization_response', version: 2 };
  const text = signClaims({ iss, sub, aud: request.serverId, nats }, key.signing);
  return keyPairOf('xkey', request.xkeySeed).seal(new TextEncoder().encode(text), request.serverXkey);
}

/** Claims of a user as NATS defines them. Without an account key, `aud` names the account. */
function userClaims({ name, account, permissions, expiresAtS }: Grant) {
  const { allowResponsesMs } = permissions;
  const nats = {
    pub: publishRule(permissions),
    sub: { allow: permissions.subscribe.allow },
    // Nanoseconds, a Go duration.
    ...(allowResponsesMs === undefined ? {} : { resp: { max: 1, ttl: allowResponsesMs * 1_000_000 } }),
    // The server enforces CONNECTION_LIMITS of the account instead.
    subs: -1,
    data: -1,
    payload: -1,
    // Only clients over TCP; no leaf nodes, WebSocket or MQTT.
    allowed_connection_types: ['STANDARD'],
    type: 'user',
    version: 2,
  };
  return { name, aud: account, exp: expiresAtS, nats };
}

/** A request before it is opened. */
export interface SealedAuthRequest {
  bytes: Uint8Array;
  /** Public curve key of the server that sealed it; empty if missing. */
  serverXkey: string;
  /** Call once, within `AUTH_TIMEOUT_S`. */
  respond(bytes: Uint8Array): void;
}

/**
 * Receives auth requests in the queue group of all replicas until the returned function is called.
 */
export function subscribeAuthRequests(bus: Bus, onRequest: (question: SealedAuthRequest) => void): () => void {
  const onMessage = (error: Error | null, message: Incoming) => {
    // The bus status reports a missing permission.
    if (error) return;
    const serverXkey = message.headers?.get(XKEY_HEADER) ?? '';
    onRequest({ bytes: message.data, serverXkey, respond: (bytes) => message.respond(bytes) });
  };
  const subscription = subscribe(bus, AUTH_CALLOUT_SUBJECT, onMessage, { queue: AUTH_CALLOUT_QUEUE });
  return () => {
    if (!bus.nc.isClosed()) subscription.unsubscribe();
  };
}
