/** What one node may take of the memory of a fold, in one list for the reference. Each is held by shares.test.ts. */

import { MAX_PARKED_PER_NODE, MAX_TEXT_PER_NODE } from '../attribution/pending-violations.ts';
import { MAX_FORMER_PER_NODE } from '../attribution/pod-inventory.ts';
import { MAX_EPOCHS_PER_NODE, MAX_NAMES_PER_NODE } from '../counting/node-state.ts';
import { MAX_STRINGS_PER_NODE } from '../windows/string-interner.ts';
import { MAX_WINDOWS_PER_NODE } from './rule-state.ts';

export interface Share {
  what: string;
  limit: number;
  unit: string;
  /** What becomes of more. */
  beyond: string;
}

export const SHARES: readonly Share[] = [
  {
    what: 'counters of the last hour',
    limit: MAX_EPOCHS_PER_NODE,
    unit: 'counters',
    beyond: 'a violation counts as it says itself; counters_refused_total',
  },
  { what: 'names of these counters', limit: MAX_NAMES_PER_NODE, unit: 'characters', beyond: 'likewise' },
  {
    what: 'vectors that it was the first to name',
    limit: MAX_STRINGS_PER_NODE,
    unit: 'vectors',
    beyond: 'evidence names them (other); vectors_refused_total',
  },
  {
    what: 'windows of one rule that it was the first in',
    limit: MAX_WINDOWS_PER_NODE,
    unit: 'windows',
    beyond: 'not counted under the rule; windows_refused_total',
  },
  {
    what: 'violations that wait for their pod to be listed',
    limit: MAX_PARKED_PER_NODE,
    unit: 'violations',
    beyond: 'refused as unproven-pod',
  },
  {
    what: 'pods that left its list in the last day',
    limit: MAX_FORMER_PER_NODE,
    unit: 'pods',
    beyond: 'the oldest are forgotten: what the node reports of them is unproven-pod',
  },
  { what: 'strings of these violations', limit: MAX_TEXT_PER_NODE, unit: 'characters', beyond: 'likewise' },
];
