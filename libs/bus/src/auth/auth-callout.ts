/**
 * The server's questions who a client is, and the answers: opened, checked, signed and sealed. The only place that knows their form
 * (NATS's auth callout, version 2).
 *
 * Place in the path: nats-server → `$SYS.REQ.USER.AUTH` → apps/bus-auth → here. Invariants: a request that is not sealed for one of our
 * curve keys, not signed by the server that it says it comes from, or not from the server that sealed it, is refused: it may hold a token
 * that somebody wants judged or a server that somebody plays. An answer is for one user key, one server and a moment. Bounds: a request
 * above MAX_REQUEST_BYTES is not opened.
 */
import type { Bus } from '../connection/connect.ts';
import { BusError } from '../connection/errors.ts';
import { type NatsClaims, readClaims, signClaims } from './nats-jwt.ts';
import { AUTH_CALLOUT_QUEUE, AUTH_CALLOUT_SUBJECT, type Permissions, publishRule } from './permissions.ts';
import { issuerKeyOf, keyPairOf } from './seeds.ts';

/** A server's control line is 4 KiB, and that is all a client can send before it is let in; names of servers and TLS chains come with it. */
export const MAX_REQUEST_BYTES = 64 * 1024;
/** Header with the public curve key of the server, when a request is sealed. */
export const XKEY_HEADER = 'Nats-Server-Xkey';
const REQUEST_AUDIENCE = 'nats-authorization-request';
/** Clocks of server and of us may differ by this much. */
const LEEWAY_MS = 30_000;

/** What a client showed. Texts as it sent them: nothing of it is proven. */
export interface AuthRequest {
  /** The key that the server made for this client; rights are given to it. */
  userKey: string;
  /** Public key of the server. */
  serverId: string;
  serverName: string;
  /** Public keys under which it was asked and sealed: which of our seeds answer it. */
  issuer: string;
  /** The server's curve key. */
  serverXkey: string;
  /** Ours by which it was opened. */
  xkeySeed: string;
  clientHost: string;
  clientName: string;
  user: string;
  password: string;
  token: string;
  /** It showed another kind of credential: a JWT or an nkey. */
  other: boolean;
}

export interface AuthKeys {
  /** Seeds; one of them is the server's at any moment. */
  issuers: readonly string[];
  xkeys: readonly string[];
}

export interface Grant {
  /** How the server names the user from now on. */
  name: string;
  /** Account in which it is. */
  account: string;
  permissions: Permissions;
  /** Seconds since 1970 when the server ends the connection. */
  expiresAtS: number;
  /** Subscriptions at most. */
  maxSubscriptions: number;
}

const refuse = (why: string, cause?: unknown) => new BusError('BUS_MESSAGE', `auth request: ${why}`, { cause });
const textOf = (value: unknown) => (typeof value === 'string' ? value : '');

function open(bytes: Uint8Array, serverXkey: string, seeds: readonly string[]): { text: string; seed: string } {
  for (const seed of seeds) {
    let opened: Uint8Array | null = null;
    try {
      opened = keyPairOf('xkey', seed).open(bytes, serverXkey);
    } catch {
      // Cut short, or no key: told below like what was sealed for somebody else.
    }
    if (opened) return { text: new TextDecoder().decode(opened), seed };
  }
  throw refuse('is not sealed for a key of ours');
}

/** Opens and checks a request. @throws BusError BUS_MESSAGE; nothing secret is in its message */
export function readAuthRequest(bytes: Uint8Array, serverXkey: string, keys: AuthKeys, nowMs: number): AuthRequest {
  if (bytes.length > MAX_REQUEST_BYTES) throw refuse(`has ${bytes.length} bytes, above ${MAX_REQUEST_BYTES}`);
  if (serverXkey === '') throw refuse('is not sealed: the server needs xkey in auth_callout');
  const { text, seed } = open(bytes, serverXkey, keys.xkeys);
  let claims: Partial<NatsClaims>;
  try {
    claims = readClaims(text);
  } catch (cause) {
    throw refuse('is no signed JWT', cause);
  }
  const {
    server_id: server = {},
    client_info: client = {},
    connect_opts: shown = {},
    user_nkey,
    type,
  } = claims.nats ?? {};
  const { id, name, xkey } = server as Record<string, unknown>;
  if (claims.aud !== REQUEST_AUDIENCE || type !== 'authorization_request') throw refuse('is something else');
  if (typeof claims.iss !== 'string' || !claims.iss.startsWith('N') || claims.iss !== id || xkey !== serverXkey) {
    throw refuse('is not signed by the server that it names');
  }
  if (typeof claims.exp === 'number' && claims.exp * 1000 + LEEWAY_MS < nowMs) throw refuse('has expired');
  if (typeof user_nkey !== 'string' || !user_nkey.startsWith('U')) throw refuse('names no user key');
  const { user, pass, auth_token, jwt, nkey, sig } = shown as Record<string, unknown>;
  const { host, name: clientName } = client as Record<string, unknown>;
  return {
    userKey: user_nkey,
    serverId: claims.iss,
    serverName: textOf(name),
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
 * The answer: rights, or a refusal with words for the server's log. @throws BusError BUS_MESSAGE when the server believes another key
 */
export function writeAuthResponse(
  request: AuthRequest,
  keys: AuthKeys,
  answer: { grant: Grant } | { refusal: string },
): Uint8Array {
  const key = keys.issuers.map(issuerKeyOf).find(({ publicKey }) => publicKey === request.issuer);
  if (!key) throw refuse(`the server believes ${request.issuer.slice(0, 60)}, which is none of our keys`);
  const [iss, sub] = [key.publicKey, request.userKey];
  const said =
    'refusal' in answer
      ? { error: answer.refusal }
      : { jwt: signClaims({ iss, sub, ...userClaims(answer.grant) }, key.signing) };
  const nats = { ...said, type: 'authorization_response', version: 2 };
  const text = signClaims({ iss, sub, aud: request.serverId, nats }, key.signing);
  return keyPairOf('xkey', request.xkeySeed).seal(new TextEncoder().encode(text), request.serverXkey);
}

/** Rights of a user in NATS's words; without an account's own key, `aud` names the account. */
function userClaims({ name, account, permissions, expiresAtS, maxSubscriptions }: Grant) {
  const { allowResponsesMs } = permissions;
  const nats = {
    pub: publishRule(permissions),
    sub: { allow: permissions.subscribe.allow },
    // Nanoseconds, as Go has them.
    ...(allowResponsesMs === undefined ? {} : { resp: { max: 1, ttl: allowResponsesMs * 1_000_000 } }),
    subs: maxSubscriptions,
    data: -1,
    payload: -1,
    // Over TCP as a client; not as a leaf node, nor over WebSocket or MQTT.
    allowed_connection_types: ['STANDARD'],
    type: 'user',
    version: 2,
  };
  return { name, aud: account, exp: expiresAtS, nats };
}

/** A request as it came. */
export interface SealedAuthRequest {
  bytes: Uint8Array;
  /** Public curve key of the server that sealed it; empty when none is said. */
  serverXkey: string;
  /** Once; the server waits `AUTH_TIMEOUT_S`. */
  respond(bytes: Uint8Array): void;
}

/** Takes the server's questions, sharing them with the other replicas, until the returned function is called. */
export function subscribeAuthRequests(bus: Bus, onQuestion: (question: SealedAuthRequest) => void): () => void {
  const subscription = bus.nc.subscribe(AUTH_CALLOUT_SUBJECT, {
    queue: AUTH_CALLOUT_QUEUE,
    callback: (error, message) => {
      // A permission that is lacking is told by the bus's status.
      if (error) return;
      const serverXkey = message.headers?.get(XKEY_HEADER) ?? '';
      onQuestion({ bytes: message.data, serverXkey, respond: (bytes) => void message.respond(bytes) });
    },
  });
  return () => {
    if (!bus.nc.isClosed()) subscription.unsubscribe();
  };
}
