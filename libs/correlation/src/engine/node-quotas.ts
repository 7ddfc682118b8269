/**
 * The share of one node in an engine, as a table for the reference. node-quotas.test.ts checks each
 * row.
 */
import { MAX_PENDING_PER_NODE, MAX_TEXT_PER_NODE } from '../attribution/pending-violations.ts';
import { MAX_FORMER_PER_NODE } from '../attribution/pod-inventory.ts';
import { MAX_COUNTERS_PER_NODE, MAX_NAMES_PER_NODE } from '../counting/node-state.ts';
import { LETTERS_AT_ONCE, SHARE_BYTES_PER_SECOND } from '../shares/frame-shares.ts';
import { MAX_STRINGS_PER_NODE } from '../windows/string-interner.ts';
import { MAX_WINDOWS_PER_NODE } from './rule-state.ts';

export interface NodeQuota {
  resource: string;
  limit: number;
  unit: string;
  /** Behaviour beyond the limit. */
  whenExceeded: string;
}

export const NODE_QUOTAS: readonly NodeQuota[] = [
  {
    resource:
      'messages; each costs 1 KiB beside its bytes, a violation 512 bytes, a refusal 128 KiB, but none that says `unproven-pod`',
    limit: SHARE_BYTES_PER_SECOND,
    unit: 'bytes a second, 16 times as many at once',
    whenExceeded: 'skipped; over_share_messages_total. Later frames have the cumulative counts',
  },
  {
    resource: 'dead letters of its messages: 0.1 a second, and at once',
    limit: LETTERS_AT_ONCE,
    unit: 'letters',
    whenExceeded:
      'its refused messages have none; dead_letters_dropped_total. Of pods that no list names, already beyond 128 at once and eight a second',
  },
  {
    resource: 'counters of the last hour',
    limit: MAX_COUNTERS_PER_NODE,
    unit: 'counters',
    whenExceeded: 'a violation counts its own packets; counters_refused_total',
  },
  {
    resource: 'counter epochs of these counters',
    limit: MAX_NAMES_PER_NODE,
    unit: 'characters',
    whenExceeded: 'as above',
  },
  {
    resource: 'vectors that the node was the first to report',
    limit: MAX_STRINGS_PER_NODE,
    unit: 'vectors',
    whenExceeded: 'evidence names them (other); vectors_refused_total',
  },
  {
    resource: 'windows of one rule that the node opened',
    limit: MAX_WINDOWS_PER_NODE,
    unit: 'windows',
    whenExceeded:
      'the rule does not count the group; windows_refused_total. A namespace gets a further one only while more are free than it has',
  },
  {
    resource: 'pending violations, whose pod is not listed yet',
    limit: MAX_PENDING_PER_NODE,
    unit: 'violations',
    whenExceeded: 'refused as unproven-pod',
  },
  {
    resource: 'pods that left its list in the last day',
    limit: MAX_FORMER_PER_NODE,
    unit: 'pods',
    whenExceeded: 'the oldest of the namespace with most expire: reports of the node on them are unproven-pod',
  },
  {
    resource: 'strings of the pending violations',
    limit: MAX_TEXT_PER_NODE,
    unit: 'characters',
    whenExceeded: 'refused as unproven-pod',
  },
];
