/**
 * One rule of a runtime policy: its action, the programs that it restricts, and exactly one match.
 */

import { type PostureClass, RUNTIME_ACTIONS } from '@bailiff/vocabulary';
import * as z from 'zod';
import {
  capabilitiesMatch,
  containerPath,
  driftMatch,
  executeMatch,
  fileMatch,
  kernelMatch,
  mountMatch,
  networkMatch,
  socketMatch,
  unixMatch,
} from './runtime-match.ts';
import { kubeName, someOf } from './units.ts';

const source = z.strictObject({
  path: containerPath.describe('absolute path of the program inside the container'),
  children: z.boolean().default(false).describe('also all programs started by it, at any depth'),
});

export const runtimeRule = z.strictObject({
  /** Together with the policy's name, the `vector` of a violation. */
  name: kubeName.max(63).describe('name of the rule within the policy; violations name it'),
  action: z
    .enum(RUNTIME_ACTIONS)
    .describe(
      'allow satisfies a posture; audit counts and passes; block denies with EPERM; kill denies and sends SIGKILL',
    ),
  description: z.string().max(1024).optional().describe('purpose of the rule'),
  fromSource: someOf(source, 16).describe('only operations of these programs; absent: any program'),
  file: fileMatch.optional().describe('files read, written, created, removed or changed'),
  execute: executeMatch.optional().describe('files run as programs or mapped executable'),
  drift: driftMatch.optional().describe("files run or mapped executable that the container's image does not hold"),
  network: networkMatch.optional().describe('IPv4 and IPv6 addresses and ports'),
  socket: socketMatch.optional().describe('sockets created, by family, type and protocol'),
  unix: unixMatch.optional().describe('Unix domain sockets, by path or abstract name'),
  capabilities: capabilitiesMatch.optional().describe('capabilities used, in lower case without "CAP_"'),
  mount: mountMatch.optional().describe('mounts created, moved, changed or removed'),
  kernel: kernelMatch.optional().describe('operations on the kernel or on other processes'),
});
export type RuntimeRule = z.infer<typeof runtimeRule>;

/** Kinds of matches. Each rule has exactly one. */
export const RULE_KINDS = [
  'file',
  'execute',
  'drift',
  'network',
  'socket',
  'unix',
  'capabilities',
  'mount',
  'kernel',
] as const;
export type RuleKind = (typeof RULE_KINDS)[number];

/** Class whose posture an allow rule of a kind satisfies. Drift has none. */
export const POSTURE_OF: Readonly<Record<RuleKind, PostureClass | null>> = {
  file: 'file',
  unix: 'file',
  execute: 'execute',
  drift: null,
  network: 'network',
  socket: 'network',
  capabilities: 'capability',
  mount: 'kernel',
  kernel: 'kernel',
};

/** Kind of a parsed rule. Null if it has none or several. */
export function kindOf(rule: RuntimeRule): RuleKind | null {
  const kinds = RULE_KINDS.filter((kind) => rule[kind] !== undefined);
  return kinds.length === 1 ? kinds[0]! : null;
}
