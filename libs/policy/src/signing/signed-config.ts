/**
 * The check of signed configuration that every reader applies: collectors, correlators, responders, ipam-sync
 * and the commands that judge recorded events again. Pure.
 *
 * The signers come from a file that each process receives at its start, never from the bus. A kind of key that a signer
 * covers needs a signature. Of each key, a change is accepted only if it is signed no earlier than
 * the last accepted one, or than the time that the file states for the key. The caller keeps the last accepted value
 * in force. Bounds: MAX_SIGNERS, MAX_TIMES; the memory has one entry per key that a signer signed.
 */
import {
  CONFIG_KINDS,
  ConfigError,
  type ConfigKey,
  type ConfigKind,
  formatConfigKey,
  parseConfigKey,
} from '../configuration/keys.ts';
import { parseVerifierKey, type VerifierKey, VerifierKeyError } from './note.ts';
import { contentDigest, DELETED, isSignedBy, parseSignature, type SignedChange } from './signature.ts';

const MAX_SIGNERS = 64;
const MAX_TIMES = 4096;

interface Signer {
  verifier: VerifierKey;
  kinds: ReadonlySet<ConfigKind>;
}

/** The content of a signers file. */
export interface ConfigSigners {
  signers: readonly Signer[];
  /** By key: a change that was signed before this time is refused. */
  since: ReadonlyMap<string, number>;
}

/** Without signers, no kind needs a signature. */
export const NO_SIGNERS: ConfigSigners = { signers: [], since: new Map() };

const wrong = (line: number, problem: string, cause?: unknown) =>
  new ConfigError('CONFIG_SIGNATURE', `line ${line} of the signers: ${problem}`, [], { cause });

function kindsOf(names: readonly string[], line: number): ReadonlySet<ConfigKind> {
  const unknown = names.find((name) => !(CONFIG_KINDS as readonly string[]).includes(name));
  if (unknown !== undefined) throw wrong(line, `"${unknown}" is not a kind: ${CONFIG_KINDS.join(', ')}`);
  return new Set(names.length === 0 ? CONFIG_KINDS : (names as ConfigKind[]));
}

function signerIn(words: readonly string[], line: number): Signer {
  try {
    return { verifier: parseVerifierKey(words[0] as string), kinds: kindsOf(words.slice(1), line) };
  } catch (error) {
    if (!(error instanceof VerifierKeyError)) throw error;
    throw wrong(line, error.message, error);
  }
}

function timeIn([, at = '', key = '', ...rest]: readonly string[], line: number): [string, number] {
  const atMs = Date.parse(at);
  if (rest.length > 0 || Number.isNaN(atMs)) throw wrong(line, 'not `since <time> <key>`');
  return [formatConfigKey(parseConfigKey(key)), atMs];
}

/**
 * Parses a signers file. A line is `<verifier key> [kind ...]`, without kinds for all of them, or
 * `since <time> <key>`, or a comment that begins with `#`.
 * @throws ConfigError CONFIG_SIGNATURE | CONFIG_KEY
 */
export function parseSigners(text: string): ConfigSigners {
  const signers: Signer[] = [];
  const since = new Map<string, number>();
  for (const [index, line] of text.split('\n').entries()) {
    const words = line
      .replace(/(^|\s)#.*/, '')
      .trim()
      .split(/\s+/);
    if (words[0] === '') continue;
    if (words[0] === 'since') since.set(...timeIn(words, index + 1));
    else signers.push(signerIn(words, index + 1));
  }
  if (signers.length === 0) throw new ConfigError('CONFIG_SIGNATURE', 'the file of signers names no signer');
  if (signers.length > MAX_SIGNERS || since.size > MAX_TIMES) {
    throw new ConfigError('CONFIG_SIGNATURE', `at most ${MAX_SIGNERS} signers and ${MAX_TIMES} times are allowed`);
  }
  return { signers, since };
}

const kindOf = (key: string): ConfigKind => key.split('.')[0] as ConfigKind;

const time = (ms: number): string => new Date(ms).toISOString();

export class SignedConfig {
  readonly #signers: ConfigSigners;
  /** The newest accepted change of each key. */
  readonly #accepted = new Map<string, { atMs: number; digest: string }>();

  constructor(signers: ConfigSigners = NO_SIGNERS) {
    this.#signers = signers;
  }

  /** Whether keys of the kind need a signature. */
  requires(kind: ConfigKey['kind']): boolean {
    return this.#signers.signers.some(({ kinds }) => kinds.has(kind));
  }

  /**
   * The reason to refuse a change; empty if it is accepted, which the next call remembers. The same change is
   * accepted again. So is an unsigned deletion of a key without an accepted value, unless the file states a time for
   * the key: that a value is missing would no longer be reported.
   */
  refusal(change: SignedChange): string {
    const kind = kindOf(change.key);
    if (!this.requires(kind)) return '';
    const accepted = this.#accepted.get(change.key);
    const what = change.json === null ? 'the deletion' : 'the value';
    const isAbsent = accepted ? accepted.digest === DELETED : !this.#signers.since.has(change.key);
    // It changes nothing.
    if (change.json === null && isAbsent && change.signature === '') return '';
    if (change.signature === '') return `${what} is not signed`;
    const parts = parseSignature(change.signature);
    if (!parts) return `the signature of ${what} is malformed`;
    const { atMs, name } = parts;
    const since = this.#signers.since.get(change.key) ?? Number.NEGATIVE_INFINITY;
    if (atMs < since) return `${what} was signed at ${time(atMs)}; the signers require ${time(since)} or later`;
    const replayed = `an old ${what.slice(4)}: signed at ${time(atMs)}, and a change of ${time(accepted?.atMs ?? 0)} was accepted`;
    if (accepted && atMs < accepted.atMs) return replayed;
    const keys = this.#signers.signers.filter(({ kinds }) => kinds.has(kind)).map(({ verifier }) => verifier);
    if (!keys.some((one) => one.name === name)) return `${what} is signed by ${name}, who may not sign ${kind}`;
    let digest: string;
    try {
      digest = contentDigest(change.json);
    } catch (error) {
      if (!(error instanceof ConfigError)) throw error;
      return error.message;
    }
    if (!isSignedBy(change.key, digest, parts, keys)) return `the signature by ${name} is not of this key and ${what}`;
    if (accepted?.atMs === atMs && accepted.digest !== digest) return replayed;
    this.#accepted.set(change.key, { atMs, digest });
    return '';
  }

  /** Whether a value needs its signature, and has a valid one: an unsigned deletion would not end it. */
  isSigned(change: SignedChange): boolean {
    return this.requires(kindOf(change.key)) && change.json !== null && this.problemOf(change) === '';
  }

  /** As `refusal`, without the memory of former changes. */
  problemOf(change: SignedChange): string {
    return new SignedConfig(this.#signers).refusal(change);
  }

  /** Keys of the kinds for which the file states a time, and of which no change was accepted; with the reason. */
  missing(kinds: readonly ConfigKind[]): [key: string, reason: string][] {
    return [...this.#signers.since]
      .filter(([key]) => kinds.includes(kindOf(key)) && !this.#accepted.has(key))
      .map(([key, sinceMs]) => [key, `the bus has no value or deletion signed at ${time(sinceMs)} or later`]);
  }
}
