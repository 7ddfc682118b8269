/**
 * Compiles address rules to entries of `rt_addresses`.
 *
 * The map is an LPM trie, and a look-up returns only the longest match. So each prefix that a rule
 * names, exceptions included, becomes an entry with every rule that covers it, also rules of wider
 * prefixes. Invariants: pure. The trie holds IPv4 as ::ffff:a.b.c.d; an IPv6 prefix that contains
 * this range does not match IPv4.
 */

import { type Cidr, formatCidr, mapPrefixLength, parseCidr } from '@bailiff/bpf';
import type { RuleAction } from '@bailiff/vocabulary';
import { PolicyError } from '../sets/errors.ts';
import { operationNumber } from '../sets/names.ts';
import type { AddressMatch, RuleIR } from '../sets/set.ts';
import { ADDRESS_RULES } from './layout.ts';
import type { SourceGroups } from './sources.ts';

export interface AddressRuleEntry {
  readonly rule: number;
  readonly source: number;
  readonly portFirst: number;
  readonly portLast: number;
  readonly protocol: number;
  readonly action: RuleAction;
  /** Bit (op - OP_CONNECT). */
  readonly ops: number;
}

export interface AddressEntry {
  /** In bits of the trie's 128-bit keys. */
  readonly prefixLength: number;
  /** 16 bytes, host bits cleared. */
  readonly address: Buffer;
  readonly rules: readonly AddressRuleEntry[];
}

/** A rule without an address gets `::/0` for both families: an entry that covers the whole trie. */
interface Prefix {
  readonly bytes: Buffer;
  readonly length: number;
  /** Null: both families. */
  readonly family: 4 | 6 | null;
}

const EVERYTHING: Prefix = { bytes: Buffer.alloc(16), length: 0, family: null };
const ALL_IPV4: Prefix = { bytes: parseCidr('0.0.0.0/0').bytes, length: 96, family: 4 };

function prefixOf(cidr: string | null): Prefix {
  if (cidr === null) return EVERYTHING;
  const parsed: Cidr = parseCidr(cidr);
  return { bytes: parsed.bytes, length: mapPrefixLength(parsed), family: parsed.family };
}

function sameBits(a: Buffer, b: Buffer, bits: number): boolean {
  const whole = bits >> 3;
  if (a.compare(b, 0, whole, 0, whole) !== 0) return false;
  const rest = bits & 7;
  return rest === 0 || (a[whole]! ^ b[whole]!) >> (8 - rest) === 0;
}

/** The first bits of an address; the rest is zero. */
function cut(bytes: Buffer, bits: number): Buffer {
  const kept = Buffer.alloc(16);
  bytes.copy(kept, 0, 0, (bits + 7) >> 3);
  if ((bits & 7) !== 0) kept[bits >> 3] = kept[bits >> 3]! & (0xff00 >> (bits & 7)) & 0xff;
  return kept;
}

/** True if all of `inner` is within `outer`. Families are kept apart. */
function covers(outer: Prefix, inner: Prefix): boolean {
  if (outer.length > inner.length || !sameBits(outer.bytes, inner.bytes, outer.length)) return false;
  if (outer.family === null) return true;
  // The mapped IPv4 range is below every IPv6 prefix that contains it, so its entry matches its own
  // family only.
  return inner.family === null ? outer.family === 6 : outer.family === inner.family;
}

const keyOf = (prefix: Prefix): string => `${prefix.bytes.toString('hex')}/${prefix.length}`;

interface Candidate {
  rule: RuleIR;
  match: AddressMatch;
  prefix: Prefix;
  except: Prefix[];
}

const CONNECT = operationNumber('connect');

function entryOf({ rule, match }: Candidate, sources: SourceGroups): AddressRuleEntry {
  return {
    rule: rule.index,
    source: sources.numberOf(rule.source),
    portFirst: match.portFirst,
    portLast: match.portLast,
    protocol: match.protocol,
    action: rule.action,
    ops: match.ops.reduce((mask, op) => mask | (1 << (operationNumber(op) - CONNECT)), 0),
  };
}

/** Candidates by their prefix, so that an entry checks only the prefixes above it. */
class Candidates {
  readonly #byKey = new Map<string, { order: number; candidate: Candidate }[]>();
  readonly #lengths = new Set<number>();

  constructor(list: readonly Candidate[]) {
    list.forEach((candidate, order) => {
      const key = keyOf(candidate.prefix);
      this.#lengths.add(candidate.prefix.length);
      const there = this.#byKey.get(key);
      if (there === undefined) this.#byKey.set(key, [{ order, candidate }]);
      else there.push({ order, candidate });
    });
  }

  /** Candidates that match at a prefix, in the order of their rules. */
  at(prefix: Prefix): Candidate[] {
    const above = [...this.#lengths]
      .filter((length) => length <= prefix.length)
      .flatMap((length) => this.#byKey.get(keyOf({ ...prefix, bytes: cut(prefix.bytes, length), length })) ?? []);
    const holds = ({ candidate }: { candidate: Candidate }) =>
      covers(candidate.prefix, prefix) && !candidate.except.some((out) => covers(out, prefix));
    return above
      .filter(holds)
      .sort((a, b) => a.order - b.order)
      .map(({ candidate }) => candidate);
  }
}

function rulesAt(prefix: Prefix, candidates: Candidates, sources: SourceGroups): AddressRuleEntry[] {
  const found = candidates.at(prefix);
  const byText = new Map<string, AddressRuleEntry>();
  for (const candidate of found) {
    const entry = entryOf(candidate, sources);
    // A rule may cover a prefix by two of its CIDRs.
    byText.set(JSON.stringify(entry), entry);
  }
  if (byText.size > ADDRESS_RULES) {
    const at = prefix.family === null ? 'every address' : formatPrefix(prefix);
    throw new PolicyError(
      'POLICY_LIMIT',
      `${byText.size} rules meet at ${at}, and the kernel holds ${ADDRESS_RULES}: use port ranges and fewer protocols`,
      found.map(({ rule, match }) => ({ policy: rule.policy, field: match.field })),
    );
  }
  return [...byText.values()];
}

function formatPrefix({ bytes, length, family }: Prefix): string {
  return formatCidr({ bytes, family: family ?? 6, prefixLength: family === 4 ? length - 96 : length });
}

/** @throws PolicyError POLICY_LIMIT, AddressError */
export function compileAddresses(rules: readonly RuleIR[], sources: SourceGroups): AddressEntry[] {
  const candidates = rules.flatMap((rule) =>
    rule.matches.flatMap((match): Candidate[] =>
      match.kind === 'address'
        ? [{ rule, match, prefix: prefixOf(match.cidr), except: match.except.map(prefixOf) }]
        : [],
    ),
  );
  if (candidates.length === 0) return [];
  const prefixes = new Map<string, Prefix>();
  // If a prefix is named for both families and for IPv6 alone, the former wins.
  const note = (prefix: Prefix) => {
    if (prefixes.get(keyOf(prefix))?.family !== null) prefixes.set(keyOf(prefix), prefix);
  };
  for (const { prefix, except } of candidates) {
    note(prefix);
    except.forEach(note);
  }
  const reachesOver = [...prefixes.values()].some((p) => p.length <= 96 && sameBits(p.bytes, ALL_IPV4.bytes, p.length));
  if (reachesOver) note(ALL_IPV4);
  const indexed = new Candidates(candidates);
  return [...prefixes.values()].map((prefix) => ({
    prefixLength: prefix.length,
    address: prefix.bytes,
    rules: rulesAt(prefix, indexed, sources),
  }));
}
